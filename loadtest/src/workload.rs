//! The bytes that a connection sends, and those that must come back.
//!
//! Requests and replies are two byte streams. Every byte of them follows from the connection's key
//! and its offset, so no payload is kept in memory and a lost, repeated, swapped or foreign byte
//! shows as a wrong one. By HTTP and WebSocket the reply stream is what the replies carry one after
//! the other; `wire` takes off what is around it.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

pub use crate::protocol::Protocol;
use crate::wire::{http, websocket};

/// RESP2 array of one bulk string: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// RESP2 simple string.
const PONG: &[u8] = b"+PONG\r\n";
/// What is asked for, unless told otherwise.
pub(crate) const PATH_DEFAULT: &str = "/";

/// The requests of each connection.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The protocol of requests and replies.
    pub(crate) protocol: Protocol,
    /// Bytes per request; of no meaning for [`Protocol::Ping`], nor with `expect`.
    pub(crate) payload: u32,
    /// Requests sent in one go.
    pub(crate) pipeline: u32,
    /// Of HTTP and WebSocket: whom is asked, and for what.
    pub(crate) host: Arc<str>,
    pub(crate) path: Arc<str>,
    /// The body that answers each GET; none: a POST, whose body comes back.
    pub(crate) expect: Option<Arc<[u8]>>,
    /// What precedes the payload of each request.
    head: Arc<[u8]>,
}

impl Workload {
    /// So many requests of `payload` bytes in one go, by HTTP and WebSocket for `/` of a host
    /// without a name.
    pub fn new(protocol: Protocol, payload: u32, pipeline: u32) -> Self {
        Self {
            protocol,
            payload,
            pipeline,
            host: "".into(),
            path: PATH_DEFAULT.into(),
            expect: None,
            head: [].into(),
        }
        .with_head()
    }

    /// Asks `host` for `path`, which begins with a slash, by HTTP or WebSocket.
    #[must_use]
    pub fn at(self, host: &str, path: &str) -> Self {
        let (host, path) = (host.into(), path.into());
        Self { host, path, ..self }.with_head()
    }

    /// By HTTP, GETs instead of POSTs, each of which `body` is to answer: one byte at least.
    #[must_use]
    pub fn expecting(self, body: &[u8]) -> Self {
        let expect = Some(body.into());
        Self { expect, ..self }.with_head()
    }

    fn with_head(self) -> Self {
        let length = self.expect.is_none().then_some(self.payload);
        let head = match self.protocol {
            Protocol::Echo | Protocol::Ping => Vec::new(),
            Protocol::Http => http::request_head(&self.host, &self.path, length),
            // Before the key, which is another one for each.
            Protocol::Websocket => websocket::message_head(self.payload.into()),
        };
        let head = head.into();
        Self { head, ..self }
    }

    /// Bytes of a request, with all that the protocol adds.
    pub fn request_length(&self) -> u64 {
        self.overhead() + self.request_payload()
    }

    /// Bytes of a request that is sent for the reply, with which they are counted.
    pub(crate) fn request_payload(&self) -> u64 {
        match self.protocol {
            Protocol::Ping => PING.len() as u64,
            _ if self.expect.is_some() => 0,
            _ => self.payload.into(),
        }
    }

    /// Bytes of a request before its payload.
    fn overhead(&self) -> u64 {
        let key = match self.protocol {
            Protocol::Websocket => websocket::KEY_LENGTH,
            _ => 0,
        };
        (self.head.len() + key) as u64
    }

    /// Bytes of a reply, without what the protocol adds.
    pub fn reply_length(&self) -> u64 {
        match (self.protocol, &self.expect) {
            (Protocol::Ping, _) => PONG.len() as u64,
            (_, Some(body)) => body.len() as u64,
            (_, None) => self.payload.into(),
        }
    }

    /// The same with it, about.
    pub(crate) fn reply_size(&self) -> u64 {
        let head = match self.protocol {
            Protocol::Echo | Protocol::Ping => 0,
            Protocol::Http => http::HEAD_USUAL,
            Protocol::Websocket => websocket::HEAD_MAX,
        };
        head as u64 + self.reply_length()
    }

    /// Bytes of the reply stream that must come for `sent` bytes of the request stream.
    pub fn replied(&self, sent: u64) -> u64 {
        match self.protocol {
            Protocol::Echo => sent,
            _ => sent / self.request_length() * self.reply_length(),
        }
    }

