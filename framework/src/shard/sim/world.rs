//! What has been seen of every connection from outside its shard: by its peer, by its handler, and
//! in its slot from turn to turn.

use crate::error::CloseReason;
use crate::id::Key;
use crate::shard::conns::slot::Phase;
use crate::shard::sim::kernel::{Wire, reason_of};
use crate::time::Tick;

/// One life of one slot.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) key: Key,
    pub(crate) is_outbound: bool,
    pub(crate) opened: Tick,
    /// As it was last seen, and since when.
    pub(crate) phase: Phase,
    pub(crate) phase_since: Tick,
    /// When its handler was polled last.
    pub(crate) polled: Tick,
    /// When the last send was submitted, and the first of those that tried in vain before it.
    pub(crate) send_since: Tick,
    pub(crate) send_first: Tick,
    send_again: bool,
    /// Bytes of the peer's stream that the kernel has delivered, and of those the ones that were
    /// read.
    pub(crate) delivered: u64,
    pub(crate) read: u64,
    /// The peer has sent its FIN.
    ended: bool,
    /// All that was to be written, and how much of it has reached the peer.
    pub(crate) output: Vec<u8>,
    pub(crate) sent: usize,
    /// The last write has not been taken in whole, nor will it be if its handler was dropped within
    /// it.
    pub(crate) is_writing: bool,
    /// What the errors that the kernel told of stand for.
    pub(crate) errors: Vec<CloseReason>,
    /// The last of them has yet to be reaped.
    pub(crate) errors_are_new: bool,
    /// The first failure seen in the slot.
    pub(crate) failed: Option<CloseReason>,
    /// What its handler's end says the reason must be; none while it runs.
    pub(crate) expected: Option<CloseReason>,
    /// The reason in its slot when it was last seen.
    pub(crate) reason: Option<CloseReason>,
    /// Its handler reads whatever comes, and not a frame.
    pub(crate) reads_all: bool,
    /// Its handler has given it up.
    pub(crate) aborts: bool,
    /// What its peer was told: our FIN, a reset.
    pub(crate) has_fin: bool,
    pub(crate) was_reset: bool,
}

/// Every connection of one run.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// Those that live.
    pub(crate) lives: Vec<Life>,
    /// The names of those that do not.
    pub(crate) past: Vec<Key>,
    /// How many have ended for each reason.
    pub(crate) closed: [u64; CloseReason::ALL.len()],
    /// Handlers are to come to an end.
    pub(crate) is_ending: bool,
}

impl Life {
    /// A send is submitted.
    fn sends(&mut self, now: Tick) {
        self.send_since = now;
        if !std::mem::take(&mut self.send_again) {
            self.send_first = now;
        }
    }

    fn fails(&mut self, errno: i32) {
        if let Some(reason) = reason_of(errno) {
            self.errors.push(reason);
            self.errors_are_new = true;
        }
    }
}

impl World {
    pub(crate) fn begin(&mut self, key: Key, is_outbound: bool, phase: Phase, now: Tick) {
        assert!(!self.past.contains(&key), "{key:?} lived before");
        self.lives.push(Life {
            key,
            is_outbound,
            opened: now,
            phase,
            phase_since: now,
            polled: now,
            send_since: now,
            send_first: now,
            send_again: false,
            delivered: 0,
            read: 0,
            ended: false,
            output: Vec::new(),
            sent: 0,
            is_writing: false,
            errors: Vec::new(),
            errors_are_new: false,
            failed: None,
            expected: None,
            reason: None,
            reads_all: false,
            aborts: false,
            has_fin: false,
            was_reset: false,
        });
    }

    pub(crate) fn find(&mut self, key: Key) -> Option<&mut Life> {
        self.lives.iter_mut().find(|life| life.key == key)
    }

    pub(crate) fn life(&mut self, key: Key) -> &mut Life {
        self.find(key)
            .unwrap_or_else(|| panic!("{key:?} is nobody's name"))
    }

    // ---- the handler's side ----

    /// The handler was given these bytes.
    pub(crate) fn was_read(&mut self, key: Key, bytes: &[u8]) {
        let life = self.life(key);
        for byte in bytes {
            assert_eq!(
                *byte,
                input_byte(key, life.read),
                "{key:?}: byte {} of the peer's stream comes next",
                life.read
            );
            life.read += 1;
        }
        assert!(life.read <= life.delivered, "{key:?} reads what came");
    }

    /// The handler was told that no more will come.
    pub(crate) fn was_told_the_end(&mut self, key: Key, rest: usize) {
        let life = self.life(key);
        assert_eq!(
            life.read + rest as u64,
            life.delivered,
            "{key:?} was told of its end before it had read everything"
        );
    }

    /// The handler writes these bytes.
    pub(crate) fn writes(&mut self, key: Key, bytes: &[u8]) {
        let life = self.life(key);
        life.output.extend_from_slice(bytes);
        life.is_writing = true;
    }

    /// The next bytes for a handler to write.
    pub(crate) fn next_output(&mut self, key: Key, length: usize) -> Vec<u8> {
        let from = self.life(key).output.len() as u64;
        let bytes: Vec<u8> = (from..from + length as u64)
            .map(|offset| input_byte(key, offset) ^ 0xff)
            .collect();
        self.writes(key, &bytes);
        bytes
    }

    /// The last so many of these were not taken.
    pub(crate) fn unwrites(&mut self, key: Key, length: usize) {
        let output = &mut self.life(key).output;
        output.truncate(output.len() - length);
    }

    pub(crate) fn has_written(&mut self, key: Key) {
        self.life(key).is_writing = false;
    }

    pub(crate) fn was_flushed(&mut self, key: Key) {
        let life = self.life(key);
        assert_eq!(
            life.sent,
            life.output.len(),
            "{key:?} was told that all is sent"
        );
    }
}

impl Wire for World {
    fn sends(&mut self, key: Key, now: Tick) {
        self.life(key).sends(now);
    }

    fn shuts_down(&mut self, key: Key) {
        self.life(key).has_fin = true;
    }

    fn is_reset(&mut self, key: Key) {
        self.life(key).was_reset = true;
    }

    fn has_ended(&mut self, key: Key) -> bool {
        self.life(key).ended
    }

    fn end(&mut self, key: Key) {
        self.life(key).ended = true;
    }

    fn next_input(&mut self, key: Key, length: usize) -> Vec<u8> {
        let from = self.life(key).delivered;
        (from..from + length as u64)
            .map(|offset| input_byte(key, offset))
            .collect()
    }

    fn delivered(&mut self, key: Key, length: usize) {
        self.life(key).delivered += length as u64;
    }

    fn failed_to_receive(&mut self, key: Key, errno: i32) {
        let life = self.life(key);
        life.fails(errno);
    }

    fn sent(&mut self, key: Key, bytes: &[u8], result: i32) {
        let life = self.life(key);
        let due = life.output.get(life.sent..life.sent + bytes.len());
        assert!(
            !bytes.is_empty() && due == Some(bytes),
            "{key:?} sends what was written next, once"
        );
        match result {
            count @ 0.. => life.sent += count as usize,
            error => {
                life.send_again = true;
                life.fails(-error);
            }
        }
    }
}

/// Byte `offset` of a peer's stream: streams differ, and so do their parts.
fn input_byte(key: Key, offset: u64) -> u8 {
    (offset % 251) as u8
        ^ (key.slot.0 as u8).wrapping_mul(31)
        ^ (key.generation.number() as u8).wrapping_mul(67)
}
