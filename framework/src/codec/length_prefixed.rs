//! Frames that say how long they are.

use std::io::Write;

use super::contract::{Codec, Payload, unencodable};
use crate::error::Error;
use crate::step::Step;

/// What a length counts, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counts {
    /// The payload: what follows the length.
    #[default]
    Payload,
    /// The length itself and the payload, as in PostgreSQL's messages.
    LengthAndPayload,
    /// The whole frame, with what stands before the length, as in Diameter (RFC 6733, 3).
    Frame,
}

/// Frames that say how long they are: a header that ends with the length, and the payload.
///
/// ```
/// use corelane::codec::{Counts, LengthPrefixed};
///
/// // DNS over TCP (RFC 1035, 4.2.2): two bytes, big-endian.
/// let dns = LengthPrefixed::new(65_535).width(2);
/// // PostgreSQL's messages: a type of one byte, a length of four that counts itself.
/// let postgresql = LengthPrefixed::new(1 << 20).offset(1).counts(Counts::LengthAndPayload);
/// # let _ = (dns, postgresql);
/// ```
///
/// A frame is its payload; its bytes are the header as well. What is sent is a frame without its
/// length: the first [`offset`](Self::offset) bytes go before that, the rest behind.
#[derive(Clone, Debug)]
pub struct LengthPrefixed {
    payload_max: usize,
    offset: u32,
    width: u8,
    is_little_endian: bool,
    counts: Counts,
}

impl LengthPrefixed {
    /// Payloads of at most `payload_max` bytes behind a length of four bytes, big-endian, that
    /// counts them. Those that are sent have the bound of the length's width alone.
    pub const fn new(payload_max: usize) -> Self {
        Self {
            payload_max,
            offset: 0,
            width: 4,
            is_little_endian: false,
            counts: Counts::Payload,
        }
    }

    /// The length has `bytes` bytes.
    ///
    /// # Panics
    ///
    /// Unless they are 1 to 8.
    pub const fn width(self, bytes: u8) -> Self {
        assert!(bytes >= 1 && bytes <= 8, "a length has 1 to 8 bytes");
        Self {
            width: bytes,
            ..self
        }
    }

    /// The length has its lowest byte first.
    pub const fn little_endian(self) -> Self {
        Self {
            is_little_endian: true,
            ..self
        }
    }

    /// So many bytes of each frame stand before the length.
    pub const fn offset(self, bytes: u32) -> Self {
        Self {
            offset: bytes,
            ..self
        }
    }

    /// What the length counts.
    pub const fn counts(self, counts: Counts) -> Self {
        Self { counts, ..self }
    }

    const fn header(&self) -> usize {
        self.offset as usize + self.width as usize
    }

    /// Bytes that the length counts beside the payload.
    const fn counted_besides(&self) -> u64 {
        match self.counts {
            Counts::Payload => 0,
            Counts::LengthAndPayload => self.width as u64,
            Counts::Frame => self.header() as u64,
        }
    }

    fn read_length(&self, field: &[u8]) -> u64 {
        let shift_in = |length: u64, byte: &u8| length << 8 | u64::from(*byte);
        if self.is_little_endian {
            field.iter().rev().fold(0, shift_in)
        } else {
            field.iter().fold(0, shift_in)
        }
    }

    /// The length's bytes are the first `width` of these; none if they are too few for it.
    fn write_length(&self, length: u64) -> Option<[u8; 8]> {
        let unused = 8 * (8 - u32::from(self.width));
        let fits = length.leading_zeros() >= unused;
        let field = if self.is_little_endian {
            length.to_le_bytes()
        } else {
            (length << unused).to_be_bytes()
        };
        fits.then_some(field)
    }
}

impl Codec for LengthPrefixed {
    type In = Payload;
    type Out<'a> = [u8];

    fn frame_max(&self) -> usize {
        self.header().saturating_add(self.payload_max)
    }

    fn decode(&mut self, unread: &[u8]) -> Step<Payload> {
        let header = self.header();
        let Some(field) = unread.get(self.offset as usize..header) else {
            return Step::NeedMore;
        };
        let announced = self.read_length(field);
        let Some(payload) = announced.checked_sub(self.counted_besides()) else {
            return Step::Invalid("a length does not cover its own header");
        };
        let payload = usize::try_from(payload).unwrap_or(usize::MAX);
        let length = header.saturating_add(payload);
        Step::Frame {
            value: Payload::new(header..length),
            length,
        }
    }

