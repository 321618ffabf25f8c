//! WebSocket behind its handshake, as a client (RFC 6455, 5): frames of binary messages, masked, and
//! replies in one frame or several, with pings between them.

use super::event::{Event, split};

/// Bytes of the key that a client's frame is masked with.
pub(crate) const KEY_LENGTH: usize = 4;
/// The longest head of a server's frame, which has no key.
pub(crate) const HEAD_MAX: usize = 10;
/// Bytes that a control frame carries at most (RFC 6455, 5.5).
const CONTROL_MAX: u64 = 125;

const LAST: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// What a client that has done what it wanted says (RFC 6455, 7.4.1).
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// The head of a binary message of `length` bytes in one frame, but for the key that follows it.
pub(crate) fn message_head(length: u64) -> Vec<u8> {
    head(BINARY, length)
}

fn head(opcode: u8, length: u64) -> Vec<u8> {
    let mut head = vec![LAST | opcode];
    match (u16::try_from(length), length) {
        (_, 0..=125) => head.push(MASKED | length as u8),
        (Ok(length), _) => {
            head.push(MASKED | 126);
            head.extend_from_slice(&length.to_be_bytes());
        }
        (Err(_), _) => {
            head.push(MASKED | 127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head
}

/// Masks what a frame carries from `offset` on.
pub(crate) fn mask(bytes: &mut [u8], key: [u8; KEY_LENGTH], offset: u64) {
    let mut turned = key;
    turned.rotate_left((offset % KEY_LENGTH as u64) as usize);
    let wide = u64::from(u32::from_ne_bytes(turned)) * 0x1_0000_0001;
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    let rest = rest.iter_mut().zip(turned.into_iter().cycle());
    rest.for_each(|(byte, key)| *byte ^= key);
}

/// A pong with what the ping carried.
pub(crate) fn pong(carried: &[u8], key: [u8; KEY_LENGTH]) -> Vec<u8> {
    control(PONG, carried, key)
}

/// The end of a client that has all that it wanted.
pub(crate) fn close(key: [u8; KEY_LENGTH]) -> Vec<u8> {
    control(CLOSE, &NORMAL, key)
}

fn control(opcode: u8, carried: &[u8], key: [u8; KEY_LENGTH]) -> Vec<u8> {
    let mut frame = head(opcode, carried.len() as u64);
    frame.extend_from_slice(&key);
    let begin = frame.len();
    frame.extend_from_slice(carried);
    mask(&mut frame[begin..], key, 0);
    frame
}

/// The frames that come, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    state: State,
    /// The begun head.
    head: [u8; HEAD_MAX],
    length: usize,
    /// A message has begun, and its last frame has not.
    in_message: bool,
    /// What has come of what a control frame carries.
    carried: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of a message are to come, in what may be its last frame.
    Data { left: u64, is_last: bool },
    /// So many bytes of a control frame.
    Control { opcode: u8, left: u64 },
}

impl Frames {
    /// Neither is a message begun, nor a frame.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Head && self.length == 0 && !self.in_message
    }

    /// What `bytes` begin with, which is taken off them.
    pub(crate) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Event<'b>, String> {
        loop {
            match self.state {
                State::Data { left: 0, is_last } => {
                    self.state = State::Head;
                    self.in_message = !is_last;
                    if is_last {
                        return Ok(Event::End);
                    }
                }
                State::Control { opcode, left: 0 } => {
                    self.state = State::Head;
                    let carried = std::mem::take(&mut self.carried);
                    match opcode {
                        PING => return Ok(Event::Ping(carried)),
                        CLOSE => return Ok(Event::Close(why_closed(&carried))),
                        _ => {}
                    }
                }
                _ if bytes.is_empty() => return Ok(Event::More),
                State::Head => self.take_head(bytes)?,
                State::Data { left, is_last } => {
                    let data = split(bytes, left);
                    let left = left - data.len() as u64;
                    self.state = State::Data { left, is_last };
                    return Ok(Event::Body(data));
                }
                State::Control { opcode, left } => {
                    let carried = split(bytes, left);
                    self.carried.extend_from_slice(carried);
                    let left = left - carried.len() as u64;
                    self.state = State::Control { opcode, left };
                }
            }
        }
    }

    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        while let Some(missing) = self.missing() {
            let piece = split(bytes, missing as u64);
            if piece.is_empty() {
                return Ok(());
            }
            self.head[self.length..self.length + piece.len()].copy_from_slice(piece);
            self.length += piece.len();
        }
        self.length = 0;
        self.state = self.opened()?;
        Ok(())
    }

    /// Bytes of the head that are to come; none if it is whole.
    fn missing(&self) -> Option<usize> {
        let whole = match (self.length, self.head[1] & !MASKED) {
            (0 | 1, _) | (_, 0..=125) => 2,
            (_, 126) => 4,
            _ => HEAD_MAX,
        };
        Some(whole - self.length).filter(|missing| *missing > 0)
    }

    /// What a whole head says is to come.
    fn opened(&self) -> Result<State, String> {
        let [first, second, ..] = self.head;
        let (opcode, is_last) = (first & 0xf, first & LAST != 0);
        let shown = || self.head[..2].escape_ascii().to_string();
        if first & RESERVED != 0 || second & MASKED != 0 {
            return Err(format!(
                "a frame with reserved bits, or masked: {}",
                shown()
            ));
        }
        let left = self.carries()?;
        match opcode {
            CONTINUATION if self.in_message => Ok(State::Data { left, is_last }),
            BINARY if !self.in_message => Ok(State::Data { left, is_last }),
            CLOSE | PING | PONG if is_last && left <= CONTROL_MAX => {
                Ok(State::Control { opcode, left })
            }
            _ => Err(format!(
                "a frame that is none of a binary message: {}",
                shown()
            )),
        }
    }

    fn carries(&self) -> Result<u64, String> {
        let (short, wide) = (&self.head[2..4], &self.head[2..]);
        let (length, least) = match self.head[1] & !MASKED {
            126 => (short.iter(), 126),
            127 => (wide.iter(), 1 << 16),
            length => return Ok(length.into()),
        };
        let length = length.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        match (least..1 << 63).contains(&length) {
            true => Ok(length),
            false => Err(format!(
                "a frame's length of {length} is written in other bytes"
            )),
        }
    }
}

