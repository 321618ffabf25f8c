//! Time as a shard counts it: ticks since the server's start.

#[cfg(any(test, feature = "testing"))]
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Length of a tick. A deadline passes at most three ticks late and never early: it is rounded up
/// to a tick, counts from the next one, and many that pass together are ended over a tick.
pub(crate) const TICK: Duration = Duration::from_millis(125);

#[cfg(any(test, feature = "testing"))]
thread_local! {
    /// What this thread takes for the time instead.
    static VIRTUAL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time that sleeps go by.
pub(crate) fn now() -> Instant {
    #[cfg(any(test, feature = "testing"))]
    if let Some(now) = VIRTUAL.get() {
        return now;
    }
    Instant::now()
}

/// From now on it is `now` on this thread, until it is told another time.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn set_virtual(now: Instant) {
    VIRTUAL.set(Some(now));
}

/// A point in time: ticks since the server's start. Wraps after 17 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    /// The deadline of what has none.
    pub(crate) const NEVER: Self = Self(u32::MAX);

    /// The tick in which `elapsed` since the server's start falls.
    pub(crate) fn at(elapsed: Duration) -> Self {
        Self((elapsed.as_millis() / TICK.as_millis()) as u32)
    }

    /// This tick's start, since the server's start.
    pub(crate) fn start(self) -> Duration {
        TICK * self.0
    }

    pub(crate) fn after(self, wait: Ticks) -> Self {
        Self(self.0.saturating_add(wait.0))
    }
}

/// A length of time in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks(u32);

impl Ticks {
    /// No limit.
    pub(crate) const FOREVER: Self = Self(u32::MAX);

    pub(crate) const fn seconds(seconds: u32) -> Self {
        Self(seconds * (1000 / TICK.as_millis() as u32))
    }

    /// At least `duration`: rounded up, and one more because the tick that runs now is partly over.
    pub(crate) fn at_least(duration: Duration) -> Self {
        let ticks = duration.as_millis().div_ceil(TICK.as_millis()) + 1;
        Self(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    pub(crate) fn length(self) -> Duration {
        TICK * self.0
    }

    pub(crate) fn of(duration: Option<Duration>) -> Self {
        duration.map_or(Self::FOREVER, Self::at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_never_passes_early() {
        for (now_ms, wait_ms) in [(0, 100), (124, 125), (125, 1), (1_000, 30_000)] {
            let deadline = Tick::at(Duration::from_millis(now_ms))
                .after(Ticks::at_least(Duration::from_millis(wait_ms)));
            assert!(
                deadline.start() >= Duration::from_millis(now_ms + wait_ms),
                "{now_ms} + {wait_ms}"
            );
            assert!(
                deadline.start() <= Duration::from_millis(now_ms + wait_ms) + 2 * TICK,
                "{now_ms} + {wait_ms}"
            );
        }
    }
}
