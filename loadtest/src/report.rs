//! What a run found.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::Failures;
use crate::plan::{Mode, Plan};

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The server.
    pub target: SocketAddr,
    /// How the load was made, in words. A closed loop is called one.
    pub kind: &'static str,
    /// How many connections came how far.
    pub connections: Connections,
    /// Requests answered in full and right, the ramp and the warm-up included.
    pub requests: u64,
    /// What was measured.
    pub window: Window,
    /// What went wrong.
    pub failures: Failures,
    /// A signal ended it early.
    pub interrupted: bool,
}

/// How many connections came how far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Connections {
    /// To be opened.
    pub wanted: u64,
    /// Whose handshake succeeded.
    pub established: u64,
    /// Whose first request was answered, in full and right.
    pub served: u64,
}

/// The measured part of a run: after the ramp and the warm-up. Of a storm, all of it.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// Its length.
    pub seconds: f64,
    /// Requests answered in it.
    pub requests: u64,
    /// The same per second.
    pub requests_per_second: f64,
    /// From the write of a request, or of the pipeline it is part of, to its reply; in a storm from
    /// the connect to the reply; of idle connections their one request.
    pub latency_us: Latency,
}

/// Latency in microseconds, by share of the requests.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// Half of the requests took no longer.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// All of them.
    pub max: f64,
}

impl Report {
    /// All connections were established and served, and nothing went wrong with any of them.
    pub fn is_clean(&self) -> bool {
        let Connections { wanted, established, served } = self.connections;
        established == wanted && served == wanted && self.failures.total() == 0
    }
}

/// How the load of a plan is made, in words.
pub(crate) fn kind(plan: &Plan) -> &'static str {
    match plan.mode {
        Mode::Closed => "closed loop: a slow server is asked less often, its worst latencies are understated",
        Mode::Idle => "idle: one request each, then silence",
        Mode::Storm { .. } => "storm: connect, one request, close",
    }
}

impl Window {
    pub(crate) fn new(length: Duration, requests: u64, latency: &Histogram<u64>) -> Self {
        let seconds = length.as_secs_f64();
        let requests_per_second = if seconds > 0.0 { requests as f64 / seconds } else { 0.0 };
        Self { seconds, requests, requests_per_second, latency_us: Latency::of(latency) }
    }
}

impl Latency {
    fn of(nanoseconds: &Histogram<u64>) -> Self {
        let microseconds = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: microseconds(0.5),
            p90: microseconds(0.9),
            p99: microseconds(0.99),
            p999: microseconds(0.999),
            max: nanoseconds.max() as f64 / 1e3,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connections { wanted, established, served } = self.connections;
        let Window { seconds, requests, requests_per_second, latency_us } = &self.window;
        let Latency { p50, p90, p99, p999, max } = latency_us;
        writeln!(f, "{} ({})", self.target, self.kind)?;
        if self.interrupted {
            writeln!(f, "  interrupted by a signal")?;
        }
        writeln!(f, "  connections {wanted} wanted, {established} established, {served} served")?;
        writeln!(f, "  requests    {requests} in {seconds:.2} s, {requests_per_second:.0} per second; {} in all", self.requests)?;
        writeln!(f, "  latency     p50 {p50:.0} us, p90 {p90:.0}, p99 {p99:.0}, p99.9 {p999:.0}, max {max:.0}")?;
        writeln!(f, "  failures    {}", self.failures)
    }
}
