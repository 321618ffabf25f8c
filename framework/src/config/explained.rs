//! Every section of an application's settings with what is to be said of its keys: the source of
//! the example and of the reference.

use super::checked::Config;
use super::entry::{Entry, Section};
use super::names::APP;
use super::probe::known_keys;
use super::section_names::LISTENER;
use super::settings::AppSettings;

/// The framework's sections, with the defaults of the application `S`, and `[app]` if it has keys.
pub(super) fn sections<S: AppSettings>() -> Vec<Section> {
    let mut sections = Config::sections();
    let mut entries = sections.iter_mut().flat_map(|section| &mut section.entries);
    if let Some(listen) = entries.find(|entry| entry.key == "listen") {
        listen.default = toml::Value::from(S::LISTEN).to_string();
    }
    let behind = sections.iter().position(|section| section.name == LISTENER);
    sections.insert(behind.map_or(0, |place| place + 1), Config::tls_section());
    sections.extend(app::<S>());
    sections
}

/// The section `[app]`.
fn app<S: AppSettings>() -> Option<Section> {
    let defaults = toml::Table::try_from(S::default()).ok()?;
    let explained = S::explain();
    let entry = |key: &&'static str| {
        let own = explained.iter().find(|(name, ..)| name == key);
        let (about, expected) = own.map(|(_, about, expected)| (about, expected)).unzip();
        Entry {
            key,
            about: about.cloned().into_iter().collect(),
            expected: expected.cloned().unwrap_or_default(),
            default: defaults
                .get(*key)
                .map(toml::Value::to_string)
                .unwrap_or_default(),
            required: false,
            shipped: true,
            live: S::LIVE.contains(key),
        }
    };
    let entries: Vec<Entry> = known_keys::<S>()?.iter().map(entry).collect();
    (!entries.is_empty()).then(|| Section {
        name: APP,
        about: vec![format!("The settings of {} itself.", S::NAME)],
        entries,
    })
}

/// Words broken into lines of at most `width` characters, where a word fits into one.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What is expected of a value, as a sentence.
pub(super) fn sentence(expected: &str) -> String {
    let mut letters = expected.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_long_as_they_may_be() {
        assert_eq!(wrap("a bc  def\ng", 4), ["a bc", "def", "g"]);
        assert_eq!(wrap("abcdef g", 3), ["abcdef", "g"]);
        assert!(wrap(" ", 3).is_empty());
    }
}
