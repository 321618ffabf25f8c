//! Where an admin server listens.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// As `admin.listen` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    Tcp(String),
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        match text.strip_prefix("unix:") {
            Some("") => Err("a path is missing behind unix:"),
            Some(path) => Ok(Self::Unix(path.into())),
            None if matches!(port, Some(Ok(_))) => Ok(Self::Tcp(text.to_owned())),
            None => Err("expected unix:/PATH or ADDRESS:PORT"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tcp(address) => formatter.write_str(address),
        }
    }
}

/// Both ways.
pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Endpoint {
    /// A connection to it; `silence_max`: how long a read or a write may wait.
    pub(crate) fn connect(&self, silence_max: Duration) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(silence_max))?;
                stream.set_write_timeout(Some(silence_max))?;
                Ok(Box::new(stream))
            }
            Self::Tcp(address) => {
                let nowhere = || io::Error::other("the name stands for no address");
                let address = address.to_socket_addrs()?.next().ok_or_else(nowhere)?;
                let stream = TcpStream::connect_timeout(&address, silence_max)?;
                stream.set_read_timeout(Some(silence_max))?;
                stream.set_write_timeout(Some(silence_max))?;
                Ok(Box::new(stream))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_in_the_settings() {
        for place in ["unix:/run/a.sock", "127.0.0.1:9007", "[::1]:9007"] {
            let parsed: Result<Endpoint, _> = place.parse();
            assert_eq!(
                parsed.map(|parsed| parsed.to_string()).as_deref(),
                Ok(place)
            );
        }
        for wrong in ["", "unix:", "127.0.0.1", "127.0.0.1:x", "9007"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
