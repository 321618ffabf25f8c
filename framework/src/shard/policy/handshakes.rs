//! How many steps of handshakes a shard computes in a turn: each takes as long as thousands of
//! messages. Who asks for more waits for a turn to come, in the order of asking. Handshakes that have
//! begun go before new ones: a storm ends, one after the other, instead of everybody's growing old.

use std::collections::VecDeque;

use crate::id::Key;
use crate::time::Tick;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The client's first words.
    Begins,
    GoesOn,
}

/// Of one listener.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    per_turn_max: u32,
    /// Steps that may still be computed in this turn.
    left: u32,
    begin: VecDeque<Waiting>,
    go_on: VecDeque<Waiting>,
    /// They may go on, and have not been polled yet.
    granted: Vec<Key>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    key: Key,
    until: Tick,
}

/// Of the one that has waited longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Grant(Key),
    /// It has waited too long.
    Expired(Key),
}

impl Handshakes {
    /// From now on so many; at least one.
    pub(crate) fn set_per_turn_max(&mut self, per_turn_max: u32) {
        self.per_turn_max = per_turn_max.max(1);
    }

    /// A turn begins. Steps that were granted in the last one and not computed count for it, but for
    /// those of who has ended meanwhile and computes none: `waits` knows the others.
    pub(crate) fn begin_turn(&mut self, waits: impl FnMut(&Key) -> bool) {
        self.granted.retain(waits);
        let granted = u32::try_from(self.granted.len()).unwrap_or(u32::MAX);
        self.left = self.per_turn_max.saturating_sub(granted);
    }

    /// Whether a step may be computed at once; else it waits until `until` at most.
    pub(crate) fn ask(&mut self, key: Key, stage: Stage, until: Tick) -> bool {
        if self.left > 0 && self.go_on.is_empty() && self.begin.is_empty() {
            self.left -= 1;
            return true;
        }
        let queue = match stage {
            Stage::Begins => &mut self.begin,
            Stage::GoesOn => &mut self.go_on,
        };
        queue.push_back(Waiting { key, until });
        false
    }

    /// The next one that waits, as long as the turn has room. Whether it still lives, the caller
    /// knows: [`Self::grant`].
    pub(crate) fn next(&mut self, now: Tick) -> Option<Verdict> {
        if self.left == 0 {
            return None;
        }
        let Waiting { key, until } = self.go_on.pop_front().or_else(|| self.begin.pop_front())?;
        Some(match now >= until {
            true => Verdict::Expired(key),
            false => Verdict::Grant(key),
        })
    }

    pub(crate) fn grant(&mut self, key: Key) {
        self.left = self.left.saturating_sub(1);
        self.granted.push(key);
    }

    /// Whether the one that has waited may compute its step now.
    pub(crate) fn take_grant(&mut self, key: Key) -> bool {
        let place = self.granted.iter().position(|granted| *granted == key);
        place.map(|place| self.granted.swap_remove(place)).is_some()
    }

    /// Those that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.begin.len() + self.go_on.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Tick = Tick(1_000);

    fn key(number: u32) -> Key {
        Key::of_place(number)
    }

    fn granted(handshakes: &mut Handshakes, now: Tick) -> Vec<Verdict> {
        handshakes.begin_turn(|_| true);
        let mut verdicts = Vec::new();
        while let Some(verdict) = handshakes.next(now) {
            if let Verdict::Grant(key) = verdict {
                handshakes.grant(key);
            }
            verdicts.push(verdict);
        }
        verdicts
    }

    #[test]
    fn a_turn_has_so_many_and_the_others_wait_in_order() {
        let mut handshakes = Handshakes::default();
        handshakes.set_per_turn_max(2);
        handshakes.begin_turn(|_| true);
        let asked = [0, 1, 2, 3].map(|one| handshakes.ask(key(one), Stage::Begins, LATE));
        assert_eq!(asked, [true, true, false, false]);
        assert!(!handshakes.ask(key(1), Stage::GoesOn, LATE));
        assert_eq!(
            granted(&mut handshakes, Tick(1)),
            [Verdict::Grant(key(1)), Verdict::Grant(key(2))]
        );
        assert!(!handshakes.ask(key(9), Stage::Begins, LATE), "others wait");
        assert!(handshakes.take_grant(key(2)) && !handshakes.take_grant(key(2)));
        // One of them was not polled: it counts for the next turn.
        assert_eq!(granted(&mut handshakes, Tick(2)), [Verdict::Grant(key(3))]);
        assert_eq!(handshakes.waiting(), 1);
    }

    #[test]
    fn who_has_waited_too_long_takes_nobodys_place() {
        let mut handshakes = Handshakes::default();
        handshakes.set_per_turn_max(1);
        handshakes.ask(key(1), Stage::Begins, Tick(5));
        handshakes.ask(key(2), Stage::Begins, LATE);
        assert_eq!(
            granted(&mut handshakes, Tick(5)),
            [Verdict::Expired(key(1)), Verdict::Grant(key(2))]
        );
    }

    #[test]
    fn who_ends_with_a_grant_in_hand_keeps_nobody_waiting() {
        let mut handshakes = Handshakes::default();
        handshakes.set_per_turn_max(1);
        handshakes.ask(key(1), Stage::Begins, LATE);
        handshakes.ask(key(2), Stage::Begins, LATE);
        assert_eq!(granted(&mut handshakes, Tick(1)), [Verdict::Grant(key(1))]);
        handshakes.begin_turn(|waits| *waits != key(1));
        assert_eq!(handshakes.next(Tick(2)), Some(Verdict::Grant(key(2))));
        assert!(!handshakes.take_grant(key(1)));
    }
}
