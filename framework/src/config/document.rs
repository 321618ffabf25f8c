//! From files and arguments to one table of values, each with the place where it was written.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
pub(super) use toml::de::DeTable as Table;
use toml::de::DeValue;

use super::names;
use super::problem::{Fault, PROBLEMS_MAX, Problem, Sources, cut, line_range};
use super::raw::{Keys, NAMED};

/// Largest settings file, in bytes. A thousand times what ours are; anything more is a mistaken
/// path.
const FILE_MAX: u64 = 1024 * 1024;

/// Readings of a file with mistakes in it. Each passes over the lines the ones before found wrong.
const READINGS_MAX: usize = 16;

/// Longest name that an operator may give to a section, in characters.
const NAME_MAX: usize = 64;

/// Read a settings file whole, without its byte order mark.
pub(super) fn read_file(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let refuse = |what: String, help: &str| Problem::of_file(&name, what, Some(help.to_owned()));
    let unreadable = |error: std::io::Error| {
        refuse(
            format!("cannot be read: {error}"),
            "give the path of a TOML file, or none for the built-in settings",
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte past the bound tells a file that is too long from one that just fits, and works on a
    // pipe too.
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(refuse(
            format!("longer than {FILE_MAX} bytes"),
            "settings are short; is this the right file?",
        ));
    }
    text_of(&name, bytes)
}

/// The bytes of the file `name` as text, without its byte order mark.
pub(super) fn text_of(name: &str, bytes: Vec<u8>) -> Result<String, Problem> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count();
        Problem::of_file(
            name,
            format!("line {line} is not UTF-8 text"),
            Some("save the file as UTF-8".to_owned()),
        )
    })?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text))
}

/// Everything that was written, the later source before the earlier.
pub(super) fn parse<'i>(
    sources: &Sources<'i>,
    blanked: &'i str,
    faults: &mut Vec<Fault>,
) -> Table<'i> {
    let mut all = Table::new();
    for (base, is_file, text) in sources.iter() {
        let table = match is_file {
            true => Table::parse_recoverable(blanked).0.into_inner(),
            false => argument(base, text, faults),
        };
        merge(&mut all, shift(table, base));
    }
    all
}

/// Report every line of `text` that is not TOML, and give the text back with those lines blanked.
///
/// The parser gives up at some mistakes and lets others leave half a value behind. Blanked lines do
/// neither, and leave every other line at its offset.
pub(super) fn blank_mistakes(text: &str, faults: &mut Vec<Fault>) -> String {
    let mut blanked = text.to_owned();
    for _ in 0..READINGS_MAX {
        let mut mistakes = Vec::new();
        for error in Table::parse_recoverable(&blanked)
            .1
            .into_iter()
            .take(PROBLEMS_MAX)
        {
            let at = error.span().map_or(blanked.len(), |span| span.start);
            let line = line_range(&blanked, at);
            if mistakes.contains(&line) {
                continue; // the first mistake of a line explains the others
            }
            faults.push(mistake(text, at, &line, error.message()));
            mistakes.push(line);
        }
        if mistakes.is_empty() {
            return blanked;
        }
        if mistakes
            .iter()
            .any(|line| blanked[line.clone()].trim().is_empty())
        {
            break; // blanking does not help: a string or list that never ends
        }
        for line in mistakes {
            let spoiled = spoiled(&blanked, line);
            blank(&mut blanked, spoiled);
        }
    }
    String::new()
}

fn mistake(text: &str, at: usize, line: &Range<usize>, message: &str) -> Fault {
    let shown = text[line.clone()].trim();
    let help = (!shown.is_empty()).then(|| format!("the line is `{}`", cut(shown)));
    Fault {
        at: Some(at),
        key: String::new(),
        what: format!("not TOML: {message}"),
        help,
    }
}

/// What a mistake in a line spoils: a section's header the section, anything else the lines of its
/// value.
fn spoiled(text: &str, line: Range<usize>) -> Range<usize> {
    if text[line.clone()].trim_start().starts_with('[') {
        let next = text[line.end..]
            .find("\n[")
            .map_or(text.len(), |next| line.end + next);
        return line.start..next;
    }
    let (mut first, mut last) = (line.clone(), line);
    while continues(&text[first.clone()]) && first.start > 0 {
        first = line_range(text, first.start - 1);
    }
    while last.end < text.len() {
        let next = line_range(text, last.end + 1);
        if !continues(&text[next.clone()]) {
            break;
        }
        last = next;
    }
    first.start..last.end
}

/// Whether a line looks like a later line of a value: the rest of a list, rather than a key.
fn continues(line: &str) -> bool {
    line.trim_start()
        .starts_with(|first: char| first.is_ascii_digit() || "-+\"'],{}".contains(first))
}

fn blank(text: &mut String, range: Range<usize>) {
    let blanks: String = text[range.clone()]
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    text.replace_range(range, &blanks);
}

