//! Outbound connections of a pool that nobody uses. The shard itself closes one that its peer
//! closes, that receives what nobody asked for, or whose time is over: the pool keeps the keys, and
//! a key that finds nothing is passed over.

use std::time::Duration;

use crate::error::CloseReason;
use crate::shard::conns::conn_mut::ConnMut;
use crate::shard::conns::interest::RunState;
use crate::shard::conns::slot::{Phase, RecvState, SendState};

impl ConnMut<'_> {
    /// Keeps the connection for `within`, at least. False if it is not as a new one would be:
    /// something of it is unread or unsent, or it has ended.
    pub(crate) fn check_in(&mut self, within: Option<Duration>) -> bool {
        if !self.is_clean() {
            return false;
        }
        self.set_pool_deadline(within);
        self.slot.waiter = None;
        self.shared.own_timeouts.reset(self.key.slot);
        self.set_run(RunState::Pooled);
        self.forget_waits();
        self.shared.metrics.outbound_idle.add(1);
        self.arm_receive();
        self.set_deadline();
        true
    }

    fn is_clean(&self) -> bool {
        let slot = &*self.slot;
        let is_unused = slot.input.is_empty() && slot.output.is_empty();
        let is_open = slot.phase == Phase::Serving && slot.failed.is_none();
        let both_ways = slot.recv != RecvState::Ended && slot.send == SendState::Idle;
        let sessions = &self.shared.tls;
        let is_over = sessions.is_over(self.key.slot) || sessions.has_partial(self.key.slot);
        is_unused && is_open && both_ways && slot.is_outbound() && !is_over
    }

    /// Whether a pool has it.
    pub(crate) fn is_checked_in(&self) -> bool {
        self.slot.phase == Phase::Serving && self.slot.waits.run() == RunState::Pooled
    }

    /// Takes a connection out of its pool. False if it has been closed meanwhile, or is closed now:
    /// of a record that has begun nobody knows whether it is what the peer says unasked, and the rest
    /// of that would be taken for an answer.
    pub(crate) fn check_out(&mut self) -> bool {
        if !self.is_checked_in() {
            return false;
        }
        if self.shared.tls.has_partial(self.key.slot) {
            self.close_unused(CloseReason::ProtocolError);
            return false;
        }
        self.shared.metrics.outbound_idle.subtract(1);
        self.clear_frame_deadline();
        self.set_run(RunState::Idle);
        self.set_deadline();
        true
    }

    /// Closes an outbound connection at once: what it has in hand is of no use any more.
    pub(crate) fn discard(&mut self) {
        if self.slot.is_outbound() && self.slot.phase == Phase::Serving {
            self.close_unused(CloseReason::HandlerClosed);
        }
    }

    /// The drain closes an outbound connection that somebody still has.
    pub(crate) fn close_outbound(&mut self) {
        match self.slot.phase {
            Phase::Serving => {
                self.slot.failed.get_or_insert(CloseReason::Drained); // whoever has it is told
                self.close_unused(CloseReason::Drained);
            }
            Phase::Connecting => self.cancel_connect(CloseReason::Drained),
            _ => {}
        }
    }
}
