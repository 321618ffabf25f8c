//! Compressed messages (permessage-deflate, RFC 7692), each for itself: a thread has one compressor
//! and one decompressor for all its connections, and they keep nothing from one message to the next.

use std::cell::RefCell;

use miniz_oxide::MZFlush;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate as compress;
use miniz_oxide::inflate::TINFLStatus as Inflated;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY,
    TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::conn::chunk::Chunk;
use crate::id::Key;
use crate::websocket::code::Violation;
use crate::websocket::handshake::members;

/// A shorter message is not compressed: it would seldom become shorter.
const DEFLATED_MIN: usize = 32;
/// Of 0 to 9. No key: higher ones take several times the time for some hundredths of the bytes.
const LEVEL: i32 = 3;
/// Raw blocks, without the frame of zlib (RFC 1951), of the largest window.
const RAW: i32 = -15;
/// Bytes that are inflated at first, and that a thread keeps room for.
const PIECE: usize = 16 * 1024;
/// Blocks of a message at most: these, and one more for so many of its bytes. No key: who compresses
/// makes one of some kilobytes, and two for each part that is flushed: of as many fragments as a
/// message has at most by default. Ten bits are one that says nothing, and it takes as long as to
/// inflate half a kilobyte.
const BLOCKS_MAX: usize = 2048;
const BYTES_PER_BLOCK: usize = 32;
/// What ends a message, and is not sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

const INFLATE: u32 = TINFL_FLAG_HAS_MORE_INPUT
    | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
    | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;

thread_local! {
    static COMPRESS: RefCell<Option<Box<CompressorOxide>>> = const { RefCell::new(None) };
    static DECOMPRESS: RefCell<Option<(Box<DecompressorOxide>, Vec<u8>)>> = const { RefCell::new(None) };
}

/// `payload` compressed, if it becomes shorter by it (RFC 7692, 7.2.1).
pub(super) fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < DEFLATED_MIN {
        return None;
    }
    COMPRESS.with_borrow_mut(|compressor| {
        let compressor = compressor.get_or_insert_with(|| {
            let flags = create_comp_flags_from_zip_params(LEVEL, RAW, 0);
            Box::new(CompressorOxide::new(flags))
        });
        compressor.reset();
        // One that does not fit is none that is wanted.
        let mut deflated = vec![0; payload.len() + TAIL.len()];
        let done = compress(compressor, payload, &mut deflated, MZFlush::Sync);
        let is_whole = done.status.is_ok()
            && done.bytes_consumed == payload.len()
            && done.bytes_written < deflated.len();
        deflated.truncate(done.bytes_written);
        let is_whole = is_whole && deflated.ends_with(&TAIL);
        deflated.truncate(deflated.len().saturating_sub(TAIL.len()));
        (is_whole && deflated.len() < payload.len()).then_some(deflated)
    })
}

/// The message that was compressed to `payload`, of at most `bytes_max` (RFC 7692, 7.2.2).
pub(super) fn inflate(payload: &[u8], bytes_max: u64, owner: Key) -> Result<Chunk, Violation> {
    DECOMPRESS.with_borrow_mut(|spare| {
        let (decompressor, room) = spare.get_or_insert_with(Default::default);
        let length = inflate_into(room, decompressor, payload, bytes_max as usize);
        let inflated = length.map(|length| Chunk::copy_of(&room[..length], owner));
        room.truncate(PIECE);
        room.shrink_to(PIECE);
        inflated
    })
}

/// The same, to the front of `room`; gives its length. Nothing that lay there comes to be in it.
fn inflate_into(
    room: &mut Vec<u8>,
    decompressor: &mut DecompressorOxide,
    payload: &[u8],
    bytes_max: usize,
) -> Result<usize, Violation> {
    let mut blocks_left = BLOCKS_MAX + payload.len() / BYTES_PER_BLOCK;
    let mut length = 0;
    decompressor.init();
    for mut left in [payload, &TAIL] {
        loop {
            let (status, read, written) = decompress(decompressor, left, room, length, INFLATE);
            left = &left[read..];
            length += written;
            if length > bytes_max {
                return Err(Violation::too_big("the message is too large once inflated"));
            }
            match status {
                Inflated::NeedsMoreInput => break,
                Inflated::HasMoreOutput => {
                    let more = (2 * room.len()).max(PIECE).min(bytes_max + 1);
                    room.resize(more, 0);
                }
                Inflated::BlockBoundary | Inflated::Done if blocks_left == 0 => {
                    return Err(Violation::too_big("a message has too many blocks"));
                }
                Inflated::BlockBoundary => blocks_left -= 1,
                // A last block may be followed by others (RFC 7692, 7.2.3.4).
                Inflated::Done => {
                    blocks_left -= 1;
                    decompressor.init();
                }
                _ => return Err(Violation::payload("a message does not inflate")),
            }
        }
    }
    Ok(length)
}

/// What a server answers to the first of the offers that it can keep to (RFC 7692, 5.1 and 7.1).
pub(super) fn accept<'v>(offers: impl Iterator<Item = &'v [u8]>) -> Option<&'static str> {
    members(offers)
        .any(is_offer)
        .then_some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
}

