//! IP addresses, with a port and without.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::kind::{Expect, Kind};
use super::value::Value;

/// An address of this machine to listen on.
pub(super) struct ListenAddress;

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an IP address and a port, like \"127.0.0.1:7007\" or \"[::]:7007\"")
    }
}

impl Expect for ListenAddress {
    /// "7007", ":7007" and "localhost:7007" lack only the address.
    fn help(&self, wrong: &Value) -> Option<String> {
        if let Value::Text(text) = wrong
            && text.starts_with("unix:")
        {
            return Some(format!(
                "a Unix socket wants [[listener]], in a settings file: write listen = \"{text}\" there, \
                 and leave server.listen out"
            ));
        }
        let port = match wrong {
            Value::Integer(port) => u16::try_from(*port).ok()?,
            Value::Text(text) => text.rsplit(':').next()?.parse().ok()?,
            _ => return None,
        };
        let (local, every) = (
            format!("\"127.0.0.1:{port}\" for this machine alone"),
            format!("\"0.0.0.0:{port}\" for every interface"),
        );
        Some(format!("write {local}, {every}"))
    }
}

impl Kind<SocketAddr> for ListenAddress {
    fn read(&self, value: &Value) -> Option<SocketAddr> {
        parsed(value).filter(is_of_one)
    }

    fn write(&self, setting: &SocketAddr) -> Value {
        Value::Text(setting.to_string())
    }
}

/// The address of another server. It has no default.
pub(super) struct UpstreamAddress;

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an IP address and a port, like \"127.0.0.1:6379\" or \"[::1]:6379\"")
    }
}

impl Expect for UpstreamAddress {
    const REQUIRED: bool = true;

    /// A name, where an address is wanted.
    fn help(&self, wrong: &Value) -> Option<String> {
        let Value::Text(text) = wrong else {
            return None;
        };
        let (host, port) = text.rsplit_once(':')?;
        let is_name = host.contains(|c: char| c.is_ascii_alphabetic())
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        (is_name && port.parse::<u16>().is_ok()).then(|| {
            format!("names are not looked up: write an address of it, as `getent hosts {host}` tells, and :{port}")
        })
    }
}

impl Kind<SocketAddr> for UpstreamAddress {
    fn read(&self, value: &Value) -> Option<SocketAddr> {
        parsed(value)
    }

    fn write(&self, setting: &SocketAddr) -> Value {
        Value::Text(setting.to_string())
    }
}

/// An IP address, or this word for the kernel's choice.
pub(super) struct IpOr(pub(super) &'static str);

impl fmt::Display for IpOr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "an IP address, or \"{}\" for the kernel's choice",
            self.0
        )
    }
}

impl Expect for IpOr {}

impl Kind<Option<IpAddr>> for IpOr {
    fn read(&self, value: &Value) -> Option<Option<IpAddr>> {
        match value {
            Value::Text(text) if text == self.0 => Some(None),
            value => parsed(value).map(Some),
        }
    }

    fn write(&self, setting: &Option<IpAddr>) -> Value {
        let word = || self.0.to_owned();
        Value::Text(setting.map_or_else(word, |address| address.to_string()))
    }
}

/// Whether a client can connect to it: to a group's address none can, though the kernel lets a
/// server listen there.
pub(super) fn is_of_one(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// What a text stands for, if it does.
fn parsed<T: FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}
