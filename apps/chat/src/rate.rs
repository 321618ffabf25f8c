//! How often one speaker may say something: a token bucket, kept as the time at which it is full.

use std::time::{Duration, Instant};

/// How much of its rate a speaker may use at once.
const BURST: Duration = Duration::from_secs(2);

/// Takes a token, of `per_second` that come; 0: of any number. False: there is none.
pub(crate) fn take(full_at: &mut Instant, now: Instant, per_second: u16) -> bool {
    let interval = Duration::from_secs(1).checked_div(per_second.into());
    let full_then = (*full_at).max(now) + interval.unwrap_or_default();
    let has_token = full_then <= now + BURST;
    if has_token {
        *full_at = full_then;
    }
    has_token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_then_the_rate() {
        let begun = Instant::now();
        let mut full_at = begun;
        let mut at = |millis| take(&mut full_at, begun + Duration::from_millis(millis), 2);
        assert_eq!([0; 5].map(&mut at), [true, true, true, true, false]);
        assert_eq!([499, 500, 500].map(&mut at), [false, true, false]);
        let rested = [60_000; 5].map(&mut at);
        assert_eq!(
            rested,
            [true, true, true, true, false],
            "no more than a burst"
        );
    }

    #[test]
    fn no_rate_is_no_bound() {
        let now = Instant::now();
        let mut full_at = now;
        assert!((0..1000).all(|_| take(&mut full_at, now, 0)));
    }
}
