//! Reads the values that were written, and keeps what is wrong with them.

use std::ops::Range;

use super::kind::Kind;
use super::problem::Fault;
use super::raw::Raw;

/// Reads the values of [`Raw`].
///
/// A wrong value is reported and read as its default, so that the check goes on to the next.
pub(super) struct Checker<'a> {
    raw: &'a Raw,
    faults: &'a mut Vec<Fault>,
    /// Every line could be read and every key was known: a key that is not there was not meant to
    /// be.
    complete: bool,
    /// Keys whose value was wrong.
    failed: Vec<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(raw: &'a Raw, faults: &'a mut Vec<Fault>) -> Self {
        let complete = faults.is_empty();
        Self {
            raw,
            faults,
            complete,
            failed: Vec::new(),
        }
    }

    /// The setting `key` of `section`.
    pub(super) fn value<T, K: Kind<T>>(
        &mut self,
        section: &str,
        key: &str,
        kind: &K,
        default: T,
    ) -> T {
        let key = format!("{section}.{key}");
        let raw = self.raw;
        let Some(item) = raw.item(&key) else {
            if K::REQUIRED && self.complete {
                let what = format!("is missing, expected {kind}");
                self.fault(&key, raw.section(section), what, None);
            }
            return default;
        };
        if let Some(setting) = kind.read(item.get_ref()) {
            return setting;
        }
        for mistake in kind.mistakes(item) {
            self.fault(&key, mistake.at, mistake.what, mistake.help);
        }
        default
    }

    /// Refuse a combination of values that are each well in themselves.
    ///
    /// It is said at the first of `keys` that was written. Not said where one of them is wrong in
    /// itself, or may be the one that was misspelt: the operator would be sent after a mistake that
    /// is not there.
    pub(super) fn contradiction(&mut self, keys: &[&str], what: String, help: &str) {
        let raw = self.raw;
        let unsure = |key: &&str| {
            let failed = self.failed.iter().any(|failed| failed == key);
            failed || (!self.complete && raw.item(key).is_none())
        };
        if keys.iter().any(unsure) {
            return;
        }
        let (key, item) = keys
            .iter()
            .find_map(|key| Some((*key, raw.item(key)?)))
            .expect("the defaults do not contradict each other, so one of the keys was written");
        self.fault(key, item.span(), what, Some(help.to_owned()));
    }

    /// Refuses a key that means nothing here, if it was written.
    pub(super) fn refuse_written(&mut self, key: &str, what: &str, help: &str) {
        let raw = self.raw;
        if let Some(item) = raw.item(key) {
            self.fault(key, item.span(), what.to_owned(), Some(help.to_owned()));
        }
    }

    /// Refuses a whole section.
    pub(super) fn refuse_section(&mut self, section: &str, what: String, help: &str) {
        let at = self.raw.section(section);
        self.fault(section, at, what, Some(help.to_owned()));
    }

    fn fault(&mut self, key: &str, at: Range<usize>, what: String, help: Option<String>) {
        self.failed.push(key.to_owned());
        self.faults.push(Fault {
            at: Some(at.start),
            key: key.to_owned(),
            what,
            help,
        });
    }
}
