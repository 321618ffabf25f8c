//! One value against what is expected of it. Every message reads "found ..., expected ...".

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;

use super::problem::Fault;
use super::raw::{Item, Value};
use super::{duration, names};

/// What is expected of a whole number.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// What it counts or numbers, with its article.
    noun: &'static str,
    min: u32,
    max: u32,
    /// What 0 stands for, where it stands for something beside the range.
    zero: Option<&'static str>,
}

impl Whole {
    pub(super) const fn new(noun: &'static str, min: u32, max: u32) -> Self {
        Self {
            noun,
            min,
            max,
            zero: None,
        }
    }

    pub(super) const fn or_zero(self, meaning: &'static str) -> Self {
        Self {
            zero: Some(meaning),
            ..self
        }
    }

    fn read(&self, value: &Value) -> Option<u32> {
        let Value::Integer(number) = value else {
            return None;
        };
        let number = u32::try_from(*number).ok()?;
        let fits = (self.min..=self.max).contains(&number) || (number == 0 && self.zero.is_some());
        fits.then_some(number)
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { noun, min, max, .. } = self;
        write!(out, "{noun} from {min} to {max}")?;
        self.zero
            .map_or(Ok(()), |zero| write!(out, ", or 0 for {zero}"))
    }
}

/// What is expected of a duration.
#[derive(Clone, Copy)]
pub(super) struct Times {
    min: Duration,
    max: Duration,
    whole_seconds: bool,
    /// The word for "none", where there may be none.
    none: Option<&'static str>,
}

impl Times {
    pub(super) const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            whole_seconds: false,
            none: None,
        }
    }

    pub(super) const fn or(self, none: &'static str) -> Self {
        Self {
            none: Some(none),
            ..self
        }
    }

    pub(super) const fn in_whole_seconds(self) -> Self {
        Self {
            whole_seconds: true,
            ..self
        }
    }

    /// `Some(None)` is the word for "none".
    fn read(&self, value: &Value) -> Option<Option<Duration>> {
        let Value::Text(text) = value else {
            return None;
        };
        if self.none == Some(text) {
            return Some(None);
        }
        let time = duration::parse(text)?;
        let whole = !self.whole_seconds || time.subsec_nanos() == 0;
        (whole && (self.min..=self.max).contains(&time)).then_some(Some(time))
    }

    /// What to write instead, if that is clear.
    fn guess(&self, value: &Value) -> Option<String> {
        let written = match value {
            Value::Text(text) => duration::guess(text),
            Value::Integer(number) => Some(format!("{number}s")),
            Value::Boolean(false) => self.none.map(str::to_owned),
            _ => None,
        };
        written.filter(|written| self.read(&Value::Text(written.clone())).is_some())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.whole_seconds {
            " of whole seconds"
        } else {
            ""
        };
        let (min, max) = (duration::format(self.min), duration::format(self.max));
        write!(
            out,
            "a duration{whole} from {min} to {max}, like \"30s\" or \"5m\""
        )?;
        self.none
            .map_or(Ok(()), |none| write!(out, ", or \"{none}\" for none"))
    }
}