fn why_closed(carried: &[u8]) -> String {
    match carried {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("with {code} {}", reason.escape_ascii())
        }
        _ => "without a code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::events;
    use super::*;
    use crate::workload::Protocol;

    const SERVED: &[u8] =
        b"\x82\x05hello\x02\x03hel\x89\x02hi\x80\x02lo\x02\x00\x8a\x00\x00\x01x\x80\x00\
        \x88\x06\x03\xe9gone\x88\x00";
    const FOUND: [&str; 6] = [
        "body hello",
        "Ping([104, 105])",
        "body hello",
        "body x",
        "Close(\"with 1001 gone\")",
        "Close(\"without a code\")",
    ];

    #[test]
    fn frames_are_the_same_cut_anywhere() {
        for first in 0..=SERVED.len() {
            let (one, rest) = SERVED.split_at(first);
            for step in [1, 3, SERVED.len()] {
                let pieces = [one].into_iter().chain(rest.chunks(step));
                let (found, why, is_at_rest) = events(Protocol::Websocket, pieces);
                assert_eq!(
                    (found, why, is_at_rest),
                    (FOUND.map(str::to_owned).to_vec(), None, true)
                );
            }
        }
    }

    #[test]
    fn what_a_server_may_not_send_is_told() {
        for (bytes, wanted) in [
            (&b"\x81\x05hello"[..], "none of a binary message"),
            (b"\x80\x01a", "none of a binary message"),
            (b"\x02\x01a\x82\x01b", "none of a binary message"),
            (b"\x09\x01a", "none of a binary message"),
            (b"\x89\x7e\x00\x7e", "none of a binary message"),
            (b"\x83\x01a", "none of a binary message"),
            (b"\xc2\x01a", "reserved"),
            (b"\x82\x81abcda", "masked"),
            (b"\x82\x7e\x00\x7d", "length of 125"),
            (
                b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
                "length of 65535",
            ),
            (
                b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
                "length of 9223372036854775808",
            ),
        ] {
            let why = events(Protocol::Websocket, bytes.chunks(1)).1;
            assert!(
                why.as_ref().is_some_and(|why| why.contains(wanted)),
                "{}: {why:?}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn lengths_take_as_few_bytes_as_they_can() {
        let head = |length| message_head(length);
        assert_eq!(head(125), [0x82, 0xfd]);
        assert_eq!(head(126), [0x82, 0xfe, 0, 126]);
        assert_eq!(head(65_535), [0x82, 0xfe, 0xff, 0xff]);
        assert_eq!(head(65_536), [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn masking_in_pieces_is_masking_byte_by_byte() {
        let (key, plain) = ([1, 2, 3, 200], (0..100).collect::<Vec<u8>>());
        let by_byte: Vec<u8> = (0..)
            .zip(&plain)
            .map(|(at, byte)| byte ^ key[at % 4])
            .collect();
        for at in 0..=plain.len() {
            let mut masked = plain.clone();
            let (first, second) = masked.split_at_mut(at);
            mask(first, key, 0);
            mask(second, key, at as u64);
            assert_eq!(masked, by_byte);
        }
        assert_eq!(
            pong(b"ab", [1; 4]),
            [0x8a, 0x82, 1, 1, 1, 1, b'a' ^ 1, b'b' ^ 1]
        );
        assert_eq!(close([0; 4]), [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]);
    }
}
