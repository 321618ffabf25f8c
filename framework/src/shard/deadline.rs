//! Deadlines: a dense array of ticks, one per slot, swept when the earliest is due.
//!
//! Setting one is a store; nothing is linked, allocated or told to the kernel. A sweep reads the array from end to end.

use std::time::Duration;

use crate::ring::SlotIndex;

/// Length of a tick. A deadline passes at most two ticks late and never early.
pub(crate) const TICK: Duration = Duration::from_millis(125);

/// A point in time: ticks since the shard's start. Wraps after 17 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    /// The deadline of what has none.
    pub(crate) const NEVER: Self = Self(u32::MAX);

    /// The tick in which `elapsed` since the shard's start falls.
    pub(crate) fn at(elapsed: Duration) -> Self {
        Self((elapsed.as_millis() / TICK.as_millis()) as u32)
    }

    /// This tick's start, since the shard's start.
    pub(crate) fn start(self) -> Duration {
        TICK * self.0
    }

    pub(crate) fn after(self, wait: Ticks) -> Self {
        Self(self.0.saturating_add(wait.0))
    }
}

/// A length of time in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks(u32);

impl Ticks {
    /// No limit.
    pub(crate) const FOREVER: Self = Self(u32::MAX);

    pub(crate) const fn seconds(seconds: u32) -> Self {
        Self(seconds * (1000 / TICK.as_millis() as u32))
    }