    /// # Errors
    ///
    /// [`Error::Handler`] for what is shorter than [`offset`](Self::offset), or too long for the
    /// length's width.
    fn encode(&mut self, out: &[u8], to: &mut impl Write) -> Result<(), Error> {
        let Some((before, payload)) = out.split_at_checked(self.offset as usize) else {
            return Err(unencodable("a frame ends before its length"));
        };
        let length = (payload.len() as u64).checked_add(self.counted_besides());
        let field = length.and_then(|length| self.write_length(length));
        let field = field.ok_or_else(|| unencodable("a payload is too long for its length"))?;
        to.write_all(before)?;
        to.write_all(&field[..usize::from(self.width)])?;
        Ok(to.write_all(payload)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{encoded, whole};
    use super::*;

    #[test]
    fn a_length_stands_where_it_is_said_to() {
        let mut four = LengthPrefixed::new(100);
        assert_eq!(four.decode(b"\0\0\0"), Step::NeedMore);
        assert_eq!(four.decode(b"\0\0\0\x03abc!"), whole(4..7, 7));
        assert_eq!(four.decode(b"\0\0\0\0"), whole(4..4, 4));
        assert_eq!(encoded(&mut four, b"abc"), Ok(b"\0\0\0\x03abc".to_vec()));

        let mut three = LengthPrefixed::new(100).width(3).little_endian().offset(2);
        assert_eq!(three.decode(b"!!\x01\0\0a"), whole(5..6, 6));
        assert_eq!(encoded(&mut three, b"!!a"), Ok(b"!!\x01\0\0a".to_vec()));
        assert!(encoded(&mut three, b"!").is_err());
    }

    #[test]
    fn a_length_counts_what_it_is_said_to() {
        let codec = LengthPrefixed::new(100).offset(1);
        let mut postgresql = codec.clone().counts(Counts::LengthAndPayload);
        assert_eq!(postgresql.decode(b"Q\0\0\0\x06ab"), whole(5..7, 7));
        assert_eq!(
            encoded(&mut postgresql, b"Qab"),
            Ok(b"Q\0\0\0\x06ab".to_vec())
        );
        let mut diameter = codec.width(3).counts(Counts::Frame);
        assert_eq!(diameter.decode(b"\x01\0\0\x05a"), whole(4..5, 5));
        assert_eq!(
            encoded(&mut diameter, b"\x01a"),
            Ok(b"\x01\0\0\x05a".to_vec())
        );
        let short = Step::Invalid("a length does not cover its own header");
        assert_eq!(diameter.decode(b"\x01\0\0\x03"), short);
        assert_eq!(postgresql.decode(b"Q\0\0\0\x03"), short);
    }

    #[test]
    fn the_longest_length_is_a_length_and_no_overflow() {
        for width in 1..=8 {
            let mut codec = LengthPrefixed::new(10).width(width).offset(4);
            let Step::Frame { length, .. } = codec.decode(&[0xff; 12]) else {
                panic!("a length of {width} bytes is one");
            };
            assert!(length > codec.frame_max(), "{length}");
        }
        let mut largest = LengthPrefixed::new(usize::MAX).width(8);
        assert_eq!(largest.frame_max(), usize::MAX);
        assert_eq!(largest.decode(&[0xff; 8]), whole(8..usize::MAX, usize::MAX));
    }

    #[test]
    fn what_does_not_fit_a_length_is_not_sent() {
        let mut one = LengthPrefixed::new(0).width(1);
        assert!(encoded(&mut one, &[0; 255]).is_ok());
        assert!(encoded(&mut one, &[0; 256]).is_err());
        let mut counts = LengthPrefixed::new(0).width(1).counts(Counts::Frame);
        assert!(encoded(&mut counts, &[0; 254]).is_ok());
        assert!(encoded(&mut counts, &[0; 255]).is_err());
    }

    #[test]
    #[should_panic(expected = "1 to 8 bytes")]
    fn a_length_has_a_width() {
        let _ = LengthPrefixed::new(1).width(9);
    }
}
