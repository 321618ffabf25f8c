//! One connection on its shard, from the accept to the freeing of its slot: receiving, sending, deadlines, and the end.
//!
//! The end has an order: the handler returns, what it wrote is sent, our FIN goes out, the peer's comes in, the descriptor closes,
//! the slot is free. A connection that failed skips to the closing. A slot is free only when every operation it owes has completed.

use std::net::SocketAddr;
use std::task::Waker;

use super::deadline::Tick;
use super::table::{Fin, Phase, Receive, Slot, Talk, Waiting};
use super::{ConnId, State};
use crate::error::{CloseReason, Error};
use crate::ring::buffers::Span;
use crate::ring::{Completion, Key, Operation, SEND_VECTOR_MAX, SlotIndex, Tell, Token};

impl State {
    /// A connection has come: its slot lives, its receive is armed, its task is due.
    pub(super) fn open(&mut self, index: SlotIndex, peer: SocketAddr) {
        let key = self.table.occupy(index, peer, self.now);
        self.metrics.accepted.add(1);
        self.metrics.connections.set(u64::from(self.table.open()));
        self.start(key);
        self.arm_receive(key);
        self.set_deadline(key);
    }

    // ---- receiving ----

    /// Submits the receive if none is in the kernel, the connection may hold more, and there is something to receive into.
    pub(crate) fn arm_receive(&mut self, key: Key) {
        let Some(slot) = self.table.get(key) else { return };
        // A handler that waits for input has read all there is, but for the beginning of a frame.
        let wanted = slot.waiting == Waiting::Input || slot.input_count < self.bounds.recv_queue_max;
        if slot.receive != Receive::Disarmed || !wanted || !matches!(slot.phase, Phase::Serving | Phase::Lingering) {
            return;
        }
        if self.pool.is_dry() {
            slot.receive = Receive::Starved;
            self.starved.push(key);
        } else {
            slot.receive = Receive::Armed;
            self.ring.receive(key);
        }
    }

    /// Submits the receives that waited for a buffer, once there are some.
    pub(super) fn feed_starved(&mut self) {
        if self.starved.is_empty() || self.pool.is_dry() {
            return;
        }
        for key in std::mem::take(&mut self.starved) {
            if let Some(slot) = self.table.get(key)
                && slot.receive == Receive::Starved
            {
                slot.receive = Receive::Disarmed;
                self.arm_receive(key);
            }
        }
    }

    pub(super) fn received(&mut self, completion: Completion) {
        let key = completion.token.key;
        let span = completion.buffer.map(|buffer| self.pool.received(buffer, completion.result.max(0) as u32));
        let Some(slot) = self.table.get(key) else {
            debug_assert!(false, "a slot lives until its operations have completed");
            span.into_iter().for_each(|span| self.pool.release(span));
            return;
        };
        if !completion.more {
            slot.receive = Receive::Disarmed;
        }
        match (completion.result, span) {
            (1.., Some(span)) => self.take_input(key, span),
            (result, span) => {
                span.into_iter().for_each(|span| self.pool.release(span));
                self.receive_ended(key, result);
            }
        }
        if !completion.more {
            self.close_if_settled(key);
        }
    }

    /// Input has come: into the connection's queue, or away with it if nobody will read it.
    fn take_input(&mut self, key: Key, span: Span) {
        self.metrics.bytes_in.add(u64::from(span.len()));
        let span = self.spare_buffers(span);
        let Some((slot, segments)) = self.table.get_with_segments(key) else { return };
        if slot.phase != Phase::Serving || slot.failed.is_some() {
            self.pool.release(span);
            if slot.phase == Phase::Lingering {
                self.arm_receive(key);
            }
            return;
        }
        segments.push_back(&mut slot.input, span);
        slot.input_count = slot.input_count.saturating_add(1);
        slot.talk = if self.drain.is_on() { Talk::Answering } else { Talk::Spoken };
        if slot.input_count >= self.bounds.recv_queue_max && slot.receive == Receive::Armed {
            slot.receive = Receive::Cancelling;
            self.ring.cancel(Token::new(Operation::Receive, key));
        }
        let (waits, disarmed) = (slot.waiting == Waiting::Input, slot.receive == Receive::Disarmed);
        if waits {
            self.wake(key);
        }
        if disarmed {
            self.arm_receive(key);
        }
    }

