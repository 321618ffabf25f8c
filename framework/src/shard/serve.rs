//! The tasks of a shard: one handler's future per connection, polled by the pump itself.
//!
//! They are not tasks of the executor. What a connection waits for comes out of the shard's own ring, so the way from a completion to
//! its handler needs no scheduler in between; and an idle connection needs no memory for one.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::table::Waiting;
use super::turn::PREFETCH_AHEAD;
use super::wake::waker_of;
use super::{ConnId, Shard, State, panics};
use crate::error::{CloseReason, Error};
use crate::ring::{Key, prefetch};

/// Passes over the list of those that are due, in search of tasks that woke each other, before the shard looks at its ring again.
const PASSES_MAX: usize = 4;

/// The tasks under the numbers of their slots, and how one is made.
pub(super) struct Tasks<S, F> {
    serve: S,
    by_slot: Vec<Option<Pin<Box<F>>>>,
    /// Being worked off.
    due: Vec<Key>,
}

impl<S, F> Tasks<S, F>
where
    S: Fn(Key) -> F,
    F: Future<Output = Result<(), Error>>,
{
    pub(super) fn new(serve: S) -> Self {
        Self { serve, by_slot: Vec::new(), due: Vec::new() }
    }

    /// Polls the tasks that are due, and then those that they woke.
    pub(super) fn run(&mut self, shard: &Shard) {
        let mut due = std::mem::take(&mut self.due);
        for _ in 0..PASSES_MAX {
            shard.state().take_due(&mut due);
            if due.is_empty() {
                break;
            }
            for (index, key) in due.iter().enumerate() {
                if let Some(coming) = due.get(index + PREFETCH_AHEAD)
                    && let Some(Some(task)) = self.by_slot.get(coming.slot.0 as usize)
                {
                    prefetch(&**task);
                }
                self.poll(shard, *key);
            }
            due.clear();
        }
        self.due = due;
    }

    /// Polls the task of `key`, and hands the slot back to the shard when it is over.
    fn poll(&mut self, shard: &Shard, key: Key) {
        let between = shard.state().take_waker(key);
        between.into_iter().for_each(Waker::wake);
        let Some(before) = shard.state().set_waiting(key, Waiting::Nothing) else { return };
        if before == Waiting::Start {
            self.begin(shard, key);
        }
        let Some(task) = self.by_slot.get_mut(key.slot.0 as usize).and_then(Option::as_mut) else { return };
        shard.metrics.serving.set(u64::from(key.slot.0) << 32 | u64::from(key.generation.number()));
        let waker = waker_of(shard.id, key);
        let mut context = Context::from_waker(&waker);
        // The connection of a handler that panicked is closed and its future dropped: nobody sees what it left half-done.
        let outcome = match panics::as_handler(|| task.as_mut().poll(&mut context)) {
            Ok(Poll::Pending) => match shard.state().poll_pends(key) {
                Some(cut) => Some(cut),
                None => return,
            },
            Ok(Poll::Ready(Ok(()))) => None,
            Ok(Poll::Ready(Err(error))) => Some(failure_reason(shard, key, &error)),
            Err(panic) => Some(panic_reason(key, &*panic)),
        };
        let task = self.by_slot[key.slot.0 as usize].take();
        let outcome = panics::as_handler(|| drop(task)).map_or_else(|panic| Some(panic_reason(key, &*panic)), |()| outcome);
        shard.finish(key, outcome);
    }

    fn begin(&mut self, shard: &Shard, key: Key) {
        let index = key.slot.0 as usize;
        if self.by_slot.len() <= index {
            self.by_slot.resize_with(index + 1, || None);
        }
        self.by_slot[index] = Some(Box::pin((self.serve)(key)));
        shard.metrics.tasks.add(1);
    }
}

impl Shard {
    fn finish(&self, key: Key, outcome: Option<CloseReason>) {
        self.metrics.tasks.set(self.metrics.tasks.get() - 1);
        let between = self.state().take_waker(key);
        drop(between);
        self.state().finish(key, outcome);
    }
}

impl State {
    /// The handler waits. A connection that was cut is over, whatever its handler waits for: it had this one poll to clean up.
    fn poll_pends(&mut self, key: Key) -> Option<CloseReason> {
        let slot = self.table.get(key)?;
        if let Some(reason) = slot.failed.filter(|reason| reason.is_cut()) {
            return Some(reason);
        }
        if slot.waiting == Waiting::Nothing {
            self.set_waiting(key, Waiting::Foreign);
        }
        None
    }
}

fn failure_reason(shard: &Shard, key: Key, error: &Error) -> CloseReason {
    if let Error::Handler(error) = error {
        tracing::debug!(conn = %ConnId::new(shard.id, key), %error, "the handler failed");
    }
    error.reason()
}

fn panic_reason(key: Key, panic: &(dyn Any + Send)) -> CloseReason {
    panics::report(key, panic);
    CloseReason::HandlerPanicked
}
