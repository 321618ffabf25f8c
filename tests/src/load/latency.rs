//! Times, and which of them is the hundredth-longest.

use std::fmt;
use std::time::Duration;

/// Times that something took.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    times: Vec<Duration>,
}

impl Latencies {
    pub(super) fn add(&mut self, time: Duration) {
        self.times.push(time);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// The time that `part` of them, 0.99 say, do not exceed; zero of none.
    #[must_use]
    pub fn at(&self, part: f64) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let index = (sorted.len() as f64 * part) as usize;
        sorted
            .get(index.min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, most] = [0.5, 0.99, 0.999, 1.0].map(|part| self.at(part));
        write!(
            formatter,
            "{} times, p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}, max {most:?}",
            self.count()
        )
    }
}
