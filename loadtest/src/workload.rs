//! The bytes that a connection sends, and those that must come back.
//!
//! Requests and replies are two byte streams. Every byte of them follows from the connection's key
//! and its offset, so no payload is kept in memory and a lost, repeated, swapped or foreign byte
//! shows as a wrong one.

use std::iter;
use std::ops::Range;

use clap::ValueEnum;

/// The protocol of requests and replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Payloads, different for each connection and message; the same bytes come back
    Echo,
    /// PING as a Redis client sends it; +PONG comes back
    Ping,
}

/// RESP2 array of one bulk string: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// RESP2 simple string.
const PONG: &[u8] = b"+PONG\r\n";

/// The requests of each connection.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// The protocol of requests and replies.
    pub protocol: Protocol,
    /// Bytes per request; of no meaning for [`Protocol::Ping`].
    pub payload: u32,
    /// Requests sent in one go.
    pub pipeline: u32,
}

impl Workload {
    /// Bytes of a request.
    pub fn request_length(&self) -> u64 {
        self.length(PING)
    }

    /// Bytes of a reply.
    pub fn reply_length(&self) -> u64 {
        self.length(PONG)
    }

    fn length(&self, word: &[u8]) -> u64 {
        match self.protocol {
            Protocol::Echo => self.payload.into(),
            Protocol::Ping => word.len() as u64,
        }
    }

    /// Bytes of the reply stream that `sent` bytes of the request stream have asked for.
    pub fn replied(&self, sent: u64) -> u64 {
        match self.protocol {
            Protocol::Echo => sent,
            Protocol::Ping => sent / self.request_length() * self.reply_length(),
        }
    }

    /// Write the request stream from `offset` on into all of `out`.
    pub fn fill(&self, key: StreamKey, offset: u64, out: &mut [u8]) {
        match self.protocol {
            Protocol::Echo => key.fill(offset, out),
            Protocol::Ping => {
                let bytes = out.iter_mut().zip(repeated(PING, offset));
                bytes.for_each(|(byte, ping)| *byte = ping);
            }
        }
    }

    /// Compare `reply` with the reply stream from `offset` on.
    pub fn verify(&self, key: StreamKey, offset: u64, reply: &[u8]) -> Result<(), WrongByte> {
        match self.protocol {
            Protocol::Echo => key.verify(offset, reply),
            Protocol::Ping => compare(offset, reply, repeated(PONG, offset)),
        }
    }
}

/// The stream of one word after the other, from `offset` on.
fn repeated(word: &'static [u8], offset: u64) -> impl Iterator<Item = u8> {
    let begun = (offset % word.len() as u64) as usize;
    word.iter().copied().cycle().skip(begun)
}

/// A wrong byte of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongByte {
    /// Where in the connection's reply stream.
    pub offset: u64,
    /// The right byte.
    pub wanted: u8,
    /// The byte that came.
    pub got: u8,
}

/// Names one pseudo-random byte stream: that of one connection.
#[derive(Debug, Clone, Copy)]
pub struct StreamKey(u64);

const WORD: usize = size_of::<u64>();

impl StreamKey {
    /// The key of connection number `connection` (of any cycle) of a run.
    pub fn new(seed: u64, connection: u64) -> Self {
        Self(mix(mix(seed) ^ connection))
    }

    /// Word `index` of the stream: output `index` of SplitMix64 (Steele, Lea and Flood, 2014).
    fn word(self, index: u64) -> [u8; WORD] {
        const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
        mix(self.0.wrapping_add(index.wrapping_mul(GOLDEN_RATIO))).to_le_bytes()
    }

    pub(crate) fn fill(self, offset: u64, out: &mut [u8]) {
        for (at, piece) in pieces(offset, out.len()) {
            let word = self.word((offset + at as u64) / WORD as u64);
            match <&mut [u8; WORD]>::try_from(&mut out[at..at + piece.len()]) {
                Ok(whole) => *whole = word,
                Err(_) => out[at..at + piece.len()].copy_from_slice(&word[piece]),
            }
        }
    }

    fn verify(self, offset: u64, reply: &[u8]) -> Result<(), WrongByte> {
        for (at, piece) in pieces(offset, reply.len()) {
            let word = self.word((offset + at as u64) / WORD as u64);
            let got = &reply[at..at + piece.len()];
            let right = match <&[u8; WORD]>::try_from(got) {
                Ok(whole) => *whole == word,
                Err(_) => got == &word[piece.clone()],
            };
            if !right {
                return compare(offset + at as u64, got, word[piece].iter().copied());
            }
        }
        Ok(())
    }
}

/// Cut `length` bytes from `offset` on at the words' borders: where each piece begins, counted
/// from `offset`, and which part of its word it is.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut at = 0;
    iter::from_fn(move || {
        let begin = at;
        let start = ((offset + begin as u64) % WORD as u64) as usize;
        let end = WORD.min(start + (length - begin));
        at += end - start;
        (begin < length).then_some((begin, start..end))
    })
}

fn compare(offset: u64, reply: &[u8], wanted: impl Iterator<Item = u8>) -> Result<(), WrongByte> {
    for ((offset, &got), wanted) in (offset..).zip(reply).zip(wanted) {
        if got != wanted {
            return Err(WrongByte {
                offset,
                wanted,
                got,
            });
        }
    }
    Ok(())
}

/// The finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Workload = Workload {
        protocol: Protocol::Echo,
        payload: 64,
        pipeline: 1,
    };
    const RESP: Workload = Workload {
        protocol: Protocol::Ping,
        payload: 0,
        pipeline: 1,
    };

    fn stream(connection: u64) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        ECHO.fill(StreamKey::new(7, connection), 0, &mut bytes);
        bytes
    }

    #[test]
    fn every_part_of_the_stream_is_the_same_stream() {
        let (key, whole) = (StreamKey::new(7, 3), stream(3));
        for start in 0..whole.len() {
            for end in start..=whole.len() {
                let mut part = vec![0; end - start];
                ECHO.fill(key, start as u64, &mut part);
                assert_eq!(part, whole[start..end]);
                assert_eq!(ECHO.verify(key, start as u64, &part), Ok(()));
            }
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_is_found_where_it_is() {
        let key = StreamKey::new(7, 3);
        for at in 0..100 {
            let mut bytes = stream(3);
            bytes[at] ^= 1;
            let wrong = WrongByte {
                offset: at as u64,
                wanted: bytes[at] ^ 1,
                got: bytes[at],
            };
            assert_eq!(ECHO.verify(key, 0, &bytes), Err(wrong));
        }
    }

    #[test]
    fn connections_and_messages_differ() {
        assert_ne!(stream(3), stream(4));
        assert_ne!(stream(3)[..32], stream(3)[32..64]);
        ECHO.verify(StreamKey::new(8, 3), 0, &stream(3))
            .expect_err("another seed, other bytes");
    }

    #[test]
    fn pings_are_resp_and_only_pongs_pass() {
        let key = StreamKey::new(0, 0);
        let mut requests = vec![0; 2 * RESP.request_length() as usize];
        RESP.fill(key, 0, &mut requests);
        assert_eq!(requests, b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n");
        assert_eq!(RESP.verify(key, 0, b"+PONG\r\n+PONG\r\n+P"), Ok(()));
        assert_eq!(RESP.verify(key, 8, b"PONG\r\n"), Ok(()));
        let error = WrongByte {
            offset: 7,
            wanted: b'+',
            got: b'-',
        };
        assert_eq!(RESP.verify(key, 7, b"-ERR unknown command\r\n"), Err(error));
    }
}
