//! Handlers that push, the same on Corelane and on tokio: what both servers do alike, and what they
//! and their client say to each other.
//!
//! The first bytes of a connection say what it is for ([`Request`]). Whatever is measured begins
//! with a time stamp that its sender takes just before it sends. All stamps are of the wall clock:
//! it is the one by which the kernel tells when bytes came (SO_TIMESTAMPNS, socket(7)).
//!
//! And what the comparisons, `compare_push`, `compare_mail` and `compare_fanout`, have in common:
//! [`comparison`] is their frame, [`times`] their figures and bounds, [`eventfd`] and [`arrival`] are
//! of two of them.

pub mod arrival;
pub mod comparison;
pub mod eventfd;
pub mod times;

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use async_channel::{Receiver, bounded};
use rustix::time::{ClockId, clock_gettime};

/// Bytes that a [`Message`] takes on the wire.
pub const MESSAGE_BYTES: usize = 16;
/// Messages that wait for a handler at most.
const MESSAGES_MAX: usize = 1024;

/// Something pushed: the how manieth of its sender, and when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// From 0.
    pub serial: u64,
    /// Since 1970, in nanoseconds.
    pub sent: u64,
}

impl Message {
    /// One that is sent now.
    #[must_use]
    pub fn now(serial: u64) -> Self {
        Self {
            serial,
            sent: now(),
        }
    }

    /// How long ago it was sent.
    #[must_use]
    pub fn age(self) -> u64 {
        now().saturating_sub(self.sent)
    }

    /// As it is on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; MESSAGE_BYTES] {
        let mut bytes = [0; MESSAGE_BYTES];
        bytes[..8].copy_from_slice(&self.serial.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sent.to_le_bytes());
        bytes
    }

    /// None of bytes that are too few or too many.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (serial, sent) = bytes.split_at_checked(8)?;
        Some(Self {
            serial: u64::from_le_bytes(serial.try_into().ok()?),
            sent: u64::from_le_bytes(sent.try_into().ok()?),
        })
    }
}

/// Nanoseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos() as u64
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// All that comes is sent back, these first bytes too.
    Echo,
    /// `push NANOSECONDS CORE`: a thread on that core sends a message at that interval, and each is
    /// passed on to the peer.
    Push {
        /// Between two messages.
        interval: Duration,
        /// The sender's.
        core: usize,
    },
    /// `select CORE`: the handler waits for many things at once, and tells the peer of each event.
    Select {
        /// That of the thread which sends through the channel.
        core: usize,
    },
}

impl Request {
    /// What a connection's first bytes ask for.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::parse(bytes).unwrap_or(Self::Echo)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(bytes).ok()?.split_whitespace();
        match (words.next()?, words.next()?, words.next()) {
            ("push", interval, Some(core)) => Some(Self::Push {
                interval: Duration::from_nanos(interval.parse().ok()?),
                core: core.parse().ok()?,
            }),
            ("select", core, None) => Some(Self::Select {
                core: core.parse().ok()?,
            }),
            _ => None,
        }
    }
}

/// Messages from a thread of its own, until the receiver is dropped.
#[must_use]
pub fn messages(interval: Duration, core: usize) -> Receiver<Message> {
    let (channel, messages) = bounded(MESSAGES_MAX);
    thread::spawn(move || {
        pin(core);
        let mut due = Instant::now();
        for serial in 0.. {
            due += interval;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if channel.send_blocking(Message::now(serial)).is_err() {
                break;
            }
        }
    });
    messages
}

/// Messages from a thread of its own, each as soon as the one before it is acknowledged by a
/// message the other way, and that way.
#[must_use]
pub fn messages_in_turn(core: usize) -> (Receiver<Message>, async_channel::Sender<()>) {
    let ((channel, messages), (acknowledge, acknowledged)) = (bounded(1), bounded(1));
    thread::spawn(move || {
        pin(core);
        for serial in 0.. {
            if channel.send_blocking(Message::now(serial)).is_err()
                || acknowledged.recv_blocking().is_err()
            {
                break;
            }
        }
    });
    (messages, acknowledge)
}

/// The processor's time that this process has used.
#[must_use]
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Puts this thread on a core; where that is not allowed it stays where it is, as the comparison
/// has checked its cores.
pub fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_say_what_a_connection_is_for() {
        assert_eq!(
            Request::of(b"push 13000000 1\n"),
            Request::Push {
                interval: Duration::from_millis(13),
                core: 1
            }
        );
        assert_eq!(Request::of(b"select 0\n"), Request::Select { core: 0 });
        for other in [
            &b"push 13000000\n"[..],
            b"push x 1",
            b"select",
            b"",
            b"\xff\xff",
            b"hello",
        ] {
            assert_eq!(
                Request::of(other),
                Request::Echo,
                "{}",
                other.escape_ascii()
            );
        }
    }

    #[test]
    fn a_message_survives_the_wire() {
        let message = Message {
            serial: 7,
            sent: u64::MAX,
        };
        assert_eq!(Message::from_bytes(&message.to_bytes()), Some(message));
        assert_eq!(Message::from_bytes(&[0; MESSAGE_BYTES - 1]), None);
        assert_eq!(Message::from_bytes(&[0; MESSAGE_BYTES + 1]), None);
    }
}
