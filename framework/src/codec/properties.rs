//! What holds of every codec, whatever a peer sends and however it comes in. Told of bytes, so that
//! property tests, the kept corpus and the fuzzer ask the same question: the first byte picks the
//! codec, the second its bound, the third the pieces.

use super::{Codec, Counts, Delimited, Fixed, LengthPrefixed, Lines, Netstrings, Payload};
use crate::step::Step;

/// Ways to frame that [`hold_for`] knows, by its first byte.
pub(crate) const WAYS: u8 = 9;

/// What a stream means: the payloads, and how it went on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) payloads: Vec<Vec<u8>>,
    pub(crate) end: End,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Truncated,
    TooLong,
    Invalid(&'static str),
}

/// Reads `bytes` in one piece, in pieces and byte by byte, and sends what was read again.
pub(crate) fn hold_for(bytes: &[u8]) {
    let [way, bound, pieces, stream @ ..] = bytes else {
        return;
    };
    let bound = usize::from(*bound);
    match way % WAYS {
        0 => hold(&Lines::new(bound), *pieces, stream, 0),
        1 => hold(&Lines::new(bound).crlf(), *pieces, stream, 0),
        2 => hold(&Delimited::new(b"\0", bound), *pieces, stream, 0),
        3 => hold(&Delimited::new(b"abab", bound), *pieces, stream, 0),
        4 => hold(&Fixed::new(bound.max(1)), *pieces, stream, 0),
        5 => hold(&Netstrings::new(bound), *pieces, stream, 0),
        6 => hold(&LengthPrefixed::new(bound).width(1), *pieces, stream, 0),
        7 => {
            let counts = LengthPrefixed::new(bound).counts(Counts::LengthAndPayload);
            hold(&counts.width(8).little_endian(), *pieces, stream, 0);
        }
        _ => {
            let counts = LengthPrefixed::new(bound).counts(Counts::Frame);
            hold(&counts.width(2).offset(2), *pieces, stream, 2);
        }
    }
}

/// `head`: bytes of each frame that are sent before its payload.
fn hold<C>(codec: &C, pieces: u8, stream: &[u8], head: usize)
where
    C: Clone + Codec<In = Payload> + for<'a> Codec<Out<'a> = [u8]>,
{
    let whole = understand(&mut codec.clone(), stream, || usize::MAX);
    let mut state = u32::from(pieces) + 1;
    let in_pieces = understand(&mut codec.clone(), stream, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 24) as usize % (1 + usize::from(pieces) / 4)
    });
    assert_eq!(whole, in_pieces, "in one piece, and in pieces");
    let dripped = understand(&mut codec.clone(), stream, || 1);
    assert_eq!(whole, dripped, "in one piece, and byte by byte");
    let mut again = Vec::new();
    for payload in &whole.payloads {
        let frame = [&vec![b'!'; head], &payload[..]].concat();
        if codec.clone().encode(&frame, &mut again).is_err() {
            // A line that ends with a carriage return can be read, and not sent with a plain \n.
            return assert!(payload.ends_with(b"\r"), "what was read can be sent");
        }
    }
    let again = understand(&mut codec.clone(), &again, || usize::MAX);
    // A line is longer by the end that it is sent with.
    if again.end != End::TooLong {
        assert_eq!(again.payloads, whole.payloads, "what is sent is read");
        assert_eq!(again.end, End::Clean);
    }
}

/// Reads frames one behind the other as a connection does, while `next` says how many bytes come
/// at a time.
pub(crate) fn understand<C: Codec<In = Payload>>(
    codec: &mut C,
    stream: &[u8],
    mut next: impl FnMut() -> usize,
) -> Meaning {
    let frame_max = codec.frame_max();
    let (mut start, mut have, mut payloads) = (0, 0, Vec::new());
    let end = loop {
        let unread = &stream[start..have];
        let step = if unread.is_empty() {
            Step::NeedMore
        } else {
            codec.decode(unread)
        };
        match step {
            Step::Frame { value, length } if length <= unread.len() && length <= frame_max => {
                assert!(length > 0, "a frame has bytes");
                let range = value.range();
                assert!(range.end <= length, "a payload lies within its frame");
                payloads.push(unread[range].to_vec());
                start += length;
            }
            Step::Frame { length, .. } if length > frame_max => break End::TooLong,
            Step::Invalid(why) => break End::Invalid(why),
            Step::NeedMore | Step::Frame { .. }
                if unread.len() >= frame_max && !unread.is_empty() =>
            {
                break End::TooLong;
            }
            Step::NeedMore | Step::Frame { .. } if have < stream.len() => {
                have = have.saturating_add(next()).min(stream.len());
            }
            Step::NeedMore | Step::Frame { .. } if unread.is_empty() => break End::Clean,
            Step::NeedMore | Step::Frame { .. } => break End::Truncated,
        }
    };
    Meaning { payloads, end }
}