    /// At least `duration`: rounded up, and one more because the tick that runs now is partly over.
    pub(crate) fn at_least(duration: Duration) -> Self {
        let ticks = duration.as_millis().div_ceil(TICK.as_millis()) + 1;
        Self(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    pub(crate) fn of(duration: Option<Duration>) -> Self {
        duration.map_or(Self::FOREVER, Self::at_least)
    }
}

/// The deadlines of a shard's slots.
#[derive(Debug)]
pub(crate) struct Deadlines {
    ticks: Vec<Tick>,
    /// By when the kernel must have taken something of the send that it has. What else happens on the connection does not move it.
    sends: Vec<Tick>,
    /// No deadline lies before this one, but for those at `swept` and beyond.
    earliest: Tick,
    /// How far the sweep has come that had its fill, and goes on from here; 0 after one that came to the end.
    swept: usize,
}

impl Deadlines {
    pub(crate) fn with_capacity(slots: u32) -> Self {
        Self { ticks: Vec::with_capacity(slots as usize), sends: Vec::with_capacity(slots as usize), earliest: Tick::NEVER, swept: 0 }
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

    /// A send begins. For `State::set_deadline` to ask; no sweep looks at it.
    pub(crate) fn set_send(&mut self, slot: SlotIndex, tick: Tick) {
        self.sends[slot.0 as usize] = tick;
    }

    /// The deadline of the send that is in the kernel.
    pub(crate) fn of_send(&self, slot: SlotIndex) -> Tick {
        self.sends[slot.0 as usize]
    }

    #[cfg(test)]
    pub(crate) fn of(&self, slot: SlotIndex) -> Tick {
        self.ticks[slot.0 as usize]
    }

    /// When the next sweep is due.
    pub(crate) fn earliest(&self) -> Tick {
        if self.goes_on() { Tick(0) } else { self.earliest }
    }

    /// Whether the last sweep had its fill before it came to the end.
    pub(crate) fn goes_on(&self) -> bool {
        self.swept > 0
    }

    /// Moves slots whose deadline has passed into `expired`, `expired_max` at most, and forgets their deadlines. With more of them the next
    /// sweep is due at once, and goes on where this one stopped: a million that are due together are looked at once, not once per sweep.
    pub(crate) fn sweep(&mut self, now: Tick, expired_max: usize, expired: &mut Vec<SlotIndex>) {
        let begin = std::mem::take(&mut self.swept);
        if begin == 0 {
            self.earliest = Tick::NEVER;
        }
        for (index, tick) in self.ticks.iter_mut().enumerate().skip(begin) {
            if *tick <= now {
                if expired.len() == expired_max {
                    self.swept = index;
                    return;
                }
                *tick = Tick::NEVER;
                expired.push(SlotIndex(index as u32));
            }
            self.earliest = self.earliest.min(*tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_never_passes_early() {
        for (now_ms, wait_ms) in [(0, 100), (124, 125), (125, 1), (1_000, 30_000)] {
            let deadline = Tick::at(Duration::from_millis(now_ms)).after(Ticks::at_least(Duration::from_millis(wait_ms)));
            assert!(deadline.start() >= Duration::from_millis(now_ms + wait_ms), "{now_ms} + {wait_ms}");
            assert!(deadline.start() <= Duration::from_millis(now_ms + wait_ms) + 2 * TICK, "{now_ms} + {wait_ms}");
        }
    }

    #[test]
    fn a_sweep_takes_what_is_due_and_finds_the_next() {
        let mut deadlines = Deadlines::with_capacity(4);
        deadlines.grow_to(SlotIndex(3));
        deadlines.set(SlotIndex(0), Tick(5));
        deadlines.set(SlotIndex(1), Tick(9));
        deadlines.set(SlotIndex(2), Tick(7));
        assert_eq!(deadlines.earliest(), Tick(5));
        let mut expired = Vec::new();
        deadlines.sweep(Tick(7), usize::MAX, &mut expired);
        assert_eq!(expired, [SlotIndex(0), SlotIndex(2)]);
        assert_eq!(deadlines.earliest(), Tick(9));
    }

    #[test]
    fn a_sweep_that_has_its_fill_leaves_the_rest_to_the_next() {
        let mut deadlines = Deadlines::with_capacity(4);
        deadlines.grow_to(SlotIndex(3));
        (0..3).for_each(|slot| deadlines.set(SlotIndex(slot), Tick(5)));
        deadlines.set(SlotIndex(3), Tick(9));
        let mut sweep = || {
            let mut expired = Vec::new();
            deadlines.sweep(Tick(7), 2, &mut expired);
            (expired, deadlines.earliest())
        };
        assert_eq!(sweep(), (vec![SlotIndex(0), SlotIndex(1)], Tick(0)), "due at once");
        assert_eq!(sweep(), (vec![SlotIndex(2)], Tick(9)));
    }

    #[test]
    fn a_sweep_goes_on_where_the_last_one_stopped_and_forgets_nothing_behind() {
        let mut deadlines = Deadlines::with_capacity(4);
        deadlines.grow_to(SlotIndex(3));
        (0..4).for_each(|slot| deadlines.set(SlotIndex(slot), Tick(5)));
        let sweep = |deadlines: &mut Deadlines| {
            let mut expired = Vec::new();
            deadlines.sweep(Tick(7), 2, &mut expired);
            (expired, deadlines.earliest())
        };
        assert_eq!(sweep(&mut deadlines).0, [SlotIndex(0), SlotIndex(1)]);
        deadlines.set(SlotIndex(0), Tick(6));
        deadlines.set(SlotIndex(1), Tick(8));
        assert_eq!(sweep(&mut deadlines), (vec![SlotIndex(2), SlotIndex(3)], Tick(6)));
        assert_eq!(sweep(&mut deadlines), (vec![SlotIndex(0)], Tick(8)));
    }

    #[test]
    fn never_and_forever_are_never_due() {
        assert_eq!(Tick(1).after(Ticks::FOREVER), Tick::NEVER);
        let mut deadlines = Deadlines::with_capacity(1);
        deadlines.grow_to(SlotIndex(0));
        deadlines.set(SlotIndex(0), Tick(1));
        deadlines.set(SlotIndex(0), Tick::NEVER);
        let mut expired = Vec::new();
        deadlines.sweep(Tick(u32::MAX - 1), usize::MAX, &mut expired);
        assert!(expired.is_empty());
        assert_eq!(deadlines.earliest(), Tick::NEVER);
    }
}
