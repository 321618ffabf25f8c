//! How often a connection speaks, and so how it waits for input.
//!
//! A multishot receive is the shortest way from a packet to its reader, and costs the kernel some
//! 850 bytes for as long as it waits; a poll costs 256, and another operation for each message. So
//! who speaks often waits in a receive, and who is silent waits in a poll.

use super::State;
use super::deadline::{Tick, Ticks};
use super::spread::Spread;
use super::table::{Phase, Receive};
use crate::ring::{Operation, SlotIndex, Token};

/// Who speaks twice within this waits in a receive; who is silent for this long, or up to twice as
/// long, in a poll.
const PERIOD: Ticks = Ticks::seconds(2);

/// How often a connection has spoken of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tempo {
    /// Not in this period.
    Still,
    /// Once in this period.
    Spoken,
    /// Often: it waits in a multishot receive.
    Dense,
    /// Often before, but not in this period.
    Ebbing,
}

/// A byte per slot, beside the table: the end of a period reads them from end to end and no slot.
#[derive(Debug)]
pub(super) struct Tempos {
    tempos: Vec<Tempo>,
    /// When the period ends; never while all are still.
    pub(super) due: Tick,
    /// Those that are to go over to a poll.
    pub(super) ebbed: Spread<SlotIndex>,
}

impl Tempos {
    pub(super) fn with_capacity(slots: u32) -> Self {
        Self {
            tempos: Vec::with_capacity(slots as usize),
            due: Tick::NEVER,
            ebbed: Spread::new(),
        }
    }

    pub(super) fn begin(&mut self, slot: SlotIndex) {
        if self.tempos.len() <= slot.0 as usize {
            self.tempos.resize(slot.0 as usize + 1, Tempo::Still);
        }
        self.tempos[slot.0 as usize] = Tempo::Still;
    }

    pub(super) fn of(&self, slot: SlotIndex) -> Tempo {
        self.tempos[slot.0 as usize]
    }

    /// The connection has spoken.
    pub(super) fn spoke(&mut self, slot: SlotIndex, now: Tick) {
        let tempo = &mut self.tempos[slot.0 as usize];
        if *tempo != Tempo::Dense {
            *tempo = if *tempo == Tempo::Still {
                Tempo::Spoken
            } else {
                Tempo::Dense
            };
            if self.due == Tick::NEVER {
                self.due = now.after(PERIOD);
            }
        }
    }

    /// It waits in a multishot receive from now on.
    pub(super) fn quicken(&mut self, slot: SlotIndex) {
        self.tempos[slot.0 as usize] = Tempo::Dense;
    }

    /// Ends the period. Gives the connections that are to go over to a poll.
    fn end_period(&mut self, now: Tick) -> Vec<SlotIndex> {
        let (mut ebbed, mut restless) = (Vec::new(), false);
        for (index, tempo) in self.tempos.iter_mut().enumerate() {
            match *tempo {
                Tempo::Still => continue,
                Tempo::Spoken => *tempo = Tempo::Still,
                Tempo::Dense => (*tempo, restless) = (Tempo::Ebbing, true),
                Tempo::Ebbing => {
                    *tempo = Tempo::Still;
                    ebbed.push(SlotIndex(index as u32));
                }
            }
        }
        self.due = if restless {
            now.after(PERIOD)
        } else {
            Tick::NEVER
        };
        ebbed
    }
}

impl State {
    /// Ends the period if it is over: connections that have fallen silent leave their receive for a
    /// poll, in the course of the next.
    pub(super) fn change_tempo(&mut self) {
        if self.now >= self.tempos.due {
            let ebbed = self.tempos.end_period(self.now);
            self.tempos.ebbed.add(ebbed, self.clock, PERIOD.length());
        }
        for slot in self.tempos.ebbed.take(self.clock) {
            let Some(key) = self.table.occupant(slot) else {
                continue;
            };
            let speaks_again = matches!(self.tempos.of(slot), Tempo::Dense | Tempo::Ebbing);
            if let Some(slot) = self.table.get(key)
                && !speaks_again
                && slot.receive == Receive::Armed
                && slot.phase == Phase::Serving
                && slot.input.is_empty()
            {
                slot.receive = Receive::Cancelling;
                self.ring.cancel(Token::new(Operation::Receive, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotIndex = SlotIndex(3);

    fn tempos() -> Tempos {
        let mut tempos = Tempos::with_capacity(4);
        tempos.begin(SLOT);
        tempos
    }

    #[test]
    fn who_speaks_twice_in_a_period_is_dense() {
        let mut tempos = tempos();
        tempos.spoke(SLOT, Tick(0));
        assert_eq!(tempos.of(SLOT), Tempo::Spoken);
        tempos.spoke(SLOT, Tick(1));
        assert_eq!(tempos.of(SLOT), Tempo::Dense);
    }

    #[test]
    fn who_speaks_once_in_a_period_stays_in_its_poll() {
        let mut tempos = tempos();
        for period in 1..5 {
            tempos.spoke(SLOT, Tick(period * 100));
            assert_eq!(tempos.of(SLOT), Tempo::Spoken);
            assert!(tempos.end_period(Tick(period * 100 + 50)).is_empty());
            assert_eq!(
                (tempos.of(SLOT), tempos.due),
                (Tempo::Still, Tick::NEVER),
                "nobody is woken for those who are still"
            );
        }
    }

    #[test]
    fn who_falls_silent_ebbs_for_a_period_and_is_then_given_up() {
        let mut tempos = tempos();
        tempos.spoke(SLOT, Tick(0));
        tempos.quicken(SLOT);
        assert!(tempos.end_period(Tick(16)).is_empty());
        assert_eq!(tempos.of(SLOT), Tempo::Ebbing);
        tempos.spoke(SLOT, Tick(17));
        assert!(
            tempos.end_period(Tick(32)).is_empty(),
            "it has spoken again"
        );
        assert_eq!(tempos.end_period(Tick(48)), [SLOT]);
        assert_eq!((tempos.of(SLOT), tempos.due), (Tempo::Still, Tick::NEVER));
    }
}
