//! The tasks of a shard: one handler's future per connection, and those that were spawned. The pump
//! itself polls them.
//!
//! They are not tasks of the executor. What a connection waits for comes out of the shard's own
//! ring, so the way from a completion to its handler needs no scheduler in between; and an idle
//! connection needs no memory for one.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::interest::RunState;
use super::spawn::{SpawnedTask, spawned_index};
use super::table::Talk;
use super::turn::PREFETCH_AHEAD;
use super::wake::{Sleeper, waker_of};
use super::{ConnId, Shard, State, Subject, panics};
use crate::error::{CloseReason, Error};
use crate::escape::EscapedText;
use crate::ring::{Key, prefetch};

/// Passes over the list of those that are due, in search of tasks that woke each other, before the
/// shard looks at its ring again. No key: those who are left have their turn in the next one, and
/// more passes would only put off the look.
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
        Self {
            serve,
            by_slot: Vec::new(),
            spawned: Vec::new(),
            due: Vec::new(),
        }
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
            due.iter()
                .take(2 * PREFETCH_AHEAD)
                .for_each(|coming| self.prefetch_pointer(*coming));
            due.iter()
                .take(PREFETCH_AHEAD)
                .for_each(|coming| self.prefetch_task(*coming));
            for (index, key) in due.iter().enumerate() {
                due.get(index + 2 * PREFETCH_AHEAD)
                    .into_iter()
                    .for_each(|coming| self.prefetch_pointer(*coming));
                due.get(index + PREFETCH_AHEAD)
                    .into_iter()
                    .for_each(|coming| self.prefetch_task(*coming));
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
        let Some(before) = shard.state().begin_poll(key) else {
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
        let waker = waker_of(shard.registered.number, key);
        let mut context = Context::from_waker(&waker);
        // The connection of a handler that panicked is closed and its future dropped: nobody sees
        // what it left half-done.
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
        let outcome = panics::as_handler(|| drop(task))
            .map_or_else(|panic| Some(panic_reason(key, &*panic)), |()| outcome);
        shard.finish(key, outcome);
    }

    fn poll_spawned(&mut self, shard: &Shard, key: Key, index: usize) {
        for (key, task) in shard.state().take_born() {
            let Some(index) = spawned_index(key) else {
                continue;
            };
            if self.spawned.len() <= index {
                self.spawned.resize_with(index + 1, || None);
            }
            self.spawned[index] = Some(task);
        }
        if !shard.state().begin_spawned(key) {
            return;
        }
        let Some(task) = self.spawned.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        shard.metrics.serving.set(ConnId::word(key));
        let waker = waker_of(shard.registered.number, key);
        let outcome =
            match panics::as_handler(|| task.as_mut().poll(&mut Context::from_waker(&waker))) {
                Ok(Poll::Pending) => return shard.state().settle(),
                Ok(Poll::Ready(())) => Ok(()),
                Err(panic) => Err(panic),
            };
        let task = self.spawned[index].take();
        for outcome in [outcome, panics::as_handler(|| drop(task))] {
            outcome.unwrap_or_else(|panic| panics::report(key, &*panic));
        }
        let mut state = shard.state();
        state.end_spawned(key);
        state.settle();
    }

    /// The shard is over: drops those who still wait. A destructor that panics ends its own task
    /// and nothing else.
    pub(super) fn end(self) {
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
            panics::report(Key::of_place(0), &*panic);
        }
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
        let mut state = self.state();
        state.finish(key, outcome);
        state.settle();
    }
}

impl State {
    /// Whether a handler that reads on has had its share of this turn, and more to read: then it is
    /// polled again in the next one. However small the frames are that its peer sends, they take no
    /// more of a turn than this.
    pub(crate) fn yields(&mut self, key: Key, waker: &Waker) -> bool {
        if self.reads_left > 0 {
            self.reads_left -= 1;
            return false;
        }
        // A connection that the task opened itself is read as the task likes: its peer was asked.
        let Some(slot) = self
            .table
            .get(key)
            .filter(|slot| !slot.input.is_empty() && slot.talk != Talk::Dialed)
        else {
            return false;
        };
        let is_due = slot.waits.run() == RunState::Due; // it woke itself
        match self.sleeper(waker) {
            Sleeper::Task(task) if task == key && is_due => {}
            Sleeper::Task(task) if task == key => {
                self.set_run(key, RunState::Due);
                self.wakes.push_yielded(key);
            }
            Sleeper::Task(_) => self.wakes.push_yielded_outside(waker.clone()),
            Sleeper::Other(waker) => self.wakes.push_yielded_outside(waker),
        }
        true
    }

    /// The handler waits. A connection that was cut is over, whatever its handler waits for: it had
    /// this one poll to clean up.
    fn poll_pends(&mut self, key: Key) -> Option<CloseReason> {
        self.settle();
        let slot = self.table.get(key)?;
        if let Some(reason) = slot.failed.filter(|reason| reason.is_cut()) {
            return Some(reason);
        }
        if !slot.waits.is_reading() {
            self.excuse(key);
        }
        None
    }
}

/// The reason for which a connection ends whose handler has failed with `error`, the text of which
/// is logged.
fn failure_reason(shard: &Shard, key: Key, error: &Error) -> CloseReason {
    let mut state = shard.state();
    if let (Error::Closed(reason), Some(Error::Closed(own))) = (error, state.output_refusal(key))
        && *reason == own
    {
        return own; // what has happened to the connection itself, which its end tells of
    }
    let (conn, shard, text) = (ConnId::new(shard.id, key), shard.id.0, EscapedText(error)); // its author may have quoted the peer in it
    match error.reason() {
        CloseReason::ProtocolError => {
            if state.may_log(Subject::ProtocolBroken) {
                tracing::debug!(%conn, shard, error = %text, "the peer broke the protocol");
            }
            CloseReason::ProtocolError
        }
        // Another connection's end is no end of this one.
        _ => {
            if state.may_log(Subject::HandlerFailed) {
                tracing::info!(%conn, shard, error = %text, "the handler failed");
            }
            CloseReason::HandlerFailed
        }
    }
}

fn panic_reason(key: Key, panic: &(dyn Any + Send)) -> CloseReason {
    panics::report(key, panic);
    CloseReason::HandlerPanicked
}
