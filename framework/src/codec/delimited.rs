//! Frames that end with a delimiter.

use std::io::Write;

use memchr::memmem;

use super::contract::{Codec, Payload, take_searched, unencodable};
use crate::error::Error;
use crate::step::Step;

/// Frames that end with a delimiter of one or more bytes, which is no part of the payload: `\0`, a
/// blank line (`\r\n\r\n`), a boundary. Text has [`Lines`](super::Lines).
///
/// The last frame needs its delimiter too.
#[derive(Clone, Debug)]
pub struct Delimited {
    delimiter: &'static [u8],
    frame_max: usize,
    /// Where the delimiter may begin at the earliest: each byte is looked at once, but for those
    /// that may be its beginning.
    searched: usize,
}

impl Delimited {
    /// Frames of at most `frame_max` bytes, their delimiter included.
    ///
    /// # Panics
    ///
    /// When the delimiter is empty: there would be no end of such frames.
    pub const fn new(delimiter: &'static [u8], frame_max: usize) -> Self {
        assert!(!delimiter.is_empty(), "a delimiter has at least one byte");
        Self {
            delimiter,
            frame_max,
            searched: 0,
        }
    }

    /// Whether the delimiter is found in `payload` with the delimiter behind it before the
    /// payload's end.
    fn ends_early(&self, payload: &[u8]) -> bool {
        let delimiter = self.delimiter;
        let overlaps = |head: usize| {
            let (begun, rest) = delimiter.split_at(head);
            payload.ends_with(begun) && delimiter.starts_with(rest)
        };
        memmem::find(payload, delimiter).is_some() || (1..delimiter.len()).any(overlaps)
    }
}

impl Codec for Delimited {
    type In = Payload;
    type Out<'a> = [u8];

    fn frame_max(&self) -> usize {
        self.frame_max
    }

    fn decode(&mut self, unread: &[u8]) -> Step<Payload> {
        let searched = take_searched(&mut self.searched, unread);
        let Some(offset) = memmem::find(&unread[searched..], self.delimiter) else {
            self.searched = (unread.len() + 1).saturating_sub(self.delimiter.len());
            return Step::NeedMore;
        };
        let end = searched + offset;
        Step::Frame {
            value: Payload::new(0..end),
            length: end + self.delimiter.len(),
        }
    }

    /// # Errors
    ///
    /// [`Error::Handler`] for a payload within which the delimiter would be found.
    fn encode(&mut self, out: &[u8], to: &mut impl Write) -> Result<(), Error> {
        if self.ends_early(out) {
            return Err(unencodable("a payload holds its delimiter"));
        }
        to.write_all(out)?;
        Ok(to.write_all(self.delimiter)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{encoded, whole};
    use super::*;

    #[test]
    fn a_delimiter_is_found_though_it_comes_in_pieces() {
        let mut blank_line = Delimited::new(b"\r\n\r\n", 100);
        assert_eq!(blank_line.decode(b"GET /\r"), Step::NeedMore);
        assert_eq!(blank_line.searched, 3, "all but what may begin one");
        assert_eq!(blank_line.decode(b"GET /\r\n\r"), Step::NeedMore);
        assert_eq!(blank_line.decode(b"GET /\r\n\r\n!"), whole(0..5, 9));
        assert_eq!(blank_line.decode(b"\r\n\r\n"), whole(0..0, 4));
        assert_eq!(Delimited::new(b"\0", 9).decode(b"a\0b\0"), whole(0..1, 2));
    }

    #[test]
    fn what_is_searched_grows_with_what_comes() {
        let mut delimited = Delimited::new(b"END", 1 << 20);
        let stream = vec![b'x'; 1000];
        for have in 1..=stream.len() {
            assert_eq!(delimited.decode(&stream[..have]), Step::NeedMore);
            assert_eq!(delimited.searched, (have + 1).saturating_sub(3));
        }
    }

    #[test]
    fn a_payload_with_its_delimiter_in_it_is_not_sent() {
        let mut delimited = Delimited::new(b"aba", 100);
        assert_eq!(encoded(&mut delimited, b"b"), Ok(b"baba".to_vec()));
        for early in [&b"aba"[..], b"xabax", b"ab"] {
            assert!(encoded(&mut delimited, early).is_err(), "{early:?}");
        }
        // "a" + "aba": the first is at 1, where the payload ends.
        assert_eq!(encoded(&mut delimited, b"a"), Ok(b"aaba".to_vec()));
        assert!(encoded(&mut Delimited::new(b"aa", 9), b"a").is_err());
    }

    #[test]
    #[should_panic(expected = "at least one byte")]
    fn a_delimiter_has_bytes() {
        let _ = Delimited::new(b"", 9);
    }
}
