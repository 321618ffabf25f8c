//! What a connection with a session sends: what was written is sealed when it goes to the kernel, so
//! that what was written together shares a record.

use crate::error::CloseReason;
use crate::id::Key;
use crate::ring::buffers::{BufRef, BufferPool};
use crate::shard::conns::conn_mut::{ConnMut, Shared};
use crate::shard::conns::queue::{Queue, Segments};
use crate::shard::conns::slot::{Phase, SendState};
use crate::shard::conns::tls::record::{OVERHEAD_MAX, PLAINTEXT_MAX};
use crate::shard::conns::tls::session::{Session, Unsealed};
use crate::shard::conns::tls::sessions::{OutputEnd, Tls};

/// What is sealed for one send, at most: four records. A send takes more only if the peer does, and
/// the shard's others wait meanwhile.
const SEALED_PER_SEND_MAX: u32 = 4 * PLAINTEXT_MAX;

impl ConnMut<'_> {
    /// What was written is followed by our last words (RFC 8446, 6.1), and nothing can be written
    /// behind it. Not where the connection has no session.
    pub(crate) fn end_session(&mut self) {
        let tls = self.shared.tls.get_mut(self.key.slot);
        let Some(tls) = tls.filter(|tls| tls.end == OutputEnd::Open) else {
            return;
        };
        tls.end = OutputEnd::Ending;
        if self.slot.phase == Phase::Serving {
            self.flush();
        }
    }

    /// Seals what is to be sent next. Nothing is in the kernel. False: the session seals nothing any
    /// more, and the connection has failed.
    pub(crate) fn seal_output(&mut self) -> bool {
        let (slot, bytes) = (self.key.slot, self.slot.output_bytes);
        if !self.shared.tls.has_unsealed(slot, bytes) {
            return true;
        }
        let Shared {
            tls,
            segments,
            buffers,
            unsent,
            ..
        } = &mut *self.shared;
        let mut scratch = std::mem::take(&mut tls.scratch);
        let Some(tls) = tls.get_mut(slot) else {
            return true;
        };
        let mut sealing = Sealing {
            key: self.key,
            tls,
            segments,
            buffers,
            plain: self.slot.output,
            sealed: Queue::EMPTY,
        };
        let sealed = sealing.run(&mut scratch);
        let (queue, before) = (sealing.joined(), self.slot.output_bytes);
        self.slot.output = queue;
        let bytes = segments.iter(queue).map(BufRef::len).sum();
        self.slot.output_bytes = bytes;
        *unsent = *unsent + u64::from(bytes) - u64::from(before);
        scratch.clear();
        self.shared.tls.scratch = scratch;
        if sealed.is_err() {
            self.fail(CloseReason::TlsInvalid);
        }
        sealed.is_ok()
    }

    /// What rustls has to send goes behind what is sealed. Nothing does behind our FIN: it would be a
    /// send beside it.
    pub(super) fn send_own(&mut self) {
        if self.slot.send.has_fin() {
            return;
        }
        let Shared {
            tls,
            segments,
            buffers,
            unsent,
            ..
        } = &mut *self.shared;
        let own = std::mem::take(&mut tls.own);
        let Some(tls) = tls.get_mut(self.key.slot) else {
            return;
        };
        let mut front = take_front(segments, &mut self.slot.output, tls.sealed);
        segments.push_back(&mut front, buffers.copy(&own, Some(self.key)));
        self.slot.output = join(segments, front, self.slot.output);
        let bytes = own.len() as u32;
        tls.sealed += bytes;
        self.slot.output_bytes += bytes;
        *unsent += u64::from(bytes);
        self.shared.tls.own = own;
        if matches!(self.slot.phase, Phase::Serving | Phase::Flushing) {
            self.send_output();
        }
    }

    /// The session has failed while a send was in the kernel: the alert, which waits behind it, goes
    /// out nevertheless, and nothing that is not sealed. False: there is no such send.
    pub(crate) fn keeps_alert(&mut self) -> bool {
        let Shared {
            tls,
            segments,
            buffers,
            unsent,
            ..
        } = &mut *self.shared;
        let tls = tls.get_mut(self.key.slot);
        let Some(tls) = tls.filter(|_| self.slot.send == SendState::InFlight) else {
            return false;
        };
        tls.end = OutputEnd::Ended;
        let sealed = take_front(segments, &mut self.slot.output, tls.sealed);
        while let Some(buffer) = segments.pop_front(&mut self.slot.output) {
            buffers.release(buffer);
        }
        *unsent -= u64::from(self.slot.output_bytes - tls.sealed);
        self.slot.output = sealed;
        self.slot.output_bytes = tls.sealed;
        self.slot.failed = None;
        true
    }

    /// The kernel has taken `count` bytes.
    pub(crate) fn sealed_were_sent(&mut self, count: u32) {
        if let Some(tls) = self.shared.tls.get_mut(self.key.slot) {
            debug_assert!(tls.sealed >= count || self.slot.send != SendState::Idle);
            tls.sealed = tls.sealed.saturating_sub(count);
        }
    }
}

