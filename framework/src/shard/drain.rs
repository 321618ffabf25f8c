//! The end of a shard: stop accepting, serve what the kernel's queue holds, let requests in hand
//! finish, end the rest politely, and at the deadline cut what is left.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::deadline::{Tick, Ticks};
use super::table::Phase;
use super::wake::Sleeper;
use super::{Shard, State};
use crate::error::CloseReason;

/// After the cut, how long the kernel may take to give back what it holds. No key: no peer has a
/// part in it.
const SETTLE: Duration = Duration::from_secs(1);

/// How far the drain has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Drain {
    #[default]
    Off,
    /// Connections end by themselves until this tick. Those that the shard opened are closed once
    /// nobody is left whom they serve.
    Polite { until: Tick, outbound_closed: bool },
    /// Everything is being cut, and given up at this tick.
    Cut { until: Tick },
}

impl Drain {
    pub(super) fn is_on(self) -> bool {
        self != Self::Off
    }

    /// When the drain must be looked at again.
    pub(super) fn wakes(self, now: Tick) -> Tick {
        match self {
            Self::Off => Tick::NEVER,
            // The listener's queue has no completion that tells of it.
            Self::Polite { .. } | Self::Cut { .. } => Tick(now.0 + 1),
        }
    }
}

/// Waits until the server drains, or the shard of a client ends: for a handler or a task that waits
/// for something else meanwhile, as a sleep or a message, and would not hear of it. A handler that
/// reads is told by the end of its input.
///
/// Any number of tasks may wait, each in any number of these. For tasks of a shard.
pub fn draining() -> Draining {
    Draining { entry: None }
}

/// The future of [`draining`] and [`Conn::draining`](crate::Conn::draining).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Draining {
    entry: Option<u64>,
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Shard::with(|shard| {
            let mut state = shard.state();
            if state.drain.is_on() {
                return Poll::Ready(());
            }
            let sleeper = state.sleeper(context.waker());
            let entry = *self
                .entry
                .get_or_insert_with(|| state.drainers.next_entry());
            let before = state.drainers.by_entry.insert(entry, sleeper);
            drop(state);
            drop(before); // with no borrow held: it may be anybody's waker
            Poll::Pending
        })
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            let sleeper = Shard::try_with(|shard| shard.state().drainers.by_entry.remove(&entry));
            drop(sleeper); // with no borrow held, as above
        }
    }
}

/// Who waits for the drain, as many as there are futures that do.
#[derive(Debug, Default)]
pub(super) struct Drainers {
    by_entry: BTreeMap<u64, Sleeper>,
    serial: u64,
}

impl Drainers {
    fn next_entry(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

impl State {
    /// The order to drain has come.
    pub(super) fn begin_drain(&mut self) {
        self.drain = Drain::Polite {
            until: self.now.after(self.bounds.drain),
            outbound_closed: false,
        };
        self.close_queue();
        for (_, waiting) in std::mem::take(&mut self.drainers.by_entry) {
            self.rouse(waiting);
        }
        for key in self.table.occupants() {
            self.set_deadline(key);
        }
    }

    /// One look at the drain. True when nothing is left.
    pub(super) fn advance_drain(&mut self) -> bool {
        match self.drain {
            Drain::Off => return false,
            Drain::Polite { until, .. } if self.now >= until => {
                self.drain = Drain::Cut {
                    until: self.now.after(Ticks::at_least(SETTLE)),
                };
                for key in self.table.occupants() {
                    self.fail(key, CloseReason::DrainCut);
                }
            }
            Drain::Cut { until } if self.now >= until => {
                tracing::error!(
                    shard = self.id.0,
                    left = self.table.open(),
                    "connections did not settle and are given up"
                );
                return true;
            }
            Drain::Polite {
                until,
                outbound_closed: false,
            } if self.acceptor.is_closed() && self.table.accepted() == 0 => {
                self.drain = Drain::Polite {
                    until,
                    outbound_closed: true,
                };
                self.close_outbound();
            }
            Drain::Polite { .. } | Drain::Cut { .. } => {}
        }
        self.drain_listener(matches!(self.drain, Drain::Cut { .. }));
        self.acceptor.is_closed() && self.table.open() == 0
    }

    /// Closes the connections that somebody still has; those that were let go end by themselves.
    fn close_outbound(&mut self) {
        for key in self.table.occupants() {
            match self.table.get(key).map(|slot| slot.phase) {
                Some(Phase::Serving) => self.close_pooled(key, CloseReason::Drained),
                Some(Phase::Connecting) => self.cancel_connect(key, CloseReason::Drained),
                _ => {}
            }
        }
    }
}
