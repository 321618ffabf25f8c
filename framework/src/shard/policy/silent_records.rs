//! Records of TLS that bring no data: changes of keys, empty ones, tickets. A few are in order. Each
//! costs as much as one that does, so a peer has a number of them in hand, and gets new ones with
//! time.

use crate::time::{Tick, Ticks};

/// In hand at most. No key: the most that a peer of good will sends at once are the tickets behind
/// a handshake.
const RECORDS_MAX: u32 = 32;
/// Another one comes in hand in this time.
const REFILL: Ticks = Ticks::seconds(1);

/// What a session has in hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SilentRecords {
    left: u32,
    filled: Tick,
}

impl SilentRecords {
    pub(crate) fn new(now: Tick) -> Self {
        Self {
            left: RECORDS_MAX,
            filled: now,
        }
    }

    /// `count` have come. False: that is too many.
    pub(crate) fn take(&mut self, count: u32, now: Tick) -> bool {
        if count == 0 {
            return true;
        }
        while self.left < RECORDS_MAX && self.filled.after(REFILL) <= now {
            self.left += 1;
            self.filled = self.filled.after(REFILL);
        }
        if self.left == RECORDS_MAX {
            self.filled = now;
        }
        let is_within = count <= self.left;
        self.left = self.left.saturating_sub(count);
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_a_number_of_them_and_one_more_a_second() {
        let mut records = SilentRecords::new(Tick(100));
        assert!(records.take(0, Tick(100)) && records.take(RECORDS_MAX, Tick(100)));
        assert!(!records.take(1, Tick(107)));
        assert!(records.take(1, Tick(108)), "a second has passed");
        assert!(!records.take(2, Tick(120)));
        let mut rested = SilentRecords::new(Tick(0));
        assert!(rested.take(RECORDS_MAX, Tick(1_000_000)) && !rested.take(1, Tick(1_000_001)));
    }
}
