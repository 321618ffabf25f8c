//! Who waits for the next tick of a ticker.
//!
//! Made for a million of them: those of a shard stand in a tree by time, with 8 bytes for when and 8
//! for whom where that is a task of the shard; a sleep's entry takes twice that, and tells
//! nanoseconds. Tickers of one period leave at the tree's front and join at its end, both of which
//! stay in the processor's cache: 0.25 us for both with a million in it, 1 us where the periods
//! differ. A wheel would take less time, but moves those that wait long from level to level, many
//! thousands of them in one turn.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use crate::id::Key;
use crate::shard::task::wake::Waiter;

/// Of those whose tick has come a turn wakes no more than this, those that have waited longest; the
/// others have the next turns. No key: so many handlers take some tenths of a millisecond, for which
/// everybody else waits, and fewer a turn would make the turns themselves most of the work.
pub(crate) const TICKS_PER_TURN_MAX: usize = 64;

/// Low bits of a key, which tell those apart that are due in the same millisecond. The others are
/// enough for 17 years.
const SERIAL_BITS: u32 = 25;

/// When a tick is due, in milliseconds since the server's start, with a number that tells it from
/// others. In one integer: it is most of what a ticker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TickKey(u64);

impl TickKey {
    /// Of a ticker that does not wait.
    pub(crate) fn idle(due: u64) -> Self {
        Self(due << SERIAL_BITS)
    }

    pub(crate) fn due(self) -> u64 {
        self.0 >> SERIAL_BITS
    }
}

/// As many as there are tickers that wait, which are for the tasks to bound.
#[derive(Debug, Default)]
pub(crate) struct Tickers {
    tasks: BTreeMap<TickKey, Key>,
    /// Those that are no tasks of the shard, as where a task polls several futures by wakers of its
    /// own.
    wakers: BTreeMap<TickKey, Waker>,
    serial: u64,
    /// Tickers made so far that belong to no connection.
    made: u32,
}

impl Tickers {
    /// Where a ticker stands among those that belong to no connection.
    pub(crate) fn next_place(&mut self) -> u32 {
        self.made = self.made.wrapping_add(1);
        self.made
    }

    /// `waiter` is woken at `due`.
    pub(crate) fn insert(&mut self, due: u64, waiter: Waiter) -> TickKey {
        let mut key = self.next_key(due);
        while self.tasks.contains_key(&key) || self.wakers.contains_key(&key) {
            key = self.next_key(due); // only if 33 million ticks later one still waits for its own
        }
        match waiter {
            Waiter::Task(task) => drop(self.tasks.insert(key, task)),
            Waiter::Other(waker) => drop(self.wakers.insert(key, waker)),
        }
        key
    }

    fn next_key(&mut self, due: u64) -> TickKey {
        self.serial = (self.serial + 1) % (1 << SERIAL_BITS);
        TickKey(TickKey::idle(due).0 | self.serial)
    }

    /// Gives the waker that is not needed any more, to be dropped with no borrow held.
    pub(crate) fn remove(&mut self, key: TickKey) -> Option<Waker> {
        match self.tasks.remove(&key) {
            Some(_task) => None,
            None => self.wakers.remove(&key),
        }
    }

    /// When the earliest is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        let tasks = self.tasks.first_key_value().map(|(key, _)| *key);
        let wakers = self.wakers.first_key_value().map(|(key, _)| *key);
        let next = tasks.into_iter().chain(wakers).min()?;
        Some(Duration::from_millis(next.due()))
    }

    /// Whether one is due at `clock`.
    pub(crate) fn is_due(&self, clock: Duration) -> bool {
        self.next().is_some_and(|due| due <= clock)
    }

    /// The one that was due first, if it was by `clock`.
    pub(crate) fn pop_due(&mut self, clock: Duration) -> Option<Waiter> {
        let is_due = |key: &TickKey| Duration::from_millis(key.due()) <= clock;
        let waker = self
            .wakers
            .first_entry()
            .filter(|first| is_due(first.key()));
        let task = self.tasks.first_entry().filter(|first| is_due(first.key()));
        match (task, waker) {
            (Some(task), Some(waker)) if task.key() > waker.key() => {
                Some(Waiter::Other(waker.remove()))
            }
            (Some(task), _) => Some(Waiter::Task(task.remove())),
            (None, Some(waker)) => Some(Waiter::Other(waker.remove())),
            (None, None) => None,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.tasks.len() + self.wakers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Generation, SlotIndex};

    fn task(slot: u32) -> Waiter {
        Waiter::Task(Key {
            slot: SlotIndex(slot),
            generation: Generation::FIRST,
        })
    }

    /// The slots of tasks that are due, and a hundred for each other waker, in their order.
    fn due(tickers: &mut Tickers, millis: u64) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some(waiter) = tickers.pop_due(Duration::from_millis(millis)) {
            due.push(match waiter {
                Waiter::Task(key) => key.slot.0,
                Waiter::Other(_) => 100,
            });
        }
        due
    }

    #[test]
    fn they_come_in_the_order_of_time_and_of_two_at_a_time_the_first_first() {
        let mut tickers = Tickers::default();
        assert_eq!(tickers.next(), None);
        let first = tickers.insert(70, task(1));
        tickers.insert(50, task(2));
        tickers.insert(70, Waiter::Other(Waker::noop().clone()));
        tickers.insert(70, task(3));
        tickers.insert(50, task(4));
        assert_eq!(tickers.next(), Some(Duration::from_millis(50)));
        assert!(!tickers.is_due(Duration::from_micros(49_999)));
        assert!(due(&mut tickers, 49).is_empty());
        assert_eq!(due(&mut tickers, 50), [2, 4]);
        assert!(tickers.remove(first).is_none());
        tickers.insert(70, Waiter::Other(Waker::noop().clone()));
        assert_eq!(due(&mut tickers, 90), [100, 3, 100]);
        assert_eq!(tickers.len(), 0);
    }

    #[test]
    fn a_number_that_is_taken_is_passed_over() {
        let mut tickers = Tickers::default();
        let (first, second) = (tickers.insert(9, task(1)), tickers.insert(9, task(2)));
        tickers.serial = 0;
        let third = tickers.insert(9, task(3));
        assert!(first != third && second != third);
        assert_eq!((third.due(), TickKey::idle(9).due()), (9, 9));
        assert!(tickers.remove(second).is_none());
        assert_eq!(due(&mut tickers, 9), [1, 3]);
    }
}
