//! Names of servers, as certificates have them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::kind::{Expect, Kind};
use super::value::Value;

/// Bytes of a name, and of one label of it, at most (RFC 1035, 2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// A DNS name or an IP address, or this word for neither.
pub(super) struct ServerNameOr(pub(super) &'static str);

impl fmt::Display for ServerNameOr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a DNS name, an IP address, or \"{}\"", self.0)
    }
}

impl Expect for ServerNameOr {
    fn help(&self, wrong: &Value) -> Option<String> {
        let Value::Text(text) = wrong else {
            return None;
        };
        let host = match text.parse() {
            Ok(SocketAddr::V4(address)) => address.ip().to_string(),
            Ok(SocketAddr::V6(address)) => address.ip().to_string(),
            Err(_) => text.rsplit_once(':')?.0.to_owned(),
        };
        is_server_name(&host).then(|| format!("write \"{host}\", without the port"))
    }
}

impl Kind<Option<String>> for ServerNameOr {
    fn read(&self, value: &Value) -> Option<Option<String>> {
        match value {
            Value::Text(text) if text == self.0 => Some(None),
            Value::Text(text) if is_server_name(text) => Some(Some(text.clone())),
            _ => None,
        }
    }

    fn write(&self, setting: &Option<String>) -> Value {
        Value::Text(setting.clone().unwrap_or_else(|| self.0.to_owned()))
    }
}

/// Whether it is an address, or a name as certificates have them: letters, digits, `-` and `_`, in
/// labels of which the last is no number (RFC 1123, 2.1).
fn is_server_name(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= NAME_MAX && text.split('.').all(is_label) && !is_number(last)
}

/// Of digits, or hexadecimal.
fn is_number(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        None => label.bytes().all(|digit| digit.is_ascii_digit()),
    }
}

fn is_label(label: &str) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(is_of_names)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: ServerNameOr = ServerNameOr("auto");

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn names_and_addresses_are_read_and_written_back() {
        let long = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "x".repeat(61));
        for fits in [
            "redis.example.org",
            "localhost",
            "a_b-c.test",
            "10.0.0.1",
            "::1",
            "1.test",
            &long,
        ] {
            let read = NAME.read(&text(fits)).expect(fits);
            assert_eq!(read.as_deref(), Some(fits));
            assert_eq!(NAME.write(&read), text(fits));
        }
        assert_eq!(NAME.read(&text("auto")), Some(None));
        assert_eq!(NAME.write(&None), text("auto"));
        let longer = format!("{long}x");
        for wrong in [
            "", ".", "a.", "a..b", "-a", "a-", "a b", "*.a.test", "ä.test", "1.2.3", "1.0x7",
            "a:1", &longer,
        ] {
            assert_eq!(NAME.read(&text(wrong)), None, "{wrong}");
        }
        assert_eq!(NAME.read(&Value::Integer(1)), None);
    }

    /// What is taken here is taken where connections are made.
    #[cfg(feature = "tls")]
    #[test]
    fn rustls_takes_each_of_them() {
        use rustls::pki_types::ServerName;
        for name in [
            "a",
            "a_b-c.test",
            "0x.a",
            "x0x1",
            "0a",
            "a.0g",
            "::1",
            "1.0x",
            "0x1",
            "1",
        ] {
            let taken = ServerName::try_from(name).is_ok();
            assert!(taken || NAME.read(&text(name)).is_none(), "{name}");
        }
    }

    #[test]
    fn a_port_is_no_part_of_it() {
        for (wrong, host) in [
            ("redis.test:6379", "redis.test"),
            ("10.0.0.1:6379", "10.0.0.1"),
            ("[::1]:6379", "::1"),
        ] {
            let help = NAME.help(&text(wrong)).expect("it is clear");
            assert_eq!(help, format!("write \"{host}\", without the port"));
        }
        assert_eq!(NAME.help(&text("a b:1")), None);
    }
}
