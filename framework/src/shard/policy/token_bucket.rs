//! How many may be accepted per second: a bucket of tokens, filled at a steady rate.

use std::time::Duration;

/// A token in the units in which they are counted: a rate per second adds so many of them per
/// microsecond.
const TOKEN: u64 = 1_000_000;
/// With an empty bucket the shard waits for the tokens of this long, or for as many as the bucket
/// holds.
const REFILL: Duration = Duration::from_millis(5);

/// A bucket of accepts. In any time `t` no more than `burst_max + per_second * t` are taken.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: u64,
    /// What the bucket holds, and what is in it.
    room: u64,
    credit: u64,
    /// When it was filled last.
    filled: Duration,
}

impl TokenBucket {
    /// Full at the beginning.
    pub(crate) fn new(per_second: u32, burst_max: u32, now: Duration) -> Self {
        let room = u64::from(burst_max.max(1)) * TOKEN;
        Self {
            per_second: u64::from(per_second.max(1)),
            room,
            credit: room,
            filled: now,
        }
    }

    /// One of another rate and another room, with what is in this one.
    pub(crate) fn refitted(mut self, per_second: u32, burst_max: u32, now: Duration) -> Self {
        self.available(now);
        let other = Self::new(per_second, burst_max, now);
        let credit = self.credit.min(other.room);
        Self { credit, ..other }
    }

    /// Tokens at `now`.
    pub(crate) fn available(&mut self, now: Duration) -> u32 {
        let elapsed =
            u64::try_from(now.saturating_sub(self.filled).as_micros()).unwrap_or(u64::MAX);
        // By whole microseconds: the rest counts next time.
        self.filled += Duration::from_micros(elapsed);
        self.credit = self
            .credit
            .saturating_add(elapsed.saturating_mul(self.per_second))
            .min(self.room);
        u32::try_from(self.credit / TOKEN).unwrap_or(u32::MAX)
    }

    /// Takes one at `now`.
    pub(crate) fn take(&mut self, now: Duration) {
        // What the time up to now has added must have found the bucket as full as it was.
        self.available(now);
        self.credit = self.credit.saturating_sub(TOKEN);
    }

    /// How long until it is worth while to look again.
    pub(crate) fn refilled_in(&self) -> Duration {
        let wanted = (self.per_second * REFILL.as_micros() as u64).clamp(TOKEN, self.room);
        let missing = wanted.saturating_sub(self.credit);
        Duration::from_micros(missing.div_ceil(self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes all there is, waits as told, and so on until `end`; gives what was taken and how often
    /// it looked.
    fn drain(rate: &mut TokenBucket, end: Duration) -> (u32, u32) {
        let (mut now, mut taken, mut looks) = (rate.filled, 0, 0);
        while now <= end {
            let available = rate.available(now);
            (0..available).for_each(|_| rate.take(now));
            (taken, looks) = (taken + available, looks + 1);
            now += rate.refilled_in().max(Duration::from_micros(1));
        }
        (taken, looks)
    }

    #[test]
    fn no_more_than_burst_and_rate_are_taken_and_no_fewer() {
        for (per_second, burst) in [
            (1, 1),
            (100, 1),
            (1000, 1000),
            (3, 7),
            (1000, 1),
            (100_000, 64),
        ] {
            let mut rate = TokenBucket::new(per_second, burst, SECOND);
            let (taken, looks) = drain(&mut rate, 11 * SECOND);
            let most = burst + 10 * per_second;
            assert!(
                (most - per_second.div_ceil(100)..=most).contains(&taken),
                "{per_second}/s + {burst}: {taken} in 10 s"
            );
            assert!(
                burst == 1 || burst == 64 || looks <= 2002,
                "{per_second}/s + {burst}: {looks} looks in 10 s"
            );
        }
    }

    #[test]
    fn a_quiet_time_fills_the_bucket_and_no_more() {
        let mut rate = TokenBucket::new(10, 5, SECOND);
        assert_eq!(rate.available(SECOND), 5);
        (0..5).for_each(|_| rate.take(100 * SECOND));
        assert_eq!(
            rate.available(100 * SECOND),
            0,
            "they are of the time in which they are taken"
        );
        assert_eq!(rate.refilled_in(), Duration::from_millis(100));
        assert_eq!(rate.available(1000 * SECOND), 5);
    }

    #[test]
    fn another_rate_is_no_further_burst() {
        let mut rate = TokenBucket::new(10, 5, SECOND);
        (0..5).for_each(|_| rate.take(SECOND));
        let mut faster = rate.refitted(1000, 100, SECOND);
        assert_eq!(faster.available(SECOND), 0);
        assert_eq!(faster.available(SECOND + SECOND / 100), 10);
        let mut smaller = faster.refitted(1000, 3, SECOND);
        assert_eq!(smaller.available(SECOND), 3);
    }
}
