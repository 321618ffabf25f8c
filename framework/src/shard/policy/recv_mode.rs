//! How often a connection speaks, and so how it waits for input.
//!
//! A multishot receive is the shortest way from a packet to its reader, and costs the kernel some
//! 850 bytes for as long as it waits; a poll costs 256, and another operation for each message. So
//! who speaks often waits in a receive, and who is silent waits in a poll.

use std::time::Duration;

use crate::id::SlotIndex;
use crate::shard::policy::paced_queue::PacedQueue;
use crate::time::{Tick, Ticks};

/// Who speaks twice within this waits in a receive; who is silent for this long, or up to twice as
/// long, in a poll.
const PERIOD: Ticks = Ticks::seconds(2);

/// How often a connection has spoken of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecvMode {
    /// Not in this period.
    Idle,
    /// Once in this period.
    Once,
    /// Often: it waits in a multishot receive.
    Active,
    /// Often before, but not in this period.
    Cooling,
}

/// A byte per slot, beside the table: the end of a period reads them from end to end and no slot.
#[derive(Debug)]
pub(crate) struct RecvModes {
    modes: Vec<RecvMode>,
    /// When the period ends; never while every mode is `Idle`.
    pub(crate) due: Tick,
    /// Those that are to go over to a poll.
    pub(crate) cooled: PacedQueue<SlotIndex>,
}

impl RecvModes {
    pub(crate) fn with_capacity(slots: u32) -> Self {
        Self {
            modes: Vec::with_capacity(slots as usize),
            due: Tick::NEVER,
            cooled: PacedQueue::new(),
        }
    }

    pub(crate) fn begin(&mut self, slot: SlotIndex) {
        if self.modes.len() <= slot.0 as usize {
            self.modes.resize(slot.0 as usize + 1, RecvMode::Idle);
        }
        self.modes[slot.0 as usize] = RecvMode::Idle;
    }

    pub(crate) fn of(&self, slot: SlotIndex) -> RecvMode {
        self.modes[slot.0 as usize]
    }

    /// The connection has spoken.
    pub(crate) fn spoke(&mut self, slot: SlotIndex, now: Tick) {
        let mode = &mut self.modes[slot.0 as usize];
        if *mode != RecvMode::Active {
            *mode = if *mode == RecvMode::Idle {
                RecvMode::Once
            } else {
                RecvMode::Active
            };
            if self.due == Tick::NEVER {
                self.due = now.after(PERIOD);
            }
        }
    }

    /// It waits in a multishot receive from now on.
    pub(crate) fn activate(&mut self, slot: SlotIndex) {
        self.modes[slot.0 as usize] = RecvMode::Active;
    }

    pub(crate) fn is_active(&self, slot: SlotIndex) -> bool {
        matches!(self.of(slot), RecvMode::Active | RecvMode::Cooling)
    }

    /// Ends the period if it is over, and gives those whose turn it is to go over to a poll.
    pub(crate) fn take_cooled(&mut self, now: Tick, clock: Duration) -> Vec<SlotIndex> {
        if now >= self.due {
            let cooled = self.end_period(now);
            self.cooled.add(cooled, clock, PERIOD.length());
        }
        self.cooled.take(clock)
    }

    /// Ends the period. Gives the connections that are to go over to a poll.
    fn end_period(&mut self, now: Tick) -> Vec<SlotIndex> {
        let (mut cooled, mut restless) = (Vec::new(), false);
        for (index, mode) in self.modes.iter_mut().enumerate() {
            match *mode {
                RecvMode::Idle => continue,
                RecvMode::Once => *mode = RecvMode::Idle,
                RecvMode::Active => {
                    *mode = RecvMode::Cooling;
                    restless = true;
                }
                RecvMode::Cooling => {
                    *mode = RecvMode::Idle;
                    cooled.push(SlotIndex(index as u32));
                }
            }
        }
        self.due = if restless {
            now.after(PERIOD)
        } else {
            Tick::NEVER
        };
        cooled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotIndex = SlotIndex(3);

    fn modes() -> RecvModes {
        let mut modes = RecvModes::with_capacity(4);
        modes.begin(SLOT);
        modes
    }

    #[test]
    fn who_speaks_twice_in_a_period_is_active() {
        let mut modes = modes();
        modes.spoke(SLOT, Tick(0));
        assert_eq!(modes.of(SLOT), RecvMode::Once);
        modes.spoke(SLOT, Tick(1));
        assert_eq!(modes.of(SLOT), RecvMode::Active);
    }

    #[test]
    fn who_speaks_once_in_a_period_stays_in_its_poll() {
        let mut modes = modes();
        for period in 1..5 {
            modes.spoke(SLOT, Tick(period * 100));
            assert_eq!(modes.of(SLOT), RecvMode::Once);
            assert!(modes.end_period(Tick(period * 100 + 50)).is_empty());
            assert_eq!(
                (modes.of(SLOT), modes.due),
                (RecvMode::Idle, Tick::NEVER),
                "nobody is woken for those who are idle"
            );
        }
    }

    #[test]
    fn who_falls_silent_cools_for_a_period_and_is_then_given_up() {
        let mut modes = modes();
        modes.spoke(SLOT, Tick(0));
        modes.activate(SLOT);
        assert!(modes.end_period(Tick(16)).is_empty());
        assert_eq!(modes.of(SLOT), RecvMode::Cooling);
        modes.spoke(SLOT, Tick(17));
        assert!(modes.end_period(Tick(32)).is_empty(), "it has spoken again");
        assert_eq!(modes.end_period(Tick(48)), [SLOT]);
        assert_eq!((modes.of(SLOT), modes.due), (RecvMode::Idle, Tick::NEVER));
    }
}
