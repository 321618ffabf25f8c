//! The end of a shard: stop accepting, serve what the kernel's queue holds, let requests in hand
//! finish, end the rest politely, and at the deadline cut what is left.

use std::time::Duration;

use crate::error::CloseReason;
use crate::shard::core::Core;
use crate::shard::state::drain::DrainStage;
use crate::time::Ticks;

/// After the cut, how long the kernel may take to give back what it holds. No key: no peer has a
/// part in it.
const SETTLE: Duration = Duration::from_secs(1);

impl Core {
    /// The order to drain has come.
    pub(crate) fn begin_drain(&mut self) {
        let shared = &mut self.conns.shared;
        shared.is_draining = true;
        self.drain.stage = DrainStage::Polite {
            until: shared.now.after(shared.bounds.drain),
            outbound_closed: false,
        };
        self.drain.is_news = true;
        self.close_queue();
        for waiter in self.drain.take_waiters() {
            self.wake_waiter(waiter);
        }
        for key in self.conns.table.occupants() {
            if let Some(mut conn) = self.conns.get(key) {
                conn.set_deadline();
            }
        }
    }

    /// One look at the drain. True when nothing is left.
    pub(crate) fn advance_drain(&mut self) -> bool {
        let now = self.conns.shared.now;
        match self.drain.stage {
            DrainStage::Off => return false,
            DrainStage::Polite { until, .. } if now >= until => self.cut(),
            DrainStage::Cut { until } if now >= until => {
                let (shard, left) = (self.conns.shared.id.0, self.conns.shared.places.open());
                tracing::error!(shard, left, "connections did not settle and are given up");
                return true;
            }
            DrainStage::Polite {
                until,
                outbound_closed: false,
            } if self.serves_nobody() => {
                self.drain.stage = DrainStage::Polite {
                    until,
                    outbound_closed: true,
                };
                self.close_outbound();
            }
            DrainStage::Polite { .. } | DrainStage::Cut { .. } => {}
        }
        self.drain_listener(matches!(self.drain.stage, DrainStage::Cut { .. }));
        self.acceptor.is_closed() && self.conns.shared.places.open() == 0
    }

    fn cut(&mut self) {
        let until = self.conns.shared.now.after(Ticks::at_least(SETTLE));
        self.drain.stage = DrainStage::Cut { until };
        for key in self.conns.table.occupants() {
            if let Some(mut conn) = self.conns.get(key) {
                conn.fail(CloseReason::DrainCut);
            }
        }
    }

    fn serves_nobody(&self) -> bool {
        self.acceptor.is_closed() && self.conns.shared.places.accepted() == 0
    }

    /// Closes the outbound connections that somebody still has; those whose `Conn` is gone end by
    /// themselves.
    fn close_outbound(&mut self) {
        for key in self.conns.table.occupants() {
            if let Some(mut conn) = self.conns.get(key) {
                conn.close_outbound();
            }
        }
    }
}
