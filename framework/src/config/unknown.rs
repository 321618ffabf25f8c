//! Takes out sections and keys that nobody knows.

use toml::Spanned;
use toml::de::{DeArray as Array, DeTable as Table, DeValue};

use super::listener_name::name_of;
use super::names::{Known, placed};
use super::problem::{Fault, cut};
use super::section_names::{
    LISTENER, NAMED, TLS, TLS_SECTION, is_listener, is_upstream, tls_section,
};

/// Longest name that an operator may give to a section, in characters.
const NAME_MAX: usize = 64;
/// Listeners of a server at most: each shard has a descriptor more for each, and posts accepts on
/// each.
const LISTENERS_MAX: usize = 16;

/// Take out every section and key that nobody knows, and report each with the nearest that somebody
/// does.
pub(super) fn strike_unknown<'i>(
    all: Table<'i>,
    known: &Known,
    faults: &mut Vec<Fault>,
) -> Table<'i> {
    let mut strike = Strike { known, faults };
    let sections = all.into_iter().filter_map(|(section, value)| {
        let left = strike.section(section.get_ref(), section.span().start, value)?;
        Some((section, left))
    });
    sections.collect()
}

struct Strike<'a> {
    known: &'a Known,
    faults: &'a mut Vec<Fault>,
}

impl Strike<'_> {
    /// What is left of the section `name`, which stands at `at`.
    fn section<'i>(
        &mut self,
        name: &str,
        at: usize,
        value: Spanned<DeValue<'i>>,
    ) -> Option<Spanned<DeValue<'i>>> {
        let Some(keys) = self.known.keys_of(name) else {
            let help = self.known.nearest_section(name);
            self.report(at, cut(name), "no such section".to_owned(), help);
            return None;
        };
        let (found, span) = (value.get_ref().type_str(), value.span());
        let table = match value.into_inner() {
            DeValue::Table(table) => table,
            DeValue::Array(tables) if name == LISTENER => {
                let left = self.listeners(at, tables);
                return Some(Spanned::new(span, DeValue::Array(left)));
            }
            _ => {
                let what = format!("found {found}, expected the section [{}]", placed(name));
                self.report(at, name.to_owned(), what, None);
                return None;
            }
        };
        let left = match name {
            NAMED => self.named_sections(table, keys),
            name => self.keys(table, name, keys),
        };
        Some(Spanned::new(span, DeValue::Table(left)))
    }

    /// What is left of each `[[listener]]`; the list stands at `at`.
    fn listeners<'i>(&mut self, at: usize, tables: Array<'i>) -> Array<'i> {
        let count = tables.len();
        if !(1..=LISTENERS_MAX).contains(&count) {
            let what = format!("found {count} listeners, expected 1 to {LISTENERS_MAX}");
            self.report(at, LISTENER.to_owned(), what, None);
        }
        let keys = Known::listener_keys();
        let numbered = (1..=LISTENERS_MAX).zip(tables);
        let left = numbered.filter_map(|(number, value)| {
            let (found, span) = (value.get_ref().type_str(), value.span());
            let DeValue::Table(table) = value.into_inner() else {
                let what = format!("found {found}, expected a table");
                let help = "write a table [[listener]] for each listener".to_owned();
                self.report(span.start, LISTENER.to_owned(), what, Some(help));
                return None;
            };
            let section = format!("{LISTENER}.{}", name_of(&table, number));
            let left = self.keys(table, &section, Some(&keys));
            Some(Spanned::new(span, DeValue::Table(left)))
        });
        left.collect()
    }

    /// What is left of the sections in [`NAMED`], each with these keys.
    fn named_sections<'i>(&mut self, all: Table<'i>, keys: Option<&[&str]>) -> Table<'i> {
        let sections = all.into_iter().filter_map(|(section, value)| {
            let left = self.named_section(section.get_ref(), section.span().start, value, keys)?;
            Some((section, left))
        });
        sections.collect()
    }

    fn named_section<'i>(
        &mut self,
        name: &str,
        at: usize,
        value: Spanned<DeValue<'i>>,
        keys: Option<&[&str]>,
    ) -> Option<Spanned<DeValue<'i>>> {
        let full = format!("{NAMED}.{}", cut(name));
        let (found, span) = (value.get_ref().type_str(), value.span());
        let DeValue::Table(table) = value.into_inner() else {
            let what = format!("found {found}, expected a section");
            let help = format!("its keys stand in sections with a name: [{NAMED}.NAME]");
            self.report(at, full, what, Some(help));
            return None;
        };
        if !is_name(name) {
            let what = format!("not a name, expected 1 to {NAME_MAX} letters, digits, - and _");
            self.report(at, full, what, None);
            return None;
        }
        let left = self.keys(table, &full, keys);
        Some(Spanned::new(span, DeValue::Table(left)))
    }

    /// What is left of a section with these keys; `None`: it takes any key.
    fn keys<'i>(&mut self, table: Table<'i>, section: &str, keys: Option<&[&str]>) -> Table<'i> {
        let has_tls = section == LISTENER || is_listener(section) || is_upstream(section);
        let entries = table.into_iter().filter_map(|(key, value)| {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            if has_tls && name == TLS {
                let left = self.tls(section, at, value)?;
                return Some((key, left));
            }
            let is_known = keys.is_none_or(|keys| keys.contains(&name));
            if !is_known {
                let (full, help) = (
                    format!("{section}.{}", cut(name)),
                    self.known.nearest_key(section, name),
                );
                self.report(at, full, "no such key".to_owned(), Some(help));
            }
            is_known.then_some((key, value))
        });
        entries.collect()
    }

    /// What is left of the table of TLS of a listener, or of an upstream.
    fn tls<'i>(
        &mut self,
        owner: &str,
        at: usize,
        value: Spanned<DeValue<'i>>,
    ) -> Option<Spanned<DeValue<'i>>> {
        let (section, of_upstream) = (tls_section(owner), is_upstream(owner));
        let (found, span) = (value.get_ref().type_str(), value.span());
        let DeValue::Table(table) = value.into_inner() else {
            let (expected, help) = match of_upstream {
                true => (
                    section.as_str(),
                    "the table turns TLS on, even an empty one",
                ),
                false => (TLS_SECTION, "it names the files: certificate and key"),
            };
            let what = format!("found {found}, expected the section [{expected}]");
            self.report(at, section, what, Some(help.to_owned()));
            return None;
        };
        let keys = match of_upstream {
            true => Known::upstream_tls_keys(),
            false => Known::tls_keys(),
        };
        let left = self.keys(table, &section, Some(&keys));
        Some(Spanned::new(span, DeValue::Table(left)))
    }

    fn report(&mut self, at: usize, key: String, what: String, help: Option<String>) {
        self.faults.push(Fault {
            at: Some(at),
            key,
            what,
            help,
        });
    }
}

/// A name that needs no quotes in TOML, and none in a log or an answer to a client.
fn is_name(name: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain)
}
