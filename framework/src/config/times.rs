//! Durations in a range.

use std::fmt;
use std::time::Duration;

use super::duration;
use super::kind::{Expect, Kind};
use super::value::Value;

/// A duration in a range. As an `Option`, the word for none is `None`.
#[derive(Clone, Copy)]
pub(super) struct Times {
    min: Duration,
    max: Duration,
    whole_seconds: bool,
    /// The word for "none", where there may be none.
    none: Option<&'static str>,
}

impl Times {
    pub(super) const fn from(min: Duration, max: Duration) -> Self {
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
}

impl Times {
    /// Type and range, and the word for none, with `examples` between them.
    fn describe(&self, examples: &str) -> String {
        let whole = if self.whole_seconds {
            " of whole seconds"
        } else {
            ""
        };
        let (min, max) = (duration::format(self.min), duration::format(self.max));
        let none = self.none.map(|none| format!(", or \"{none}\" for none"));
        let none = none.unwrap_or_default();
        format!("a duration{whole} from {min} to {max}{examples}{none}")
    }
}

impl fmt::Display for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.describe(", like \"30s\" or \"5m\""))
    }
}

impl Expect for Times {
    fn range(&self) -> String {
        self.describe("")
    }

    fn help(&self, wrong: &Value) -> Option<String> {
        let meant = match wrong {
            Value::Text(text) => duration::guess(text),
            Value::Integer(number) => Some(format!("{number}s")),
            Value::Boolean(false) => self.none.map(str::to_owned),
            _ => None,
        };
        let fits = |text: &String| {
            let read: Option<Option<Duration>> = self.read(&Value::Text(text.clone()));
            read.is_some()
        };
        let meant = meant.filter(fits)?;
        Some(format!("write \"{meant}\""))
    }
}

impl Kind<Option<Duration>> for Times {
    fn read(&self, value: &Value) -> Option<Option<Duration>> {
        let Value::Text(text) = value else {
            return None;
        };
        if self.none == Some(text) {
            return Some(None);
        }
        let time = duration::parse(text)?;
        let is_whole = !self.whole_seconds || time.subsec_nanos() == 0;
        (is_whole && (self.min..=self.max).contains(&time)).then_some(Some(time))
    }

    fn write(&self, setting: &Option<Duration>) -> Value {
        let none = || self.none.unwrap_or("off").to_owned();
        Value::Text(setting.map_or_else(none, duration::format))
    }
}

/// For a setting that is never none, of a range without a word for it.
impl Kind<Duration> for Times {
    fn read(&self, value: &Value) -> Option<Duration> {
        let time: Option<Duration> = self.read(value)?;
        time
    }

    fn write(&self, setting: &Duration) -> Value {
        Value::Text(duration::format(*setting))
    }
}
