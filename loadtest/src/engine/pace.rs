//! When the next connect may begin.

use std::time::{Duration, Instant};

/// How far behind its rate a pace may fall before it forgets the rest: catching up all at once
/// would be the very burst that a rate is to prevent.
const ARREARS_MAX: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    /// `rate` per second; none: no bound.
    pub(super) fn new(rate: Option<u32>, now: Instant) -> Self {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        Self { interval, next: now }
    }

    /// Whether one may begin now; if so, it has.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let oldest = now.checked_sub(ARREARS_MAX).unwrap_or(now);
        self.next = self.next.max(oldest) + self.interval;
        true
    }

    /// How long until the next may begin.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_and_arrears_are_bounded() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1000), start);
        let mut begun = |at: Duration| (0..10_000).take_while(|_| pace.take(start + at)).count();
        assert_eq!(begun(Duration::ZERO), 1);
        assert_eq!(begun(Duration::from_millis(5)), 5);
        assert_eq!(begun(Duration::from_secs(60)), 21);
    }

    #[test]
    fn without_a_rate_there_is_no_bound() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        assert!((0..10_000).all(|_| pace.take(start)));
        assert_eq!(pace.wait(start), Duration::ZERO);
    }
}
