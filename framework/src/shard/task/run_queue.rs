//! Who is polled at the end of the turn.

use std::collections::VecDeque;
use std::task::Waker;

use crate::id::Key;

/// The tasks of a shard that are due, and wakers on their way.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    /// Tasks that are polled at the end of the turn; each at most once, but for one that wakes
    /// itself.
    due: Vec<Key>,
    /// Tasks that an event of another connection has woken, and that may be due already.
    woken: VecDeque<Key>,
    /// Those of the next turn: they are due, and have had their share of this one.
    yielded: Vec<Key>,
    /// Wakers that are woken in the next turn, for the same reason.
    yielded_wakers: Vec<Waker>,
    /// Futures that wait for what lives on the executor, which must be given its turn.
    on_executor: u32,
    /// Wakers that are not ours, to be woken with no borrow held.
    wakers: Vec<Waker>,
    /// Wakers that nobody needs, to be dropped with no borrow held.
    unneeded: Vec<Waker>,
}

impl RunQueue {
    pub(crate) fn is_empty(&self) -> bool {
        let nobody_is_due = self.due.is_empty() && self.woken.is_empty();
        let nobody_yielded = self.yielded.is_empty() && self.yielded_wakers.is_empty();
        nobody_is_due && nobody_yielded && self.wakers.is_empty()
    }

    /// The task of `key` is polled at the end of the turn; the caller sees that it is on the list
    /// once.
    pub(crate) fn push(&mut self, key: Key) {
        self.due.push(key);
    }

    /// The task of `key` is polled at the end of the turn, if it is not due already. One for each
    /// wait that has ended.
    pub(crate) fn push_woken(&mut self, key: Key) {
        self.woken.push_back(key);
    }

    /// Those, in the order of the events.
    pub(crate) fn pop_woken(&mut self) -> Option<Key> {
        self.woken.pop_front()
    }

    pub(crate) fn push_waker(&mut self, waker: Waker) {
        self.wakers.push(waker);
    }

    /// The task of `key` is polled at the end of the next turn; it is on no list.
    pub(crate) fn push_yielded(&mut self, key: Key) {
        self.yielded.push(key);
    }

    pub(crate) fn push_yielded_waker(&mut self, waker: Waker) {
        self.yielded_wakers.push(waker);
    }

    /// Before the tasks of a turn are polled: those that yielded in the last turn are due now.
    pub(crate) fn begin_run(&mut self) {
        self.due.append(&mut self.yielded);
        self.wakers.append(&mut self.yielded_wakers);
    }

    /// Swaps the list of those that are due for an empty one.
    pub(crate) fn take_due(&mut self, empty: &mut Vec<Key>) {
        debug_assert!(empty.is_empty(), "nobody who is due is forgotten");
        std::mem::swap(&mut self.due, empty);
    }

    /// Wakers that are not ours, to be woken, and those to be dropped; both with no borrow held.
    pub(crate) fn take_wakers(&mut self) -> (Vec<Waker>, Vec<Waker>) {
        let (wakers, unneeded) = (&mut self.wakers, &mut self.unneeded);
        (std::mem::take(wakers), std::mem::take(unneeded))
    }

    /// Drops a waker when no borrow is held.
    pub(crate) fn drop_later(&mut self, waker: Option<Waker>) {
        self.unneeded.extend(waker);
    }

    /// A future begins to wait for what lives on the executor, or has ended.
    pub(crate) fn on_executor(&mut self, waits: bool) {
        self.on_executor = if waits {
            self.on_executor + 1
        } else {
            self.on_executor.saturating_sub(1)
        };
    }

    pub(crate) fn waits_on_executor(&self) -> bool {
        self.on_executor > 0
    }
}
