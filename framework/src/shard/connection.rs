//! One connection on its shard, from the accept to the freeing of its slot: its beginning, its
//! deadlines and its end. What it receives meanwhile is in `input`, what it sends in `output`.
//!
//! The end has an order: the handler returns, what it wrote is sent, our FIN goes out, the peer's
//! comes in, the descriptor closes, the slot is free. A connection that failed skips to the
//! closing. A slot is free only when every operation it owes has completed.

use std::net::SocketAddr;
use std::time::Duration;

use super::deadline::{Tick, Ticks};
use super::interest::{Interest, RunState};
use super::table::{Fin, Phase, Receive, Slot, Talk};
use super::{ConnId, State, Subject};
use crate::error::CloseReason;
use crate::ring::{Completion, Key, Operation, SlotIndex, Token};

impl State {
    /// A connection has come: its slot lives, its receive is armed, its task is due.
    pub(super) fn open(&mut self, index: SlotIndex, peer: SocketAddr) {
        let key = self.table.occupy(index, peer, self.now);
        self.metrics.accepted.add(1);
        self.begin(key);
    }

    /// Its place among the served is taken.
    pub(super) fn begin(&mut self, key: Key) {
        self.metrics
            .connections
            .set(u64::from(self.table.accepted()));
        self.remember_silent(key);
        self.start(key);
        self.requests.reset(key.slot);
        self.flows.reset(key.slot);
        self.begin_receive(key);
        self.set_deadline(key);
    }

    // ---- deadlines ----

