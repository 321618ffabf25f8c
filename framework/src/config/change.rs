//! What differs between the settings in force and others, key by key.

use std::collections::BTreeMap;
use std::fmt;

use super::checked::{Config, is_live};
use super::in_force::{App, InForce};
use super::names::APP;
use super::section_names::{is_listener, is_tls, is_upstream_tls};

/// A key whose value a reload has changed. Its `Display` is `timeouts.idle "5m" -> "10s"`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingChange {
    /// The key with its section, `timeouts.idle` say.
    pub key: String,
    /// The value before, in TOML; none: it had no value.
    pub old: Option<String>,
    /// The value now, likewise.
    pub new: Option<String>,
    /// Whether a running server can make the change.
    pub(crate) is_live: bool,
}

impl fmt::Display for SettingChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        let (old, new) = (told(&self.old), told(&self.new));
        write!(formatter, "{} {old} -> {new}", self.key)
    }
}

/// Every value by its full key: section, key.
type Values = BTreeMap<(String, String), String>;

impl InForce {
    /// What `new` changes, in the order of the keys.
    pub(crate) fn changes_to(&self, new: &Self) -> Vec<SettingChange> {
        let (before, after) = (self.values(), new.values());
        let keys = before
            .keys()
            .chain(after.keys().filter(|key| !before.contains_key(*key)));
        let changes = keys.filter_map(|key| {
            let (old, new) = (before.get(key), after.get(key));
            let (section, name) = key;
            // One that comes or goes is told of once, by its address, and TLS by its certificate or by
            // whom it trusts.
            let is_whole = old.is_none() || new.is_none();
            let is_told = match is_whole {
                true if is_listener(section) => name == "listen",
                true if is_tls(section) => name == "certificate",
                true if is_upstream_tls(section) => name == "ca",
                _ => true,
            };
            (old != new && is_told).then(|| SettingChange {
                key: format!("{section}.{name}"),
                is_live: old.is_some() && new.is_some() && is_live(section, name)
                    || section == APP && self.app.live.contains(&name.as_str()),
                old: old.cloned(),
                new: new.cloned(),
            })
        });
        let mut changes: Vec<SettingChange> = changes.collect();
        changes.sort_by(|one, other| one.key.cmp(&other.key));
        changes
    }

    fn values(&self) -> Values {
        let mut values = of_config(&self.config);
        values.extend(of_app(&self.app));
        values
    }
}

fn of_config(config: &Config) -> Values {
    let sections = config.write().into_iter();
    let keys = sections.flat_map(|(section, keys)| {
        let keys = keys.into_iter();
        keys.map(move |(key, value)| ((section.clone(), key.to_owned()), value.to_toml()))
    });
    keys.collect()
}

fn of_app(app: &App) -> Values {
    let keys = app.written.iter();
    let told = |key: &str, value: &toml::Value| match file_mark(app, key) {
        Some(mark) => format!("{value} ({mark})"),
        None => value.to_string(),
    };
    keys.map(|(key, value)| ((APP.to_owned(), key.clone()), told(key, value)))
        .collect()
}

/// What marks the file that the key names.
fn file_mark<'a>(app: &'a App, key: &str) -> Option<&'a str> {
    let mut marks = app.file_marks.iter();
    let (_, mark) = marks.find(|(name, _)| *name == key)?;
    Some(mark)
}
