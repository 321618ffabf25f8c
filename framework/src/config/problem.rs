//! What is wrong with the settings, and where it stands.

use std::fmt;
use std::ops::Range;

/// Problems reported of one start; a file that is not settings at all would otherwise fill the
/// terminal.
pub(super) const PROBLEMS_MAX: usize = 100;

/// Characters of an operator's text that a message repeats.
const QUOTE_MAX: usize = 60;

/// One thing that is wrong with the settings.
///
/// Its `Display` says where, which key, what was found and what was expected; a second line, where
/// there is one, says what to do:
///
/// ```text
/// echo.toml:12:8: timeouts.idle: found "5 minutes", expected a duration from 100ms to 365d, like "250ms", "30s" or "5m", or "off"
///     help: write "5m"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    place: String,
    key: String,
    what: String,
    help: Option<String>,
}

impl Problem {
    /// A problem with a file as a whole.
    pub(super) fn of_file(name: &str, what: String, help: Option<String>) -> Self {
        Self {
            place: name.to_owned(),
            key: String::new(),
            what,
            help,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.place, &self.key, &self.what];
        let said: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        out.write_str(&said.join(": "))?;
        match &self.help {
            Some(help) => write!(out, "\n    help: {help}"),
            None => Ok(()),
        }
    }
}

/// A problem whose place is still an offset into the [`Sources`].
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Option<usize>,
    pub(super) key: String,
    pub(super) what: String,
    pub(super) help: Option<String>,
}

/// The texts the settings were read from: the file, if any, then each `--set`.
///
/// Laid end to end they share one range of offsets, so that the span of any value tells its source.
pub(super) struct Sources<'i> {
    texts: Vec<Source<'i>>,
}

struct Source<'i> {
    base: usize,
    /// The file's name; `None` for a `--set`.
    file: Option<&'i str>,
    text: &'i str,
}

impl<'i> Sources<'i> {
    pub(super) fn new(file: Option<(&'i str, &'i str)>, sets: &'i [String]) -> Self {
        let file = file.into_iter().map(|(name, text)| (Some(name), text));
        let sets = sets.iter().map(|set| (None, set.as_str()));
        let mut base = 0;
        let texts = file.chain(sets).map(|(file, text)| {
            let source = Source { base, file, text };
            base += text.len() + 1; // the end of a text is an offset of its own
            source
        });
        Self {
            texts: texts.collect(),
        }
    }

    /// (offset, whether it is a file, text) of every source, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, bool, &'i str)> + '_ {
        self.texts
            .iter()
            .map(|source| (source.base, source.file.is_some(), source.text))
    }

    /// Turn faults into problems, in the order of their places.
    pub(super) fn resolve(&self, mut faults: Vec<Fault>) -> Vec<Problem> {
        faults.sort_by_key(|fault| fault.at.unwrap_or(usize::MAX));
        let more = faults.len().saturating_sub(PROBLEMS_MAX);
        faults.truncate(PROBLEMS_MAX);
        let mut problems: Vec<Problem> = faults
            .into_iter()
            .map(|fault| self.problem(fault))
            .collect();
        if more > 0 {
            problems.push(Problem::of_file(
                "",
                format!("and {more} more problems"),
                None,
            ));
        }
        problems
    }

    fn problem(&self, fault: Fault) -> Problem {
        let place = fault.at.map(|at| self.place(at)).unwrap_or_default();
        Problem {
            place,
            key: fault.key,
            what: fault.what,
            help: fault.help,
        }
    }

    fn place(&self, at: usize) -> String {
        let Some(source) = self.texts.iter().rev().find(|source| source.base <= at) else {
            return String::new();
        };
        match source.file {
            None => format!("--set {}", cut(source.text)),
            Some(name) => {
                let (line, column) = line_and_column(source.text, at - source.base);
                format!("{name}:{line}:{column}")
            }
        }
    }
}

/// The line that holds `offset`, without its end: a newline belongs to the line it ends.
pub(super) fn line_range(text: &str, offset: usize) -> Range<usize> {
    let offset = offset.min(text.len());
    let start = text.as_bytes()[..offset]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let end = text.as_bytes()[offset..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |at| offset + at);
    start..end
}

/// Both count from 1; a column is a character.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let start = line_range(text, offset).start;
    let line = text.as_bytes()[..start]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1;
    let column = text
        .char_indices()
        .skip_while(|(at, _)| *at < start)
        .take_while(|(at, _)| *at < offset)
        .count()
        + 1;
    (line, column)
}

/// Text as a message may show it: no control characters, not longer than `QUOTE_MAX`.
pub(super) fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTE_MAX).flat_map(escape).collect();
    if text.chars().nth(QUOTE_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

fn escape(character: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = match character.is_control() {
        true => (None, Some(character.escape_default())),
        false => (Some(character), None),
    };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let text = "a = 1\n\u{e4}\u{f6} = 2\r\nc";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 5), (1, 6));
        assert_eq!(line_and_column(text, 6), (2, 1));
        assert_eq!(
            line_and_column(text, text.find('=').map_or(0, |first| first + 9)),
            (2, 4)
        );
        assert_eq!(line_and_column(text, text.len()), (3, 2));
        assert_eq!(line_and_column("", 0), (1, 1));
        assert_eq!(line_and_column("x", 99), (1, 2));
    }

    #[test]
    fn each_offset_belongs_to_its_source() {
        let sets = ["a=1".to_owned(), "b=2".to_owned()];
        let sources = Sources::new(Some(("f.toml", "x\ny\n")), &sets);
        assert_eq!(sources.place(2), "f.toml:2:1");
        assert_eq!(sources.place(4), "f.toml:3:1");
        assert_eq!(sources.place(5), "--set a=1");
        assert_eq!(sources.place(9), "--set b=2");
        assert_eq!(sources.place(12), "--set b=2");
    }

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(cut("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(
            cut(&"x".repeat(1000)),
            format!("{}...", "x".repeat(QUOTE_MAX))
        );
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_counted() {
        let fault = |at| Fault {
            at: Some(at),
            key: String::new(),
            what: "bad".to_owned(),
            help: None,
        };
        let problems =
            Sources::new(Some(("f", "")), &[]).resolve((0..PROBLEMS_MAX + 7).map(fault).collect());
        assert_eq!(problems.len(), PROBLEMS_MAX + 1);
        assert_eq!(problems[PROBLEMS_MAX].to_string(), "and 7 more problems");
    }
}
