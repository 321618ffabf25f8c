//! Framing: what a stream of bytes is cut into, and how messages become bytes.
//!
//! A [`Codec`] is pure: bytes in, a [`Step`] out, and back. It owns no socket, no timer and no
//! buffer. [`Conn::framed`] joins one to a connection, whose bounds and deadlines apply; a
//! [`Service`] answers each frame by a value. Any other source of bytes will do as well: the tests
//! of a protocol need none.
//!
//! | codec | on the wire | a frame | source |
//! |---|---|---|---|
//! | [`Lines`] | text, `\n` or `\r\n` | the line without its end | POSIX.1-2017, 3.206; RFC 5234, B.1 |
//! | [`Delimited`] | bytes, a delimiter of one or more bytes | the bytes before it | |
//! | [`Fixed`] | so many bytes | all of them | |
//! | [`LengthPrefixed`] | a length of 1 to 8 bytes, perhaps behind others, and the payload | the payload | RFC 1035, 4.2.2 (DNS over TCP), and many others |
//! | [`Netstrings`] | `5:hello,` | the string | D. J. Bernstein, Netstrings, 1997 |
//!
//! All lengths are bytes. Each has a maximum of what it reads, and what exceeds it is refused as
//! soon as that shows: an announced length before its bytes are waited for, any other one at the
//! maximum. A frame that lies in one receive buffer is not copied. The stock codecs give a
//! [`Payload`], by which a [`Frame`] is a slice of bytes.
//!
//! # Errors
//!
//! | what the peer did | error | close reason |
//! |---|---|---|
//! | bytes that are no frame | [`Error::Protocol`] with the codec's text | `protocol_error` |
//! | a frame longer than [`frame_max`](Codec::frame_max) | [`Error::FrameTooLong`] | `protocol_error` |
//! | ended its side within a frame | [`Error::Truncated`] | `protocol_error` |
//! | ended it between two | none: [`next`](crate::Framed::next) gives `None` | `peer_closed` |
//!
//! What cannot be encoded is the handler's own fault, hence [`Error::Handler`], and nothing of it
//! is sent.
//!
//! # A codec of one's own
//!
//! ```
//! use std::io::Write;
//!
//! use corelane::codec::Codec;
//! use corelane::{Conn, Error, Step};
//!
//! /// A temperature: a sign and two digits.
//! struct Degrees;
//!
//! impl Codec for Degrees {
//!     type In = i8;
//!     type Out<'a> = i8;
//!
//!     fn frame_max(&self) -> usize {
//!         3
//!     }
//!
//!     fn decode(&mut self, unread: &[u8]) -> Step<i8> {
//!         let Some(text) = unread.first_chunk::<3>() else { return Step::NeedMore };
//!         let degrees = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
//!         degrees.map_or(Step::Invalid("no temperature"), |value| Step::Frame { value, length: 3 })
//!     }
//!
//!     fn encode(&mut self, out: &i8, to: &mut impl Write) -> Result<(), Error> {
//!         if !(-99..=99).contains(out) {
//!             return Err(Error::handler("no temperature of two digits"));
//!         }
//!         Ok(write!(to, "{out:+03}")?)
//!     }
//! }
//!
//! async fn serve(conn: &mut Conn) -> Result<(), Error> {
//!     let mut degrees = conn.framed(Degrees);
//!     while let Some(outside) = degrees.next().await? {
//!         degrees.send(&outside.value.min(30)).await?;
//!     }
//!     Ok(())
//! }
//! # #[cfg(feature = "testing")]
//! # corelane::testing::block_on(async || {
//! #     let mut peer = corelane::testing::serve(corelane::from_fn(serve));
//! #     peer.send("+20-05+35");
//! #     assert_eq!(peer.receive(9).await, b"+20-05+30");
//! # });
//! ```
//!
//! [`Conn::framed`]: crate::Conn::framed
//! [`Error::FrameTooLong`]: crate::Error::FrameTooLong
//! [`Error::Handler`]: crate::Error::Handler
//! [`Error::Protocol`]: crate::Error::Protocol
//! [`Error::Truncated`]: crate::Error::Truncated
//! [`Frame`]: crate::Frame
//! [`Service`]: crate::Service
//! [`Step`]: crate::Step

mod contract;
mod delimited;
mod fixed;
mod length_prefixed;
mod lines;
mod netstrings;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod proptests;

pub use self::contract::{Codec, Payload};
pub use self::delimited::Delimited;
pub use self::fixed::Fixed;
pub use self::length_prefixed::{Counts, LengthPrefixed};
pub use self::lines::Lines;
pub use self::netstrings::Netstrings;

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::step::Step;

    /// What `codec` makes of `out`; else the text of its error.
    pub(super) fn encoded<C: Codec>(codec: &mut C, out: &C::Out<'_>) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let outcome = codec.encode(out, &mut bytes);
        assert!(outcome.is_ok() || bytes.is_empty(), "all of it or nothing");
        outcome.map(|()| bytes).map_err(|error| error.to_string())
    }

    /// The payload of a whole frame, and the frame's length.
    pub(super) fn whole(range: Range<usize>, length: usize) -> Step<Payload> {
        let value = Payload::new(range);
        Step::Frame { value, length }
    }

    #[test]
    fn a_codec_of_a_connection_is_small() {
        assert!(size_of::<Lines>() <= 24);
        assert!(size_of::<LengthPrefixed>() <= 24);
        assert!(size_of::<Delimited>() <= 32);
        assert_eq!(size_of::<Fixed>(), size_of::<usize>());
        assert_eq!(size_of::<Netstrings>(), size_of::<usize>());
    }
}
