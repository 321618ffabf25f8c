//! Connections of a pool that nobody uses. The shard itself closes one that its peer closes, that
//! receives what nobody asked for, or whose time is over: the pool keeps the names, and a name that
//! finds nothing is passed over.

use std::time::Duration;

use super::State;
use super::deadline::Ticks;
use super::interest::RunState;
use super::table::{Fin, Phase, Receive, Slot, Talk};
use crate::error::CloseReason;
use crate::ring::Key;

impl State {
    /// Lays the connection by for `within`, at least. False if it is not as a new one would be:
    /// something of it is unread or unsent, or it has ended.
    pub(crate) fn lay_by(&mut self, key: Key, within: Option<Duration>) -> bool {
        let until = self.now.after(Ticks::of(within));
        let Some(slot) = self.table.get(key).filter(|slot| is_clean(slot)) else {
            return false;
        };
        slot.frame_deadline = until;
        slot.waiter = None;
        slot.waits.set_run(RunState::Pooled);
        self.forget_waits(key);
        self.metrics.outbound_idle.add(1);
        self.arm_receive(key);
        self.set_deadline(key);
        true
    }

    /// Whether it lies there still.
    pub(crate) fn is_laid_by(&mut self, key: Key) -> bool {
        self.table.get(key).is_some_and(|slot| {
            slot.phase == Phase::Serving && slot.waits.run() == RunState::Pooled
        })
    }

    /// Takes a connection that was laid by. False if it has been closed meanwhile.
    pub(crate) fn take_up(&mut self, key: Key) -> bool {
        let laid_by = self.is_laid_by(key);
        if laid_by {
            self.metrics.outbound_idle.subtract(1);
            self.set_read_deadline(key, None);
            self.set_run(key, RunState::Idle);
            self.set_deadline(key);
        }
        laid_by
    }

    /// Closes a connection that the shard opened at once: what it has in hand is of no use any
    /// more.
    pub(crate) fn discard(&mut self, key: Key) {
        if self
            .table
            .get(key)
            .is_some_and(|slot| slot.talk == Talk::Dialed && slot.phase == Phase::Serving)
        {
            self.close_pooled(key, CloseReason::HandlerClosed);
        }
    }

    pub(super) fn close_pooled(&mut self, key: Key, reason: CloseReason) {
        if self.is_laid_by(key) {
            self.metrics.outbound_idle.subtract(1);
        }
        self.set_run(key, RunState::Idle);
        self.forget_waits(key);
        if let Some(slot) = self.table.get(key) {
            slot.reason = reason;
        }
        self.begin_close(key);
    }
}

fn is_clean(slot: &Slot) -> bool {
    let unused = slot.input.is_empty() && slot.output.is_empty() && !slot.sending;
    let open = slot.phase == Phase::Serving
        && slot.failed.is_none()
        && slot.receive != Receive::Ended
        && slot.fin == Fin::Unsent;
    unused && open && slot.talk == Talk::Dialed
}
