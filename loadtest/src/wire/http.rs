//! HTTP/1.1 as a client that keeps its connection (RFC 9112): heads of requests, replies with a length
//! or in chunks.

use super::event::{Event, split};

/// Bytes of a reply's head at most, and of the line that begins a chunk.
const LINES_MAX: usize = 8192;
/// Fields of a head at most.
const FIELDS_MAX: usize = 64;
/// Bytes of a head, as servers send them.
pub(crate) const HEAD_USUAL: usize = 160;

/// The head of a request: a POST of `length` bytes, or a GET.
pub(crate) fn request_head(host: &str, path: &str, length: Option<u32>) -> Vec<u8> {
    let head = match length {
        Some(length) => {
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n")
        }
        None => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    };
    head.into_bytes()
}

/// The reply that comes, after one another.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    state: State,
    /// The begun head, or line.
    begun: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of the body are to come.
    Body(u64),
    /// A line with the size of a chunk.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line's end behind a chunk.
    ChunkEnd,
    /// Lines behind the last chunk, of which an empty one ends the reply.
    Trailer,
}

impl Reply {
    /// Neither is one begun, nor a head.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Head && self.begun.is_empty()
    }

    /// What `bytes` begin with, which is taken off them.
    pub(crate) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Event<'b>, String> {
        loop {
            match self.state {
                State::Body(0) => {
                    self.state = State::Head;
                    return Ok(Event::End);
                }
                State::Chunk(0) => self.state = State::ChunkEnd,
                _ if bytes.is_empty() => return Ok(Event::More),
                State::Head => self.take_head(bytes)?,
                State::Body(left) => {
                    let body = split(bytes, left);
                    self.state = State::Body(left - body.len() as u64);
                    return Ok(Event::Body(body));
                }
                State::Chunk(left) => {
                    let body = split(bytes, left);
                    self.state = State::Chunk(left - body.len() as u64);
                    return Ok(Event::Body(body));
                }
                State::Size | State::ChunkEnd | State::Trailer => self.take_line(bytes)?,
            }
        }
    }

    /// A head in one piece is read where it lies.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let before = self.begun.len();
        let found = if before == 0 {
            head(bytes)?
        } else {
            self.begun.extend_from_slice(bytes);
            head(&self.begun)?
        };
        match found {
            Some((state, length)) => {
                *bytes = &bytes[length - before..];
                self.begun = Vec::new();
                self.state = state;
            }
            None if before == 0 => self.begun = std::mem::take(bytes).to_vec(),
            None => *bytes = &[],
        }
        self.is_bounded()
    }

    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let piece = split(bytes, end.map_or(u64::MAX, |end| end as u64 + 1));
        self.begun.extend_from_slice(piece);
        self.is_bounded()?;
        if end.is_none() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.begun);
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(format!("a line ends without CR: {}", line.escape_ascii()));
        };
        self.state = match (self.state, line) {
            (State::Size, size) => match chunk_size(size)? {
                0 => State::Trailer,
                size => State::Chunk(size),
            },
            (State::ChunkEnd, b"") => State::Size,
            (State::ChunkEnd, _) => return Err("a chunk is longer than it says".to_owned()),
            (_, b"") => State::Body(0),
            (same, _) => same,
        };
        Ok(())
    }

    fn is_bounded(&self) -> Result<(), String> {
        match self.begun.len() <= LINES_MAX {
            true => Ok(()),
            false => Err(format!(
                "the head, or a line, does not end within {LINES_MAX} bytes"
            )),
        }
    }
}

/// How the body behind a head comes, and how long the head is; none while it is not whole.
fn head(bytes: &[u8]) -> Result<Option<(State, usize)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut reply = httparse::Response::new(&mut fields);
    let length = match reply.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("no reply by HTTP: {error}")),
    };
    let state = match reply.code {
        Some(200) => body(&reply)?,
        // Interim, and followed by the reply (RFC 9110, 15.2).
        Some(100 | 102..=199) => State::Head,
        code => {
            let reason = reply.reason.unwrap_or_default();
            return Err(format!("status {} {reason}", code.unwrap_or_default()));
        }
    };
    Ok(Some((state, length)))
}

