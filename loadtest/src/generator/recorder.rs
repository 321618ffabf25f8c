//! What a shard counts and measures, handed to the control thread piece by piece.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::failure::{Failure, Failures};
use crate::orders::Stage;

/// The shortest time told apart from a shorter one, and the longest from a longer, in nanoseconds.
const TIME_MIN_NS: u64 = 100;
const TIME_MAX_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits of a time.
const TIME_DIGITS: u8 = 3;

/// Measured times in nanoseconds.
pub(crate) type Times = Histogram<u32>;

/// A histogram for times of up to an hour.
pub(crate) fn times<C: hdrhistogram::Counter>() -> Histogram<C> {
    Histogram::new_with_bounds(TIME_MIN_NS, TIME_MAX_NS, TIME_DIGITS).expect("these constants are within the histogram's bounds")
}

/// What has happened on a shard since it last told.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// In which stage all of it happened.
    pub(crate) stage: Stage,
    /// Connections whose handshake succeeded, and those whose first request was answered.
    pub(crate) established: u64,
    pub(crate) served: u64,
    /// Connections that ended, well or not.
    pub(crate) ended: u64,
    /// Connects begun.
    pub(crate) begun: u64,
    /// Requests answered in full and right.
    pub(crate) requests: u64,
    /// Requests whose intended time has come.
    pub(crate) offered: u64,
    pub(crate) failures: Failures,
    /// Absent while nothing was measured: most shards measure nothing most of the time.
    pub(crate) connect: Option<Times>,
    pub(crate) latency: Option<Times>,
    pub(crate) lag: Option<Times>,
}

impl Delta {
    fn is_empty(&self) -> bool {
        let events = [self.established, self.served, self.ended, self.begun, self.requests, self.offered, self.failures.total()];
        events.iter().all(|count| *count == 0)
    }

    pub(super) fn connected(&mut self, took: Duration) {
        self.established += 1;
        record(&mut self.connect, took, 1);
    }

    pub(super) fn answered(&mut self, requests: u64, latency: Duration) {
        self.requests += requests;
        record(&mut self.latency, latency, requests);
    }

    pub(super) fn lagged(&mut self, lag: Duration) {
        record(&mut self.lag, lag, 1);
    }

    pub(super) fn failed(&mut self, connection: u64, failure: &Failure) {
        self.failures.add(connection, failure);
    }
}

fn record(times: &mut Option<Times>, time: Duration, count: u64) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    times.get_or_insert_with(times_new).saturating_record_n(nanoseconds, count);
}

fn times_new() -> Times {
    times()
}

/// A shard's side of it: the present delta, and where deltas go.
#[derive(Debug)]
pub(super) struct Recorder<S> {
    delta: Delta,
    send: S,
}

impl<S: FnMut(Delta)> Recorder<S> {
    pub(super) fn new(send: S) -> Self {
        Self { delta: Delta::default(), send }
    }

    /// The delta of `stage`: one of another stage is sent first.
    pub(super) fn at(&mut self, stage: Stage) -> &mut Delta {
        if self.delta.stage != stage {
            self.tell();
            self.delta.stage = stage;
        }
        &mut self.delta
    }

    /// Sends what there is, if anything.
    pub(super) fn tell(&mut self) {
        if !self.delta.is_empty() {
            let stage = self.delta.stage;
            (self.send)(std::mem::replace(&mut self.delta, Delta { stage, ..Delta::default() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_in_one_stage_is_not_mixed_with_another() {
        let mut told = Vec::new();
        let mut recorder = Recorder::new(|delta: Delta| told.push((delta.stage, delta.requests)));
        recorder.at(Stage::Warming).answered(2, Duration::from_micros(5));
        recorder.at(Stage::Warming).answered(1, Duration::from_micros(5));
        recorder.at(Stage::Measuring).answered(4, Duration::from_micros(5));
        recorder.at(Stage::Finishing);
        recorder.tell();
        drop(recorder);
        assert_eq!(told, [(Stage::Warming, 3), (Stage::Measuring, 4)]);
    }
}