    /// The peer's address; unspecified once the connection is gone.
    pub(crate) fn peer(&mut self, key: Key) -> SocketAddr {
        self.table
            .get(key)
            .map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |slot| slot.peer.addr())
    }

    /// What is read from now on must have come by `within`, whatever frames it is made of; none:
    /// each frame has its own deadline.
    pub(crate) fn set_read_deadline(&mut self, key: Key, within: Option<Duration>) {
        let deadline = self.now.after(Ticks::of(within));
        if let Some(slot) = self.table.get(key) {
            slot.frame_deadline = deadline;
        }
    }

    /// A frame has begun: it must be complete within `timeouts.read`, however many bytes trickle
    /// in.
    pub(crate) fn begin_frame(&mut self, key: Key) {
        let deadline = self.now.after(self.bounds.read);
        if let Some(slot) = self.table.get(key)
            && slot.frame_deadline == Tick::NEVER
            && slot.talk != Talk::Dialed
        {
            slot.frame_deadline = deadline;
        }
    }

    pub(crate) fn end_frame(&mut self, key: Key) {
        if let Some(slot) = self.table.get(key)
            && slot.talk != Talk::Dialed
        {
            slot.frame_deadline = Tick::NEVER;
            self.requests.framed(key.slot);
        }
    }

    /// Sets the one deadline of a connection to the next thing that must happen.
    pub(super) fn set_deadline(&mut self, key: Key) {
        let (now, bounds, draining) = (self.now, self.bounds, self.drain.is_on());
        let write = self.table.deadlines.of_send(key.slot);
        let Some(slot) = self.table.get(key) else {
            return;
        };
        let dialed = slot.talk == Talk::Dialed;
        let (reading, pooled) = (
            slot.waits.is_reading(),
            slot.waits.run() == RunState::Pooled,
        );
        let stage = match slot.phase {
            Phase::Connecting => slot.frame_deadline,
            // Whoever has set a deadline for an answer means the request to be sent by then, too.
            Phase::Serving if slot.sending && dialed => write.min(slot.frame_deadline),
            Phase::Serving | Phase::Flushing if slot.sending => write,
            Phase::Serving if pooled => slot.frame_deadline,
            Phase::Serving if reading && slot.frame_deadline != Tick::NEVER => slot.frame_deadline,
            Phase::Serving if reading && draining && !dialed => now.after(bounds.drain_quiet),
            Phase::Serving if reading && slot.talk == Talk::Silent => {
                slot.opened.after(bounds.first_byte)
            }
            Phase::Serving if reading => now.after(bounds.idle),
            Phase::Lingering => now.after(bounds.close),
            _ => Tick::NEVER,
        };
        let lifetime = match slot.phase {
            Phase::Serving | Phase::Flushing if !dialed => slot.opened.after(bounds.lifetime),
            _ => Tick::NEVER,
        };
        let request = match slot.phase {
            Phase::Serving | Phase::Flushing if !dialed => {
                self.requests.deadline(key.slot, !slot.output.is_empty())
            }
            _ => Tick::NEVER,
        };
        self.table
            .deadlines
            .set(key.slot, stage.min(lifetime).min(request));
    }

    /// The deadline of `key` has passed.
    pub(super) fn expire(&mut self, key: Key) {
        let (now, bounds, draining) = (self.now, self.bounds, self.drain.is_on());
        let write_over = now >= self.table.deadlines.of_send(key.slot);
        let Some(slot) = self.table.get(key) else {
            return;
        };
        let passed = Passed {
            write: write_over,
            lifetime: now >= slot.opened.after(bounds.lifetime),
            request: now >= self.requests.deadline(key.slot, !slot.output.is_empty()),
        };
        match verdict(slot, now, passed, draining) {
            ExpiryVerdict::Fail(reason) => {
                if reason == CloseReason::WriteTimeout {
                    self.tell_write_limit(key);
                }
                self.fail(key, reason);
            }
            ExpiryVerdict::GiveUp => self.cancel_connect(key, CloseReason::ReadTimeout),
            ExpiryVerdict::Part => {
                slot.talk = Talk::Over;
                self.fire(key, Interest::Input);
            }
            ExpiryVerdict::Close => self.begin_close(key),
            ExpiryVerdict::Stale => self.set_deadline(key),
        }
    }

    /// A peer that takes nothing while its handler waits for room, as one does that writes its
    /// whole pipeline before it reads: its operator is told which limit has brought both to a
    /// stand.
    fn tell_write_limit(&mut self, key: Key) {
        let Some(slot) = self
            .table
            .get(key)
            .filter(|slot| slot.waits.has(Interest::Space))
        else {
            return;
        };
        let (peer, unsent) = (slot.peer, slot.output_bytes);
        if self.may_log(Subject::WriteLimit) {
            let (conn, write_queue_max) = (ConnId::new(self.id, key), self.bounds.write_queue_max);
            tracing::warn!(
                %conn, peer = %peer.addr(), shard = self.id.0, unsent_bytes = unsent, write_queue_max,
                "its peer reads nothing: at limits.write_queue_max its requests were not read either, and timeouts.write ends it",
            );
        }
    }

    // ---- the end ----

    /// The connection can go on no more. A handler that runs learns it from its next operation; one
    /// that has returned is done with.
    pub(crate) fn fail(&mut self, key: Key, reason: CloseReason) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        match slot.phase {
            Phase::Serving if slot.waits.run() == RunState::Pooled => {
                self.close_pooled(key, reason)
            }
            Phase::Serving => {
                slot.failed.get_or_insert(reason);
                self.fire_all(key);
            }
            // Whatever becomes of the text, it was turned away.
            Phase::Flushing if slot.talk == Talk::Aside => self.begin_close(key),
            Phase::Held | Phase::Flushing => {
                slot.reason = reason; // it was never served, or its last bytes never arrived
                self.begin_close(key);
            }
            Phase::Lingering => self.begin_close(key),
            Phase::Connecting => self.cancel_connect(key, reason),
            Phase::Free | Phase::Closing | Phase::Closed => {}
        }
    }

    /// The `Conn` is gone: the end of a connection that the shard opened, unless it was laid by for
    /// a pool.
    pub(crate) fn let_go(&mut self, key: Key) {
        let used =
            |slot: &mut Slot| slot.phase == Phase::Serving && slot.waits.run() != RunState::Pooled;
        if self
            .table
            .get(key)
            .is_some_and(|slot| slot.talk == Talk::Dialed && used(slot))
        {
            self.finish(key, None);
        }
    }

    /// The handler's task is over.
    pub(super) fn finish(&mut self, key: Key, outcome: Option<CloseReason>) {
        self.forget_waits(key);
        let Some(slot) = self.table.get(key) else {
            return;
        };
        slot.waits.set_run(RunState::Idle);
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
        self.table.leaves(key);
        let Some(slot) = self.table.get(key) else {
            return;
        };
        slot.phase = Phase::Flushing;
        self.release_input(key);
        self.flush(key);
        self.output_moved(key);
    }

    /// Everything is sent: the polite end. Our FIN, then the peer's, then the close. For one that
    /// was cut short, the close at once.
    pub(super) fn part(&mut self, key: Key) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        let (ended, aside) = (slot.receive == Receive::Ended, slot.talk == Talk::Aside);
        let is_cut = slot.fin == Fin::Unsent && slot.reason.resets();
        if ended || is_cut || (aside && self.is_crowded_aside()) {
            return self.begin_close(key);
        }
        let Some(slot) = self.table.get(key) else {
            return;
        };
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
    pub(super) fn begin_close(&mut self, key: Key) {
        self.release_input(key);
        self.table.deadlines.set(key.slot, Tick::NEVER);
        self.table.leaves(key);
        let Some(slot) = self.table.get(key) else {
            return;
        };
        slot.phase = Phase::Closing;
        let waits = match slot.receive {
            Receive::Armed => Some(Operation::Receive),
            Receive::Polled => Some(Operation::Poll),
            Receive::Disarmed | Receive::Cancelling | Receive::Starved | Receive::Ended => None,
        };
        if let Some(operation) = waits {
            slot.receive = Receive::Cancelling;
            self.ring.cancel(Token::new(operation, key));
        }
        if slot.sending {
            self.ring.cancel(Token::new(Operation::Send, key));
        }
        self.close_if_settled(key);
    }

    pub(super) fn close_if_settled(&mut self, key: Key) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        let receiving = matches!(
            slot.receive,
            Receive::Armed | Receive::Polled | Receive::Cancelling
        );
        if slot.phase != Phase::Closing || receiving || slot.sending || slot.fin == Fin::Submitted {
            return;
        }
        slot.phase = Phase::Closed;
        // Without our FIN so far, the close would send it: the peer would take what was cut for
        // whole.
        let is_cut = slot.fin == Fin::Unsent && slot.reason.resets();
        self.release_output(key);
        if is_cut {
            self.ring.reset(key);
        }
        self.ring.close(key);
    }

    /// The descriptor is closed: nothing of the connection is left in the kernel, and the slot is
    /// free.
    pub(super) fn closed(&mut self, completion: Completion) {
        let key = completion.token.key;
        let Some(slot) = self.table.get(key) else {
            return;
        };
        let (reason, peer, dialed) = (slot.reason, slot.peer, slot.talk == Talk::Dialed);
        if completion.result < 0 && self.may_log(Subject::CloseFailed) {
            tracing::error!(conn = %ConnId::new(self.id, key), errno = -completion.result, "the descriptor did not close");
        }
        self.release_input(key); // what a handler has put back meanwhile
        self.table.vacate(key.slot);
        self.requests.reset(key.slot);
        self.flows.reset(key.slot);
        debug_assert!(
            self.table.open() > 0 || (self.unread, self.unsent) == (0, 0),
            "what went into the queues has left them"
        );
        if dialed {
            self.outbound_closed(key);
            if self.may_log(Subject::OutboundClosed) {
                tracing::debug!(conn = %ConnId::new(self.id, key), peer = %peer.addr(), shard = self.id.0, "outbound connection closed");
            }
            return;
        }
        self.metrics.closed[reason as usize].add(1);
        self.has_left(
            key,
            peer.addr(),
            !matches!(reason, CloseReason::Refused | CloseReason::AddressLimit),
        );
        self.metrics
            .connections
            .set(u64::from(self.table.accepted()));
        if self.may_log(Subject::Closed(reason)) {
            tracing::debug!(conn = %ConnId::new(self.id, key), peer = %peer.addr(), %reason, shard = self.id.0, "closed");
        }
    }

    fn release_input(&mut self, key: Key) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return;
        };
        while let Some(span) = segments.pop_front(&mut slot.input) {
            self.unread -= u64::from(span.len());
            self.pool.release(span);
        }
        slot.input_count = 0;
    }

    fn release_output(&mut self, key: Key) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return;
        };
        while let Some(span) = segments.pop_front(&mut slot.output) {
            self.pool.release(span);
        }
        self.unsent -= u64::from(std::mem::take(&mut slot.output_bytes));
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
    /// The connect took too long.
    GiveUp,
    /// What the deadline was set for has happened.
    Stale,
}