/// Whether it can be kept to: a window of ours smaller than 32 KiB cannot.
fn is_offer(offer: &[u8]) -> bool {
    let mut parts = offer.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if parts.next() != Some(b"permessage-deflate") {
        return false;
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    parts.all(|part| {
        let mut halves = part.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        let value = halves.next().map(|value| {
            let value = value.trim_ascii();
            let bare = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""));
            bare.unwrap_or(value)
        });
        let is_new = !seen.contains(&name);
        seen.push(name);
        let bits = |value: &[u8]| {
            let number = str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<u8>().ok());
            number.filter(|bits| (8..=15).contains(bits) && value[0] != b'0' && value[0] != b'+')
        };
        is_new
            && match (name, value) {
                (b"server_no_context_takeover" | b"client_no_context_takeover", None) => true,
                (b"client_max_window_bits", None) => true,
                (b"client_max_window_bits", Some(value)) => bits(value).is_some(),
                (b"server_max_window_bits", Some(value)) => bits(value) == Some(15),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proptests::cases;
    use crate::testing::block_on;

    fn inflated(payload: &[u8], bytes_max: u64) -> Result<Vec<u8>, Violation> {
        let payload = payload.to_vec();
        block_on(async move || {
            inflate(&payload, bytes_max, Key::of_place(0)).map(|chunk| chunk.to_vec())
        })
    }

    /// RFC 7692, 7.2.3.
    #[test]
    fn the_messages_of_the_rfc_inflate() {
        let cases: [&[u8]; 5] = [
            b"\xf2\x48\xcd\xc9\xc9\x07\x00",
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x00",
        ];
        for payload in cases {
            let found = inflated(payload, 5);
            assert_eq!(
                found.as_deref(),
                Ok(&b"Hello"[..]),
                "{}",
                payload.escape_ascii()
            );
            let too_large = inflated(payload, 4).map_err(|violation| violation.code.number());
            assert_eq!(too_large, Err(1009));
        }
        let bad = inflated(b"\xff\xff\xff", 100).map_err(|violation| violation.code.number());
        assert_eq!(bad, Err(1007));
    }

    #[test]
    fn a_bomb_is_given_up_at_the_bound() {
        let zeros = vec![0; 64 << 20];
        let bomb = deflate(&zeros).expect("it becomes shorter");
        assert!(bomb.len() < 1 << 20);
        let found = inflated(&bomb, 1 << 20).map_err(|violation| violation.code.number());
        assert_eq!(found, Err(1009));
        assert_eq!(
            inflated(&bomb, 64 << 20).map(|bytes| bytes.len()),
            Ok(64 << 20)
        );
    }

    #[test]
    fn a_message_has_so_many_blocks_and_no_more() {
        // Four empty blocks of fixed codes, and one with BFINAL set, to the end of its last byte.
        let blocks: [&[u8]; 2] = [b"\x02\x08\x20\x80\x00", b"\x03\x00"];
        for block in blocks {
            assert_eq!(inflated(&block.repeat(10), 5), Ok(Vec::new()));
            let found = inflated(&block.repeat(10_000), 5);
            let found = found.map_err(|violation| violation.code.number());
            assert_eq!(found, Err(1009), "{}", block.escape_ascii());
        }
    }

    #[test]
    fn a_message_of_flushed_parts_inflates() {
        let (part, mut parts) = (
            b"a part of it, some 60 bytes long, and flushed by who sends it",
            Vec::new(),
        );
        let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, RAW, 0));
        for number in 0..1000_u32 {
            let mut room = [0; 200];
            let part = [&number.to_le_bytes(), &part[..]].concat();
            let done = compress(&mut compressor, &part, &mut room, MZFlush::Sync);
            parts.extend_from_slice(&room[..done.bytes_written]);
        }
        let found = inflated(&parts, 1 << 20).map(|bytes| bytes.len());
        assert_eq!(found, Ok(1000 * (4 + part.len())));
    }

    #[test]
    fn nothing_of_a_message_is_in_another() {
        let secret = deflate(&b"secret ".repeat(100)).expect("it becomes shorter");
        // A match of 3 bytes at a distance of 1, before which nothing is.
        let reaches_back = b"\x03\x02\x00";
        block_on(async move || {
            let owner = Key::of_place(0);
            assert!(inflate(&secret, 1000, owner).is_ok());
            let found =
                inflate(reaches_back, 1000, owner).map_err(|violation| violation.code.number());
            assert_eq!(found.map(|chunk| chunk.to_vec()), Err(1007));
        });
    }

    #[test]
    fn an_offer_is_taken_if_it_can_be_kept_to() {
        let takes = |offers: &[&str]| accept(offers.iter().map(|offer| offer.as_bytes())).is_some();
        assert!(takes(&["permessage-deflate"]));
        assert!(takes(&[
            "x-webkit-deflate-frame",
            "permessage-deflate; client_max_window_bits"
        ]));
        assert!(takes(&[
            "permessage-deflate; client_max_window_bits=10; server_no_context_takeover"
        ]));
        assert!(takes(&[
            "permessage-deflate; server_max_window_bits=10, permessage-deflate"
        ]));
        assert!(takes(&[
            "permessage-deflate; server_max_window_bits=\"15\""
        ]));
        for bad in [
            "",
            "deflate",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
        ] {
            assert!(!takes(&[bad]), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(cases(40))]

        #[test]
        fn what_is_compressed_inflates_to_what_it_was(
            seed in proptest::collection::vec(any::<u8>(), 1..200),
            times in 1..500_usize,
        ) {
            let payload = seed.repeat(times);
            if let Some(deflated) = deflate(&payload) {
                prop_assert!(deflated.len() < payload.len());
                prop_assert_eq!(inflated(&deflated, payload.len() as u64), Ok(payload));
            }
        }

        #[test]
        fn nothing_that_comes_inflates_beyond_the_bound(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Ok(bytes) = inflated(&payload, 1000) {
                prop_assert!(bytes.len() <= 1000);
            }
        }
    }
}
