//! Least rates, as the shard acts on them:
//! [`policy::min_rate`](crate::shard::policy::min_rate) judges.

use crate::error::CloseReason;
use crate::id::SlotIndex;
use crate::ring::Completion;
use crate::shard::core::Core;

impl Core {
    /// Looks at the connections with something pending whose turn it is.
    pub(crate) fn measure_rates(&mut self) {
        if !self.rates_are_due() {
            return;
        }
        self.grace.judged();
        let (now, clock) = (self.conns.shared.now, self.conns.shared.clock);
        for slot in self.conns.shared.requests.due_now(now, clock) {
            self.measure_receiving(slot);
        }
        for slot in self.conns.shared.min_rate.due_now(now, clock) {
            self.measure_sending(slot);
        }
    }

    /// Whether there is somebody to look at.
    pub(crate) fn rates_are_due(&self) -> bool {
        let shared = &self.conns.shared;
        let is_due = shared.requests.sweep.is_due(shared.now, shared.clock)
            || shared.min_rate.sweep.is_due(shared.now, shared.clock);
        is_due && self.grace.is_over(shared.now)
    }

    fn measure_receiving(&mut self, slot: SlotIndex) {
        let Some(mut conn) = self.conns.at(slot) else {
            return;
        };
        let is_pending = conn.is_input_pending();
        if conn.receives_too_slowly(is_pending) {
            conn.fail(CloseReason::ReceiveTooSlow);
        }
    }

    fn measure_sending(&mut self, slot: SlotIndex) {
        if let Some(conn) = self.conns.at(slot).filter(|conn| conn.is_output_pending()) {
            let key = conn.key;
            self.conns.shared.ring.ask_unacknowledged(key);
        }
    }

    /// The kernel has so much unacknowledged of a connection.
    pub(crate) fn unacknowledged(&mut self, completion: Completion) {
        // It cannot tell of a socket that has just failed: the send does.
        let Ok(bytes) = u32::try_from(completion.result) else {
            return;
        };
        if let Some(mut conn) = self.conns.get(completion.token.key)
            && conn.is_output_pending()
            && conn.sends_too_slowly(bytes)
        {
            conn.fail(CloseReason::SendTooSlow);
        }
    }

    /// Judges nobody by this window: the shard was late.
    pub(crate) fn reset_windows(&mut self) {
        self.conns.shared.requests.reset_windows();
        self.conns.shared.min_rate.reset_windows();
    }
}