    /// Bytes of the reply stream that may come for them: by HTTP and WebSocket what was sent of a
    /// request may come back before the rest is sent.
    pub(crate) fn may_reply(&self, sent: u64) -> u64 {
        let begun = sent % self.request_length();
        self.replied(sent)
            + match (self.protocol, &self.expect) {
                (Protocol::Echo | Protocol::Ping, _) | (_, Some(_)) => 0,
                _ => begun.saturating_sub(self.overhead()),
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
            Protocol::Http | Protocol::Websocket => self.fill_framed(key, offset, out),
        }
    }

    /// Head, key and payload of one request after the other.
    fn fill_framed(&self, key: StreamKey, offset: u64, mut out: &mut [u8]) {
        let (length, head) = (self.request_length(), self.head.len() as u64);
        let (overhead, payload) = (self.overhead(), self.request_payload());
        let mut offset = offset;
        while !out.is_empty() {
            let (request, within) = (offset / length, offset % length);
            let mask = key.mask(request);
            let end = [head, overhead, length]
                .into_iter()
                .find(|end| within < *end);
            let left = end.unwrap_or(length) - within;
            let part = usize::try_from(left).map_or(out.len(), |left| left.min(out.len()));
            let (piece, rest) = out.split_at_mut(part);
            if within < head {
                piece.copy_from_slice(&self.head[within as usize..within as usize + part]);
            } else if within < overhead {
                let at = (within - head) as usize;
                piece.copy_from_slice(&mask[at..at + part]);
            } else {
                let at = within - overhead;
                key.fill(request * payload + at, piece);
                if self.protocol == Protocol::Websocket {
                    websocket::mask(piece, mask, at);
                }
            }
            (offset, out) = (offset + part as u64, rest);
        }
    }

    /// Compare `reply` with the reply stream from `offset` on.
    pub fn verify(&self, key: StreamKey, offset: u64, reply: &[u8]) -> Result<(), WrongByte> {
        match (self.protocol, &self.expect) {
            (Protocol::Ping, _) => compare(offset, reply, repeated(PONG, offset)),
            (_, Some(body)) => compare(offset, reply, repeated(body, offset)),
            (_, None) => key.verify(offset, reply),
        }
    }
}

/// The stream of one word after the other, from `offset` on.
fn repeated(word: &[u8], offset: u64) -> impl Iterator<Item = u8> {
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

    /// The key that request `index` is masked with: as the payload it follows from the seed.
    pub(crate) fn mask(self, index: u64) -> [u8; websocket::KEY_LENGTH] {
        (mix(!self.0 ^ mix(index)) as u32).to_le_bytes()
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

    fn echo() -> Workload {
        Workload::new(Protocol::Echo, 64, 1)
    }

    fn stream(connection: u64) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        echo().fill(StreamKey::new(7, connection), 0, &mut bytes);
        bytes
    }

    #[test]
    fn every_part_of_the_stream_is_the_same_stream() {
        let (key, whole) = (StreamKey::new(7, 3), stream(3));
        for start in 0..whole.len() {
            for end in start..=whole.len() {
                let mut part = vec![0; end - start];
                echo().fill(key, start as u64, &mut part);
                assert_eq!(part, whole[start..end]);
                assert_eq!(echo().verify(key, start as u64, &part), Ok(()));
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
            assert_eq!(echo().verify(key, 0, &bytes), Err(wrong));
        }
    }

    #[test]
    fn connections_and_messages_differ() {
        assert_ne!(stream(3), stream(4));
        assert_ne!(stream(3)[..32], stream(3)[32..64]);
        echo()
            .verify(StreamKey::new(8, 3), 0, &stream(3))
            .expect_err("another seed, other bytes");
    }

    #[test]
    fn pings_are_resp_and_only_pongs_pass() {
        let (key, resp) = (StreamKey::new(0, 0), Workload::new(Protocol::Ping, 0, 1));
        let mut requests = vec![0; 2 * resp.request_length() as usize];
        resp.fill(key, 0, &mut requests);
        assert_eq!(requests, b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n");
        assert_eq!(resp.verify(key, 0, b"+PONG\r\n+PONG\r\n+P"), Ok(()));
        assert_eq!(resp.verify(key, 8, b"PONG\r\n"), Ok(()));
        let error = WrongByte {
            offset: 7,
            wanted: b'+',
            got: b'-',
        };
        assert_eq!(resp.verify(key, 7, b"-ERR unknown command\r\n"), Err(error));
    }
}
