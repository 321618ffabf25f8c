//! Settings as they were written: every key by its full name, each with the place where it stood.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable as Table, DeValue};

use super::deserialise::deserialise;
use super::problem::Fault;
use super::value::Value;

/// The section that holds sections with names of the operator's choice.
pub(super) const NAMED: &str = "upstream";

/// The framework's own settings as they were written.
pub(super) struct Raw {
    /// By "section.key", and "upstream.NAME.key".
    items: BTreeMap<String, Spanned<Value>>,
    /// The sections with names of the operator's choice, and where each stood.
    named: BTreeMap<String, Range<usize>>,
}

impl Raw {
    /// What stands in `written`, which has only known sections and keys.
    pub(super) fn of(written: Table<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut raw = Self {
            items: BTreeMap::new(),
            named: BTreeMap::new(),
        };
        for (section, value) in written {
            let DeValue::Table(table) = value.into_inner() else {
                continue; // struck out as no section
            };
            match section.get_ref().as_ref() {
                NAMED => raw.add_named(table, faults),
                section => raw.add(section, table, faults),
            }
        }
        raw
    }

    /// The value of a key, if it was written.
    pub(super) fn item(&self, key: &str) -> Option<&Spanned<Value>> {
        self.items.get(key)
    }

    /// The names that the operator has given to sections.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Where the section `upstream.NAME` stood.
    pub(super) fn section(&self, section: &str) -> Range<usize> {
        let name = section.split_once('.').map_or(section, |(_, name)| name);
        self.named.get(name).cloned().unwrap_or_default()
    }

    fn add_named(&mut self, sections: Table<'_>, faults: &mut Vec<Fault>) {
        for (name, value) in sections {
            let (name, span) = (name.into_inner(), value.span());
            if let DeValue::Table(table) = value.into_inner() {
                self.add(&format!("{NAMED}.{name}"), table, faults);
                self.named.insert(name.into_owned(), span);
            }
        }
    }

    fn add(&mut self, section: &str, table: Table<'_>, faults: &mut Vec<Fault>) {
        let items: BTreeMap<String, Spanned<Value>> = deserialise(table, section, faults);
        let named = items
            .into_iter()
            .map(|(key, item)| (format!("{section}.{key}"), item));
        self.items.extend(named);
    }
}