/// Reads values, and keeps what is wrong with them.
///
/// A wrong value is reported and read as its default, so that the check goes on to the next.
pub(super) struct Checker<'a> {
    faults: &'a mut Vec<Fault>,
    /// Every line could be read and every key was known: a key that is not there was not meant to
    /// be.
    complete: bool,
    /// Keys whose value was wrong.
    failed: Vec<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(faults: &'a mut Vec<Fault>) -> Self {
        let complete = faults.is_empty();
        Self {
            faults,
            complete,
            failed: Vec::new(),
        }
    }

    pub(super) fn whole(&mut self, key: &str, item: &Item, range: &Whole, default: u32) -> u32 {
        self.read(key, item, range, |value| range.read(value))
            .unwrap_or(default)
    }

    /// A number for which 0 means that there is none.
    pub(super) fn whole_or_none(&mut self, key: &str, item: &Item, range: &Whole) -> Option<u32> {
        let number = self.whole(key, item, range, 0);
        (number != 0).then_some(number)
    }

    pub(super) fn power_of_two(
        &mut self,
        key: &str,
        item: &Item,
        range: &Whole,
        default: u32,
    ) -> u32 {
        let expected = format!("{range}, and a power of two");
        self.read(key, item, expected, |value| {
            range.read(value).filter(|number| number.is_power_of_two())
        })
        .unwrap_or(default)
    }

    pub(super) fn boolean(&mut self, key: &str, item: &Item, default: bool) -> bool {
        let read = |value: &Value| match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        };
        self.read(key, item, "true or false", read)
            .unwrap_or(default)
    }

    /// True, false, or the word for neither, which is also the default.
    pub(super) fn boolean_or_word(&mut self, key: &str, item: &Item, word: &str) -> Option<bool> {
        let read = |value: &Value| match value {
            Value::Boolean(value) => Some(Some(*value)),
            Value::Text(text) if text == word => Some(None),
            _ => None,
        };
        let guess = |value: &Value| match value {
            Value::Text(text) if matches!(&**text, "true" | "false") => {
                Some(format!("write {text} without quotes"))
            }
            _ => None,
        };
        self.read_or_help(key, item, format!("true, false or \"{word}\""), read, guess)
            .flatten()
    }

    /// Any text of so many bytes.
    pub(super) fn text(
        &mut self,
        key: &str,
        item: &Item,
        bytes_max: usize,
        default: &str,
    ) -> String {
        let read = |value: &Value| match value {
            Value::Text(text) if text.len() <= bytes_max => Some(text.clone()),
            _ => None,
        };
        self.read(
            key,
            item,
            format!("a text of at most {bytes_max} bytes"),
            read,
        )
        .unwrap_or_else(|| default.to_owned())
    }

    /// A duration that cannot be off.
    pub(super) fn time(
        &mut self,
        key: &str,
        item: &Item,
        range: &Times,
        default: Duration,
    ) -> Duration {
        self.time_or_none(key, item, range, Some(default))
            .unwrap_or(default)
    }

    pub(super) fn time_or_none(
        &mut self,
        key: &str,
        item: &Item,
        range: &Times,
        default: Option<Duration>,
    ) -> Option<Duration> {
        let guess = |value: &Value| range.guess(value).map(|text| format!("write \"{text}\""));
        self.read_or_help(key, item, range, |value| range.read(value), guess)
            .unwrap_or(default)
    }

    /// One of a few words, each with what it stands for.
    pub(super) fn word<T: Clone>(
        &mut self,
        key: &str,
        item: &Item,
        words: &[(&'static str, T)],
        default: &T,
    ) -> T {
        let names: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        let expected = names
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let read = |value: &Value| match value {
            Value::Text(text) => words
                .iter()
                .find(|(word, _)| word == text)
                .map(|(_, meaning)| meaning.clone()),
            _ => None,
        };
        let guess = |value: &Value| match value {
            Value::Text(text) => names::nearest(&text.to_ascii_lowercase(), names.iter().copied()),
            _ => None,
        };
        let help = |value: &Value| guess(value).map(|near| format!("did you mean \"{near}\"?"));
        self.read_or_help(key, item, format!("one of {expected}"), read, help)
            .unwrap_or_else(|| default.clone())
    }

    pub(super) fn address(&mut self, key: &str, item: &Item, default: SocketAddr) -> SocketAddr {
        let expected = "an IP address and a port, like \"127.0.0.1:7007\" or \"[::]:7007\"";
        self.read_or_help(key, item, expected, parsed, guess_address)
            .unwrap_or(default)
    }

    /// The address of somebody else. It has no default: where nothing was written, that is reported
    /// at `section`.
    pub(super) fn address_of_other(
        &mut self,
        key: &str,
        item: &Item,
        section: Range<usize>,
    ) -> Option<SocketAddr> {
        let expected = "an IP address and a port, like \"127.0.0.1:6379\" or \"[::1]:6379\"";
        if item.is_none() && self.complete {
            self.fault(
                key,
                section,
                format!("is missing, expected {expected}"),
                None,
            );
        }
        self.read(key, item, expected, parsed)
    }

    /// An IP address, or the word for none.
    pub(super) fn ip_or_none(&mut self, key: &str, item: &Item, none: &str) -> Option<IpAddr> {
        let read = |value: &Value| match value {
            Value::Text(text) if text == none => Some(None),
            value => parsed(value).map(Some),
        };
        self.read(
            key,
            item,
            format!("an IP address, or \"{none}\" for the kernel's choice"),
            read,
        )
        .flatten()
    }

    /// A list of whole numbers, none of them twice.
    pub(super) fn distinct(
        &mut self,
        key: &str,
        item: &Item,
        name: &str,
        range: &Whole,
    ) -> Vec<usize> {
        let Some(item) = item else { return Vec::new() };
        let Value::List(items) = item.get_ref() else {
            self.report(key, item, format!("a list, each {range}"), None);
            return Vec::new();
        };
        let mut numbers = Vec::new();
        for item in items {
            match range.read(item.get_ref()) {
                None => self.report(key, item, range, None),
                Some(number) if numbers.contains(&(number as usize)) => {
                    self.fault(
                        key,
                        item.span(),
                        format!("names {name} {number} twice"),
                        None,
                    );
                }
                Some(number) => numbers.push(number as usize),
            }
        }
        numbers
    }

    /// Refuse a combination of values that are each well in themselves.
    ///
    /// It is said at the first of `keys` that was written. Not said where one of them is wrong in
    /// itself, or may be the one that was misspelt: the operator would be sent after a mistake that
    /// is not there.
    pub(super) fn contradiction(&mut self, keys: &[(&str, &Item)], what: String, help: &str) {
        let unsure = |(key, item): &(&str, &Item)| {
            self.failed.iter().any(|failed| failed == key) || (!self.complete && item.is_none())
        };
        if keys.iter().any(unsure) {
            return;
        }
        let (key, span) = keys
            .iter()
            .find_map(|(key, item)| item.as_ref().map(|item| (*key, item.span())))
            .expect("the defaults do not contradict each other, so one of the keys was written");
        self.fault(key, span, what, Some(help.to_owned()));
    }

    fn read<T>(
        &mut self,
        key: &str,
        item: &Item,
        expected: impl fmt::Display,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        self.read_or_help(key, item, expected, read, |_| None)
    }

    /// `None` where nothing was written, and where it was wrong: that is then reported.
    fn read_or_help<T>(
        &mut self,
        key: &str,
        item: &Item,
        expected: impl fmt::Display,
        read: impl Fn(&Value) -> Option<T>,
        help: impl Fn(&Value) -> Option<String>,
    ) -> Option<T> {
        let item = item.as_ref()?;
        let value = read(item.get_ref());
        if value.is_none() {
            self.report(key, item, expected, help(item.get_ref()));
        }
        value
    }

    fn report(
        &mut self,
        key: &str,
        item: &Spanned<Value>,
        expected: impl fmt::Display,
        help: Option<String>,
    ) {
        self.fault(
            key,
            item.span(),
            format!("found {}, expected {expected}", item.get_ref()),
            help,
        );
    }

    fn fault(&mut self, key: &str, span: Range<usize>, what: String, help: Option<String>) {
        self.failed.push(key.to_owned());
        self.faults.push(Fault {
            at: Some(span.start),
            key: key.to_owned(),
            what,
            help,
        });
    }
}

/// What a text stands for, if it does.
fn parsed<T: FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// "7007", ":7007" and "localhost:7007" lack only the address.
fn guess_address(value: &Value) -> Option<String> {
    let port = match value {
        Value::Integer(port) => u16::try_from(*port).ok()?,
        Value::Text(text) => text.rsplit(':').next()?.parse().ok()?,
        _ => return None,
    };
    Some(format!(
        "write \"127.0.0.1:{port}\" for this machine alone, \"0.0.0.0:{port}\" for every interface"
    ))
}
