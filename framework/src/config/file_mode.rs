//! The permissions of a file, as chmod(1) has them.

use std::fmt;

use super::kind::{Expect, Kind};
use super::value::Value;

/// Read, write and execute, for user, group and others.
const MODE_MAX: u32 = 0o777;

/// Octal digits in a text: a TOML number without quotes would be decimal.
pub(super) struct FileMode;

impl fmt::Display for FileMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("permissions in octal digits, like \"0600\" or \"0660\"")
    }
}

impl Expect for FileMode {
    fn help(&self, wrong: &Value) -> Option<String> {
        match wrong {
            Value::Integer(digits @ 0..=777) => Some(format!("write \"{digits:04}\"")),
            _ => None,
        }
    }
}

impl Kind<u32> for FileMode {
    fn read(&self, value: &Value) -> Option<u32> {
        let Value::Text(text) = value else {
            return None;
        };
        let is_octal =
            (3..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok()?;
        (is_octal && mode <= MODE_MAX).then_some(mode)
    }

    fn write(&self, setting: &u32) -> Value {
        Value::Text(format!("{setting:04o}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal_digits_in_quotes() {
        let read = |text: &str| FileMode.read(&Value::Text(text.to_owned()));
        assert_eq!((read("0600"), read("660")), (Some(0o600), Some(0o660)));
        assert_eq!(FileMode.write(&0o70), Value::Text("0070".to_owned()));
        for wrong in ["", "06", "0o600", "+600", "0800", "1777", "00600", "rw-"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(FileMode.read(&Value::Integer(600)), None);
    }
}
