//! The requests counted, and the latencies of those in the measured window.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::report::Window;

/// The longest latency told apart from longer ones, in nanoseconds.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;

pub(super) struct Recorder {
    /// Requests answered since the start.
    pub(super) requests: u64,
    state: State,
    window_requests: u64,
    latency: Histogram<u64>,
}

enum State {
    Before,
    Open { since: Instant },
    Closed { length: Duration },
}

impl Recorder {
    pub(super) fn new() -> Self {
        let latency =
            Histogram::new_with_bounds(1, LATENCY_MAX_NS, LATENCY_DIGITS).expect("these constants are within the histogram's bounds");
        Self { requests: 0, state: State::Before, window_requests: 0, latency }
    }

    pub(super) fn open(&mut self, now: Instant) {
        self.state = State::Open { since: now };
    }

    pub(super) fn close(&mut self, now: Instant) {
        if let State::Open { since } = self.state {
            self.state = State::Closed { length: now.saturating_duration_since(since) };
        }
    }

    /// `requests` replies have come after `latency`. `always`: measured outside the window, too.
    pub(super) fn record(&mut self, requests: u64, latency: Duration, always: bool) {
        self.requests += requests;
        let open = matches!(self.state, State::Open { .. });
        if open {
            self.window_requests += requests;
        }
        if open || always {
            let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
            self.latency.saturating_record_n(nanoseconds, requests);
        }
    }

    pub(super) fn window(&self) -> Window {
        let length = match self.state {
            State::Closed { length } => length,
            State::Before | State::Open { .. } => Duration::ZERO,
        };
        Window::new(length, self.window_requests, &self.latency)
    }
}
