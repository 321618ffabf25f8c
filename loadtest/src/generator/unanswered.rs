//! Requests that were due in the window and that nobody will answer: they count, too.
//!
//! One that was on its way, or had to wait for its connection, when that failed is measured with
//! the time that it had waited by then: it would have taken longer. One that was due later is
//! counted alone: it could have kept nobody waiting any more.

use std::ops::Range;
use std::time::Duration;

use super::shard::Shard;
use super::turns::Schedule;
use crate::failure::Failure;
use crate::plan::Mode;

/// So many times that a connection's waiting requests are measured at: a long queue of them is not
/// gone through one by one.
const POINTS_MAX: u64 = 1000;

impl Shard {
    /// Connection `index` of an open loop will send neither request `round` nor any later one.
    pub(super) fn never_sends(&self, index: u32, round: u64) {
        if self.plan.mode != Mode::Open {
            return;
        }
        let mut later = round;
        if let Some(schedule) = self.schedule.get() {
            let now = self.control.clock();
            let waited = self.measured(&schedule, index, round, now);
            later = waited.end;
            self.gave_up_waiting(&schedule, index, waited, now);
        }
        self.never_sent.borrow_mut().push((index, later));
    }

    /// The loop of connection `index` is over, and request `round` the first that it has not sent:
    /// if it failed, or the run was cut short, some may be owed.
    pub(super) fn never_sends_after(&self, index: u32, round: u64, outcome: &Result<(), Failure>) {
        let schedule = self.schedule.get();
        let due = schedule.map(|schedule| schedule.due(index, round));
        let is_owed = due.is_some_and(|due| due < self.control.window_closes.get());
        if outcome.is_err() || is_owed {
            self.never_sends(index, round);
        }
    }

    /// Counts those that were due after their connection had failed, once it is known when the
    /// window closed.
    pub(super) fn count_never_sent(&self) {
        let Some(schedule) = self.schedule.get() else {
            return;
        };
        let (mut rounds, now) = (0, self.control.clock());
        for (index, round) in self.never_sent.take() {
            let measured = self.measured(&schedule, index, round, now);
            rounds += measured.end - measured.start;
        }
        let requests = rounds * u64::from(self.plan.workload.pipeline);
        self.recorder.borrow_mut().of(true).counts.unanswered += requests;
    }

    /// `requests` that were to be sent at `intended` are given up.
    pub(super) fn gave_up(&self, requests: u64, intended: Duration) {
        let now = self.control.clock();
        let mut delta = self.delta_of(intended, now);
        delta.gave_up(requests, now.saturating_sub(intended));
    }

    /// The requests of connection `index` from `round` on that are due in the window and before
    /// `time`.
    fn measured(&self, schedule: &Schedule, index: u32, round: u64, time: Duration) -> Range<u64> {
        let (opens, closes) = (&self.control.window_opens, &self.control.window_closes);
        let first = round.max(schedule.rounds_before(index, opens.get()));
        let end = schedule.rounds_before(index, closes.get().min(time));
        first..end.max(first)
    }

    fn gave_up_waiting(&self, schedule: &Schedule, index: u32, rounds: Range<u64>, now: Duration) {
        let stride = (rounds.end - rounds.start).div_ceil(POINTS_MAX).max(1);
        let pipeline = u64::from(self.plan.workload.pipeline);
        let mut recorder = self.recorder.borrow_mut();
        let step = usize::try_from(stride).unwrap_or(usize::MAX);
        for first in rounds.clone().step_by(step) {
            let count = stride.min(rounds.end - first);
            let age = now.saturating_sub(schedule.due(index, first));
            recorder.of(true).gave_up(count * pipeline, age);
        }
    }
}