/// The output of a connection, while it is sealed.
struct Sealing<'a> {
    key: Key,
    tls: &'a mut Tls,
    segments: &'a mut Segments,
    buffers: &'a BufferPool,
    plain: Queue,
    sealed: Queue,
}

impl Sealing<'_> {
    fn run(&mut self, scratch: &mut Vec<u8>) -> Result<(), Unsealed> {
        self.sealed = take_front(self.segments, &mut self.plain, self.tls.sealed);
        while self.tls.sealed < SEALED_PER_SEND_MAX {
            let Some(front) = self.segments.pop_front(&mut self.plain) else {
                break;
            };
            let sealed = self.seal_record(front, scratch);
            sealed?;
        }
        if self.plain.is_empty() && self.tls.end == OutputEnd::Ending {
            let record = seal(
                self.buffers,
                self.key,
                0,
                &mut self.tls.session,
                Session::seal_end,
            )?;
            self.push(record);
            self.tls.end = OutputEnd::Ended;
        }
        Ok(())
    }

    /// `front`, and what fits behind it, in one record.
    fn seal_record(&mut self, mut front: BufRef, scratch: &mut Vec<u8>) -> Result<(), Unsealed> {
        if front.len() > PLAINTEXT_MAX {
            let head = self.buffers.split(&mut front, PLAINTEXT_MAX);
            self.segments.push_front(&mut self.plain, front);
            front = head;
        }
        let is_alone = front.len() == PLAINTEXT_MAX || self.plain.is_empty();
        if !is_alone {
            scratch.clear();
            scratch.extend_from_slice(front.bytes());
            self.gather(scratch);
        }
        let plain = if is_alone { front.bytes() } else { scratch };
        let length = plain.len() as u32;
        let record = seal(
            self.buffers,
            self.key,
            length,
            &mut self.tls.session,
            |session, room| session.seal(plain, room),
        );
        self.buffers.release(front);
        self.push(record?);
        Ok(())
    }

    /// Fills a record.
    fn gather(&mut self, scratch: &mut Vec<u8>) {
        while let Some(next) = self.segments.front_mut(self.plain) {
            let room = PLAINTEXT_MAX as usize - scratch.len();
            let taken = room.min(next.len() as usize);
            scratch.extend_from_slice(&next.bytes()[..taken]);
            next.advance(taken as u32);
            if next.len() > 0 {
                return;
            }
            if let Some(next) = self.segments.pop_front(&mut self.plain) {
                self.buffers.release(next);
            }
        }
    }

    fn push(&mut self, record: BufRef) {
        self.tls.sealed += record.len();
        self.segments.push_back(&mut self.sealed, record);
    }

    /// All of the output: what is sealed, then what is not.
    fn joined(self) -> Queue {
        join(self.segments, self.sealed, self.plain)
    }
}

/// A record of `length` bytes of plaintext, as `act` makes it.
fn seal(
    buffers: &BufferPool,
    key: Key,
    length: u32,
    session: &mut Session,
    mut act: impl FnMut(&mut Session, &mut [u8]) -> Result<usize, Unsealed>,
) -> Result<BufRef, Unsealed> {
    let mut room = length + OVERHEAD_MAX;
    loop {
        let mut record = buffers.zeroed(room, Some(key));
        let made = act(session, buffers.bytes_mut(&mut record).unwrap_or_default());
        match made {
            Ok(bytes) => {
                record.truncate(bytes as u32);
                return Ok(record);
            }
            Err(Unsealed::NeedsRoom(more)) if more > room as usize => room = more as u32,
            Err(_) => {
                buffers.release(record);
                return Err(Unsealed::Over);
            }
        }
        buffers.release(record);
    }
}

/// The segments at the front that have so many bytes.
fn take_front(segments: &mut Segments, queue: &mut Queue, bytes: u32) -> Queue {
    let (mut front, mut taken) = (Queue::EMPTY, 0);
    while taken < bytes
        && let Some(buffer) = segments.pop_front(queue)
    {
        taken += buffer.len();
        segments.push_back(&mut front, buffer);
    }
    debug_assert_eq!(taken, bytes, "what is sealed has segments of its own");
    front
}

fn join(segments: &mut Segments, mut front: Queue, mut back: Queue) -> Queue {
    while let Some(buffer) = segments.pop_front(&mut back) {
        segments.push_back(&mut front, buffer);
    }
    front
}
