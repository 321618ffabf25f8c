//! Compressed messages (permessage-deflate, RFC 7692), each for itself: a thread has one compressor
//! and one decompressor for all its connections, and they keep nothing from one message to the next.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::conn::chunk::Chunk;
use crate::id::Key;
use crate::websocket::code::Violation;
use crate::websocket::handshake::members;

/// A shorter message is not compressed: it would seldom become shorter.
const DEFLATED_MIN: usize = 32;
/// Of 0 to 9. No key: higher ones take several times the time for some hundredths of the bytes.
const LEVEL: u32 = 3;
/// Bytes that are inflated at a time.
const PIECE: usize = 16 * 1024;
/// Last blocks of a message (RFC 7692, 7.2.3.4) at most. No key: who compresses makes one, if any. One
/// takes two bytes, and behind it the decompressor begins anew, which takes as long as to inflate a
/// kilobyte.
const LAST_BLOCKS_MAX: u32 = 16;
/// What ends a message, and is not sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    static COMPRESS: RefCell<Option<Box<Compress>>> = const { RefCell::new(None) };
    static DECOMPRESS: RefCell<Option<(Box<Decompress>, Vec<u8>)>> = const { RefCell::new(None) };
}

/// `payload` compressed, if it becomes shorter by it (RFC 7692, 7.2.1).
pub(super) fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < DEFLATED_MIN {
        return None;
    }
    COMPRESS.with_borrow_mut(|compress| {
        let compress =
            compress.get_or_insert_with(|| Box::new(Compress::new(Compression::new(LEVEL), false)));
        compress.reset();
        // One that does not fit is none that is wanted.
        let mut deflated = Vec::with_capacity(payload.len() + TAIL.len());
        let status = compress.compress_vec(payload, &mut deflated, FlushCompress::Sync);
        let is_whole = status.is_ok()
            && compress.total_in() == payload.len() as u64
            && deflated.len() < deflated.capacity()
            && deflated.ends_with(&TAIL);
        deflated.truncate(deflated.len().saturating_sub(TAIL.len()));
        (is_whole && deflated.len() < payload.len()).then_some(deflated)
    })
}

/// The message that was compressed to `payload`, of at most `bytes_max` (RFC 7692, 7.2.2).
pub(super) fn inflate(payload: &[u8], bytes_max: u64, owner: Key) -> Result<Chunk, Violation> {
    DECOMPRESS.with_borrow_mut(|spare| {
        let (decompress, piece) =
            spare.get_or_insert_with(|| (Box::new(Decompress::new(false)), vec![0; PIECE]));
        decompress.reset(false);
        let (mut inflated, mut last_blocks) = (Chunk::default(), 0);
        for mut left in [payload, &TAIL] {
            loop {
                let (read, written) = (decompress.total_in(), decompress.total_out());
                let status = decompress.decompress(left, piece, FlushDecompress::None);
                let read = (decompress.total_in() - read) as usize;
                let written = (decompress.total_out() - written) as usize;
                left = &left[read..];
                if (inflated.len() + written) as u64 > bytes_max {
                    return Err(Violation::too_big("the message is too large once inflated"));
                }
                inflated.append(Chunk::copy_of(&piece[..written], owner));
                match status {
                    // A last block may be followed by others (RFC 7692, 7.2.3.4).
                    Ok(Status::StreamEnd) if last_blocks < LAST_BLOCKS_MAX => {
                        last_blocks += 1;
                        decompress.reset(false);
                    }
                    Ok(Status::StreamEnd) => {
                        return Err(Violation::too_big("a message has too many last blocks"));
                    }
                    Ok(_) if read > 0 || written > 0 => {}
                    Ok(_) if left.is_empty() => break,
                    _ => return Err(Violation::payload("a message does not inflate")),
                }
                if left.is_empty() && written < PIECE {
                    break;
                }
            }
        }
        Ok(inflated)
    })
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
    fn a_message_has_so_many_last_blocks_and_no_more() {
        // An empty block with BFINAL set, to the end of its last byte.
        let blocks = |count: u32| b"\x03\x00".repeat(count as usize);
        assert_eq!(inflated(&blocks(LAST_BLOCKS_MAX), 5), Ok(Vec::new()));
        let found = inflated(&blocks(LAST_BLOCKS_MAX + 1), 5);
        assert_eq!(
            found.map_err(|violation| violation.code.number()),
            Err(1009)
        );
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
