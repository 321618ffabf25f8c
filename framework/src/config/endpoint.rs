//! Addresses to listen on: of TCP, and files of Unix sockets.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::addresses::{ListenAddress, is_of_one};
use super::kind::{Expect, Kind};
use super::value::Value;

/// What a Unix socket's address begins with.
const UNIX: &str = "unix:";
/// Bytes of a Unix socket's path at most: `sun_path` has one more, for the end (unix(7)).
const PATH_MAX: usize = 107;
const OFF: &str = "off";

/// An address to listen on. Its `Display` is what the settings take: `127.0.0.1:7007`, `[::]:7007`,
/// `unix:/run/echo.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// Of TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket (unix(7)).
    Unix(PathBuf),
}

impl Endpoint {
    /// The address of TCP. What stands for a Unix socket where an IP address is asked for is the
    /// unspecified one, `0.0.0.0:0`.
    pub(crate) fn socket_addr(&self) -> SocketAddr {
        match self {
            Self::Tcp(address) => *address,
            Self::Unix(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether the kernel is to choose the port.
    pub(super) fn takes_any_port(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "{UNIX}{}", path.display()),
        }
    }
}

/// Any address of this machine, or a Unix socket's path.
pub(super) struct ListenEndpoint;

impl fmt::Display for ListenEndpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{ListenAddress}, or \"{UNIX}\" and an absolute path of at most {PATH_MAX} bytes, like \"{UNIX}/run/echo.sock\""
        )
    }
}

impl Expect for ListenEndpoint {
    const REQUIRED: bool = true;

    fn help(&self, wrong: &Value) -> Option<String> {
        let path = match wrong {
            Value::Text(text) => text.strip_prefix(UNIX),
            _ => None,
        };
        match path {
            Some(path) if path.len() > PATH_MAX => Some(format!(
                "the path has {} bytes: choose a directory nearer to /",
                path.len()
            )),
            Some(_) => None,
            None => ListenAddress.help(wrong),
        }
    }
}

impl Kind<Endpoint> for ListenEndpoint {
    fn read(&self, value: &Value) -> Option<Endpoint> {
        let Value::Text(text) = value else {
            return None;
        };
        match text.strip_prefix(UNIX) {
            Some(path) => unix(path),
            None => text.parse().ok().filter(is_of_one).map(Endpoint::Tcp),
        }
    }

    fn write(&self, setting: &Endpoint) -> Value {
        Value::Text(setting.to_string())
    }
}

fn unix(path: &str) -> Option<Endpoint> {
    let fits = path.starts_with('/') && path.len() <= PATH_MAX && !path.contains('\0');
    fits.then(|| Endpoint::Unix(path.into()))
}

/// An [`Endpoint`] that programs of this machine alone can reach, or the word for none.
pub(super) struct EndpointOrOff;

impl fmt::Display for EndpointOrOff {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "a loopback address and a port, like \"127.0.0.1:9007\", \"{UNIX}\" and an absolute path \
             of at most {PATH_MAX} bytes, like \"{UNIX}/run/echo.sock\", or \"{OFF}\""
        )
    }
}

impl Expect for EndpointOrOff {
    fn help(&self, wrong: &Value) -> Option<String> {
        let Value::Text(text) = wrong else {
            return None;
        };
        let address: SocketAddr = text.parse().ok()?;
        let port = address.port();
        Some(format!(
            "what is served here is not for other machines: write \"127.0.0.1:{port}\", and let a proxy \
             with authentication stand before it if they need it"
        ))
    }
}

impl Kind<Option<Endpoint>> for EndpointOrOff {
    fn read(&self, value: &Value) -> Option<Option<Endpoint>> {
        let Value::Text(text) = value else {
            return None;
        };
        if text == OFF {
            return Some(None);
        }
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix(path).map(Some);
        }
        let address: SocketAddr = text.parse().ok()?;
        address
            .ip()
            .is_loopback()
            .then_some(Some(Endpoint::Tcp(address)))
    }

    fn write(&self, setting: &Option<Endpoint>) -> Value {
        let off = || OFF.to_owned();
        Value::Text(setting.as_ref().map_or_else(off, Endpoint::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Option<Endpoint>> {
        EndpointOrOff.read(&Value::Text(text.to_owned()))
    }

    #[test]
    fn only_what_this_machine_alone_can_reach_is_an_endpoint() {
        for text in ["127.0.0.1:9007", "[::1]:0", "unix:/run/echo.sock", "off"] {
            let endpoint = read(text).expect("it fits");
            assert_eq!(EndpointOrOff.write(&endpoint), Value::Text(text.to_owned()));
        }
        let long = format!("unix:/{}", "x".repeat(PATH_MAX));
        for text in [
            "0.0.0.0:9007",
            "192.0.2.1:1",
            "unix:run/echo",
            "unix:",
            "unix:/a\0b",
            "9007",
            &long,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
