//! Paces bulk work: at most [`AT_ONCE_MAX`] items a turn, evenly over a given time. What a hundred
//! ends or questions take of the shard, others who speak meanwhile would wait for.
//!
//! While there is traffic turns come thick and fast, and each does the part that is due by then. A
//! shard at rest is woken once a tick, and does with nobody there to wait what is due by then.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Tick;

/// Of what is paced a turn does no more than this, and so few are done at once. No key: whatever
/// it is, all is done in time, and with more the others wait longer for a turn.
const AT_ONCE_MAX: usize = 16;

/// So many, from a beginning on, within a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    begin: Duration,
    length: Duration,
    due: usize,
    done: usize,
}

impl Pacer {
    pub(crate) const OVER: Self = Self {
        begin: Duration::ZERO,
        length: Duration::ZERO,
        due: 0,
        done: 0,
    };

    pub(crate) fn new(begin: Duration, length: Duration, due: usize) -> Self {
        Self {
            begin,
            length,
            due,
            done: 0,
        }
    }

    /// How many more may be done at `clock`, by a turn that may do `at_once`: of no more than that,
    /// all; of many, their part of the time, and the first at once.
    pub(crate) fn allowed(&self, clock: Duration, at_once: usize) -> usize {
        let left = self.due - self.done;
        if self.due <= at_once {
            return left;
        }
        let elapsed = clock.saturating_sub(self.begin);
        let by_now = match self.length.as_nanos() {
            length if elapsed.as_nanos() < length => {
                1 + (self.due as u128 * elapsed.as_nanos() / length) as usize
            }
            _ => self.due,
        };
        by_now.saturating_sub(self.done).min(left).min(at_once)
    }

    /// So many were done, of those that may be.
    pub(crate) fn did(&mut self, count: usize) {
        self.done += count;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.done == self.due
    }
}

/// What is to be done for each of many.
#[derive(Debug)]
pub(crate) struct PacedQueue<T> {
    left: VecDeque<T>,
    pacer: Pacer,
}

impl<T> PacedQueue<T> {
    pub(crate) fn new() -> Self {
        Self {
            left: VecDeque::new(),
            pacer: Pacer::OVER,
        }
    }

    /// Has these done from `clock` on, within `length`, with whatever is left of those before,
    /// which come first.
    pub(crate) fn add(
        &mut self,
        items: impl IntoIterator<Item = T>,
        clock: Duration,
        length: Duration,
    ) {
        self.left.extend(items);
        self.pacer = Pacer::new(clock, length, self.left.len());
    }

    /// Whether a turn at `clock` has something to do.
    pub(crate) fn is_due(&self, clock: Duration) -> bool {
        self.pacer.allowed(clock, AT_ONCE_MAX) > 0
    }

    /// Whether all is done.
    pub(crate) fn is_over(&self) -> bool {
        self.pacer.is_over()
    }

    /// When a shard at rest goes on with it; never when all is done.
    pub(crate) fn goes_on(&self, now: Tick) -> Tick {
        if self.is_over() {
            Tick::NEVER
        } else {
            Tick(now.0 + 1)
        }
    }

    /// What the turn at `clock` is to do.
    pub(crate) fn take(&mut self, clock: Duration) -> Vec<T> {
        let count = self.pacer.allowed(clock, AT_ONCE_MAX);
        self.pacer.did(count);
        let taken = self.left.drain(..count).collect();
        if self.left.is_empty() {
            self.left = VecDeque::new(); // the memory of many is not kept
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Duration = Duration::from_secs(7);
    const LENGTH: Duration = Duration::from_millis(200);

    #[test]
    fn a_few_are_done_at_once() {
        let mut queue = PacedQueue::new();
        queue.add(0..16, BEGIN, LENGTH);
        assert_eq!(queue.take(BEGIN), (0..16).collect::<Vec<_>>());
        assert!(queue.is_over() && !queue.is_due(BEGIN + LENGTH));
    }

    #[test]
    fn many_are_done_evenly() {
        let mut queue = PacedQueue::new();
        queue.add(0..100, BEGIN, LENGTH);
        let mut done = Vec::new();
        for step in 0..100 {
            let clock = BEGIN + LENGTH * step / 100;
            assert!(queue.is_due(clock));
            done.extend(queue.take(clock));
            assert_eq!(done.len(), step as usize + 1);
            assert!(
                !queue.is_due(clock) && queue.take(clock).is_empty(),
                "no more than its part"
            );
        }
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        assert!(queue.is_over());
    }

    #[test]
    fn what_is_late_is_done_turn_by_turn() {
        let mut queue = PacedQueue::new();
        queue.add(0..40, BEGIN, LENGTH);
        let turns = [(); 4].map(|()| queue.take(BEGIN + 9 * LENGTH).len());
        assert_eq!(turns, [16, 16, 8, 0]);
    }

    #[test]
    fn what_is_left_comes_before_what_is_added() {
        let mut queue = PacedQueue::new();
        queue.add(0..20, BEGIN, LENGTH);
        assert_eq!(queue.take(BEGIN), [0]);
        queue.add(20..22, BEGIN + LENGTH / 2, LENGTH);
        assert_eq!(
            queue.take(BEGIN + LENGTH / 2),
            [1],
            "all that is left has the whole time"
        );
        let rest: Vec<i32> = [(); 3]
            .iter()
            .flat_map(|()| queue.take(BEGIN + 2 * LENGTH))
            .collect();
        assert_eq!(rest, (2..22).collect::<Vec<_>>());
    }
}
