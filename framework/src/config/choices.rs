//! True or false, one of a few words, any text.

use std::fmt;

use super::kind::{Expect, Kind};
use super::nearest::nearest;
use super::value::Value;

/// True or false.
pub(super) struct Flag;

impl fmt::Display for Flag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("true or false")
    }
}

impl Expect for Flag {}

impl Kind<bool> for Flag {
    fn read(&self, value: &Value) -> Option<bool> {
        match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    fn write(&self, setting: &bool) -> Value {
        Value::Boolean(*setting)
    }
}

/// True, false, or this word for neither.
pub(super) struct FlagOr(pub(super) &'static str);

impl fmt::Display for FlagOr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "true, false or \"{}\"", self.0)
    }
}

impl Expect for FlagOr {
    fn help(&self, wrong: &Value) -> Option<String> {
        match wrong {
            Value::Text(text) if matches!(&**text, "true" | "false") => {
                Some(format!("write {text} without quotes"))
            }
            _ => None,
        }
    }
}

impl Kind<Option<bool>> for FlagOr {
    fn read(&self, value: &Value) -> Option<Option<bool>> {
        match value {
            Value::Boolean(value) => Some(Some(*value)),
            Value::Text(text) if text == self.0 => Some(None),
            _ => None,
        }
    }

    fn write(&self, setting: &Option<bool>) -> Value {
        setting.map_or_else(|| Value::Text(self.0.to_owned()), Value::Boolean)
    }
}

/// One of a few words, each with what it stands for.
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T> Words<T> {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(word, _)| *word)
    }

    /// Whether it is one of them.
    pub(super) fn knows(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if self.names().any(|name| name == text))
    }
}

impl<T> fmt::Display for Words<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names().map(|name| format!("\"{name}\"")).collect();
        write!(out, "one of {}", names.join(", "))
    }
}

impl<T> Expect for Words<T> {
    fn help(&self, wrong: &Value) -> Option<String> {
        let Value::Text(text) = wrong else {
            let bare = wrong.to_toml();
            let is_word = self.names().any(|name| name == bare);
            return is_word.then(|| format!("write \"{bare}\""));
        };
        let near = nearest(&text.to_ascii_lowercase(), self.names())?;
        Some(format!("did you mean \"{near}\"?"))
    }
}

impl<T: Clone + PartialEq> Kind<T> for Words<T> {
    fn read(&self, value: &Value) -> Option<T> {
        let Value::Text(text) = value else {
            return None;
        };
        let (_, meaning) = self.0.iter().find(|(word, _)| word == text)?;
        Some(meaning.clone())
    }

    fn write(&self, setting: &T) -> Value {
        let word = self.0.iter().find(|(_, meaning)| meaning == setting);
        let (word, _) = word.expect("there is a word for each setting");
        Value::Text((*word).to_owned())
    }
}

/// Any text of so many bytes.
pub(super) struct Text {
    pub(super) bytes_max: usize,
}

impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a text of at most {} bytes", self.bytes_max)
    }
}

impl Expect for Text {}

impl Kind<String> for Text {
    fn read(&self, value: &Value) -> Option<String> {
        match value {
            Value::Text(text) if text.len() <= self.bytes_max => Some(text.clone()),
            _ => None,
        }
    }

    fn write(&self, setting: &String) -> Value {
        Value::Text(setting.clone())
    }
}