    /// Copies what was received when provided buffers run short: a slow handler must not starve the shard.
    fn spare_buffers(&mut self, span: Span) -> Span {
        if !self.pool.is_low() {
            return span;
        }
        let copy = self.pool.copy(span.bytes());
        self.pool.release(span);
        self.metrics.copied_out.add(1);
        copy
    }

    fn receive_ended(&mut self, key: Key, result: i32) {
        let Some(slot) = self.table.get(key) else { return };
        match -result {
            0 => {
                slot.receive = Receive::Ended;
                if slot.phase == Phase::Lingering {
                    self.begin_close(key);
                } else if slot.waiting == Waiting::Input {
                    self.wake(key);
                }
            }
            libc::ENOBUFS => {
                self.metrics.buffers_exhausted.add(1);
                self.pool.widen();
                self.arm_receive(key);
            }
            // We asked it to end; if the handler has caught up meanwhile it goes on.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.arm_receive(key),
            errno => {
                slot.receive = Receive::Ended;
                self.fail(key, CloseReason::of_errno(errno));
            }
        }
    }

    /// A receive or send could not be cancelled. One that the kernel was about to run (EALREADY) is still there: once more. One that it
    /// did not find (ENOENT) has completed, or a receive went on between two of its completions.
    pub(super) fn cancel_failed(&mut self, key: Key, errno: i32) {
        let Some(slot) = self.table.get(key).filter(|slot| slot.receive == Receive::Cancelling) else { return };
        if errno == libc::EALREADY {
            self.ring.cancel(Token::new(Operation::Receive, key));
        } else if slot.phase == Phase::Serving {
            slot.receive = Receive::Armed;
        }
    }

    /// The next received bytes; the receive goes on when the queue has emptied.
    pub(crate) fn pop_input(&mut self, key: Key) -> Option<Span> {
        let (slot, segments) = self.table.get_with_segments(key)?;
        let span = segments.pop_front(&mut slot.input)?;
        slot.input_count -= 1;
        if slot.receive == Receive::Disarmed && slot.input_count <= self.bounds.recv_queue_max / 2 {
            self.arm_receive(key);
        }
        Some(span)
    }

    /// Whether no more input will be given to the handler: the peer's FIN has come, or the server drains and the peer was answered.
    pub(crate) fn input_is_over(&mut self, key: Key) -> bool {
        let Some(slot) = self.table.get(key) else { return true };
        if slot.talk == Talk::Answering && slot.frame_deadline == Tick::NEVER {
            slot.talk = Talk::Over;
        }
        slot.receive == Receive::Ended || slot.talk == Talk::Over
    }

    /// Why the connection can go on no more, if so; a key of an earlier life has no connection.
    pub(crate) fn failure(&mut self, key: Key) -> Option<CloseReason> {
        match self.table.get(key) {
            Some(slot) => slot.failed,
            None => Some(CloseReason::HandlerClosed),
        }
    }

    /// Puts the unread rest of a span back.
    pub(crate) fn unpop_input(&mut self, key: Key, span: Span) {
        if span.len() == 0 {
            return self.pool.release(span);
        }
        match self.table.get_with_segments(key) {
            Some((slot, segments)) => {
                segments.push_front(&mut slot.input, span);
                slot.input_count = slot.input_count.saturating_add(1);
            }
            None => self.pool.release(span),
        }
    }

    // ---- sending ----

