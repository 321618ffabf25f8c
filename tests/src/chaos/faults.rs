//! What is done to one direction of a connection.

use std::time::Duration;

/// Faults of one direction, in any combination. None of them: bytes pass as they are.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) slice_max: Option<usize>,
    pub(super) corrupt_one_in: Option<usize>,
    pub(super) bytes_per_second: Option<u32>,
    pub(super) cut: Option<(Cut, u64)>,
}

/// How a direction ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both ends get a reset.
    Reset,
    /// The receiver gets a FIN; what the sender still sends goes nowhere. The other direction lives
    /// on.
    HalfClose,
    /// Nothing goes through any more, neither bytes nor the end, though the sender is told that all
    /// has arrived.
    Blackhole,
}

impl Faults {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Everything arrives later by `delay`, and up to `jitter` more, in its order.
    #[must_use]
    pub fn delay(mut self, delay: Duration, jitter: Duration) -> Self {
        (self.delay, self.jitter) = (delay, jitter);
        self
    }

    /// Arrives in pieces of 1 to `max` bytes, a segment each.
    #[must_use]
    pub fn slice(mut self, max: usize) -> Self {
        self.slice_max = Some(max);
        self
    }

    /// Of so many bytes one is another on average.
    #[must_use]
    pub fn corrupt(mut self, one_in: usize) -> Self {
        self.corrupt_one_in = Some(one_in);
        self
    }

    /// No more than so many bytes per second go through. What the sender sends beyond stays with
    /// the sender.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u32) -> Self {
        self.bytes_per_second = Some(bytes_per_second);
        self
    }

    /// Once `bytes` have gone through, the direction ends like this.
    #[must_use]
    pub fn cut(mut self, cut: Cut, bytes: u64) -> Self {
        self.cut = Some((cut, bytes));
        self
    }
}