/// RFC 9112, 6.3.
fn body(reply: &httparse::Response<'_, '_>) -> Result<State, String> {
    let (mut length, mut is_chunked) = (None, false);
    for field in reply.headers.iter() {
        let value = field.value.trim_ascii();
        if field.name.eq_ignore_ascii_case("content-length") {
            let number = digits(value, 10).filter(|_| length.is_none());
            let number = number.ok_or_else(|| format!("Content-Length {}", value.escape_ascii()));
            length = Some(number?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            is_chunked = value.eq_ignore_ascii_case(b"chunked");
            if !is_chunked {
                return Err(format!("Transfer-Encoding {}", value.escape_ascii()));
            }
        }
    }
    match (length, is_chunked) {
        (Some(length), false) => Ok(State::Body(length)),
        (None, true) => Ok(State::Size),
        (Some(_), true) => Err("Content-Length beside Transfer-Encoding".to_owned()),
        (None, false) => Err("neither Content-Length nor Transfer-Encoding".to_owned()),
    }
}

/// Without extensions (RFC 9112, 7.1).
fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let size = digits(size.trim_ascii(), 16);
    size.ok_or_else(|| format!("the size of a chunk is {}", line.escape_ascii()))
}

/// Digits alone, unlike `parse`, which takes a sign.
fn digits(text: &[u8], radix: u32) -> Option<u64> {
    let are_digits = text.iter().all(|byte| char::from(*byte).is_digit(radix));
    let text = str::from_utf8(text).ok().filter(|_| are_digits)?;
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::super::events;
    use super::*;
    use crate::workload::Protocol;

    const REPLIES: &[u8] = b"HTTP/1.1 200 OK\r\nDate: now\r\ncontent-length: 5\r\n\r\nhello\
        HTTP/1.1 100 Continue\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n00A;x=y\r\nlo, worlds\r\n0\r\nX: y\r\n\r\n\
        HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n";
    const FOUND: [&str; 3] = ["body hello", "body hello, worlds", "body "];

    #[test]
    fn replies_are_the_same_cut_anywhere() {
        for first in 0..=REPLIES.len() {
            let (one, rest) = REPLIES.split_at(first);
            for step in [1, 7, REPLIES.len()] {
                let pieces = [one].into_iter().chain(rest.chunks(step));
                let (found, why, is_at_rest) = events(Protocol::Http, pieces);
                assert_eq!(
                    (found, why, is_at_rest),
                    (FOUND.map(str::to_owned).to_vec(), None, true)
                );
            }
        }
    }

    #[test]
    fn every_part_of_a_reply_is_waited_for() {
        let ends: Vec<usize> = (0..=REPLIES.len())
            .filter(|end| events(Protocol::Http, [&REPLIES[..*end]]).2)
            .collect();
        assert_eq!(
            ends,
            [0, 54, 79, 166, REPLIES.len()],
            "behind each, interim or not"
        );
    }

    #[test]
    fn what_is_no_reply_is_told() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(LINES_MAX));
        for (bytes, wanted) in [
            ("hello", "no reply by HTTP"),
            ("HTTP/1.1 503 Busy\r\n\r\n", "status 503 Busy"),
            ("HTTP/1.1 101 Other\r\n\r\n", "status 101"),
            ("HTTP/1.1 200 OK\r\n\r\n", "neither"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
                "Content-Length +5",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                "Content-Length 5",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                "beside",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                "Transfer-Encoding gzip",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
                "size of a chunk",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
                "longer than it says",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\n",
                "without CR",
            ),
            (&long, "does not end within"),
        ] {
            let why = events(Protocol::Http, bytes.as_bytes().chunks(1)).1;
            assert!(
                why.as_ref().is_some_and(|why| why.contains(wanted)),
                "{bytes}: {why:?}"
            );
        }
    }

    #[test]
    fn a_request_is_a_post_of_its_length_or_a_get() {
        assert_eq!(
            request_head("a:1", "/b", Some(64)),
            b"POST /b HTTP/1.1\r\nHost: a:1\r\nContent-Length: 64\r\n\r\n"
        );
        assert_eq!(
            request_head("a", "/", None),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        );
    }
}
