//! The end of a shard: stop accepting, serve what the kernel's queue holds, let requests in hand
//! finish, end the rest politely, and at the deadline cut what is left. A shard that serves nobody any
//! more goes on for what the others of its server may ask of it.

use std::time::Duration;

use crate::error::CloseReason;
use crate::shard::commands::Queue;
use crate::shard::core::Core;
use crate::shard::state::drain::DrainStage;
use crate::time::Ticks;

/// After the cut, how long the kernel may take to give back what it holds. No key: no peer has a
/// part in it.
const SETTLE: Duration = Duration::from_secs(1);

impl Core {
    /// The order to drain has come.
    pub(crate) fn begin_drain(&mut self, queue: Queue) {
        let shared = &mut self.conns.shared;
        shared.is_draining = true;
        self.drain.stage = DrainStage::Polite {
            until: shared.now.after(shared.bounds.drain),
            outbound_closed: false,
        };
        self.drain.is_news = true;
        self.leave_listeners(queue);
        for waiter in self.drain.take_waiters() {
            self.wake_waiter(waiter);
        }
        for key in self.conns.table.occupants() {
            if let Some(mut conn) = self.conns.get(key) {
                conn.drain_begins();
                conn.set_deadline();
            }
        }
    }

    /// One look at the drain. True when nothing is left. `finish_serving` tells the others of the
    /// server that this shard has nobody left to serve, and gives whether that is so of all.
    pub(crate) fn advance_drain(&mut self, finish_serving: impl FnOnce() -> bool) -> bool {
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
            } if self.serves_nobody() && finish_serving() => {
                self.drain.stage = DrainStage::Polite {
                    until,
                    outbound_closed: true,
                };
                self.close_outbound();
            }
            DrainStage::Polite { .. } | DrainStage::Cut { .. } => {}
        }
        self.drain_listeners(matches!(self.drain.stage, DrainStage::Cut { .. }));
        let waits_for_others = matches!(
            self.drain.stage,
            DrainStage::Polite {
                outbound_closed: false,
                ..
            }
        );
        !waits_for_others && self.acceptor.is_closed() && self.conns.shared.places.open() == 0
    }

    fn cut(&mut self) {
        let until = self.conns.shared.now.after(Ticks::at_least(SETTLE));
        self.drain.stage = DrainStage::Cut { until };
        if self.serves_nobody() {
            return self.close_outbound(); // it has waited for the others
        }
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use crate::config::Config;
    use crate::conn::connection::Conn;
    use crate::error::{CloseReason, Error};
    use crate::id::SlotIndex;
    use crate::ring::{Completion, Operation, Token};
    use crate::shard::conns::slot::Origin;
    use crate::shard::policy::bounds::MemoryShare;
    use crate::shard::sim::stand_in::stand_in_shard;
    use crate::time::TICK;

    #[test]
    fn a_write_to_an_outbound_connection_that_the_drain_has_closed_is_refused() {
        let shard = stand_in_shard(
            Config::default(),
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let done = |token, result| Completion {
            token,
            result,
            buffer: None,
            more: false,
        };
        let key = {
            let core = &mut *shard.core();
            let key = core
                .conns
                .occupy(SlotIndex(0), ([127, 0, 0, 1], 1).into(), Origin::Outbound);
            let mut conn = core.conns.get(key).expect("it lives");
            conn.connect_submitted();
            conn.connected(0, false).expect("it is connected");
            conn.close_outbound();
            core.conns.shared.ring.take_submissions();
            let cancelled = done(Token::new(Operation::Receive, key), -libc::ECANCELED);
            core.conns.shared.ring.complete(cancelled);
            key
        };
        let mut conn = Conn::new(key);
        shard.turn(TICK);
        let context = &mut Context::from_waker(Waker::noop());
        let written = pin!(conn.write("late")).poll(context);
        let Poll::Ready(Err(Error::Closed(reason))) = written else {
            panic!("{written:?}");
        };
        assert_eq!(reason, CloseReason::Drained);
        shard.core().conns.after_poll();
        shard.core().conns.shared.ring.take_submissions();
        shard
            .core()
            .conns
            .shared
            .ring
            .complete(done(Token::new(Operation::Close, key), 0));
        shard.turn(2 * TICK);
        let core = shard.core();
        assert_eq!(
            (
                core.conns.shared.unsent,
                core.conns.shared.buffers.referenced()
            ),
            (0, 0)
        );
    }
}
