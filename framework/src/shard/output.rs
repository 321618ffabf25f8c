//! What a connection sends: the queue that its writer fills, and the one send that is in the kernel
//! at a time.

use super::State;
use super::interest::{Interest, Waits};
use super::table::{Fin, Phase};
use crate::error::{CloseReason, Error};
use crate::ring::buffers::Span;
use crate::ring::{Completion, Key, SEND_VECTOR_MAX, Tell};

/// A chunk of at most one in this many parts of a buffer is copied behind what was written before:
/// else each would hold a buffer while the peer does not read.
const SMALL_PART: u32 = 8;

impl State {
    /// Queues `span` behind what was written; neighbours of one buffer become one. What waits to be
    /// sent is on the account of whom it is sent to.
    pub(crate) fn push_output(&mut self, key: Key, mut span: Span) {
        self.touch(key);
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return self.pool.release(span);
        };
        slot.output_bytes += span.len();
        self.requests.answered(key.slot);
        self.unsent += u64::from(span.len());
        if let Some(last) = segments.back_mut(slot.output) {
            if span.len() <= self.pool.size() / SMALL_PART {
                span.advance(self.pool.append(last, span.bytes()) as u32);
            }
            if span.len() == 0 {
                return self.pool.release(span);
            }
            match self.pool.join(last, span) {
                Ok(()) => return,
                Err(apart) => span = apart,
            }
        }
        self.pool.charge(&span, key);
        segments.push_back(&mut slot.output, span);
    }

    /// Collects as many of `bytes` as the bound of the queue allows. Returns how many.
    pub(crate) fn collect_output(&mut self, key: Key, bytes: &[u8]) -> usize {
        self.touch(key);
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return bytes.len();
        };
        let of_connection = self
            .bounds
            .write_queue_max
            .saturating_sub(slot.output_bytes);
        let of_shard = self
            .bounds
            .unsent_max
            .saturating_sub(self.unsent)
            .max(u64::from(self.pool.size()));
        let room = u64::from(of_connection).min(of_shard) as usize;
        let bytes = &bytes[..room.min(bytes.len())];
        let mut rest = bytes;
        if let Some(last) = segments.back_mut(slot.output) {
            rest = &rest[self.pool.append(last, rest)..];
        }
        while !rest.is_empty() {
            let mut span = self.pool.allocate(self.pool.size(), Some(key));
            rest = &rest[self.pool.append(&mut span, rest)..];
            segments.push_back(&mut slot.output, span);
        }
        slot.output_bytes += bytes.len() as u32;
        self.requests.answered(key.slot);
        self.unsent += bytes.len() as u64;
        bytes.len()
    }

    /// Submits what was written, unless a send is in the kernel already: that one's completion
    /// takes the rest along. A full socket is waited for.
    pub(super) fn flush(&mut self, key: Key) {
        self.submit_send(key, Tell::Every);
    }

    /// As [`Self::flush`], and quietly if nobody waits for the send's end.
    pub(super) fn send_output(&mut self, key: Key) {
        let waits_for_end =
            |waits: Waits| waits.has(Interest::Space) || waits.has(Interest::Flushed);
        let told = self
            .table
            .get(key)
            .is_some_and(|slot| waits_for_end(slot.waits));
        self.submit_send(key, if told { Tell::Every } else { Tell::Failure });
    }

    fn submit_send(&mut self, key: Key, tell: Tell) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return;
        };
        if slot.sending || slot.output.is_empty() || slot.failed.is_some() {
            self.is_behind |= slot.sending;
            return;
        }
        slot.sending = true;
        // A send that leaves something behind must be told of, or nobody would send the rest.
        let tell = if segments.iter(slot.output).nth(SEND_VECTOR_MAX).is_some() {
            Tell::Every
        } else {
            tell
        };
        self.ring.send(key, segments.iter(slot.output), tell);
        self.table
            .deadlines
            .set_send(key.slot, self.now.after(self.bounds.write));
        if tell == Tell::Every {
            self.flows.waits(key.slot, self.now);
        }
    }

    pub(super) fn sent(&mut self, completion: Completion) {
        if self.sent_everything(completion) {
            return;
        }
        let key = completion.token.key;
        let Some(slot) = self.table.get(key) else {
            return;
        };
        slot.sending = false;
        match completion.result {
            count @ 0.. => {
                self.metrics.bytes_out.add(count as u64);
                self.consume_output(key, count as u32);
                self.flush(key);
                self.output_moved(key);
            }
            result => match -result {
                // A quiet send met a full socket: this one waits for room.
                libc::EAGAIN | libc::EINTR => self.flush(key),
                libc::ECANCELED => {}
                errno => self.fail(key, CloseReason::of_errno(errno)),
            },
        }
        self.close_if_settled(key);
    }

    /// The common case in one look at the slot: all that was written is sent, and nobody waited for
    /// that.
    fn sent_everything(&mut self, completion: Completion) -> bool {
        let key = completion.token.key;
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return false;
        };
        let whole = u32::try_from(completion.result).is_ok_and(|count| count == slot.output_bytes);
        if !whole
            || slot.phase != Phase::Serving
            || slot.waits.has(Interest::Space)
            || slot.waits.has(Interest::Flushed)
        {
            return false;
        }
        self.metrics.bytes_out.add(u64::from(slot.output_bytes));
        self.unsent -= u64::from(slot.output_bytes);
        (slot.sending, slot.output_bytes) = (false, 0);
        self.flows.took(key.slot, 0, true);
        while let Some(span) = segments.pop_front(&mut slot.output) {
            self.pool.release(span);
        }
        self.set_deadline(key);
        true
    }

    /// Releases the `count` bytes that the kernel has taken.
    fn consume_output(&mut self, key: Key, count: u32) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return;
        };
        slot.output_bytes -= count;
        self.unsent -= u64::from(count);
        self.flows.took(key.slot, count, slot.output_bytes == 0);
        let mut rest = count;
        while rest > 0
            && let Some(front) = segments.front_mut(slot.output)
        {
            if front.len() > rest {
                front.advance(rest);
                break;
            }
            rest -= front.len();
            segments
                .pop_front(&mut slot.output)
                .into_iter()
                .for_each(|span| self.pool.release(span));
        }
    }

    /// What a shorter output queue means: to the handler that waits for it, to the deadline, to a
    /// connection that is ending.
    pub(super) fn output_moved(&mut self, key: Key) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        let (has_space, is_flushed) = (
            slot.output_bytes <= self.bounds.write_queue_max / 2,
            slot.output.is_empty(),
        );
        let parts = slot.phase == Phase::Flushing && is_flushed;
        if has_space {
            self.fire(key, Interest::Space);
        }
        if is_flushed {
            self.fire(key, Interest::Flushed);
        }
        if parts {
            self.part(key);
        } else {
            self.set_deadline(key);
        }
    }

    /// Whether one more write fits: into the connection's bound, and into the shard's unless
    /// nothing of the connection is unsent. So who waits for room has a send in the kernel, whose
    /// end asks again.
    pub(crate) fn has_room(&mut self, key: Key) -> bool {
        let fits = self.unsent < self.bounds.unsent_max;
        self.table.get(key).is_some_and(|slot| {
            slot.output_bytes == 0 || (fits && slot.output_bytes < self.bounds.write_queue_max)
        })
    }

    pub(crate) fn is_flushed(&mut self, key: Key) -> bool {
        self.table
            .get(key)
            .is_none_or(|slot| slot.output.is_empty())
    }

    /// Why nothing can be written any more, if so.
    pub(crate) fn output_refusal(&mut self, key: Key) -> Option<Error> {
        let closed = self
            .table
            .get(key)
            .is_some_and(|slot| slot.fin != Fin::Unsent)
            .then_some(CloseReason::HandlerClosed);
        self.failure(key).or(closed).map(Error::Closed)
    }
}
