//! Polls the tasks of a shard, within the event loop: one handler's future per connection, and
//! those that were spawned.
//!
//! They are not tasks of glommio's executor. What a connection waits for comes out of the shard's
//! own ring, so the way from a completion to its handler needs no scheduler in between; and an idle
//! connection needs no memory for one.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::{CloseReason, Error};
use crate::escape::EscapedText;
use crate::id::{ConnId, Key};
use crate::panics;
use crate::ring::prefetch;
use crate::shard::conns::interest::RunState;
use crate::shard::handle::Shard;
use crate::shard::policy::log_limit::LogKind;
use crate::shard::task::spawned::{SpawnedTask, spawned_index};
use crate::shard::task::wake::waker_of;

/// How many completions or tasks ahead the state of a connection is fetched: far enough for memory
/// to answer, near enough to find it.
pub(crate) const PREFETCH_AHEAD: usize = 4;

/// Passes over the list of those that are due, in search of tasks that woke each other, before the
/// shard looks at its ring again. No key: those who are left have their turn in the next one, and
/// more passes would only put off the look.
const PASSES_MAX: usize = 4;

/// The tasks under the numbers of their slots, and how one is made.
pub(crate) struct TaskPoller<S, F> {
    serve: S,
    by_slot: Vec<Option<Pin<Box<F>>>>,
    spawned: Vec<Option<SpawnedTask>>,
    /// Being worked off.
    due: Vec<Key>,
}