    /// Queues `span` behind what was written; neighbours of one buffer become one.
    pub(crate) fn push_output(&mut self, key: Key, mut span: Span) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else { return self.pool.release(span) };
        slot.output_bytes += span.len();
        if let Some(last) = segments.back_mut(slot.output) {
            match self.pool.join(last, span) {
                Ok(()) => return,
                Err(apart) => span = apart,
            }
        }
        segments.push_back(&mut slot.output, span);
    }

    /// Collects as many of `bytes` as the bound of the queue allows. Returns how many.
    pub(crate) fn collect_output(&mut self, key: Key, bytes: &[u8]) -> usize {
        let Some((slot, segments)) = self.table.get_with_segments(key) else { return bytes.len() };
        let room = self.bounds.write_queue_max.saturating_sub(slot.output_bytes) as usize;
        let bytes = &bytes[..room.min(bytes.len())];
        let mut rest = bytes;
        if let Some(last) = segments.back_mut(slot.output) {
            rest = &rest[self.pool.append(last, rest)..];
        }
        while !rest.is_empty() {
            let mut span = self.pool.allocate(self.pool.size());
            rest = &rest[self.pool.append(&mut span, rest)..];
            segments.push_back(&mut slot.output, span);
        }
        slot.output_bytes += bytes.len() as u32;
        bytes.len()
    }

    /// Submits what was written, unless a send is in the kernel already: that one's completion takes the rest along.
    pub(crate) fn flush(&mut self, key: Key) {
        self.send_output(key, Tell::Every);
    }

    fn send_output(&mut self, key: Key, tell: Tell) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else { return };
        if slot.sending || slot.output.is_empty() || slot.failed.is_some() {
            return;
        }
        slot.sending = true;
        // A send that leaves something behind must be told of, or nobody would send the rest.
        let tell = if segments.iter(slot.output).nth(SEND_VECTOR_MAX).is_some() { Tell::Every } else { tell };
        self.ring.send(key, segments.iter(slot.output), tell);
    }

    pub(super) fn sent(&mut self, completion: Completion) {
        if self.sent_everything(completion) {
            return;
        }
        let key = completion.token.key;
        let Some(slot) = self.table.get(key) else { return };
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

    /// The common case in one look at the slot: all that was written is sent, and nobody waited for that.
    fn sent_everything(&mut self, completion: Completion) -> bool {
        let key = completion.token.key;
        let Some((slot, segments)) = self.table.get_with_segments(key) else { return false };
        let whole = u32::try_from(completion.result).is_ok_and(|count| count == slot.output_bytes);
        if !whole || slot.phase != Phase::Serving || matches!(slot.waiting, Waiting::Space | Waiting::Flushed) {
            return false;
        }
        self.metrics.bytes_out.add(u64::from(slot.output_bytes));
        (slot.sending, slot.output_bytes) = (false, 0);
        while let Some(span) = segments.pop_front(&mut slot.output) {
            self.pool.release(span);
        }
        self.set_deadline(key);
        true
    }

    /// Releases the `count` bytes that the kernel has taken.
    fn consume_output(&mut self, key: Key, count: u32) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else { return };
        slot.output_bytes -= count;
        let mut rest = count;
        while rest > 0
            && let Some(front) = segments.front_mut(slot.output)
        {
            if front.len() > rest {
                front.advance(rest);
                break;
            }
            rest -= front.len();
            segments.pop_front(&mut slot.output).into_iter().for_each(|span| self.pool.release(span));
        }
    }

    /// What a shorter output queue means: to the handler that waits for it, to the deadline, to a connection that is ending.
    fn output_moved(&mut self, key: Key) {
        let Some(slot) = self.table.get(key) else { return };
        let wanted = match slot.waiting {
            Waiting::Space => slot.output_bytes <= self.bounds.write_queue_max / 2,
            Waiting::Flushed => slot.output.is_empty(),
            Waiting::Nothing | Waiting::Start | Waiting::Due | Waiting::Input | Waiting::Foreign => false,
        };
        let parts = slot.phase == Phase::Flushing && slot.output.is_empty();
        if wanted {
            self.wake(key);
        }
        if parts {
            self.part(key);
        } else {
            self.set_deadline(key);
        }
    }

    pub(crate) fn has_room(&mut self, key: Key) -> bool {
        self.table.get(key).is_some_and(|slot| slot.output_bytes < self.bounds.write_queue_max)
    }

    pub(crate) fn is_flushed(&mut self, key: Key) -> bool {
        self.table.get(key).is_none_or(|slot| slot.output.is_empty())
    }

    /// Why nothing can be written any more, if so.
    pub(crate) fn output_refusal(&mut self, key: Key) -> Option<Error> {
        let closed = self.table.get(key).is_some_and(|slot| slot.fin != Fin::Unsent).then_some(CloseReason::HandlerClosed);
        self.failure(key).or(closed).map(Error::Closed)
    }

    // ---- waiting and deadlines ----

    /// The peer's address; unspecified once the connection is gone.
    pub(crate) fn peer(&mut self, key: Key) -> SocketAddr {
        self.table.get(key).map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |slot| slot.peer.addr())
    }

    /// The handler has nothing to do until `waiting` is over: what it wrote goes out, and the fitting deadline runs.
    pub(crate) fn wait(&mut self, key: Key, waiting: Waiting, waker: &Waker) {
        // Whoever waits for input does not ask when its output has gone; the others wait for just that.
        self.send_output(key, if waiting == Waiting::Input { Tell::Failure } else { Tell::Every });
        if self.set_waiting(key, waiting).is_none() {
            return;
        }
        self.keep_waker(key, waker);
        if waiting == Waiting::Input {
            self.arm_receive(key);
        }
        self.set_deadline(key);
    }

    /// The handler waits no more: it dropped the operation half-way.
    pub(crate) fn stop_waiting(&mut self, key: Key) {
        self.set_waiting(key, Waiting::Nothing);
    }

    /// A frame has begun: it must be complete within `timeouts.read`, however many bytes trickle in.
    pub(crate) fn begin_frame(&mut self, key: Key) {
        let deadline = self.now.after(self.bounds.read);
        if let Some(slot) = self.table.get(key)
            && slot.frame_deadline == Tick::NEVER
        {
            slot.frame_deadline = deadline;
        }
    }

    pub(crate) fn end_frame(&mut self, key: Key) {
        if let Some(slot) = self.table.get(key) {
            slot.frame_deadline = Tick::NEVER;
        }
    }

    /// Sets the one deadline of a connection to the next thing that must happen.
    pub(super) fn set_deadline(&mut self, key: Key) {
        let (now, bounds, draining) = (self.now, self.bounds, self.drain.is_on());
        let Some(slot) = self.table.get(key) else { return };
        let stage = match (slot.phase, slot.waiting) {
            (Phase::Serving | Phase::Flushing, _) if slot.sending => now.after(bounds.write),
            (Phase::Serving, Waiting::Input) if slot.frame_deadline != Tick::NEVER => slot.frame_deadline,
            (Phase::Serving, Waiting::Input) if draining => now.after(bounds.drain_quiet),
            (Phase::Serving, Waiting::Input) if slot.talk == Talk::Silent => slot.opened.after(bounds.first_byte),
            (Phase::Serving, Waiting::Input) => now.after(bounds.idle),
            (Phase::Lingering, _) => now.after(bounds.close),
            _ => Tick::NEVER,
        };
        let lifetime = match slot.phase {
            Phase::Serving | Phase::Flushing => slot.opened.after(bounds.lifetime),
            Phase::Free | Phase::Lingering | Phase::Closing | Phase::Closed => Tick::NEVER,
        };
        self.table.deadlines.set(key.slot, stage.min(lifetime));
    }

    /// The deadline of `key` has passed.
    pub(super) fn expire(&mut self, key: Key) {
        let (now, bounds, draining) = (self.now, self.bounds, self.drain.is_on());
        let Some(slot) = self.table.get(key) else { return };
        match verdict(slot, now >= slot.opened.after(bounds.lifetime), draining) {
            ExpiryVerdict::Fail(reason) => self.fail(key, reason),
            ExpiryVerdict::Part => {
                slot.talk = Talk::Over;
                self.wake(key);
            }
            ExpiryVerdict::Close => self.begin_close(key),
            ExpiryVerdict::Stale => self.set_deadline(key),
        }
    }

    // ---- the end ----

    /// The connection can go on no more. A handler that runs learns it from its next operation; one that has returned is done with.
    pub(super) fn fail(&mut self, key: Key, reason: CloseReason) {
        let Some(slot) = self.table.get(key) else { return };
        match slot.phase {
            Phase::Serving => {
                slot.failed.get_or_insert(reason);
                self.wake(key);
            }
            Phase::Flushing => {
                slot.reason = reason; // its last bytes never arrived
                self.begin_close(key);
            }
            Phase::Lingering => self.begin_close(key),
            Phase::Free | Phase::Closing | Phase::Closed => {}
        }
    }

    /// The handler's task is over.
    pub(super) fn finish(&mut self, key: Key, outcome: Option<CloseReason>) {
        self.set_waiting(key, Waiting::Nothing);
        let Some(slot) = self.table.get(key) else { return };
        slot.reason = match (outcome, slot.failed) {
            (Some(CloseReason::HandlerPanicked), _) => CloseReason::HandlerPanicked,
            (_, Some(failure)) => failure,
            (Some(reason), None) => reason,
            (None, None) if slot.receive == Receive::Ended => CloseReason::PeerClosed,
            (None, None) if slot.talk == Talk::Over => CloseReason::Drained,
            (None, None) => CloseReason::HandlerClosed,
        };
        if slot.failed.is_some() || slot.reason == CloseReason::HandlerPanicked {
            self.begin_close(key);
            return;
        }
        slot.phase = Phase::Flushing;
        self.release_input(key);
        self.flush(key);
        self.output_moved(key);
    }

    /// Everything is sent: the polite end. Our FIN, then the peer's, then the close.
    fn part(&mut self, key: Key) {
        let Some(slot) = self.table.get(key) else { return };
        if slot.receive == Receive::Ended {
            self.begin_close(key);
            return;
        }
        slot.phase = Phase::Lingering;
        self.close_output(key);
        self.arm_receive(key);
        self.set_deadline(key);
    }

    /// Sends our FIN behind what was sent, once.
    pub(crate) fn close_output(&mut self, key: Key) {
        if let Some(slot) = self.table.get(key)
            && slot.fin == Fin::Unsent
        {
            slot.fin = Fin::Submitted;
            self.ring.shutdown(key);
        }
    }

    pub(super) fn shut_down(&mut self, completion: Completion) {
        if let Some(slot) = self.table.get(completion.token.key) {
            slot.fin = Fin::Sent;
        }
        self.close_if_settled(completion.token.key);
    }

    /// Takes back what is in the kernel and closes when that is done.
    fn begin_close(&mut self, key: Key) {
        self.release_input(key);
        self.table.deadlines.set(key.slot, Tick::NEVER);
        let Some(slot) = self.table.get(key) else { return };
        slot.phase = Phase::Closing;
        if slot.receive == Receive::Armed {
            slot.receive = Receive::Cancelling;
            self.ring.cancel(Token::new(Operation::Receive, key));
        }
        if slot.sending {
            self.ring.cancel(Token::new(Operation::Send, key));
        }
        self.close_if_settled(key);
    }

    fn close_if_settled(&mut self, key: Key) {
        let Some(slot) = self.table.get(key) else { return };
        let receiving = matches!(slot.receive, Receive::Armed | Receive::Cancelling);
        if slot.phase != Phase::Closing || receiving || slot.sending || slot.fin == Fin::Submitted {
            return;
        }
        slot.phase = Phase::Closed;
        self.release_output(key);
        self.ring.close(key);
    }

    /// The descriptor is closed: nothing of the connection is left in the kernel, and the slot is free.
    pub(super) fn closed(&mut self, completion: Completion) {
        let key = completion.token.key;
        let Some(slot) = self.table.get(key) else { return };
        let (reason, peer) = (slot.reason, slot.peer);
        if completion.result < 0 {
            tracing::error!(conn = %ConnId::new(self.id, key), errno = -completion.result, "the descriptor did not close");
        }
        self.table.vacate(key.slot);
        self.metrics.closed[reason as usize].add(1);
        self.metrics.connections.set(u64::from(self.table.open()));
        tracing::debug!(conn = %ConnId::new(self.id, key), peer = %peer.addr(), %reason, shard = self.id.0, "closed");
    }

    fn release_input(&mut self, key: Key) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else { return };
        while let Some(span) = segments.pop_front(&mut slot.input) {
            self.pool.release(span);
        }
        slot.input_count = 0;
    }

    fn release_output(&mut self, key: Key) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else { return };
        while let Some(span) = segments.pop_front(&mut slot.output) {
            self.pool.release(span);
        }
        slot.output_bytes = 0;
    }
}

