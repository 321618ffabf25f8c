//! A reader of server-sent events (WHATWG HTML, 9.2), strict in what it takes for chunks of HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::server::Server;

/// One event, as its reader is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: u64,
    /// `message`, unless it says otherwise.
    pub name: String,
    /// Its lines.
    pub data: String,
}

/// How a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfEvents {
    /// With the last chunk, and then politely.
    Whole,
    /// The connection was closed or reset in its midst.
    Cut,
}

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    /// The connection.
    pub stream: TcpStream,
    /// What the answer's head is.
    pub head: String,
    unread: Vec<u8>,
    /// Content that has come, up to the end of an event.
    text: String,
    /// The number that was told last, of an event or without one.
    pub last_id: Option<u64>,
    /// Comments that have come.
    pub comments: u32,
}

impl Events {
    /// Asks `server` for those of `path`, with these fields besides, each with its end.
    ///
    /// # Panics
    /// When it does not answer with 200.
    #[must_use]
    pub fn open(server: &Server, path: &str, fields: &str) -> Self {
        let stream = crate::connect(server.addr()).unwrap();
        Self::on(stream, path, fields)
    }

    /// The same on a connection.
    ///
    /// # Panics
    /// As [`Self::open`].
    #[must_use]
    pub fn on(mut stream: TcpStream, path: &str, fields: &str) -> Self {
        let asks =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n{fields}\r\n");
        stream.write_all(asks.as_bytes()).unwrap();
        let mut events = Self {
            stream,
            head: String::new(),
            unread: Vec::new(),
            text: String::new(),
            last_id: None,
            comments: 0,
        };
        let end = loop {
            if let Some(end) = events.find(b"\r\n\r\n") {
                break end;
            }
            assert!(events.more(), "no head");
        };
        let head: Vec<u8> = events.unread.drain(..end + 4).collect();
        events.head = String::from_utf8(head).unwrap();
        assert!(events.head.starts_with("HTTP/1.1 200 "), "{}", events.head);
        events
    }

    /// Waits until the server has said that events come now.
    ///
    /// # Panics
    /// When it does not.
    pub fn begin(&mut self) {
        while self.last_id.is_none() {
            assert_eq!(self.block(), Ok(None), "an event before the opening");
        }
    }

    /// The next event.
    ///
    /// # Errors
    /// How the stream has ended instead.
    ///
    /// # Panics
    /// When nothing comes, or what comes is none.
    pub fn event(&mut self) -> Result<Event, EndOfEvents> {
        loop {
            if let Some(event) = self.block()? {
                return Ok(event);
            }
        }
    }

    /// What stands before the next empty line: an event, or none.
    ///
    /// # Errors
    /// As [`Self::event`].
    ///
    /// # Panics
    /// As [`Self::event`].
    pub fn block(&mut self) -> Result<Option<Event>, EndOfEvents> {
        let end = loop {
            if let Some(end) = self.text.find("\n\n") {
                break end;
            }
            self.chunk()?;
        };
        let block: String = self.text.drain(..end + 2).collect();
        let (mut name, mut data) = ("message".to_owned(), None::<String>);
        for line in block.strip_suffix("\n\n").unwrap_or(&block).split('\n') {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("id", id) => self.last_id = Some(id.parse().unwrap()),
                ("event", value) => name = value.to_owned(),
                ("data", value) => {
                    data = Some(data.map_or(value.to_owned(), |data| data + "\n" + value));
                }
                ("retry", _) => {}
                (":", _) => self.comments += 1,
                _ => panic!("{block:?}"),
            }
        }
        Ok(data.map(|data| Event {
            id: self.last_id.unwrap(),
            name,
            data,
        }))
    }

    fn chunk(&mut self) -> Result<(), EndOfEvents> {
        let line = loop {
            if let Some(end) = self.find(b"\r\n") {
                break end;
            }
            if !self.more() {
                return Err(EndOfEvents::Cut);
            }
        };
        let size = str::from_utf8(&self.unread[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let whole = line + 2 + size + 2;
        while self.unread.len() < whole {
            if !self.more() {
                return Err(EndOfEvents::Cut);
            }
        }
        let chunk: Vec<u8> = self.unread.drain(..whole).collect();
        assert_eq!(&chunk[whole - 2..], b"\r\n");
        if size > 0 {
            self.text += str::from_utf8(&chunk[line + 2..whole - 2]).unwrap();
            return Ok(());
        }
        assert_eq!(self.text, "", "the end in the midst of an event");
        assert!(
            !self.more() && self.unread.is_empty(),
            "bytes behind the end"
        );
        Err(EndOfEvents::Whole)
    }

    fn find(&self, wanted: &[u8]) -> Option<usize> {
        let mut windows = self.unread.windows(wanted.len());
        windows.position(|window| window == wanted)
    }

    /// False: the connection has ended.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // A read with a timeout is interrupted where the machine was stopped (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("{error}"),
        }
    }
}
