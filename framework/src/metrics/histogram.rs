//! How often something fell into each of a few ranges.

use std::time::Duration;

use crate::metrics::counter::Counter;

/// The longest turn that each range but the last takes.
pub(crate) const TURN_BOUNDS: [Duration; 15] = [
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
];
const TURN_RANGES: usize = TURN_BOUNDS.len() + 1;

/// The durations of a shard's turns: from the look at the clock to the wait. One writer.
#[derive(Debug, Default)]
pub(crate) struct TurnDurations {
    ranges: [Counter; TURN_RANGES],
    nanos: Counter,
}

/// What [`TurnDurations`] holds at an instant, or that of several shards.
#[derive(Clone, Debug, Default)]
pub(crate) struct TurnReading {
    /// By range: no two are of quite the same instant.
    pub(crate) ranges: [u64; TURN_RANGES],
    pub(crate) sum: Duration,
}

impl TurnDurations {
    pub(crate) fn record(&self, lasted: Duration) {
        self.ranges[TURN_BOUNDS.partition_point(|bound| *bound < lasted)].add(1);
        self.nanos.add(lasted.as_nanos() as u64);
    }

    pub(crate) fn read(&self) -> TurnReading {
        TurnReading {
            ranges: std::array::from_fn(|range| self.ranges[range].get()),
            sum: Duration::from_nanos(self.nanos.get()),
        }
    }
}

impl TurnReading {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.ranges.iter_mut().zip(other.ranges) {
            *sum += more;
        }
        self.sum += other.sum;
    }

    /// What has come since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let of = |range: usize| self.ranges[range].saturating_sub(before.ranges[range]);
        Self {
            ranges: std::array::from_fn(of),
            sum: self.sum.saturating_sub(before.sum),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.ranges.iter().sum()
    }

    /// The least duration that is known to be at least that of `percent` in a hundred turns: the
    /// bound of a range. That of the last range is the time that all turns took together. None:
    /// there were no turns.
    pub(crate) fn at_most(&self, percent: u64) -> Option<Duration> {
        let count = self.count();
        let rank = (count * percent).div_ceil(100).max(1);
        let mut below = 0;
        let range = self.ranges.iter().position(|turns| {
            below += turns;
            below >= rank
        })?;
        let last = TURN_BOUNDS[TURN_BOUNDS.len() - 1];
        let bound = TURN_BOUNDS.get(range).copied();
        Some(bound.unwrap_or_else(|| self.sum.max(last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_the_last_of_its_range() {
        let turns = TurnDurations::default();
        for (micros, range) in [
            (0, 0),
            (5, 0),
            (6, 1),
            (1000, 7),
            (1_000_000, 14),
            (1_000_001, 15),
        ] {
            let before = turns.read().ranges[range];
            turns.record(Duration::from_micros(micros));
            assert_eq!(turns.read().ranges[range], before + 1, "{micros} us");
        }
        assert_eq!(turns.read().sum, Duration::from_micros(2_001_012));
    }

    #[test]
    fn no_turn_but_the_slowest_is_longer_than_is_told() {
        let turns = TurnDurations::default();
        assert_eq!(turns.read().at_most(50), None);
        let of = |micros: u64, turns: &TurnDurations| turns.record(Duration::from_micros(micros));
        (0..98).for_each(|_| of(3, &turns));
        of(60, &turns);
        let early = turns.read();
        of(2_000_000, &turns);
        let told = [50, 99, 100].map(|percent| turns.read().at_most(percent));
        let expected = [5, 100, 2_000_354].map(|micros| Some(Duration::from_micros(micros)));
        assert_eq!(told, expected);
        let late = turns.read().since(&early);
        assert_eq!(
            (late.count(), late.at_most(50)),
            (1, Some(Duration::from_secs(2)))
        );
    }
}
