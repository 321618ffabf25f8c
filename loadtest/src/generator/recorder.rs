//! Counts and measured times of a shard, handed to the control thread piece by piece.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::failure::Failures;

/// The shortest time told apart from a shorter one, and the longest from a longer, in nanoseconds.
const TIME_MIN_NS: u64 = 100;
const TIME_MAX_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits of a time.
const TIME_DIGITS: u8 = 3;

/// Measured times in nanoseconds.
pub(crate) type Times = Histogram<u32>;

/// A histogram for times of up to an hour.
pub(crate) fn times<C: hdrhistogram::Counter>() -> Histogram<C> {
    Histogram::new_with_bounds(TIME_MIN_NS, TIME_MAX_NS, TIME_DIGITS)
        .expect("these constants are within the histogram's bounds")
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) begun: u64,
    /// Connections whose handshake succeeded, and those whose first request was answered.
    pub(crate) established: u64,
    pub(crate) served: u64,
    pub(crate) ended: u64,
    /// TLS handshakes that were full, and that went on from an earlier session.
    pub(crate) full: u64,
    pub(crate) resumed: u64,
    /// Requests answered in full and right, and those of them that were answered while the window
    /// was open, whenever they were due.
    pub(crate) requests: u64,
    pub(crate) within_window: u64,
    /// Requests whose intended time has come.
    pub(crate) offered: u64,
    /// Lines that were said in rooms.
    pub(crate) said: u64,
    /// Those that nobody will answer any more.
    pub(crate) unanswered: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.begun += more.begun;
        self.established += more.established;
        self.served += more.served;
        self.ended += more.ended;
        self.full += more.full;
        self.resumed += more.resumed;
        self.requests += more.requests;
        self.within_window += more.within_window;
        self.offered += more.offered;
        self.said += more.said;
        self.unanswered += more.unanswered;
    }
}

/// Counts and times of a shard since it last told.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Whether it is of requests that belong to the window.
    pub(crate) is_measured: bool,
    pub(crate) counts: Counts,
    pub(crate) failures: Failures,
    /// Absent while nothing was measured: most shards measure nothing most of the time.
    pub(crate) connect: Option<Times>,
    pub(crate) latency: Option<Times>,
    pub(crate) lag: Option<Times>,
    /// How long each publication took to the last that it came to.
    pub(crate) last: BTreeMap<u32, Duration>,
}

impl Delta {
    fn new(is_measured: bool) -> Self {
        Self {
            is_measured,
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.counts == Counts::default() && self.failures.total() == 0
    }

    pub(super) fn connected(&mut self, took: Duration) {
        self.counts.established += 1;
        record(&mut self.connect, took, 1);
    }

    pub(super) fn shook_hands(&mut self, is_resumed: bool) {
        let of_its_kind = match is_resumed {
            true => &mut self.counts.resumed,
            false => &mut self.counts.full,
        };
        *of_its_kind += 1;
    }

    pub(super) fn answered(&mut self, requests: u64, latency: Duration, within_window: bool) {
        self.counts.requests += requests;
        self.counts.within_window += if within_window { requests } else { 0 };
        record(&mut self.latency, latency, requests);
    }

    /// Given up after they had waited for `age`: as long as that they took, at least.
    pub(super) fn gave_up(&mut self, requests: u64, age: Duration) {
        self.counts.unanswered += requests;
        record(&mut self.latency, age, requests);
    }

    /// Publication `round` has come to somebody.
    pub(super) fn reached(&mut self, round: u32, took: Duration) {
        let last = self.last.entry(round).or_default();
        *last = took.max(*last);
    }

    pub(super) fn lagged(&mut self, lag: Duration) {
        record(&mut self.lag, lag, 1);
    }
}

fn record(times: &mut Option<Times>, time: Duration, count: u64) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let times = times.get_or_insert_with(self::times);
    times.saturating_record_n(nanoseconds, count);
}

/// A shard's side of it: the present deltas, of requests that are not measured and of those that
/// are, and where deltas go.
#[derive(Debug)]
pub(super) struct Recorder<S> {
    deltas: [Delta; 2],
    send: S,
}

impl<S: FnMut(Delta)> Recorder<S> {
    pub(super) fn new(send: S) -> Self {
        Self {
            deltas: [false, true].map(Delta::new),
            send,
        }
    }

    /// The delta of requests that are measured, or that of the others, and of all else.
    pub(super) fn of(&mut self, is_measured: bool) -> &mut Delta {
        &mut self.deltas[usize::from(is_measured)]
    }

    pub(super) fn tell(&mut self) {
        for delta in &mut self.deltas {
            if !delta.is_empty() {
                let fresh = Delta::new(delta.is_measured);
                (self.send)(std::mem::replace(delta, fresh));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_not_mixed_with_what_is_not() {
        let mut told = Vec::new();
        let mut recorder = Recorder::new(|delta: Delta| {
            told.push((
                delta.is_measured,
                delta.counts.requests,
                delta.counts.unanswered,
            ))
        });
        let microseconds = Duration::from_micros(5);
        recorder.of(false).answered(2, microseconds, false);
        recorder.of(true).answered(4, microseconds, true);
        recorder.of(false).answered(1, microseconds, true);
        recorder.of(true).gave_up(7, microseconds);
        recorder.tell();
        recorder.tell();
        drop(recorder);
        assert_eq!(told, [(false, 3, 0), (true, 4, 7)]);
    }
}
