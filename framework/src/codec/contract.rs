//! What a codec is.

use std::io::Write;
use std::ops::Range;

use crate::error::Error;
use crate::step::Step;

/// How a protocol cuts a stream into frames, and makes bytes of what it sends. See the
/// [module](crate::codec) for those that are there, and for one of one's own.
pub trait Codec {
    /// What a frame means, beside its bytes, which a [`Frame`](crate::Frame) has too: for what lies
    /// in them, ranges of them will do ([`Payload`]).
    type In;
    /// What is sent; it may borrow.
    type Out<'a>: ?Sized;

    /// No frame is longer than so many bytes, all of it included, nor than 1 GiB: who sends more
    /// without ending one, or announces more, is refused.
    fn frame_max(&self) -> usize;

    /// What `unread` begins with: the bytes of the stream from the frame's start on, contiguous.
    ///
    /// It is asked again, with the same bytes and more behind them, until it gives a whole frame or
    /// says that there is none; then the next frame begins. So it may remember how far it has
    /// looked, and must forget that with the frame. Whatever the bytes are, it must not panic, and
    /// it allocates nothing for a length before its bytes are there.
    fn decode(&mut self, unread: &[u8]) -> Step<Self::In>;

    /// Writes `out` as bytes to `to`, which takes all that it is given.
    ///
    /// # Errors
    ///
    /// Those of `to`, and [`Error::Handler`] for what the protocol cannot express: then before
    /// anything is written.
    fn encode(&mut self, out: &Self::Out<'_>, to: &mut impl Write) -> Result<(), Error>;
}

/// Where the payload lies in a frame: [`Frame`](crate::Frame) is a slice of it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    start: usize,
    end: usize,
}

impl Payload {
    /// The bytes of the frame in that range, which must lie within it.
    pub const fn new(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }

    /// The range, in the frame's bytes.
    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// How much of `unread` was searched in vain, and forgets it. None of it, if somebody else has read
/// the bytes that were.
pub(super) fn take_searched(searched: &mut usize, unread: &[u8]) -> usize {
    let searched = std::mem::take(searched);
    if searched <= unread.len() {
        searched
    } else {
        0
    }
}

/// What the protocol cannot express.
pub(super) fn unencodable(why: &'static str) -> Error {
    Error::handler(why)
}
