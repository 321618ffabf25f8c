//! The kernel's part: what is in flight, and the wires that it is about. Everything that can end at
//! once does.

use std::collections::BTreeMap;

use crate::error::CloseReason;
use crate::ring::buffers::BufferPool;
use crate::ring::stand_in::Submission;
use crate::ring::{Completion, Operation, Ring, Token};
use crate::testing::wire::Wire;

/// What the kernel knows.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    /// Every connection there was.
    pub(super) wires: Vec<Wire>,
    /// Whose wire a direct descriptor is.
    by_slot: BTreeMap<u32, usize>,
    pending: Vec<Submission>,
}

impl Kernel {
    /// A wire for a new connection in the lowest free slot below `most`.
    pub(super) fn connect(&mut self, most: u32) -> Option<(u32, usize)> {
        let slot = (0..most).find(|slot| !self.by_slot.contains_key(slot))?;
        self.wires.push(Wire::default());
        self.by_slot.insert(slot, self.wires.len() - 1);
        Some((slot, self.wires.len() - 1))
    }

    /// The slot is free: its connection was closed for `reason`.
    pub(super) fn closed(&mut self, slot: u32, reason: CloseReason) {
        if let Some(wire) = self.by_slot.remove(&slot) {
            self.wires[wire].closed = Some(reason);
            self.wires[wire].wake();
        }
    }

    /// The entry: takes what was submitted, and ends what can end. True: something has.
    pub(super) fn enter(&mut self, ring: &mut Ring, pool: &BufferPool) -> bool {
        let mut went_on = false;
        for submission in ring.take_submissions() {
            let token = submission.token;
            match token.operation {
                Operation::Timer
                | Operation::WaitTimer
                | Operation::TaskTimer
                | Operation::Wake => {
                    continue; // time goes by where nothing else can happen
                }
                Operation::Cancel => self.cancel(ring, &submission),
                Operation::Reset => self.ended(token, |wire| wire.server_reset = true),
                Operation::QuietSend => self.send(ring, &submission, true),
                _ => self.pending.push(submission),
            }
            went_on = true;
        }
        for submission in std::mem::take(&mut self.pending) {
            let before = self.pending.len();
            self.attempt(ring, pool, submission);
            went_on |= self.pending.len() == before;
        }
        went_on
    }

    /// Ends an operation if it can end, or goes on waiting.
    fn attempt(&mut self, ring: &mut Ring, pool: &BufferPool, submission: Submission) {
        let token = submission.token;
        match token.operation {
            Operation::Send if self.room(token) > 0 => self.send(ring, &submission, false),
            Operation::Poll if self.has_input(token) => {
                complete(ring, token, libc::POLLIN.into());
            }
            Operation::Receive if self.has_input(token) => {
                if self.receive(ring, pool, &submission) {
                    self.pending.push(submission);
                }
            }
            Operation::Shutdown => {
                self.ended(token, |wire| wire.server_ended = true);
                complete(ring, token, 0);
            }
            Operation::Install => complete(ring, token, -libc::ECONNREFUSED),
            Operation::Close => {
                self.ended(token, |wire| wire.server_ended = true);
                complete(ring, token, 0);
            }
            _ => self.pending.push(submission),
        }
    }

    fn wire(&mut self, token: Token) -> Option<&mut Wire> {
        let wire = *self.by_slot.get(&token.key.slot.0)?;
        self.wires.get_mut(wire)
    }

    fn room(&mut self, token: Token) -> usize {
        self.wire(token).map_or(0, |wire| wire.room())
    }

    fn has_input(&mut self, token: Token) -> bool {
        self.wire(token)
            .is_some_and(|wire| !wire.inbound.is_empty() || wire.peer_ended || wire.peer_reset)
    }

    fn ended(&mut self, token: Token, end: impl FnOnce(&mut Wire)) {
        if let Some(wire) = self.wire(token) {
            end(wire);
            wire.wake();
        }
    }

    fn cancel(&mut self, ring: &mut Ring, cancel: &Submission) {
        let target = cancel.target();
        let place = self
            .pending
            .iter()
            .position(|pending| pending.token == target);
        if let Some(place) = place {
            self.pending.remove(place);
            complete(ring, target, -libc::ECANCELED);
        }
        let result = if place.is_some() { 0 } else { -libc::ENOENT };
        complete(ring, cancel.token, result);
    }

    /// Takes as much of a send as there is room for. A quiet one is told of only if that is not
    /// all.
    fn send(&mut self, ring: &mut Ring, send: &Submission, is_quiet: bool) {
        let bytes = send.bytes();
        let Some(wire) = self.wire(send.token) else {
            return complete(ring, send.token, -libc::EPIPE);
        };
        if wire.peer_reset {
            return complete(ring, send.token, -libc::EPIPE);
        }
        let count = wire.room().min(bytes.len());
        wire.outbound.extend(&bytes[..count]);
        wire.wake();
        if is_quiet && count == bytes.len() {
            return;
        }
        let full = if count == 0 {
            -libc::EAGAIN
        } else {
            count as i32
        };
        complete(ring, send.token, full);
    }

    /// Fills buffers with what has come. True: a multishot receive goes on.
    fn receive(&mut self, ring: &mut Ring, pool: &BufferPool, receive: &Submission) -> bool {
        let token = receive.token;
        let Some(wire) = self.wire(token) else {
            return true;
        };
        if wire.peer_reset {
            complete(ring, token, -libc::ECONNRESET);
            return false;
        }
        while !wire.inbound.is_empty() {
            let count = wire.inbound.len().min(pool.size() as usize);
            let bytes: Vec<u8> = wire.inbound.iter().take(count).copied().collect();
            let Some(buffer) = ring.fill_buffer(pool, &bytes) else {
                complete(ring, token, -libc::ENOBUFS);
                return false;
            };
            wire.inbound.drain(..count);
            ring.complete(Completion {
                token,
                result: count as i32,
                buffer: Some(buffer),
                more: receive.is_multishot(),
            });
            if !receive.is_multishot() {
                return false;
            }
        }
        if wire.peer_ended {
            complete(ring, token, 0);
        }
        !wire.peer_ended
    }
}

fn complete(ring: &mut Ring, token: Token, result: i32) {
    ring.complete(Completion {
        token,
        result,
        buffer: None,
        more: false,
    });
}
