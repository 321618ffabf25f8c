//! Sending: the queue that a writer fills, and the one send that is in the kernel at a time. The
//! only file that changes [`SendState`].

use crate::error::{CloseReason, Error};
use crate::ring::buffers::BufRef;
use crate::ring::{Completion, Cqe, Operation, SEND_VECTOR_MAX, Token};
use crate::shard::conns::conn_mut::ConnMut;
use crate::shard::conns::interest::{Interest, Waits};
use crate::shard::conns::slot::{Phase, SendState};

/// A chunk of at most one in this many parts of a buffer is copied behind what was written before:
/// else each would hold a buffer while the peer does not read.
const SMALL_PART: u32 = 8;

impl ConnMut<'_> {
    // ---- writing ----

    /// Queues `buffer` behind what was written; neighbours of one buffer become one. What waits to
    /// be sent is on the account of whom it is sent to.
    pub(crate) fn push_output(&mut self, mut buffer: BufRef) {
        self.touch();
        let is_behind_sealed = self.is_sealed();
        self.count_output(buffer.len());
        let (buffers, segments) = (&self.shared.buffers, &mut self.shared.segments);
        if !is_behind_sealed && let Some(last) = segments.back_mut(self.slot.output) {
            if buffer.len() <= buffers.size() / SMALL_PART {
                buffer.advance(buffers.append(last, buffer.bytes()) as u32);
            }
            if buffer.len() == 0 {
                return buffers.release(buffer);
            }
            match buffers.join(last, buffer) {
                Ok(()) => return,
                Err(apart) => buffer = apart,
            }
        }
        buffers.set_owner(&buffer, self.key);
        segments.push_back(&mut self.slot.output, buffer);
    }

    /// Collects as many of `bytes` as the bound of the queue allows. Returns how many.
    pub(crate) fn collect_output(&mut self, bytes: &[u8]) -> usize {
        self.touch();
        let bytes = &bytes[..self.output_room().min(bytes.len())];
        let is_behind_sealed = self.is_sealed();
        let (buffers, segments) = (&self.shared.buffers, &mut self.shared.segments);
        let mut rest = bytes;
        if !is_behind_sealed && let Some(last) = segments.back_mut(self.slot.output) {
            rest = &rest[buffers.append(last, rest)..];
        }
        while !rest.is_empty() {
            let mut buffer = buffers.allocate(buffers.size(), Some(self.key));
            rest = &rest[buffers.append(&mut buffer, rest)..];
            segments.push_back(&mut self.slot.output, buffer);
        }
        self.count_output(bytes.len() as u32);
        bytes.len()
    }

    /// Whether all of the output is sealed for a TLS session: no plaintext goes into its buffers.
    fn is_sealed(&self) -> bool {
        let bytes = self.slot.output_bytes;
        self.shared.tls.has_sealed(self.key.slot, bytes)
    }

    fn count_output(&mut self, bytes: u32) {
        self.slot.output_bytes += bytes;
        self.shared.unsent += u64::from(bytes);
        self.shared.requests.answered(self.key.slot);
    }

    /// Bytes that may be queued now.
    pub(crate) fn output_room(&self) -> usize {
        let bounds = &self.shared.bounds;
        let of_connection = bounds
            .write_queue_max
            .saturating_sub(self.slot.output_bytes);
        let of_shard = bounds.unsent_max.saturating_sub(self.shared.unsent);
        let of_shard = of_shard.max(u64::from(self.shared.buffers.size()));
        u64::from(of_connection).min(of_shard) as usize
    }

    /// Whether one more write fits: into the connection's bound, and into the shard's unless
    /// nothing of the connection is unsent. So who waits for room has a send in the kernel, whose
    /// end asks again.
    pub(crate) fn has_room(&self) -> bool {
        let fits = self.shared.unsent < self.shared.bounds.unsent_max
            && self.slot.output_bytes < self.shared.bounds.write_queue_max;
        self.slot.output_bytes == 0 || fits
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.slot.output.is_empty()
    }

    /// Why nothing can be written any more, if so.
    pub(crate) fn output_refusal(&self) -> Option<Error> {
        let is_closed = self.slot.send.has_fin() || self.shared.tls.is_ending(self.key.slot);
        let closed = is_closed.then_some(CloseReason::HandlerClosed);
        self.slot.failed.or(closed).map(Error::Closed)
    }

    // ---- the send ----

    /// Submits what was written, unless a send is in the kernel already: that one's completion
    /// takes the rest along. A full socket is waited for.
    pub(super) fn flush(&mut self) {
        self.submit_send(Cqe::Always);
    }

    /// As [`Self::flush`], and quietly if nobody waits for the send's end.
    pub(super) fn send_output(&mut self) {
        let cqe = if awaits_send(self.slot.waits) {
            Cqe::Always
        } else {
            Cqe::OnError
        };
        self.submit_send(cqe);
    }

    fn submit_send(&mut self, cqe: Cqe) {
        let in_flight = self.slot.send == SendState::InFlight;
        if in_flight || self.slot.failed.is_some() {
            self.shared.is_behind |= in_flight;
            return;
        }
        let is_sealed = self.seal_output();
        if !is_sealed || self.slot.output.is_empty() {
            return;
        }
        self.slot.send = SendState::InFlight;
        let shared = &mut *self.shared;
        let unsealed = shared.tls.unsealed(self.key.slot, self.slot.output_bytes);
        if unsealed > 0 {
            self.submit_sealed();
        } else {
            self.submit_all(cqe);
        }
    }

    fn submit_all(&mut self, cqe: Cqe) {
        let shared = &mut *self.shared;
        let buffers = || shared.segments.iter(self.slot.output);
        // A send that leaves something behind must be told of, or nobody would send the rest.
        let leaves_rest = buffers().nth(SEND_VECTOR_MAX).is_some();
        let cqe = if leaves_rest { Cqe::Always } else { cqe };
        shared.ring.send(self.key, buffers(), cqe);
        self.submitted(cqe);
    }

    /// What is sealed of the output; the rest follows it.
    fn submit_sealed(&mut self) {
        let shared = &mut *self.shared;
        let unsealed = shared.tls.unsealed(self.key.slot, self.slot.output_bytes);
        let mut left = self.slot.output_bytes - unsealed;
        let is_sealed = |buffer: &&BufRef| {
            let is_sealed = left > 0;
            left = left.saturating_sub(buffer.len());
            is_sealed
        };
        let buffers = shared.segments.iter(self.slot.output);
        let sealed = buffers.clone().take_while(is_sealed).count();
        let buffers = buffers.take(sealed);
        shared.ring.send(self.key, buffers, Cqe::Always);
        self.submitted(Cqe::Always);
    }

    fn submitted(&mut self, cqe: Cqe) {
        let shared = &mut *self.shared;
        let write = shared.bounds.write;
        let own = &shared.own_timeouts;
        let write = own.of(self.key.slot, |own| own.write, write);
        let deadline = shared.now.after(write);
        shared.deadlines.set_send(self.key.slot, deadline);
        if cqe == Cqe::Always {
            shared.min_rate.waits(self.key.slot, shared.now);
        }
    }

    pub(crate) fn sent(&mut self, completion: Completion) {
        self.sealed_were_sent(completion.result.max(0) as u32);
        if self.sent_everything(completion) {
            return;
        }
        self.slot.send = SendState::Idle;
        match completion.result {
            count @ 0.. => {
                self.shared.metrics.bytes_out.add(count as u64);
                self.consume_output(count as u32);
                self.flush();
                self.output_moved();
            }
            result => match -result {
                // A quiet send met a full socket: this one waits for room.
                libc::EAGAIN | libc::EINTR => self.flush(),
                libc::ECANCELED => {}
                errno => self.fail(CloseReason::of_errno(errno)),
            },
        }
        self.close_if_settled();
    }

    /// The common case: all that was written is sent, and nobody waited for that.
    fn sent_everything(&mut self, completion: Completion) -> bool {
        let bytes = self.slot.output_bytes;
        let whole = u32::try_from(completion.result).is_ok_and(|count| count == bytes);
        if !whole || self.slot.phase != Phase::Serving || awaits_send(self.slot.waits) {
            return false;
        }
        self.shared.metrics.bytes_out.add(u64::from(bytes));
        self.slot.send = SendState::Idle;
        self.shared.min_rate.took(self.key.slot, 0, true);
        self.release_output();
        self.publications_may_go();
        self.set_deadline();
        true
    }

    /// Releases the `count` bytes that the kernel has taken.
    fn consume_output(&mut self, count: u32) {
        self.slot.output_bytes -= count;
        self.shared.unsent -= u64::from(count);
        let is_all = self.slot.output_bytes == 0;
        self.shared.min_rate.took(self.key.slot, count, is_all);
        let (buffers, segments) = (&self.shared.buffers, &mut self.shared.segments);
        let mut rest = count;
        while rest > 0
            && let Some(front) = segments.front_mut(self.slot.output)
        {
            if front.len() > rest {
                front.advance(rest);
                break;
            }
            rest -= front.len();
            if let Some(front) = segments.pop_front(&mut self.slot.output) {
                buffers.release(front);
            }
        }
    }

    /// A shorter output queue matters to the handler that waits for it, to the deadline, and to a
    /// connection that is ending.
    pub(super) fn output_moved(&mut self) {
        let has_space = self.slot.output_bytes <= self.shared.bounds.write_queue_max / 2;
        let is_flushed = self.slot.output.is_empty();
        if has_space {
            self.fire(Interest::Space);
            self.publications_may_go();
        }
        if is_flushed {
            self.fire(Interest::Flushed);
        }
        if self.slot.phase == Phase::Flushing && is_flushed {
            self.begin_linger();
        } else {
            self.set_deadline();
        }
    }

    pub(super) fn cancel_send(&mut self) {
        if self.slot.send == SendState::InFlight {
            self.shared
                .ring
                .cancel(Token::new(Operation::Send, self.key));
        }
    }

    /// Drops what is unsent.
    pub(super) fn release_output(&mut self) {
        while let Some(buffer) = self.shared.segments.pop_front(&mut self.slot.output) {
            self.shared.buffers.release(buffer);
        }
        self.shared.unsent -= u64::from(std::mem::take(&mut self.slot.output_bytes));
    }

    // ---- our FIN ----

    /// Sends our FIN behind what was sent, once.
    pub(crate) fn shutdown_write(&mut self) {
        if !self.slot.send.has_fin() {
            self.slot.send = SendState::FinInFlight;
            self.shared.ring.shutdown(self.key);
        }
    }

    /// The kernel has taken our FIN.
    pub(crate) fn fin_sent(&mut self) {
        self.slot.send = SendState::FinSent;
        self.close_if_settled();
    }

    // ---- the connect ----

    pub(crate) fn connect_submitted(&mut self) {
        self.slot.send = SendState::InFlight;
    }

    pub(super) fn connect_completed(&mut self) {
        self.slot.send = SendState::Idle;
    }

    // ---- overload ----

    /// Exchanges provided buffers that lie in the connection's queues for heap buffers just large
    /// enough.
    pub(crate) fn copy_to_heap(&mut self) {
        let before = self.shared.buffers.in_use();
        // The kernel may be reading the first ones of the output.
        let lent = match self.slot.send {
            SendState::InFlight => SEND_VECTOR_MAX,
            _ => 0,
        };
        let (buffers, segments) = (&self.shared.buffers, &mut self.shared.segments);
        for (queue, lent) in [(&mut self.slot.input, 0), (&mut self.slot.output, lent)] {
            for place in 0..segments.iter(*queue).count() {
                if let Some(buffer) = segments.pop_front(queue) {
                    let is_lent = place < lent;
                    let kept = if is_lent {
                        buffer
                    } else {
                        buffers.copy_to_heap(buffer)
                    };
                    segments.push_back(queue, kept);
                }
            }
        }
        let freed = before - self.shared.buffers.in_use();
        self.shared.metrics.copied_back.add(u64::from(freed));
    }
}

fn awaits_send(waits: Waits) -> bool {
    waits.has(Interest::Space) || waits.has(Interest::Flushed)
}
