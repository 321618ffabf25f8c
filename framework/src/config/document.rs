//! From files and arguments to one table of values, each with the place where it was written.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable as Table, DeValue};

use super::listener_name::name_of;
use super::problem::{Fault, PROBLEMS_MAX, Problem, Sources, cut, line_range};
use super::section_names::LISTENER;

/// Largest settings file, in bytes. A thousand times what ours are; anything more is a mistaken
/// path.
const FILE_MAX: u64 = 1024 * 1024;

/// Readings of a file with mistakes in it. Each passes over the lines the ones before found wrong.
const READINGS_MAX: usize = 16;

/// Read a settings file whole, without its byte order mark.
pub(super) fn read_file(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    read_whole(&name, File::open(path))
}

/// The same for a running server, which no pipe may stop, and which would take one that was read
/// before for an empty file.
pub(super) fn read_again(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let at_once = rustix::fs::OFlags::NONBLOCK.bits();
    let opened = File::options()
        .read(true)
        .custom_flags(at_once as i32)
        .open(path);
    match opened.as_ref().map(File::metadata) {
        Ok(Ok(metadata)) if !metadata.is_file() => Err(Problem::of_file(
            &name,
            "no regular file, so it cannot be read again".to_owned(),
            Some("start the server with the path of a TOML file".to_owned()),
        )),
        _ => read_whole(&name, opened),
    }
}

fn read_whole(name: &str, opened: std::io::Result<File>) -> Result<String, Problem> {
    let refuse = |what: String, help: &str| Problem::of_file(name, what, Some(help.to_owned()));
    let unreadable = |error: std::io::Error| {
        refuse(
            format!("cannot be read: {error}"),
            "give the path of a TOML file, or none for the built-in settings",
        )
    };
    let file = opened.map_err(unreadable)?;
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
    text_of(name, bytes)
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
        let table = into_listeners(&mut all, shift(table, base), faults);
        merge(&mut all, table);
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
        let mistakes = lines_with_mistakes(text, &blanked, faults);
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

/// The lines of `blanked` that are not TOML. Reports each as it stands in `text`.
fn lines_with_mistakes(text: &str, blanked: &str, faults: &mut Vec<Fault>) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let (_, errors) = Table::parse_recoverable(blanked);
    for error in errors.into_iter().take(PROBLEMS_MAX) {
        let at = error.span().map_or(blanked.len(), |span| span.start);
        let line = line_range(blanked, at);
        if lines.contains(&line) {
            continue; // the first mistake of a line explains the others
        }
        faults.push(mistake(text, at, &line, error.message()));
        lines.push(line);
    }
    lines
}

fn mistake(text: &str, at: usize, line: &Range<usize>, message: &str) -> Fault {
    let shown = text[line.clone()].trim();
    let help = match shown {
        "" => None,
        "[listener]" | "[[listener]]" => {
            Some("write either [listener] once, or [[listener]] for each listener".to_owned())
        }
        shown => Some(format!("the line is `{}`", cut(shown))),
    };
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
    let (what, help) = not_toml(text);
    faults.push(Fault {
        at: Some(base),
        key: String::new(),
        what,
        help: Some(help),
    });
    Table::new()
}

/// What is wrong with an argument, and what to write instead.
fn not_toml(text: &str) -> (String, String) {
    let quoted = text.split_once('=').and_then(|(key, value)| {
        let quoted = format!("{key}={}", toml::Value::from(value.trim()));
        let is_toml = Table::parse(&quoted).is_ok_and(|table| !table.get_ref().is_empty());
        is_toml.then_some((quoted, value))
    });
    match quoted {
        Some((quoted, value)) => (
            format!("`{}` is not a TOML value", cut(value)),
            format!(
                "a text needs quotes: --set '{}'",
                cut(&quoted.replace('\'', r"'\''"))
            ),
        ),
        None => (
            "expected section.key=VALUE".to_owned(),
            "for example --set server.shards=2".to_owned(),
        ),
    }
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

/// Merges each `listener.NAME.key` of `from` into the `[[listener]]` of that name, where there is a
/// list of them. Gives the rest.
fn into_listeners<'i>(
    all: &mut Table<'i>,
    mut from: Table<'i>,
    faults: &mut Vec<Fault>,
) -> Table<'i> {
    let listeners = all.get_mut(LISTENER).map(Spanned::get_mut);
    let is_by_name = from.get(LISTENER).is_some_and(|by| by.get_ref().is_table());
    let Some(DeValue::Array(listeners)) = listeners.filter(|_| is_by_name) else {
        return from;
    };
    let by_name = from.remove(LISTENER).map(Spanned::into_inner);
    let Some(DeValue::Table(by_name)) = by_name else {
        return from;
    };
    for (name, keys) in by_name {
        let mut tables = (1..).zip(listeners.iter_mut().map(Spanned::get_mut));
        let called = tables.find_map(|(number, table)| match table {
            DeValue::Table(table) if name_of(table, number) == *name.get_ref() => Some(table),
            _ => None,
        });
        match (called, keys.into_inner()) {
            (Some(table), DeValue::Table(keys)) => merge(table, keys),
            _ => faults.push(Fault {
                at: Some(name.span().start),
                key: format!("{LISTENER}.{}", cut(name.get_ref())),
                what: "no [[listener]] is called that".to_owned(),
                help: Some(format!("with [[listener]] write {LISTENER}.NAME.key")),
            }),
        }
    }
    from
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

/// Where the value of `section.key` was written, or the section, or nothing.
pub(super) fn place_of(all: &Table<'_>, section: &str, key: &str) -> Option<usize> {
    let (section_key, section) = all.get_key_value(section)?;
    let value = section
        .get_ref()
        .as_table()
        .and_then(|table| table.get(key));
    Some(value.map_or(section_key.span(), Spanned::span).start)
}
