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
}