impl<S, F> TaskPoller<S, F>
where
    S: Fn(Key) -> F,
    F: Future<Output = Result<(), Error>>,
{
    pub(crate) fn new(serve: S) -> Self {
        Self {
            serve,
            by_slot: Vec::new(),
            spawned: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Polls the tasks that are due, and then those that they woke.
    pub(crate) fn run(&mut self, shard: &Shard) {
        let mut due = std::mem::take(&mut self.due);
        shard.core().conns.shared.run_queue.begin_run();
        for _ in 0..PASSES_MAX {
            let (wakers, unneeded) = shard.core().conns.shared.run_queue.take_wakers();
            wakers.into_iter().for_each(Waker::wake);
            drop(unneeded);
            shard.core().take_due(&mut due);
            if due.is_empty() {
                break;
            }
            self.prefetch_first(&due);
            for (index, key) in due.iter().enumerate() {
                self.prefetch_ahead(&due[index..]);
                self.poll(shard, *key);
            }
            due.clear();
        }
        self.due = due;
        shard.core().conns.deliver_publications();
    }

    fn prefetch_first(&self, due: &[Key]) {
        for coming in due.iter().take(2 * PREFETCH_AHEAD) {
            self.prefetch_pointer(*coming);
        }
        for coming in due.iter().take(PREFETCH_AHEAD) {
            self.prefetch_task(*coming);
        }
    }

    /// `due`: the task that is polled next, and those behind it.
    fn prefetch_ahead(&self, due: &[Key]) {
        if let Some(coming) = due.get(2 * PREFETCH_AHEAD) {
            self.prefetch_pointer(*coming);
        }
        if let Some(coming) = due.get(PREFETCH_AHEAD) {
            self.prefetch_task(*coming);
        }
    }

    /// Fetches the way to a task.
    fn prefetch_pointer(&self, key: Key) {
        if let Some(place) = self.by_slot.get(key.slot.0 as usize) {
            prefetch(place);
        }
    }

    /// Fetches a task, to which the way is there.
    fn prefetch_task(&self, key: Key) {
        if let Some(Some(task)) = self.by_slot.get(key.slot.0 as usize) {
            prefetch(&**task);
        }
    }

    /// Polls the task of `key`, and hands the slot back to the shard when it is over.
    fn poll(&mut self, shard: &Shard, key: Key) {
        if let Some(index) = spawned_index(key) {
            return self.poll_spawned(shard, key, index);
        }
        let before = shard
            .core()
            .conns
            .get(key)
            .map(|mut conn| conn.begin_poll());
        let Some(before) = before else {
            return;
        };
        if before == RunState::Start {
            self.begin(shard, key);
        }
        let Some(task) = self
            .by_slot
            .get_mut(key.slot.0 as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        shard.metrics.serving.set(ConnId::word(key));
        let waker = waker_of(shard.number(), key);
        let mut context = Context::from_waker(&waker);
        // The connection of a handler that panicked is closed and its future dropped: nobody sees
        // what it left half-done.
        let outcome = match panics::as_handler(|| task.as_mut().poll(&mut context)) {
            Ok(Poll::Pending) => match poll_pends(shard, key) {
                Some(cut) => Some(cut),
                None => return,
            },
            Ok(Poll::Ready(Ok(()))) => None,
            Ok(Poll::Ready(Err(error))) => Some(failure_reason(shard, key, &error)),
            Err(panic) => Some(panic_reason(key, &*panic)),
        };
        let task = self.by_slot[key.slot.0 as usize].take();
        let outcome = panics::as_handler(|| drop(task))
            .map_or_else(|panic| Some(panic_reason(key, &*panic)), |()| outcome);
        finish(shard, key, outcome);
    }

    fn poll_spawned(&mut self, shard: &Shard, key: Key, index: usize) {
        for (key, task) in shard.core().spawned.take_born() {
            let Some(index) = spawned_index(key) else {
                continue;
            };
            if self.spawned.len() <= index {
                self.spawned.resize_with(index + 1, || None);
            }
            self.spawned[index] = Some(task);
        }
        if !shard.core().spawned.begin_poll(key) {
            return;
        }
        let Some(task) = self.spawned.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        shard.metrics.serving.set(ConnId::word(key));
        let waker = waker_of(shard.number(), key);
        let outcome =
            match panics::as_handler(|| task.as_mut().poll(&mut Context::from_waker(&waker))) {
                Ok(Poll::Pending) => return shard.core().conns.after_poll(),
                Ok(Poll::Ready(())) => Ok(()),
                Err(panic) => Err(panic),
            };
        let task = self.spawned[index].take();
        for outcome in [outcome, panics::as_handler(|| drop(task))] {
            outcome.unwrap_or_else(|panic| report_panic(key, &*panic));
        }
        let mut core = shard.core();
        core.spawned.end(key);
        core.conns.after_poll();
    }

    /// The shard is over: drops those who still wait. A destructor that panics ends its own task
    /// and nothing else. Gives back what has served.
    pub(crate) fn end(self) -> S {
        let handlers = self
            .by_slot
            .into_iter()
            .flatten()
            .map(|task| panics::as_handler(|| drop(task)));
        let spawned = self
            .spawned
            .into_iter()
            .flatten()
            .map(|task| panics::as_handler(|| drop(task)));
        for panic in handlers.chain(spawned).filter_map(Result::err) {
            report_panic(Key::of_place(0), &*panic);
        }
        self.serve
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

/// The handler waits, for the time being; the reason if it must end all the same.
fn poll_pends(shard: &Shard, key: Key) -> Option<CloseReason> {
    let mut core = shard.core();
    core.conns.after_poll();
    core.conns.get(key)?.poll_pends()
}

/// The handler's task is over.
fn finish(shard: &Shard, key: Key, outcome: Option<CloseReason>) {
    shard.metrics.tasks.set(shard.metrics.tasks.get() - 1);
    let mut core = shard.core();
    if let Some(mut conn) = core.conns.get(key) {
        conn.finish(outcome);
    }
    core.conns.after_poll();
}

/// The reason for which a connection ends whose handler has failed with `error`, the text of which
/// is logged.
fn failure_reason(shard: &Shard, key: Key, error: &Error) -> CloseReason {
    let mut core = shard.core();
    let own = core.conns.get(key).and_then(|conn| conn.output_refusal());
    if let (Error::Closed(reason), Some(Error::Closed(own))) = (error, own)
        && *reason == own
    {
        return own; // what has happened to the connection itself, which its end tells of
    }
    let conn = core.conns.shared.conn_id(key);
    let (shard, text) = (shard.id.0, EscapedText(error)); // its author may have quoted the peer in it
    match error.reason() {
        CloseReason::ProtocolError => {
            if core.conns.shared.may_log(LogKind::ProtocolBroken) {
                tracing::debug!(%conn, shard, error = %text, "the peer broke the protocol");
            }
            CloseReason::ProtocolError
        }
        // Another connection's end is no end of this one.
        _ => {
            if core.conns.shared.may_log(LogKind::HandlerFailed) {
                tracing::info!(%conn, shard, error = %text, "the handler failed");
            }
            CloseReason::HandlerFailed
        }
    }
}

fn panic_reason(key: Key, panic: &(dyn Any + Send)) -> CloseReason {
    report_panic(key, panic);
    CloseReason::HandlerPanicked
}

/// Logs a panic that was caught, unless one was logged a moment ago.
pub(crate) fn report_panic(key: Key, panic: &(dyn Any + Send)) {
    let place = panics::take_place();
    Shard::with(|shard| {
        let shared = &mut shard.core().conns.shared;
        if shared.may_log(LogKind::HandlerPanicked) {
            let (conn, panic) = (shared.conn_id(key), panics::text(panic));
            tracing::error!(%conn, shard = shard.id.0, %panic, place, "the handler panicked");
        }
    });
}
