//! Grace: after the shard itself was late, what peers sent meanwhile is heard before any of them is
//! judged.

use crate::time::{Tick, Ticks};

/// A shard that looks at its deadlines more ticks later than it meant to was stopped or throttled:
/// so late a deadline may pass anyway.
const LATE: u32 = 2;
/// How long judging is put off at most. No key: it answers a pause of ours, and one look at what
/// has come ends it.
const GRACE_MAX: Ticks = Ticks::seconds(1);
/// Turns without a completion, one after the other, that show that nothing from the time of the
/// stop is left in the kernel: the first of them may reap before it has entered, and an entry runs
/// only part of the deferred work.
const DRY_TURNS: u8 = 3;

/// The time after a stop in which nobody is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grace {
    until: Tick,
    /// Turns without a completion since the last one with some.
    dry_turns: u8,
    /// There was one, and nobody has been judged since. A shard that is late all the time still
    /// judges every other time.
    is_spent: bool,
}

impl Grace {
    pub(crate) const NONE: Self = Self {
        until: Tick(0),
        dry_turns: 0,
        is_spent: false,
    };

    /// Time has come to `now`, when the shard meant to look at `due`. True: a grace begins.
    pub(crate) fn begins(&mut self, due: Tick, now: Tick) -> bool {
        let late = now.0.saturating_sub(due.0) > LATE;
        if !late || self.is_spent {
            return false;
        }
        *self = Self {
            until: now.after(GRACE_MAX),
            dry_turns: 0,
            is_spent: true,
        };
        true
    }

    /// A turn has reaped its completions, `dry` if there were none.
    pub(crate) fn turned(&mut self, dry: bool) {
        self.dry_turns = if dry {
            self.dry_turns.saturating_add(1)
        } else {
            0
        };
    }

    /// Whether deadlines may be looked at, and rates.
    pub(crate) fn is_over(self, now: Tick) -> bool {
        !self.is_spent || now >= self.until || self.dry_turns >= DRY_TURNS
    }

    /// They were looked at: whoever is late after this has a grace again.
    pub(crate) fn judged(&mut self) {
        self.is_spent = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_in_time_grants_none() {
        let mut grace = Grace::NONE;
        assert!(
            !grace.begins(Tick(100), Tick(100))
                && !grace.begins(Tick(100), Tick(102))
                && !grace.begins(Tick(100), Tick(7))
        );
        assert!(grace.is_over(Tick(102)));
    }

    #[test]
    fn it_lasts_until_nothing_is_left_to_hear() {
        let mut grace = Grace::NONE;
        assert!(grace.begins(Tick(100), Tick(103)));
        for dry in [true, true, false, true, true] {
            grace.turned(dry);
            assert!(!grace.is_over(Tick(104)));
        }
        grace.turned(true);
        assert!(grace.is_over(Tick(104)));
    }

    #[test]
    fn it_ends_however_much_there_is_to_hear() {
        let mut grace = Grace::NONE;
        assert!(grace.begins(Tick(100), Tick(200)));
        grace.turned(false);
        assert!(!grace.is_over(Tick(207)) && grace.is_over(Tick(208)));
    }

    #[test]
    fn a_shard_that_is_always_late_judges_in_between() {
        let mut grace = Grace::NONE;
        assert!(grace.begins(Tick(0), Tick(100)) && !grace.is_over(Tick(100)));
        assert!(
            !grace.begins(Tick(100), Tick(200)),
            "the last one is not used up"
        );
        assert!(grace.is_over(Tick(200)));
        grace.judged();
        assert!(grace.begins(Tick(200), Tick(300)));
    }
}
