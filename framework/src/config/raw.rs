//! Settings as they were written: every key by its full name, each with the place where it stood.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable as Table, DeValue};

use super::deserialise::deserialise;
use super::listener_name::name_of;
use super::problem::Fault;
use super::section_names::{LISTENER, NAMED, TLS, tls_section};
use super::value::Value;

/// The framework's own settings as they were written.
pub(super) struct Raw {
    /// By "section.key", "upstream.NAME.key", "listener.NAME.key", "listener.tls.key",
    /// "listener.NAME.tls.key" and "upstream.NAME.tls.key".
    items: BTreeMap<String, Spanned<Value>>,
    /// The sections with names of the operator's choice, and where each stood.
    named: BTreeMap<String, Range<usize>>,
    /// Each `[[listener]]`, in their order.
    listeners: Vec<RawListener>,
    /// The sections of TLS, and where each stood.
    tls: BTreeMap<String, Range<usize>>,
}

/// One `[[listener]]`.
struct RawListener {
    name: String,
    /// "listener.NAME".
    section: String,
    place: Range<usize>,
}

impl Raw {
    /// What stands in `written`, which has only known sections and keys.
    pub(super) fn of(written: Table<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut raw = Self {
            items: BTreeMap::new(),
            named: BTreeMap::new(),
            listeners: Vec::new(),
            tls: BTreeMap::new(),
        };
        for (section, value) in written {
            match (section.get_ref().as_ref(), value.into_inner()) {
                (NAMED, DeValue::Table(table)) => raw.add_named(table, faults),
                (LISTENER, DeValue::Table(table)) => raw.add_with_tls(LISTENER, table, faults),
                (section, DeValue::Table(table)) => raw.add(section, table, faults),
                (LISTENER, DeValue::Array(tables)) => {
                    for (number, table) in (1..).zip(tables) {
                        raw.add_listener(number, table, faults);
                    }
                }
                _ => {} // struck out as no section
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

    /// Each `[[listener]]`: its name, and "listener.NAME".
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&str, &str)> {
        let listeners = self.listeners.iter();
        listeners.map(|listener| (listener.name.as_str(), listener.section.as_str()))
    }

    /// Whether the table of TLS was written that is the section `section`.
    pub(super) fn has_tls(&self, section: &str) -> bool {
        self.tls.contains_key(section)
    }

    /// Where the section `upstream.NAME` or `listener.NAME` stood, or one of TLS.
    pub(super) fn section(&self, section: &str) -> Range<usize> {
        if let Some(place) = self.tls.get(section) {
            return place.clone();
        }
        let mut listeners = self.listeners.iter();
        if let Some(listener) = listeners.find(|listener| listener.section == section) {
            return listener.place.clone();
        }
        let name = section.split_once('.').map_or(section, |(_, name)| name);
        self.named.get(name).cloned().unwrap_or_default()
    }

    fn add_named(&mut self, sections: Table<'_>, faults: &mut Vec<Fault>) {
        for (name, value) in sections {
            let (name, span) = (name.into_inner(), value.span());
            if let DeValue::Table(table) = value.into_inner() {
                self.add_with_tls(&format!("{NAMED}.{name}"), table, faults);
                self.named.insert(name.into_owned(), span);
            }
        }
    }

    /// Of two of one name the second goes by another, under which it is checked all the same.
    fn add_listener(
        &mut self,
        number: usize,
        table: Spanned<DeValue<'_>>,
        faults: &mut Vec<Fault>,
    ) {
        let place = table.span();
        let DeValue::Table(table) = table.into_inner() else {
            return; // struck out
        };
        let mut name = name_of(&table, number);
        if self.listeners.iter().any(|other| other.name == name) {
            let at = table
                .get("name")
                .map_or(place.start, |name| name.span().start);
            faults.push(Fault {
                at: Some(at),
                key: format!("{LISTENER}.{name}.name"),
                what: "another listener is called that, too".to_owned(),
                help: Some("give each a name of its own".to_owned()),
            });
            name = format!("{name} ({number})");
        }
        let section = format!("{LISTENER}.{name}");
        self.add_with_tls(&section, table, faults);
        self.listeners.push(RawListener {
            name,
            section,
            place,
        });
    }

    /// A section of a listener or an upstream with its table of TLS, if it has one.
    fn add_with_tls(&mut self, section: &str, mut table: Table<'_>, faults: &mut Vec<Fault>) {
        let tls = table.remove(TLS);
        self.add(section, table, faults);
        let Some(tls) = tls else {
            return;
        };
        let (section, place) = (tls_section(section), tls.span());
        if let DeValue::Table(keys) = tls.into_inner() {
            self.add(&section, keys, faults);
            self.tls.insert(section, place);
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
