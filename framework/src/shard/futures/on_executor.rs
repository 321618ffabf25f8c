//! Waiting for what lives on the executor below the shard.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::shard::handle::Shard;

/// Awaits `future`, which is ended by something of the executor itself: one of glommio's timers,
/// channels, files or tasks.
///
/// Such a future may be awaited as it is; then the executor gets its turn every five milliseconds
/// while the shard has work, and the future is that much late. In this it has its turn at once,
/// which costs the shard its shortest way from a packet to its handler as long as the wait lasts.
/// What other threads and tasks of the shard end needs neither: it arrives at once anyway.
///
/// For tasks of a shard. Dropping it drops `future`.
pub fn on_executor<F: Future>(future: F) -> OnExecutor<F> {
    OnExecutor {
        future,
        turn: Turn { waits: false },
    }
}

pin_project! {
    /// The future of [`on_executor`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct OnExecutor<F> {
        #[pin]
        future: F,
        turn: Turn,
    }
}

/// Whether the executor is given its turn for this one.
#[derive(Debug)]
struct Turn {
    waits: bool,
}

impl Turn {
    fn set(&mut self, waits: bool) {
        if std::mem::replace(&mut self.waits, waits) != waits {
            Shard::try_with(|shard| shard.core().conns.shared.run_queue.on_executor(waits));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.set(false);
    }
}

impl<F: Future> Future for OnExecutor<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let poll = this.future.poll(context);
        this.turn.set(poll.is_pending());
        poll
    }
}
