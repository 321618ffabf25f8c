//! Lines of text.

use std::io::Write;

use super::contract::{Codec, Payload, take_searched, unencodable};
use crate::error::Error;
use crate::step::Step;

/// Lines: each ends with `\n`, and a `\r` before that belongs to the end. Nothing else is looked
/// at: a line is bytes, of whatever encoding.
///
/// The last line needs its end too: a stream that ends without one is truncated.
///
/// ```
/// use corelane::codec::Lines;
/// use corelane::{Conn, Error};
///
/// async fn shout(conn: &mut Conn) -> Result<(), Error> {
///     let mut lines = conn.framed(Lines::new(1024));
///     while let Some(line) = lines.next().await? {
///         lines.send(&line.to_ascii_uppercase()).await?;
///     }
///     Ok(())
/// }
/// # let _ = shout;
/// ```
#[derive(Clone, Debug)]
pub struct Lines {
    line_max: usize,
    /// Bytes known to hold no line end: each byte is looked at once, however the line comes in.
    searched: usize,
    sends_crlf: bool,
}

impl Lines {
    /// Lines of at most `line_max` bytes, their ends included. Those that are sent have no bound,
    /// and end with `\n`.
    pub const fn new(line_max: usize) -> Self {
        Self {
            line_max,
            searched: 0,
            sends_crlf: false,
        }
    }

    /// Sends lines that end with `\r\n`, as most protocols of the internet have them.
    pub const fn crlf(self) -> Self {
        Self {
            sends_crlf: true,
            ..self
        }
    }
}

impl Codec for Lines {
    type In = Payload;
    type Out<'a> = [u8];

    fn frame_max(&self) -> usize {
        self.line_max
    }

    fn decode(&mut self, unread: &[u8]) -> Step<Payload> {
        let searched = take_searched(&mut self.searched, unread);
        let Some(offset) = memchr::memchr(b'\n', &unread[searched..]) else {
            self.searched = unread.len();
            return Step::NeedMore;
        };
        let end = searched + offset;
        let line = &unread[..end];
        let length = line.strip_suffix(b"\r").unwrap_or(line).len();
        Step::Frame {
            value: Payload::new(0..length),
            length: end + 1,
        }
    }

    /// # Errors
    ///
    /// [`Error::Handler`] for a line that holds a `\n`, or would end with `\r\n` where `\n` is sent:
    /// the peer would read another.
    fn encode(&mut self, out: &[u8], to: &mut impl Write) -> Result<(), Error> {
        if memchr::memchr(b'\n', out).is_some() {
            return Err(unencodable("a line holds a line feed"));
        }
        if out.ends_with(b"\r") && !self.sends_crlf {
            return Err(unencodable("a line ends with a carriage return"));
        }
        to.write_all(out)?;
        Ok(to.write_all(if self.sends_crlf { b"\r\n" } else { b"\n" })?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{encoded, whole};
    use super::*;

    #[test]
    fn a_line_is_searched_once_and_the_next_from_its_start() {
        let mut lines = Lines::new(100);
        assert_eq!(lines.decode(b"hel"), Step::NeedMore);
        assert_eq!(lines.searched, 3);
        assert_eq!(lines.decode(b"hello\r"), Step::NeedMore);
        assert_eq!(lines.decode(b"hello\r\nmore"), whole(0..5, 7));
        assert_eq!(lines.decode(b"\nmore"), whole(0..0, 1));
        lines.searched = 2;
        let again = "what was searched is not looked at again";
        assert_eq!(lines.decode(b"a\nb"), Step::NeedMore, "{again}");
    }

    #[test]
    fn lines_end_with_or_without_a_carriage_return() {
        assert_eq!(Lines::new(9).decode(b"\n"), whole(0..0, 1));
        assert_eq!(Lines::new(9).decode(b"a\rb\n"), whole(0..3, 4));
        assert_eq!(Lines::new(9).decode(b"a\r\r\n"), whole(0..2, 4));
    }

    #[test]
    fn a_line_that_would_be_read_as_another_is_not_sent() {
        let (mut lf, mut crlf) = (Lines::new(9), Lines::new(9).crlf());
        assert_eq!(encoded(&mut lf, b"a"), Ok(b"a\n".to_vec()));
        assert_eq!(encoded(&mut crlf, b"a\r"), Ok(b"a\r\r\n".to_vec()));
        assert!(encoded(&mut lf, b"a\nQUIT").is_err());
        assert!(encoded(&mut crlf, b"\n").is_err());
        assert!(encoded(&mut lf, b"a\r").is_err());
    }

    #[test]
    fn bytes_that_somebody_else_has_read_are_not_missed() {
        let mut lines = Lines::new(100);
        assert_eq!(lines.decode(b"a long beginning"), Step::NeedMore);
        assert_eq!(lines.decode(b"short\n"), whole(0..5, 6));
    }
}
