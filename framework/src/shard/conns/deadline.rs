//! Deadlines: a dense array of ticks, one per slot, swept when the earliest is due.
//!
//! Setting one is a store; nothing is linked, allocated or told to the kernel. A round of sweeps
//! reads the array from end to end twice: to count those whose deadline has passed, and to end
//! them, one after the other.

use std::time::Duration;

use crate::id::SlotIndex;
use crate::shard::policy::paced_queue::Pacer;
use crate::time::{TICK, Tick};

/// The deadlines of a shard's slots.
#[derive(Debug)]
pub(crate) struct Deadlines {
    ticks: Vec<Tick>,
    /// By when the kernel must have taken something of the send that it has. What else happens on
    /// the connection does not move it.
    sends: Vec<Tick>,
    /// No deadline lies before this one, but for those that the round is about.
    earliest: Tick,
    round: Round,
}

/// Those whose deadline had passed when they were counted.
#[derive(Clone, Copy, Debug)]
struct Round {
    pacer: Pacer,
    /// The slot to go on with, and how many from there, around the end of the array, are still to
    /// be looked at.
    next: usize,
    left: usize,
}

impl Round {
    const OVER: Self = Self {
        pacer: Pacer::OVER,
        next: 0,
        left: 0,
    };
}

impl Deadlines {
    pub(crate) fn with_capacity(slots: u32) -> Self {
        Self {
            ticks: Vec::with_capacity(slots as usize),
            sends: Vec::with_capacity(slots as usize),
            earliest: Tick::NEVER,
            round: Round::OVER,
        }
    }

    /// Makes room for `slot`.
    pub(crate) fn grow_to(&mut self, slot: SlotIndex) {
        if self.ticks.len() <= slot.0 as usize {
            self.ticks.resize(slot.0 as usize + 1, Tick::NEVER);
            self.sends.resize(slot.0 as usize + 1, Tick::NEVER);
        }
    }

    pub(crate) fn set(&mut self, slot: SlotIndex, tick: Tick) {
        self.ticks[slot.0 as usize] = tick;
        self.earliest = self.earliest.min(tick);
    }

    /// Sets it to `tick` if it lies later.
    pub(crate) fn lower(&mut self, slot: SlotIndex, tick: Tick) {
        self.set(slot, self.ticks[slot.0 as usize].min(tick));
    }

    /// A send begins. For `ConnMut::set_deadline` to ask; no sweep looks at it.
    pub(crate) fn set_send(&mut self, slot: SlotIndex, tick: Tick) {
        self.sends[slot.0 as usize] = tick;
    }

    /// The deadline of the send that is in the kernel.
    pub(crate) fn of_send(&self, slot: SlotIndex) -> Tick {
        self.sends[slot.0 as usize]
    }

    pub(crate) fn of(&self, slot: SlotIndex) -> Tick {
        self.ticks[slot.0 as usize]
    }

    /// When the next sweep is due; in a round, any time now.
    pub(crate) fn earliest(&self) -> Tick {
        if self.goes_on() {
            Tick(0)
        } else {
            self.earliest
        }
    }

    /// Whether there may be some whose deadline has passed and who have not been ended.
    pub(crate) fn goes_on(&self) -> bool {
        self.round.left > 0
    }

    /// Whether a sweep has anything to do in tick `now`, at `clock`.
    pub(crate) fn is_due(&self, now: Tick, clock: Duration, at_once: usize) -> bool {
        now >= self.earliest || (self.goes_on() && self.round.pacer.allowed(clock, at_once) > 0)
    }

    /// Moves slots whose deadline has passed into `expired`, and forgets their deadlines: `at_once`
    /// at most, and of more than that no more than may be ended by `clock`. The next sweep goes on
    /// where this one stopped, so a million that are due together are looked at twice, not once per
    /// sweep.
    pub(crate) fn sweep(
        &mut self,
        now: Tick,
        clock: Duration,
        at_once: usize,
        expired: &mut Vec<SlotIndex>,
    ) {
        if now >= self.earliest {
            self.begin_round(now, clock);
        }
        let allowed = self.round.pacer.allowed(clock, at_once);
        while expired.len() < allowed && self.round.left > 0 {
            let index = self.round.next;
            self.round.next = (index + 1) % self.ticks.len();
            self.round.left -= 1;
            if self.ticks[index] <= now {
                self.ticks[index] = Tick::NEVER;
                expired.push(SlotIndex(index as u32));
            }
        }
        self.round.pacer.did(expired.len());
        if self.round.pacer.is_over() || self.round.left == 0 {
            self.round = Round::OVER;
        }
    }