/// One `--set section.key=VALUE`, which is a line of TOML.
fn argument<'i>(base: usize, text: &'i str, faults: &mut Vec<Fault>) -> Table<'i> {
    let (table, errors) = Table::parse_recoverable(text);
    if errors.is_empty() && !table.get_ref().is_empty() && text.contains('=') {
        return table.into_inner();
    }
    let quoted = text
        .split_once('=')
        .map(|(key, value)| format!("{key}={}", toml::Value::from(value.trim())));
    let quoted =
        quoted.filter(|quoted| Table::parse(quoted).is_ok_and(|table| !table.get_ref().is_empty()));
    let (what, help) = match quoted {
        Some(quoted) => {
            let value = text.split_once('=').map_or("", |(_, value)| value);
            let help = format!(
                "a text needs quotes: --set '{}'",
                cut(&quoted.replace('\'', r"'\''"))
            );
            (format!("`{}` is not a TOML value", cut(value)), help)
        }
        None => (
            "expected section.key=VALUE".to_owned(),
            "for example --set server.shards=2".to_owned(),
        ),
    };
    faults.push(Fault {
        at: Some(base),
        key: String::new(),
        what,
        help: Some(help),
    });
    Table::new()
}

/// Move every span of a table by `base`, so that it tells the source as well as the place within.
fn shift(table: Table<'_>, base: usize) -> Table<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let key_span = moved(key.span(), base);
        (
            Spanned::new(key_span, key.into_inner()),
            shift_value(value, base),
        )
    });
    entries.collect()
}

fn shift_value(value: Spanned<DeValue<'_>>, base: usize) -> Spanned<DeValue<'_>> {
    let span = moved(value.span(), base);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift(table, base)),
        DeValue::Array(items) => DeValue::Array(
            items
                .into_iter()
                .map(|item| shift_value(item, base))
                .collect(),
        ),
        plain => plain,
    };
    Spanned::new(span, value)
}

fn moved(span: Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}

fn merge<'i>(into: &mut Table<'i>, from: Table<'i>) {
    for (key, value) in from {
        let old = into.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut);
        match (old, value) {
            (Some(DeValue::Table(old)), value) if value.get_ref().is_table() => {
                if let DeValue::Table(new) = value.into_inner() {
                    merge(old, new);
                }
            }
            (_, value) => {
                into.remove(key.get_ref().as_ref()); // with its key, whose span is of the older source
                into.insert(key, value);
            }
        }
    }
}

/// Take out every section and key that nobody knows, and report each with the nearest that somebody
/// does.
pub(super) fn strike_unknown<'i>(
    all: Table<'i>,
    known: &names::Known,
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
            let expected = names::placed(name);
            faults.push(unknown(
                span,
                name.to_owned(),
                &format!("found {found}, expected the section [{expected}]"),
                None,
            ));
            return None;
        };
        let table = match name == NAMED.0 {
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
    keys: Option<Keys>,
    known: &names::Known,
    faults: &mut Vec<Fault>,
) -> Table<'i> {
    let kind = NAMED.0;
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
    keys: Option<Keys>,
    known: &names::Known,
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

/// Deserialise a table, striking out and reporting each value that does not fit. What was struck
/// out, and all of it if the type cannot say what does not fit, has its default.
pub(super) fn deserialise<T>(mut table: Table<'_>, name: &str, faults: &mut Vec<Fault>) -> T
where
    T: DeserializeOwned + Default,
{
    for _ in 0..PROBLEMS_MAX {
        let value = Spanned::new(0..0, DeValue::Table(table.clone()));
        let error = match T::deserialize(value.into_deserializer()) {
            Ok(settings) => return settings,
            Err(error) => error,
        };
        let span = error.span().filter(|span| span.end > 0);
        let mut path = name.to_owned();
        let struck = span
            .as_ref()
            .is_some_and(|span| strike(&mut table, span, &mut path));
        faults.push(Fault {
            at: span.map(|span| span.start),
            key: path,
            what: error.message().to_owned(),
            help: None,
        });
        if !struck {
            break;
        }
    }
    T::default()
}

/// Take out the innermost key whose name or value holds `span`, and add its name to `path`.
fn strike(table: &mut Table<'_>, span: &Range<usize>, path: &mut String) -> bool {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let length = path.len();
    for (key, value) in table.iter_mut() {
        append(path, key.get_ref());
        if let DeValue::Table(inner) = value.get_mut()
            && strike(inner, span, path)
        {
            return true;
        }
        if holds(key.span()) || holds(value.span()) {
            let key = key.get_ref().clone();
            table.remove(key.as_ref());
            return true;
        }
        path.truncate(length);
    }
    false
}

fn append(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(&cut(key));
}

/// Where the value of `section.key` was written, or the section, or nothing.
pub(super) fn place_of(all: &Table<'_>, section: &str, key: &str) -> Option<usize> {
    let (section_key, section) = all.get_key_value(section)?;
    let value = section
        .get_ref()
        .as_table()
        .and_then(|table| table.get(key));
    Some(value.map_or(section_key.span(), Spanned::span).start)
}