/// Which of the bounds that run beside others have passed.
#[derive(Clone, Copy, Debug)]
struct Passed {
    lifetime: bool,
    request: bool,
    write: bool,
}

fn verdict(slot: &Slot, now: Tick, passed: Passed, draining: bool) -> ExpiryVerdict {
    let reading = slot.waits.is_reading();
    match slot.phase {
        Phase::Lingering => ExpiryVerdict::Close,
        Phase::Connecting => ExpiryVerdict::GiveUp,
        Phase::Free | Phase::Held | Phase::Closing | Phase::Closed => ExpiryVerdict::Stale,
        _ if passed.lifetime && slot.talk != Talk::Dialed => {
            ExpiryVerdict::Fail(CloseReason::LifetimeExceeded)
        }
        _ if passed.request && slot.talk != Talk::Dialed => {
            ExpiryVerdict::Fail(CloseReason::RequestTimeout)
        }
        Phase::Serving
            if slot.sending && slot.talk == Talk::Dialed && now >= slot.frame_deadline =>
        {
            ExpiryVerdict::Fail(CloseReason::ReadTimeout)
        }
        _ if slot.sending && passed.write => ExpiryVerdict::Fail(CloseReason::WriteTimeout),
        _ if slot.sending => ExpiryVerdict::Stale,
        Phase::Serving if slot.waits.run() == RunState::Pooled => {
            ExpiryVerdict::Fail(CloseReason::IdleTimeout)
        }
        Phase::Serving if reading && slot.frame_deadline != Tick::NEVER => {
            ExpiryVerdict::Fail(CloseReason::ReadTimeout)
        }
        Phase::Serving if reading && draining && slot.talk != Talk::Dialed => ExpiryVerdict::Part,
        Phase::Serving if reading && slot.talk == Talk::Silent => {
            ExpiryVerdict::Fail(CloseReason::FirstByteTimeout)
        }
        Phase::Serving if reading => ExpiryVerdict::Fail(CloseReason::IdleTimeout),
        Phase::Serving | Phase::Flushing => ExpiryVerdict::Stale,
    }
}
