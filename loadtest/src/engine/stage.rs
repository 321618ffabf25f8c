//! How a run goes from the ramp to its end.

use std::time::{Duration, Instant};

use super::{Engine, Observer, SWEEP_INTERVAL};
use crate::connection::Phase;
use crate::plan::Mode;

/// How long replies are awaited once a signal has asked for the end.
const INTERRUPTED_FINISH: Duration = Duration::from_secs(1);

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stage {
    /// Connections are opened and served once.
    Ramping,
    /// The load runs and is not counted.
    Warming { until: Instant },
    /// Requests are counted. A storm of so many cycles has no other end.
    Measuring { until: Option<Instant> },
    /// Nothing new is asked; what is under way is awaited.
    Finishing { until: Instant },
}

impl Stage {
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::Ramping => None,
            Self::Warming { until } | Self::Finishing { until } => Some(until),
            Self::Measuring { until } => until,
        }
    }

    /// Whoever is answered asks again.
    pub(super) fn is_loaded(self) -> bool {
        matches!(self, Self::Warming { .. } | Self::Measuring { .. })
    }

    fn is_past(self, now: Instant) -> bool {
        self.until().is_some_and(|until| now >= until)
    }
}

impl Engine<'_> {
    /// Go on to the next stage if this one is over.
    pub(super) fn advance(&mut self, now: Instant, observer: &mut dyn Observer) {
        match (self.stage, self.plan.mode) {
            (Stage::Ramping, Mode::Storm { cycles }) => {
                let until = now + self.plan.duration;
                self.measure(cycles.is_none().then_some(until), now, observer);
            }
            (Stage::Ramping, _) if self.tally.busy > 0 || !self.unopened.is_empty() => {}
            (Stage::Ramping, _) if self.tally.parked == 0 => self.finish(Duration::ZERO, now, observer),
            (Stage::Ramping, mode) => {
                self.stage = Stage::Warming { until: now + self.plan.warmup };
                if mode == Mode::Closed {
                    self.start_all();
                }
            }
            (Stage::Warming { .. }, _) if self.stage.is_past(now) => {
                self.measure(Some(now + self.plan.duration), now, observer);
            }
            (Stage::Measuring { .. }, _) if self.stage.is_past(now) || self.nothing_left() => {
                // Two sweeps more, so that the last of them finds what is overdue.
                self.finish(self.plan.timeout + 2 * SWEEP_INTERVAL, now, observer);
            }
            _ => {}
        }
    }

    /// No connection is open, and none will be.
    fn nothing_left(&self) -> bool {
        let more = match self.plan.mode {
            Mode::Storm { cycles } => cycles.is_none_or(|cycles| self.tally.begun < cycles),
            Mode::Closed | Mode::Idle => false,
        };
        !more && self.tally.busy == 0 && self.tally.parked == 0
    }

    fn start_all(&mut self) {
        for slot in 0..self.connections.len() {
            if self.connections[slot].phase() != Phase::Parked {
                continue;
            }
            if let Err(failure) = self.ask(slot, self.plan.workload.pipeline, Instant::now()) {
                self.fail(slot, &failure);
            }
        }
    }

    fn measure(&mut self, until: Option<Instant>, now: Instant, observer: &mut dyn Observer) {
        self.stage = Stage::Measuring { until };
        self.recorder.open(now);
        observer.window_opened();
    }

    /// Let what is under way come to its end, within `bound`.
    fn finish(&mut self, bound: Duration, now: Instant, observer: &mut dyn Observer) {
        if matches!(self.stage, Stage::Measuring { .. }) {
            self.recorder.close(now);
            observer.window_closed();
        }
        self.stage = Stage::Finishing { until: now + bound };
    }

    pub(super) fn interrupt(&mut self, now: Instant, observer: &mut dyn Observer) {
        if !self.interrupted {
            self.interrupted = true;
            self.finish(INTERRUPTED_FINISH, now, observer);
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Finishing { .. }) && (self.tally.busy == 0 || self.stage.is_past(now))
    }
}
