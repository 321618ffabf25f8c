//! Frames of one length.

use std::io::Write;

use super::contract::{Codec, Payload, unencodable};
use crate::error::Error;
use crate::step::Step;

/// Frames of one length each: records, ticks, samples.
#[derive(Clone, Debug)]
pub struct Fixed {
    length: usize,
}

impl Fixed {
    /// Frames of `length` bytes.
    ///
    /// # Panics
    ///
    /// When `length` is 0: there would be no end of such frames.
    pub const fn new(length: usize) -> Self {
        assert!(length > 0, "a frame has at least one byte");
        Self { length }
    }
}

impl Codec for Fixed {
    type In = Payload;
    type Out<'a> = [u8];

    fn frame_max(&self) -> usize {
        self.length
    }

    fn decode(&mut self, _unread: &[u8]) -> Step<Payload> {
        Step::Frame {
            value: Payload::new(0..self.length),
            length: self.length,
        }
    }

    /// # Errors
    ///
    /// [`Error::Handler`] for a frame of another length.
    fn encode(&mut self, out: &[u8], to: &mut impl Write) -> Result<(), Error> {
        if out.len() != self.length {
            return Err(unencodable("a frame of a fixed length has another"));
        }
        Ok(to.write_all(out)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{encoded, whole};
    use super::*;

    #[test]
    fn each_frame_has_the_length() {
        let mut fixed = Fixed::new(3);
        assert_eq!(fixed.decode(b"abcd"), whole(0..3, 3));
        assert_eq!(fixed.decode(b"a"), whole(0..3, 3), "the rest is to come");
        assert_eq!(encoded(&mut fixed, b"abc"), Ok(b"abc".to_vec()));
        assert!(encoded(&mut fixed, b"ab").is_err());
        assert!(encoded(&mut fixed, b"abcd").is_err());
    }

    #[test]
    #[should_panic(expected = "at least one byte")]
    fn there_are_no_empty_frames() {
        let _ = Fixed::new(0);
    }
}
