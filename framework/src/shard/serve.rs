//! The task of one connection: the handler's `serve`, watched.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::table::Waiting;
use super::{ConnId, Shard, State, panics};
use crate::conn::Conn;
use crate::error::{CloseReason, Error};
use crate::handler::Handler;
use crate::ring::Key;

/// Serves one connection with `handler` and hands the slot back to the shard.
///
/// The size of this future is most of the memory of an idle connection: it is written so that nothing stands in it twice.
pub(super) fn serve<H: Handler>(handler: Rc<H>, key: Key) -> impl Future<Output = ()> {
    Shard::with(|shard| shard.metrics.tasks.add(1));
    let mut conn = Conn::new(key);
    Watched::Serving { key, serving: async move { handler.serve(&mut conn).await } }
}

pin_project! {
    /// A handler's future with the bookkeeping around each of its polls.
    #[project = WatchedProjection]
    enum Watched<F> {
        Serving { key: Key, #[pin] serving: F },
        Over,
    }
}

impl<F: Future<Output = Result<(), Error>>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let WatchedProjection::Serving { key, serving } = self.as_mut().project() else { return Poll::Ready(()) };
        let key = *key;
        Shard::with(|shard| shard.poll_begins(key));
        // The connection of a handler that panicked is closed and its future dropped: nobody sees what it left half-done.
        let outcome = match panics::as_handler(|| serving.poll(context)) {
            Ok(Poll::Pending) => match Shard::with(|shard| shard.poll_pends(key, context)) {
                Some(cut) => Some(cut),
                None => return Poll::Pending,
            },
            Ok(Poll::Ready(Ok(()))) => None,
            Ok(Poll::Ready(Err(error))) => Some(failure_reason(key, &error)),
            Err(panic) => Some(panic_reason(key, &*panic)),
        };
        // Here and not by the executor, which aborts the process when a destructor panics.
        let dropped = panics::as_handler(|| self.set(Watched::Over));
        let outcome = dropped.map_or_else(|panic| Some(panic_reason(key, &*panic)), |()| outcome);
        Shard::with(|shard| shard.finish(key, outcome));
        Poll::Ready(())
    }
}

impl Shard {
    fn poll_begins(&self, key: Key) {
        self.polls.set(self.polls.get() + 1);
        self.metrics.serving.set(u64::from(key.slot.0) << 32 | u64::from(key.generation.number()));
        if self.state().poll_begins(key) {
            self.foreign.set(self.foreign.get() - 1);
        }
    }

    /// The handler waits. A connection that was cut is over, whatever its handler waits for: it had this one poll to clean up.
    fn poll_pends(&self, key: Key, context: &Context<'_>) -> Option<CloseReason> {
        let mut state = self.state();
        if let Some(reason) = state.failure(key).filter(|reason| reason.is_cut()) {
            return Some(reason);
        }
        if state.poll_pends(key, context) {
            self.foreign.set(self.foreign.get() + 1);
        }
        None
    }

    fn finish(&self, key: Key, outcome: Option<CloseReason>) {
        self.metrics.tasks.set(self.metrics.tasks.get() - 1);
        self.state().finish(key, outcome);
    }
}

impl State {
    /// The handler runs: it waits for nothing. Whether it had waited for something foreign.
    fn poll_begins(&mut self, key: Key) -> bool {
        let Some(slot) = self.table.get(key) else { return false };
        std::mem::replace(&mut slot.waiting, Waiting::Nothing) == Waiting::Foreign
    }

    /// The handler waits. Whether it does so for something foreign, which the shard cannot end by itself: then a cut needs its waker.
    fn poll_pends(&mut self, key: Key, context: &Context<'_>) -> bool {
        let Some(slot) = self.table.get(key).filter(|slot| slot.waiting == Waiting::Nothing) else { return false };
        slot.waiting = Waiting::Foreign;
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            slot.waker = Some(context.waker().clone());
        }
        true
    }
}

fn failure_reason(key: Key, error: &Error) -> CloseReason {
    if let Error::Handler(error) = error {
        tracing::debug!(conn = %Shard::with(|shard| ConnId::new(shard.id, key)), %error, "the handler failed");
    }
    error.reason()
}

fn panic_reason(key: Key, panic: &(dyn std::any::Any + Send)) -> CloseReason {
    panics::report(key, panic);
    CloseReason::HandlerPanicked
}
