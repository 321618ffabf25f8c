//! A settings file to start from: the keys that people set, each explained.

use std::fmt::Write as _;

use super::checked::Config;
use super::entry::{Entry, Section};
use super::explained::{sections, sentence, wrap};
use super::section_names::{TLS_SECTION, tls_section};
use super::settings::AppSettings;

/// Longest line, in characters.
const WIDTH: usize = 100;

/// The file of the application `S`. Every value is the default, so it changes nothing.
pub(crate) fn example<S: AppSettings>() -> String {
    let mut file = header(S::NAME);
    for section in sections::<S>() {
        file.push_str(&match section.name {
            TLS_SECTION => absent(&section, TLS_SECTION, &section.about.join(" ")),
            _ => shown(&section),
        });
    }
    for (name, about) in S::UPSTREAMS {
        let (named, tls) = (Config::named_section(), Config::upstream_tls_section());
        let section = format!("upstream.{name}");
        file.push_str(&absent(&named, &section, about));
        file.push_str(&absent(&tls, &tls_section(&section), &tls.about.join(" ")));
    }
    file
}

fn header(name: &str) -> String {
    let mut header = comment(&format!(
        "Settings of {name}: the keys that people set, each with its default. So this file changes nothing. \
        `{name} --print-reference` explains every key, `{name} --print-config` prints the values in use, \
        `--check` says what is wrong with a file. A duration is a whole number and a unit: \
        \"250ms\", \"30s\", \"5m\", \"2h\", \"1d\"."
    ));
    let _ = writeln!(
        header,
        "#\n#   {name} CONFIG.toml --set server.shards=2 --set 'timeouts.idle=\"off\"'"
    );
    header
}

/// The shipped keys of a section, if it has any.
fn shown(section: &Section) -> String {
    let shipped = section.entries.iter().filter(|entry| entry.shipped);
    let keys: Vec<String> = shipped.map(key).collect();
    if keys.is_empty() {
        return String::new();
    }
    format!("\n[{}]\n{}", section.name, keys.concat())
}

fn key(entry: &Entry) -> String {
    format!("{}{}", explanation(entry), setting(entry))
}

fn explanation(entry: &Entry) -> String {
    let about = comment(&entry.about.join(" "));
    match entry.expected.as_str() {
        "" => about,
        expected => about + &comment(&sentence(expected)),
    }
}

fn setting(entry: &Entry) -> String {
    let Entry { key, default, .. } = entry;
    match default.as_str() {
        "" => format!("# {key} is not set.\n"),
        default => format!("{key} = {default}\n"),
    }
}

/// A section that is not there by default, as a comment.
fn absent(section: &Section, name: &str, about: &str) -> String {
    let mut text = format!("\n{}# [{name}]\n", comment(about));
    for entry in section.entries.iter().filter(|entry| entry.shipped) {
        let _ = write!(text, "{}# {}", explanation(entry), setting(entry));
    }
    text
}

/// Text as lines of a comment, without the marks of code.
fn comment(text: &str) -> String {
    let lines = wrap(&text.replace('`', ""), WIDTH - "# ".len());
    lines.iter().map(|line| format!("# {line}\n")).collect()
}
