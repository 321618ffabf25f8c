//! The orders of the control thread to the shards: how far the run has come, and which requests are
//! measured.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
        match self.0.load(Ordering::Acquire) {
            0 => RunStage::Ramping,
            1 => RunStage::Warming,
            2 => RunStage::Measuring,
            3 => RunStage::Settling,
            4 => RunStage::Resting,
            5 => RunStage::Finishing,
            _ => RunStage::Over,
        }
    }

    pub(crate) fn set(&self, stage: RunStage) {
        self.0.store(stage as u8, Ordering::Release);
    }
}

/// One for the whole run: written by the control thread, read by the shards.
#[derive(Debug)]
pub(crate) struct Control {
    began: Instant,
    stage: SharedStage,
    /// When the load begins, in nanoseconds since the run's beginning.
    load_begins: AtomicU64,
    /// The measured window, likewise: known beforehand where it can be, so that a request's
    /// belonging to it does not depend on when somebody looks at the stage.
    window_opens: AtomicU64,
    window_closes: AtomicU64,
}

/// Not yet known.
const UNKNOWN: u64 = u64::MAX;

impl Control {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            stage: SharedStage::new(RunStage::Ramping),
            load_begins: AtomicU64::new(0),
            window_opens: AtomicU64::new(UNKNOWN),
            window_closes: AtomicU64::new(UNKNOWN),
        }
    }

    /// The time since the run's beginning.
    pub(crate) fn clock(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn instant(&self, clock: Duration) -> Instant {
        self.began + clock
    }

    pub(crate) fn stage(&self) -> RunStage {
        self.stage.get()
    }

    pub(crate) fn set_stage(&self, stage: RunStage) {
        self.stage.set(stage);
    }

    /// To be set before the stage [`RunStage::Warming`].
    pub(crate) fn set_load_begins(&self, clock: Duration) {
        self.load_begins
            .store(nanoseconds(clock), Ordering::Release);
    }

    pub(crate) fn load_begins(&self) -> Duration {
        Duration::from_nanos(self.load_begins.load(Ordering::Acquire))
    }

    /// The window opens at `clock`; the first to say so counts, if several do.
    pub(crate) fn open_window(&self, clock: Duration) {
        self.window_opens
            .fetch_min(nanoseconds(clock), Ordering::AcqRel);
    }

    /// The window closes at `clock`, or earlier, if that has been said.
    pub(crate) fn close_window(&self, clock: Duration) {
        self.window_closes
            .fetch_min(nanoseconds(clock), Ordering::AcqRel);
    }

    /// When the window opens, or opened; the end of time while that is not known.
    pub(crate) fn window_opens(&self) -> Duration {
        Duration::from_nanos(self.window_opens.load(Ordering::Acquire))
    }

    /// When it closes, or closed; likewise.
    pub(crate) fn window_closes(&self) -> Duration {
        Duration::from_nanos(self.window_closes.load(Ordering::Acquire))
    }

    /// Whether the window is open at `clock`.
    pub(crate) fn is_within_window(&self, clock: Duration) -> bool {
        self.window_opens() <= clock && clock < self.window_closes()
    }
}

fn nanoseconds(clock: Duration) -> u64 {
    u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX)
}
