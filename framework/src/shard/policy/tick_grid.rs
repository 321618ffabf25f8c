//! When a ticker ticks: at points one period apart, those of different tickers spread over the
//! period.
//!
//! The points are fixed to the server's start, not to when a ticker was made: connections that come
//! together, or a shard that was late for all of them, do not make their ticks fall together.

use std::time::Duration;

use crate::id::ShardId;

/// 2^32 divided by the golden ratio. Its multiples, modulo 2^32, are even over that range whatever
/// their number: any so many consecutive ones leave gaps of three lengths at most, of which the
/// longest is 2.7 times the shortest (the three-gap theorem).
const GOLDEN: u32 = 0x9E37_79B9;

/// A number of milliseconds from 1 to 2^32 - 1 (49 days).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(u32);

impl Period {
    /// `duration` in whole milliseconds, rounded up, within what there is.
    pub(crate) fn of(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000).max(1);
        Self(u32::try_from(millis).unwrap_or(u32::MAX))
    }

    /// How long after a period's beginning ticker number `place` of `shard` ticks, in milliseconds.
    pub(crate) fn phase(self, shard: ShardId, place: u32) -> u64 {
        // The shards of a server are spread against each other, too: a half, a quarter, ...
        let turn = place.wrapping_mul(GOLDEN);
        let turn = turn.wrapping_add(shard.0.reverse_bits());
        (u64::from(turn) * u64::from(self.0)) >> 32
    }

    /// The first point after `now`, all in milliseconds since the server's start.
    pub(crate) fn first_after(self, now: u64, phase: u64) -> u64 {
        match now.checked_sub(phase) {
            None => phase,
            Some(since) => phase + (since / u64::from(self.0) + 1) * u64::from(self.0),
        }
    }

    /// How many points there are from `due`, which is one, to `now`, and the first after them.
    pub(crate) fn passed(self, due: u64, now: u64) -> (u64, u64) {
        let count = now.saturating_sub(due) / u64::from(self.0) + 1;
        (count, due + count * u64::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: usize = 20;

    /// How many of `places` tick in each part of a period.
    fn by_part(period: Period, shard: u32, places: impl Iterator<Item = u32>) -> [usize; PARTS] {
        let mut counts = [0; PARTS];
        for place in places {
            let phase = period.phase(ShardId(shard), place);
            assert!(phase < u64::from(period.0));
            counts[phase as usize * PARTS / period.0 as usize] += 1;
        }
        counts
    }

    #[test]
    fn any_number_of_connections_ticks_evenly_over_the_period() {
        for millis in [1000, 30_000, 86_400_000] {
            let period = Period::of(Duration::from_millis(millis));
            for count in [100, 1000, 2000, 12_345, 100_000] {
                for (shard, first) in [(0, 0), (1, 0), (3, 777), (63, 500_000)] {
                    let counts = by_part(period, shard, first..first + count);
                    let even = count as usize / PARTS;
                    let most = counts.iter().max().expect("there are parts");
                    let least = counts.iter().min().expect("there are parts");
                    assert!(
                        most - least <= 4 && (least..=most).contains(&&even),
                        "{counts:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn those_that_stay_when_others_leave_are_even_enough() {
        let period = Period::of(Duration::from_secs(10));
        for stride in [2, 3, 4, 7, 8, 10, 16, 21, 64] {
            let counts = by_part(period, 0, (0..2000).map(|place| place * stride));
            let within = |count: &usize| (50..=200).contains(count);
            assert!(counts.iter().all(within), "every {stride}th: {counts:?}");
        }
    }

    #[test]
    fn shards_are_spread_against_each_other() {
        let period = Period::of(Duration::from_secs(1));
        let phases = [0, 1, 2, 3].map(|shard| period.phase(ShardId(shard), 0));
        assert_eq!(phases, [0, 500, 250, 750]);
    }

    #[test]
    fn points_are_one_period_apart_and_those_missed_are_counted() {
        let period = Period::of(Duration::from_millis(100));
        for (now, first) in [(0, 30), (29, 30), (30, 130), (129, 130), (130, 230)] {
            assert_eq!(period.first_after(now, 30), first, "after {now}");
        }
        for (now, passed) in [
            (130, (1, 230)),
            (229, (1, 230)),
            (230, (2, 330)),
            (999, (9, 1030)),
        ] {
            assert_eq!(period.passed(130, now), passed, "at {now}");
        }
    }

    #[test]
    fn a_period_is_whole_milliseconds_and_no_number_overflows() {
        let millis = |duration| Period::of(duration).0;
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1500)), 2);
        assert_eq!(millis(Duration::from_millis(1500)), 1500);
        let longest = Period::of(Duration::MAX);
        assert_eq!(longest.0, u32::MAX);
        for place in [0, 1, u32::MAX] {
            let phase = longest.phase(ShardId(u32::MAX), place);
            assert!(longest.first_after(1 << 39, phase) > 1 << 39);
        }
    }
}
