//! The admin server of a server under test, and what it answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::{BOUND, Server, connect};

/// An answer of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status code; 0 if the connection closed without one.
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    /// What stands behind the header, chunks as they came.
    pub body: String,
}

impl Server {
    /// Where its admin server listens, which it says once it does.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        let line = self.wait_for_log("admin listening", BOUND);
        line.field("addr").unwrap().parse().unwrap()
    }

    /// What the admin server answers to a GET.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn admin_get(&self, path: &str) -> Answer {
        ask(self.admin_addr(), &request("GET", path, ""))
    }

    /// The number that a line of `/metrics` has which begins with `name`, labels included.
    ///
    /// # Panics
    /// When there is no such line.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.admin_get("/metrics").body;
        let mut values = page
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values
            .next()
            .unwrap_or_else(|| panic!("no {name} in\n{page}"))
            .parse()
            .unwrap()
    }
}

/// A request that asks for the connection's end; `fields` are header lines, each with its end.
#[must_use]
pub fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
}

/// Sends `request` and gives all that comes until the connection closes.
///
/// # Panics
/// When it cannot connect, or nothing comes for ten seconds.
#[must_use]
pub fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(address).unwrap();
    // It may have heard enough before it has heard all.
    let _refused = stream.write_all(request.as_bytes());
    read(stream)
}

/// What comes on `stream` until it closes.
///
/// # Panics
/// When nothing comes for ten seconds.
#[must_use]
pub fn read(mut stream: TcpStream) -> Answer {
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// The text of a body in chunks that is whole (RFC 9112, 7.1).
///
/// # Panics
/// When it is not.
#[must_use]
pub fn dechunked(body: &str) -> String {
    let (mut rest, mut text) = (body, String::new());
    loop {
        let (length, behind) = rest.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        text.push_str(&behind[..length]);
        rest = behind[length..].strip_prefix("\r\n").unwrap();
        if length == 0 {
            assert_eq!(rest, "");
            return text;
        }
    }
}