    /// Counts those whose deadline has passed, with those that a round has left over, and finds the
    /// first that has not. It goes on where that round was: nobody is passed over because others
    /// come due again and again.
    fn begin_round(&mut self, now: Tick, clock: Duration) {
        let (mut due, mut earliest) = (0, Tick::NEVER);
        for tick in &self.ticks {
            let is_due = *tick <= now;
            due += usize::from(is_due);
            earliest = earliest.min(if is_due { Tick::NEVER } else { *tick });
        }
        self.earliest = earliest;
        self.round = Round {
            pacer: Pacer::new(clock, TICK, due),
            left: self.ticks.len(),
            ..self.round
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Ticks;

    #[test]
    fn a_sweep_takes_what_is_due_and_finds_the_next() {
        let mut deadlines = Deadlines::with_capacity(4);
        deadlines.grow_to(SlotIndex(3));
        deadlines.set(SlotIndex(0), Tick(5));
        deadlines.set(SlotIndex(1), Tick(9));
        deadlines.set(SlotIndex(2), Tick(7));
        assert_eq!(deadlines.earliest(), Tick(5));
        let mut expired = Vec::new();
        deadlines.sweep(Tick(7), Duration::ZERO, usize::MAX, &mut expired);
        assert_eq!(expired, [SlotIndex(0), SlotIndex(2)]);
        assert_eq!(deadlines.earliest(), Tick(9));
    }

    /// The time after `part` of `whole` parts of a tick.
    fn part(part: u32, whole: u32) -> Duration {
        Duration::from_secs(9) + TICK * part / whole
    }

    fn due_together(count: u32) -> Deadlines {
        let mut deadlines = Deadlines::with_capacity(count);
        deadlines.grow_to(SlotIndex(count - 1));
        (0..count).for_each(|slot| deadlines.set(SlotIndex(slot), Tick(5)));
        deadlines
    }

    fn swept(deadlines: &mut Deadlines, now: Tick, clock: Duration, at_once: usize) -> Vec<u32> {
        let mut expired = Vec::new();
        deadlines.sweep(now, clock, at_once, &mut expired);
        expired.into_iter().map(|slot| slot.0).collect()
    }

    #[test]
    fn a_few_that_are_due_together_are_ended_at_once() {
        let mut deadlines = due_together(3);
        deadlines.grow_to(SlotIndex(3));
        deadlines.set(SlotIndex(3), Tick(9));
        assert_eq!(swept(&mut deadlines, Tick(7), part(0, 1), 3), [0, 1, 2]);
        assert_eq!(
            (deadlines.goes_on(), deadlines.earliest()),
            (false, Tick(9))
        );
    }

    #[test]
    fn many_that_are_due_together_are_ended_evenly_over_a_tick() {
        let mut deadlines = due_together(100);
        let mut ended = 0;
        for step in 0..100 {
            assert!(deadlines.is_due(Tick(5), part(step, 100), 4), "{step}");
            ended += swept(&mut deadlines, Tick(5), part(step, 100), 4).len();
            assert_eq!(ended, step as usize + 1);
            assert!(
                !deadlines.is_due(Tick(5), part(step, 100), 4),
                "that was all for now"
            );
        }
        assert_eq!(
            (deadlines.goes_on(), deadlines.earliest()),
            (false, Tick::NEVER)
        );
    }

    #[test]
    fn of_too_many_for_a_tick_each_sweep_takes_its_fill() {
        let mut deadlines = due_together(10);
        assert_eq!(swept(&mut deadlines, Tick(5), part(0, 1), 4), [0]);
        assert_eq!(swept(&mut deadlines, Tick(6), part(1, 1), 4), [1, 2, 3, 4]);
        assert_eq!(deadlines.earliest(), Tick(0), "due at once");
        assert_eq!(swept(&mut deadlines, Tick(6), part(1, 1), 4), [5, 6, 7, 8]);
        assert_eq!(swept(&mut deadlines, Tick(6), part(1, 1), 4), [9]);
        assert!(!deadlines.goes_on());
    }

    #[test]
    fn a_round_goes_on_where_the_last_one_stopped_and_forgets_nothing_behind() {
        let mut deadlines = due_together(4);
        assert_eq!(swept(&mut deadlines, Tick(7), part(0, 1), 2), [0]);
        assert_eq!(swept(&mut deadlines, Tick(7), part(1, 4), 2), [1]);
        deadlines.set(SlotIndex(0), Tick(6));
        deadlines.set(SlotIndex(1), Tick(8));
        assert_eq!(
            swept(&mut deadlines, Tick(7), part(1, 4), 2),
            [2],
            "counted anew"
        );
        assert_eq!(swept(&mut deadlines, Tick(7), part(5, 4), 2), [3, 0]);
        assert_eq!(
            (deadlines.goes_on(), deadlines.earliest()),
            (false, Tick(8))
        );
    }

    #[test]
    fn whoever_is_given_more_time_in_a_round_is_not_ended_by_it() {
        let mut deadlines = due_together(4);
        assert_eq!(swept(&mut deadlines, Tick(5), part(0, 1), 2), [0]);
        deadlines.set(SlotIndex(2), Tick(8));
        assert_eq!(swept(&mut deadlines, Tick(5), part(1, 1), 2), [1, 3]);
        assert!(swept(&mut deadlines, Tick(5), part(1, 1), 2).is_empty());
        assert_eq!(
            (deadlines.goes_on(), deadlines.earliest()),
            (false, Tick(8))
        );
    }

    #[test]
    fn never_and_forever_are_never_due() {
        assert_eq!(Tick(1).after(Ticks::FOREVER), Tick::NEVER);
        let mut deadlines = Deadlines::with_capacity(1);
        deadlines.grow_to(SlotIndex(0));
        deadlines.set(SlotIndex(0), Tick(1));
        deadlines.set(SlotIndex(0), Tick::NEVER);
        let mut expired = Vec::new();
        deadlines.sweep(Tick(u32::MAX - 1), Duration::ZERO, usize::MAX, &mut expired);
        assert!(expired.is_empty());
        assert_eq!(deadlines.earliest(), Tick::NEVER);
    }
}
