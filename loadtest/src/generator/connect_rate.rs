//! When the next connect may begin.

use std::time::Duration;

/// How far behind its rate it may fall before it forgets the rest: catching up all at once
/// would be the very burst that a rate is to prevent.
const ARREARS_MAX: Duration = Duration::from_millis(20);

/// Hands out places in a stream of so many per second. Times are since the run's beginning.
#[derive(Debug)]
pub(super) struct ConnectRate {
    interval: Duration,
    next: Duration,
}

impl ConnectRate {
    /// `rate` per second; none: no bound.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            interval: rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)),
            next: Duration::ZERO,
        }
    }

    /// When the caller may begin: now, or after the callers before it.
    pub(super) fn reserve(&mut self, now: Duration) -> Duration {
        let place = self.next.max(now.saturating_sub(ARREARS_MAX));
        self.next = place + self.interval;
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_rate_holds_and_arrears_are_bounded() {
        let mut rate = ConnectRate::new(Some(1000.0));
        let mut begun = |at: Duration| (0..10_000).take_while(|_| rate.reserve(at) <= at).count();
        assert_eq!(begun(Duration::ZERO), 1);
        // The one that was refused a place above has taken it all the same.
        assert_eq!(begun(5 * MS), 4);
        assert_eq!(begun(60_000 * MS), 21);
    }

    #[test]
    fn without_a_rate_there_is_no_bound() {
        let mut rate = ConnectRate::new(None);
        assert!((0..10_000).all(|_| rate.reserve(MS) <= MS));
    }
}
