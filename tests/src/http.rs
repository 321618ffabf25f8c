//! Answers of HTTP as a strict client reads them (RFC 9112).

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    /// Its content, without chunks.
    pub content: Vec<u8>,
}

impl Answer {
    /// The value of a header field; the names are in small letters.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let (_, value) = named.next()?;
        assert_eq!(named.next(), None, "{name} in {}", self.head);
        Some(value)
    }

    /// It says that the connection ends behind it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

/// How reading an answer has ended otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The connection was closed politely before it.
    Eof,
    /// The connection was reset before it, or in its midst.
    Reset,
    /// Nothing comes.
    Silence,
    /// The connection was closed in its midst, after these bytes.
    Cut(String),
}

/// What comes on a connection, answer by answer.
#[derive(Debug)]
pub struct Answers {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Answers {
    /// Those that come on `stream`, as long as its read timeout allows.
    ///
    /// # Panics
    /// When the socket cannot be cloned.
    #[must_use]
    pub fn of(stream: &TcpStream) -> Self {
        Self {
            stream: stream.try_clone().unwrap(),
            unread: Vec::new(),
        }
    }

    /// The next one, interim ones too; `is_head`: it answers HEAD.
    ///
    /// # Errors
    /// When none comes.
    ///
    /// # Panics
    /// When what comes is none.
    pub fn next(&mut self, is_head: bool) -> Result<Answer, NoAnswer> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap().trim_end().to_owned();
        for line in head.split("\r\n") {
            assert!(!line.contains(['\r', '\n']), "{head:?}");
        }
        let code = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status: u16 = code.unwrap_or_else(|| panic!("{head:?}")).parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            content: Vec::new(),
        };
        let (length, coding) = (
            answer.field("content-length"),
            answer.field("transfer-encoding"),
        );
        assert!(length.is_none() || coding.is_none(), "{answer:?}");
        let has_none = matches!(status, 100..200 | 204 | 304);
        assert!(
            !has_none || (length.is_none() && coding.is_none()),
            "{answer:?}"
        );
        assert!(status < 200 || answer.field("date").is_some(), "{answer:?}");
        answer.content = match (length, coding) {
            _ if has_none || is_head => Vec::new(),
            (Some(length), _) => self.exactly(length.parse().unwrap())?,
            (None, Some("chunked")) => self.chunks()?,
            (None, Some(other)) => panic!("{other}"),
            (None, None) => self.rest()?,
        };
        Ok(answer)
    }

    /// Waits for the end of the connection, before anything else comes.
    ///
    /// # Panics
    /// When something else comes.
    pub fn end(&mut self) -> NoAnswer {
        assert_eq!(
            self.unread.escape_ascii().to_string(),
            "",
            "something came behind the end"
        );
        match self.more() {
            Err(end) => end,
            Ok(()) => panic!("{}", self.unread.escape_ascii()),
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, NoAnswer> {
        let mut content = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = find(&self.unread, b"\r\n") {
                    break end;
                }
                self.more()?;
            };
            let line: Vec<u8> = self.unread.drain(..end + 2).collect();
            let size = str::from_utf8(&line[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            content.extend(self.exactly(size)?);
            assert_eq!(self.exactly(2)?, b"\r\n");
            if size == 0 {
                return Ok(content);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, NoAnswer> {
        while self.unread.len() < length {
            self.more()?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn rest(&mut self) -> Result<Vec<u8>, NoAnswer> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(NoAnswer::Eof | NoAnswer::Cut(_)) => {
                    return Ok(std::mem::take(&mut self.unread));
                }
                Err(other) => return Err(other),
            }
        }
    }

    fn more(&mut self) -> Result<(), NoAnswer> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) if self.unread.is_empty() => Err(NoAnswer::Eof),
            Ok(0) => Err(NoAnswer::Cut(self.unread.escape_ascii().to_string())),
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            // A read with a timeout is interrupted where the machine was stopped (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(no_answer(&error)),
        }
    }
}

fn no_answer(error: &io::Error) -> NoAnswer {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => NoAnswer::Silence,
        ErrorKind::ConnectionReset => NoAnswer::Reset,
        _ => panic!("{error}"),
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