/// What a passed deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpiryVerdict {
    Fail(CloseReason),
    /// The drain has waited long enough for it to speak.
    Part,
    /// The peer's FIN did not come.
    Close,
    /// What the deadline was set for has happened.
    Stale,
}

fn verdict(slot: &Slot, lifetime_over: bool, draining: bool) -> ExpiryVerdict {
    match (slot.phase, slot.waiting) {
        (Phase::Lingering, _) => ExpiryVerdict::Close,
        (Phase::Free | Phase::Closing | Phase::Closed, _) => ExpiryVerdict::Stale,
        _ if lifetime_over => ExpiryVerdict::Fail(CloseReason::LifetimeExceeded),
        _ if slot.sending => ExpiryVerdict::Fail(CloseReason::WriteTimeout),
        (Phase::Serving, Waiting::Input) if slot.frame_deadline != Tick::NEVER => ExpiryVerdict::Fail(CloseReason::ReadTimeout),
        (Phase::Serving, Waiting::Input) if draining => ExpiryVerdict::Part,
        (Phase::Serving, Waiting::Input) if slot.talk == Talk::Silent => ExpiryVerdict::Fail(CloseReason::FirstByteTimeout),
        (Phase::Serving, Waiting::Input) => ExpiryVerdict::Fail(CloseReason::IdleTimeout),
        (Phase::Serving | Phase::Flushing, _) => ExpiryVerdict::Stale,
    }
}
