//! Waiting for the drain.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::shard::handle::Shard;
use crate::shard::task::wake::Waiter;

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
            let waiter = Waiter::of(context.waker(), shard.number());
            let mut core = shard.core();
            if core.conns.shared.is_draining {
                return Poll::Ready(());
            }
            let entry = *self.entry.get_or_insert_with(|| core.drain.entry());
            let before = core.drain.wait(entry, waiter);
            drop(core);
            drop(before); // with no borrow held: it may be anybody's waker
            Poll::Pending
        })
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            let waiter = Shard::try_with(|shard| shard.core().drain.stop_waiting(entry));
            drop(waiter); // with no borrow held, as above
        }
    }
}
