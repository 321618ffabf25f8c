//! The orders of the control thread to the shards: how far the run has come, and which requests are
//! measured.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::silenced::Silenced;

/// How far a run has come. It only goes on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RunStage {
    /// Connections are opened and served once.
    #[default]
    Ramping,
    /// The load runs and is not counted.
    Warming,
    /// Requests are counted.
    Measuring,
    /// Nothing new is asked. Requests that were due before are still sent, and awaited.
    Settling,
    /// Nothing is asked any more; the connections stay open, so that their cost can be seen.
    Resting,
    /// Connections end as soon as their requests under way have.
    Finishing,
    /// Nobody waits for anything any more.
    Over,
}

/// A stage that one thread sets and others look at.
#[derive(Debug)]
pub(crate) struct SharedStage(AtomicU8);

impl SharedStage {
    pub(crate) fn new(stage: RunStage) -> Self {
        Self(AtomicU8::new(stage as u8))
    }

    pub(crate) fn get(&self) -> RunStage {
        use RunStage::{Finishing, Measuring, Over, Ramping, Resting, Settling, Warming};
        let stages = [
            Ramping, Warming, Measuring, Settling, Resting, Finishing, Over,
        ];
        stages[usize::from(self.0.load(Ordering::Acquire))]
    }

    pub(crate) fn set(&self, stage: RunStage) {
        self.0.store(stage as u8, Ordering::Release);
    }
}

/// A time since the run's beginning that one thread sets and others look at; the end of time while
/// it is not known.
#[derive(Debug)]
pub(crate) struct SharedTime(AtomicU64);

impl SharedTime {
    fn new() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Acquire))
    }

    /// The earliest that was said counts.
    pub(crate) fn set(&self, clock: Duration) {
        let nanoseconds = u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_min(nanoseconds, Ordering::AcqRel);
    }
}

/// One for the whole run: written by the control thread, read by the shards.
#[derive(Debug)]
pub(crate) struct Control {
    began: Instant,
    pub(crate) stage: SharedStage,
    /// When the load begins; set before the stage [`RunStage::Warming`].
    pub(crate) load_begins: SharedTime,
    /// The measured window: known beforehand where it can be, so that a request's belonging to it
    /// does not depend on when somebody looks at the stage.
    pub(crate) window_opens: SharedTime,
    pub(crate) window_closes: SharedTime,
    /// The one thing that the shards write.
    pub(crate) silenced: Silenced,
}

impl Control {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            stage: SharedStage::new(RunStage::Ramping),
            load_begins: SharedTime::new(),
            window_opens: SharedTime::new(),
            window_closes: SharedTime::new(),
            silenced: Silenced::default(),
        }
    }

    pub(crate) fn clock(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn instant(&self, clock: Duration) -> Instant {
        self.began + clock
    }

    pub(crate) fn is_within_window(&self, clock: Duration) -> bool {
        (self.window_opens.get()..self.window_closes.get()).contains(&clock)
    }
}
