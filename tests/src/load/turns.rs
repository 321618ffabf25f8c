//! When it is whose turn: `count` peers, each once in `interval`, spread evenly over it.

use std::time::{Duration, Instant};

/// Turns that are due are given out in order, however late; none is left out.
#[derive(Debug)]
pub(super) struct Turns {
    begin: Instant,
    interval: Duration,
    count: u32,
    next: u64,
}

impl Turns {
    /// The first turn is now.
    pub(super) fn new(count: u32, interval: Duration) -> Self {
        Self {
            begin: Instant::now(),
            interval,
            count,
            next: 0,
        }
    }

    /// When the next turn is due.
    pub(super) fn due(&self) -> Instant {
        let rounds = self.next as f64 / f64::from(self.count);
        self.begin + self.interval.mul_f64(rounds)
    }

    /// Whose turn has come, if anybody's.
    pub(super) fn take(&mut self, now: Instant) -> Option<usize> {
        let due = self.due() <= now;
        let whose = (self.next % u64::from(self.count)) as usize;
        self.next += u64::from(due);
        due.then_some(whose)
    }
}
