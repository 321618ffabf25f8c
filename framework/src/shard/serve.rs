//! The tasks of a shard: one handler's future per connection, and those that were spawned. The pump itself polls them.
//!
//! They are not tasks of the executor. What a connection waits for comes out of the shard's own ring, so the way from a completion to
//! its handler needs no scheduler in between; and an idle connection needs no memory for one.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::spawn::{SpawnedTask, spawned_index};
use super::table::{Talk, Waiting};
use super::turn::PREFETCH_AHEAD;
use super::wake::waker_of;
use super::{ConnId, Shard, State, Subject, panics};
use crate::error::{CloseReason, Error};
use crate::escape::EscapedText;
use crate::ring::{Key, prefetch, was_kept};

/// Passes over the list of those that are due, in search of tasks that woke each other, before the shard looks at its ring again. No key:
/// those who are left have their turn in the next one, and more passes would only put off the look.
const PASSES_MAX: usize = 4;

/// The tasks under the numbers of their slots, and how one is made.
pub(super) struct Tasks<S, F> {
    serve: S,
    by_slot: Vec<Option<Pin<Box<F>>>>,
    spawned: Vec<Option<SpawnedTask>>,
    /// Being worked off.
    due: Vec<Key>,
}

impl<S, F> Tasks<S, F>
where
    S: Fn(Key) -> F,
    F: Future<Output = Result<(), Error>>,
{
    pub(super) fn new(serve: S) -> Self {
        Self { serve, by_slot: Vec::new(), spawned: Vec::new(), due: Vec::new() }
    }

    /// Polls the tasks that are due, and then those that they woke.
    pub(super) fn run(&mut self, shard: &Shard) {
        let mut due = std::mem::take(&mut self.due);
        shard.state().wakes.begin_run();
        for _ in 0..PASSES_MAX {
            let (outside, replaced) = shard.state().take_outside();
            outside.into_iter().for_each(Waker::wake);
            drop(replaced);
            shard.state().take_due(&mut due);
            if due.is_empty() {
                break;
            }
            due.iter().take(2 * PREFETCH_AHEAD).for_each(|coming| self.prefetch_pointer(*coming));
            due.iter().take(PREFETCH_AHEAD).for_each(|coming| self.prefetch_task(*coming));
            for (index, key) in due.iter().enumerate() {
                due.get(index + 2 * PREFETCH_AHEAD).into_iter().for_each(|coming| self.prefetch_pointer(*coming));
                due.get(index + PREFETCH_AHEAD).into_iter().for_each(|coming| self.prefetch_task(*coming));
                self.poll(shard, *key);
            }
            due.clear();
        }
        self.due = due;
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
        let between = shard.state().take_waker(key);
        between.into_iter().for_each(Waker::wake);
        let Some(before) = shard.state().begin_poll(key) else { return };
        if before == Waiting::Start {
            self.begin(shard, key);
        }
        let Some(task) = self.by_slot.get_mut(key.slot.0 as usize).and_then(Option::as_mut) else { return };
        shard.metrics.serving.set(ConnId::word(key));
        let waker = waker_of(shard.registered.number, key);
        was_kept(); // what was kept before is not this task's
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

    fn poll_spawned(&mut self, shard: &Shard, key: Key, index: usize) {
        for (key, task) in shard.state().take_born() {
            let Some(index) = spawned_index(key) else { continue };
            if self.spawned.len() <= index {
                self.spawned.resize_with(index + 1, || None);
            }
            self.spawned[index] = Some(task);
        }
        if shard.state().set_spawned_waiting(key, Waiting::Nothing).is_none() {
            return;
        }
        let Some(task) = self.spawned.get_mut(index).and_then(Option::as_mut) else { return };
        shard.metrics.serving.set(ConnId::word(key));
        let waker = waker_of(shard.registered.number, key);
        was_kept(); // what was kept before is not this task's
        let outcome = match panics::as_handler(|| task.as_mut().poll(&mut Context::from_waker(&waker))) {
            Ok(Poll::Pending) => return shard.state().pends(key),
            Ok(Poll::Ready(())) => Ok(()),
            Err(panic) => Err(panic),
        };
        let task = self.spawned[index].take();
        for outcome in [outcome, panics::as_handler(|| drop(task))] {
            outcome.unwrap_or_else(|panic| panics::report(key, &*panic));
        }
        shard.state().end_spawned(key);
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
    /// The task of `key` is about to be polled. Gives what it waited for; none if there is no such connection.
    pub(super) fn begin_poll(&mut self, key: Key) -> Option<Waiting> {
        self.reads_left = self.bounds.reads_per_turn_max;
        self.set_waiting(key, Waiting::Nothing)
    }

    /// Whether a handler that reads on has had its share of this turn, and more to read: then it is polled again in the next one. However small
    /// the frames are that its peer sends, they take no more of a turn than this.
    pub(crate) fn yields(&mut self, key: Key, waker: &Waker) -> bool {
        if self.reads_left > 0 {
            self.reads_left -= 1;
            return false;
        }
        // A connection that the task opened itself is read as the task likes: its peer was asked.
        if self.table.get(key).is_none_or(|slot| slot.input.is_empty() || slot.talk == Talk::Dialed) {
            return false;
        }
        self.keep_waker(key, waker);
        self.set_waiting(key, Waiting::Due);
        self.wakes.push_yielded(key);
        true
    }

    /// The handler waits. A connection that was cut is over, whatever its handler waits for: it had this one poll to clean up.
    fn poll_pends(&mut self, key: Key) -> Option<CloseReason> {
        let slot = self.table.get(key)?;
        if let Some(reason) = slot.failed.filter(|reason| reason.is_cut()) {
            return Some(reason);
        }
        if slot.waiting == Waiting::Nothing {
            self.pends(key);
        }
        None
    }

    /// The task of `key` waits for something other than its own connection. If that is of this shard, as another connection or a sleep, it
    /// has taken the task's name; if it has kept a waker, something else will use that.
    fn pends(&mut self, key: Key) {
        let waiting = if was_kept() { Waiting::Foreign } else { Waiting::Elsewhere };
        match spawned_index(key) {
            Some(_) if self.spawned_is_due(key) => None, // it woke itself
            Some(_) => self.set_spawned_waiting(key, waiting),
            None => self.set_waiting(key, waiting),
        };
    }
}

fn failure_reason(shard: &Shard, key: Key, error: &Error) -> CloseReason {
    if let Error::Handler(_) | Error::Upstream(_) = error
        && shard.state().may_log(Subject::HandlerFailed)
    {
        let error = EscapedText(error); // its author may have quoted the peer in it
        tracing::debug!(conn = %ConnId::new(shard.id, key), shard = shard.id.0, %error, "the handler failed");
    }
    error.reason()
}

fn panic_reason(key: Key, panic: &(dyn Any + Send)) -> CloseReason {
    panics::report(key, panic);
    CloseReason::HandlerPanicked
}
