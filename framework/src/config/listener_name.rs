//! What a `[[listener]]` is called: the operator's name for it, or its number.

use std::fmt;

use toml::de::{DeTable as Table, DeValue};

use super::kind::{Expect, Kind};
use super::section_names::TLS;
use super::value::Value;

/// The name of the one listener where there is no `[[listener]]`.
pub(crate) const ONLY: &str = "1";
/// Longest name, in characters.
const NAME_MAX: usize = 32;
/// What the admin server's descriptors are called (`FileDescriptorName=`), and the table of TLS: a
/// listener of that name would be taken for it.
const RESERVED: [&str; 3] = ["admin", "steer", TLS];

/// A name that needs no quotes in TOML, and none in a log or as a label.
pub(super) struct ListenerName;

impl fmt::Display for ListenerName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other, third] = RESERVED;
        write!(
            out,
            "a name of 1 to {NAME_MAX} letters, digits, - and _, other than \"{one}\", \"{other}\" and \"{third}\""
        )
    }
}

impl Expect for ListenerName {}

impl Kind<String> for ListenerName {
    fn read(&self, value: &Value) -> Option<String> {
        match value {
            Value::Text(text) if is_name(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn write(&self, setting: &String) -> Value {
        Value::Text(setting.clone())
    }
}

/// What the table is called that is the `number`th, counted from 1. One whose name is none goes by
/// its number.
pub(super) fn name_of(table: &Table<'_>, number: usize) -> String {
    let written = table.get("name").map(|name| name.get_ref());
    match written {
        Some(DeValue::String(name)) if is_name(name) => name.to_string(),
        _ => number.to_string(),
    }
}

fn is_name(name: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let fits = (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain);
    fits && !RESERVED.contains(&name)
}
