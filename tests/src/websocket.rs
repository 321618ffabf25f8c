//! A client of WebSocket that says exactly what it is told to, and reads strictly (RFC 6455).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::server::Server;

/// The key of RFC 6455, 1.3, and what it is answered with.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What comes from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A frame: its first byte, and what it carries.
    Frame(u8, Vec<u8>),
    /// The connection was closed politely, between two frames.
    Eof,
    /// The connection was reset.
    Reset,
    /// Nothing comes.
    Silence,
}

/// A connection whose handshake is over.
#[derive(Debug)]
pub struct Socket {
    /// To send anything, or to end it.
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// The handshake's request for `path`, with these fields besides.
#[must_use]
pub fn request(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

/// A frame, masked: its first byte, and what it carries.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0xfe);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    let masked = payload.iter().enumerate();
    frame.extend(masked.map(|(place, byte)| byte ^ key[place % 4]));
    frame
}

/// A close frame, masked.
#[must_use]
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

impl Socket {
    /// Asks `server` for a WebSocket at `path`.
    ///
    /// # Panics
    /// When it does not agree.
    #[must_use]
    pub fn open(server: &Server, path: &str) -> Self {
        Self::open_with(server, path, "").0
    }

    /// The same with these fields, each with its end. Gives the answer's head, too.
    ///
    /// # Panics
    /// When the server does not agree.
    #[must_use]
    pub fn open_with(server: &Server, path: &str, fields: &str) -> (Self, String) {
        let stream = crate::connect(server.addr()).unwrap();
        (&stream)
            .write_all(request(path, fields).as_bytes())
            .unwrap();
        let mut socket = Self {
            stream,
            unread: Vec::new(),
        };
        let end = loop {
            let mut windows = socket.unread.windows(4);
            if let Some(end) = windows.position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert_eq!(socket.more(), None);
        };
        let head = String::from_utf8(socket.unread.drain(..end).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.contains(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n")),
            "{head}"
        );
        (socket, head)
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When they cannot be sent.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next that comes.
    ///
    /// # Panics
    /// When it is no frame of a server, or one that is longer than it has to be.
    pub fn came(&mut self) -> Came {
        loop {
            if let Some(frame) = self.take() {
                return frame;
            }
            if let Some(end) = self.more() {
                return end;
            }
        }
    }

    /// What comes until the end, which is the last.
    ///
    /// # Panics
    /// As [`Self::came`].
    pub fn all(&mut self) -> Vec<Came> {
        let mut all = Vec::new();
        loop {
            all.push(self.came());
            if !matches!(all.last(), Some(Came::Frame(..))) {
                return all;
            }
        }
    }

    /// Expects a frame.
    ///
    /// # Panics
    /// When something else comes.
    pub fn expect(&mut self, first: u8, payload: &[u8]) {
        match self.came() {
            Came::Frame(found, bytes) if (found, &*bytes) == (first, payload) => {}
            Came::Frame(found, bytes) => {
                let length = bytes.len();
                panic!(
                    "{found:x}, {length} bytes: {}",
                    bytes[..length.min(200)].escape_ascii()
                );
            }
            other => panic!("{other:?}"),
        }
    }

    /// Expects to be told this code, and then a polite end. Gives the words.
    ///
    /// # Panics
    /// When something else comes.
    pub fn expect_close(&mut self, code: u16) -> String {
        match self.came() {
            Came::Frame(0x88, bytes) if bytes.starts_with(&code.to_be_bytes()) => {
                assert_eq!(self.came(), Came::Eof);
                String::from_utf8(bytes[2..].to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self) -> Option<Came> {
        let [first, short, rest @ ..] = &*self.unread else {
            return None;
        };
        let (length, rest) = match (short, rest) {
            (0..126, rest) => (usize::from(*short), rest),
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, rest) => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (usize::try_from(u64::from_be_bytes(*length)).unwrap(), rest)
            }
            (126, _) => return None,
            _ => panic!("a server's frame is masked"),
        };
        assert!(*short != 126 || length > 125);
        assert!(*short != 127 || length > 0xffff);
        let payload = rest.get(..length)?.to_vec();
        let (first, size) = (*first, self.unread.len() - rest.len() + length);
        self.unread.drain(..size);
        Some(Came::Frame(first, payload))
    }

    fn more(&mut self) -> Option<Came> {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => {
                assert!(self.unread.is_empty(), "an end within a frame");
                Some(Came::Eof)
            }
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                None
            }
            // A read with a timeout is interrupted where the machine was stopped (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => Some(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Came::Silence,
                ErrorKind::ConnectionReset => Came::Reset,
                _ => panic!("{error}"),
            }),
        }
    }
}
