//! What a connection is waited for, and the task that waits: a set of interests beside a run state,
//! one byte of a slot.
//!
//! A handler may wait for several things of its connection at once, each in a future with a waker
//! of its own: it races, joins and splits. An interest is registered by the future that waits, and
//! goes when its event comes or that future is dropped. So no wait overwrites another, and none
//! outlives the one who waits.
//!
//! Most wait through the waker of their own task, which nobody has to keep. What comes with another
//! waker, as from a combinator that polls only those of its futures that were woken, is kept in
//! [`Wakers`].

use std::collections::BTreeMap;
use std::fmt;
use std::task::Waker;

use crate::id::SlotIndex;

/// An event of a connection that a future waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Interest {
    /// Input, the end of the stream, or the end of the server.
    Input = 1,
    /// Room in the output queue.
    Space = 1 << 1,
    /// An empty output queue.
    Flushed = 1 << 2,
}

impl Interest {
    pub(crate) const ALL: [Self; 3] = [Self::Input, Self::Space, Self::Flushed];
}

/// Where the task of a connection stands. One that the shard opened has no task of its own: it is
/// idle or pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// It runs, waits, or is over.
    Idle,
    /// The connection is new: its task is made and polled at the end of the turn.
    Start,
    /// It is on the list of those that are polled at the end of a turn.
    Due,
    /// The connection lies in a pool, and there is no task.
    Pooled,
}

/// The interests and the run state of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waits(u8);

impl Waits {
    pub(crate) const NONE: Self = Self(0);
    const INTERESTS: u8 = 0b111;
    /// The interest in input was confirmed when the task was polled last: its handler does nothing
    /// but wait for the peer.
    const READING: u8 = 1 << 3;
    /// Something was written or waited for since its task was polled last: see
    /// `ConnMut::after_poll`.
    const TOUCHED: u8 = 1 << 4;
    /// [`Self::is_fed`].
    const FED: u8 = 1 << 5;
    const RUN_SHIFT: u32 = 6;

    pub(crate) fn has(self, interest: Interest) -> bool {
        self.0 & interest as u8 != 0
    }

    pub(super) fn has_others(self, than: Interest) -> bool {
        self.0 & Self::INTERESTS & !(than as u8) != 0
    }

    /// Whether the handler reads and the peer is to speak: what deadlines and least rates are
    /// about.
    pub(crate) fn is_reading(self) -> bool {
        self.0 & Self::READING != 0
    }

    pub(super) fn add(&mut self, interest: Interest) {
        self.0 |= Self::bits(interest);
    }

    /// Whether it was there.
    pub(super) fn take(&mut self, interest: Interest) -> bool {
        let had = self.has(interest);
        self.0 &= !Self::bits(interest);
        had
    }

    /// With an interest in input goes that its handler reads.
    fn bits(interest: Interest) -> u8 {
        match interest {
            Interest::Input => Interest::Input as u8 | Self::READING,
            other => other as u8,
        }
    }

    /// Its task is about to be polled: a handler that still waits for input confirms that.
    pub(super) fn clear_reading(&mut self) {
        self.0 &= !Self::READING;
    }

    /// Input has come for a handler that did nothing but wait for it, and that has yet to be
    /// polled: what the peer owed until then it still owes.
    pub(super) fn is_fed(self) -> bool {
        self.0 & Self::FED != 0
    }

    pub(super) fn set_fed(&mut self) {
        self.0 |= Self::FED;
    }

    pub(super) fn clear_fed(&mut self) {
        self.0 &= !Self::FED;
    }

    /// True: it was not touched since [`Self::clear_touched`].
    pub(super) fn touch(&mut self) -> bool {
        let is_new = self.0 & Self::TOUCHED == 0;
        self.0 |= Self::TOUCHED;
        is_new
    }

    pub(super) fn clear_touched(&mut self) {
        self.0 &= !Self::TOUCHED;
    }

    pub(crate) fn run(self) -> RunState {
        match self.0 >> Self::RUN_SHIFT {
            0 => RunState::Idle,
            1 => RunState::Start,
            2 => RunState::Due,
            _ => RunState::Pooled,
        }
    }

    pub(crate) fn set_run(&mut self, run: RunState) {
        self.0 = self.0 & ((1 << Self::RUN_SHIFT) - 1) | (run as u8) << Self::RUN_SHIFT;
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interests: Vec<Interest> = Interest::ALL
            .into_iter()
            .filter(|interest| self.has(*interest))
            .collect();
        write!(
            formatter,
            "{:?} {interests:?}{}",
            self.run(),
            if self.is_reading() { " reading" } else { "" }
        )
    }
}

/// Wakers that are not those of a connection's own task, by what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Wakers(BTreeMap<(SlotIndex, Interest), Waker>);

impl Wakers {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(
        &mut self,
        slot: SlotIndex,
        interest: Interest,
        waker: Waker,
    ) -> Option<Waker> {
        self.0.insert((slot, interest), waker)
    }

    pub(super) fn take(&mut self, slot: SlotIndex, interest: Interest) -> Option<Waker> {
        if self.0.is_empty() {
            None
        } else {
            self.0.remove(&(slot, interest))
        }
    }

    pub(super) fn has(&self, slot: SlotIndex, interest: Interest) -> bool {
        !self.0.is_empty() && self.0.contains_key(&(slot, interest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interests_and_run_states_do_not_touch_each_other() {
        let mut waits = Waits::NONE;
        for run in [
            RunState::Start,
            RunState::Pooled,
            RunState::Due,
            RunState::Idle,
        ] {
            waits.set_run(run);
            for interest in Interest::ALL {
                waits.add(interest);
            }
            assert_eq!(waits.run(), run);
            assert!(waits.is_reading() && waits.has_others(Interest::Input));
            assert!(
                waits.take(Interest::Input) && !waits.take(Interest::Input) && !waits.is_reading()
            );
            assert!(
                waits.take(Interest::Space)
                    && waits.has(Interest::Flushed)
                    && !waits.has_others(Interest::Flushed)
            );
            assert!(waits.take(Interest::Flushed));
            assert_eq!(waits.run(), run);
        }
    }
}
