//! Who waits for the time. All of a shard share one timer of the kernel, set to the earliest.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ring::{Ring, Token};
use crate::shard::task::wake::Waiter;

/// When a timer fires, since the server's start, and a number that tells it from others that fire
/// then.
pub(crate) type TimerKey = (Duration, u64);

/// As many as there are futures that wait, which are for the tasks to bound.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeMap<TimerKey, Waiter>,
    serial: u64,
    /// What the timer in the kernel is set to.
    set_to: Option<Duration>,
    /// Which of the timers set so far that one is.
    set_serial: u32,
}

impl Timers {
    pub(crate) fn key(&mut self, due: Duration) -> TimerKey {
        self.serial += 1;
        (due, self.serial)
    }

    /// Gives the waiter that was there before.
    pub(crate) fn insert(&mut self, key: TimerKey, waiter: Waiter) -> Option<Waiter> {
        self.by_time.insert(key, waiter)
    }

    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Waiter> {
        self.by_time.remove(&key)
    }

    /// One whose time has come at `clock`.
    pub(crate) fn pop_due(&mut self, clock: Duration) -> Option<Waiter> {
        let first = self.by_time.first_entry()?;
        (first.key().0 <= clock).then(|| first.remove())
    }

    /// The timer that was set as number `serial` has fired.
    pub(crate) fn fired(&mut self, serial: u32) {
        if serial == self.set_serial {
            self.set_to = None;
        }
    }

    /// Sets the kernel's timer to the earliest, or to `also`. One that is set too early may stay.
    /// `clock` tells the time: that of the turn is behind it by what the handlers took.
    pub(crate) fn set(
        &mut self,
        also: Option<Duration>,
        ring: &mut Ring,
        clock: impl FnOnce() -> Duration,
    ) {
        let first = self.by_time.first_key_value().map(|(&(due, _), _)| due);
        let Some(due) = first.into_iter().chain(also).min() else {
            return;
        };
        if self.set_to.is_some_and(|set_to| set_to <= due) {
            return;
        }
        if self.set_to.is_some() {
            ring.cancel(Token::task_timer(self.set_serial));
        }
        self.set_serial = self.set_serial.wrapping_add(1).max(1);
        self.set_to = Some(due);
        let delay = due.saturating_sub(clock());
        ring.timer(delay, Token::task_timer(self.set_serial));
    }

    /// When the earliest is due.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn next(&self) -> Option<Duration> {
        let (&(due, _), _) = self.by_time.first_key_value()?;
        Some(due)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }
}
