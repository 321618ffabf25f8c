//! Takes out sections and keys that nobody knows.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable as Table, DeValue};

use super::names::{Known, placed};
use super::problem::{Fault, cut};
use super::raw::NAMED;

/// Longest name that an operator may give to a section, in characters.
const NAME_MAX: usize = 64;

/// Take out every section and key that nobody knows, and report each with the nearest that somebody
/// does.
pub(super) fn strike_unknown<'i>(
    all: Table<'i>,
    known: &Known,
    faults: &mut Vec<Fault>,
) -> Table<'i> {
    let sections = all.into_iter().filter_map(|(section, value)| {
        let (name, span) = (section.get_ref().as_ref(), section.span());
        let Some(keys) = known.keys_of(name) else {
            faults.push(unknown(
                span,
                cut(name),
                "no such section",
                known.nearest_section(name),
            ));
            return None;
        };
        let (found, place) = (value.get_ref().type_str(), value.span());
        let DeValue::Table(table) = value.into_inner() else {
            let expected = placed(name);
            faults.push(unknown(
                span,
                name.to_owned(),
                &format!("found {found}, expected the section [{expected}]"),
                None,
            ));
            return None;
        };
        let table = match name == NAMED {
            true => strike_unknown_in_named(table, keys, known, faults),
            false => strike_unknown_keys(table, name, keys, known, faults),
        };
        Some((section, Spanned::new(place, DeValue::Table(table))))
    });
    sections.collect()
}

/// The same in a section of sections, each with a name of the operator's choice.
fn strike_unknown_in_named<'i>(
    all: Table<'i>,
    keys: Option<&[&str]>,
    known: &Known,
    faults: &mut Vec<Fault>,
) -> Table<'i> {
    let kind = NAMED;
    let sections = all.into_iter().filter_map(|(section, value)| {
        let (name, span) = (section.get_ref().as_ref(), section.span());
        let full = format!("{kind}.{}", cut(name));
        let (found, place) = (value.get_ref().type_str(), value.span());
        let DeValue::Table(table) = value.into_inner() else {
            let help = format!("its keys stand in sections with a name: [{kind}.NAME]");
            faults.push(unknown(
                span,
                full,
                &format!("found {found}, expected a section"),
                Some(help),
            ));
            return None;
        };
        if !is_name(name) {
            let what = format!("not a name, expected 1 to {NAME_MAX} letters, digits, - and _");
            faults.push(unknown(span, full, &what, None));
            return None;
        }
        let table = strike_unknown_keys(table, &full, keys, known, faults);
        Some((section, Spanned::new(place, DeValue::Table(table))))
    });
    sections.collect()
}

/// A name that needs no quotes in TOML, and none in a log or an answer to a client.
fn is_name(name: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain)
}

fn strike_unknown_keys<'i>(
    table: Table<'i>,
    section: &str,
    keys: Option<&[&str]>,
    known: &Known,
    faults: &mut Vec<Fault>,
) -> Table<'i> {
    let is_known = |key: &str| keys.is_none_or(|keys| keys.contains(&key));
    let entries = table.into_iter().filter(|(key, _)| {
        let (name, span) = (key.get_ref().as_ref(), key.span());
        if !is_known(name) {
            let help = known.nearest_key(section, name);
            faults.push(unknown(
                span,
                format!("{section}.{}", cut(name)),
                "no such key",
                Some(help),
            ));
        }
        is_known(name)
    });
    entries.collect()
}

fn unknown(span: Range<usize>, key: String, what: &str, help: Option<String>) -> Fault {
    Fault {
        at: Some(span.start),
        key,
        what: what.to_owned(),
        help,
    }
}
