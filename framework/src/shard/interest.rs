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

use super::State;
use super::table::Talk;
use super::wake::Sleeper;
use crate::ring::{Key, SlotIndex};

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
    pub(super) const ALL: [Self; 3] = [Self::Input, Self::Space, Self::Flushed];
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
    /// Something was written or waited for since the last look: [`State::settle`].
    const TOUCHED: u8 = 1 << 4;
    const RUN_SHIFT: u32 = 6;

    pub(crate) fn has(self, interest: Interest) -> bool {
        self.0 & interest as u8 != 0
    }

    fn has_others(self, than: Interest) -> bool {
        self.0 & Self::INTERESTS & !(than as u8) != 0
    }

    /// Whether the handler reads and the peer is to speak: what deadlines and least rates are
    /// about.
    pub(crate) fn is_reading(self) -> bool {
        self.0 & Self::READING != 0
    }

    fn add(&mut self, interest: Interest) {
        self.0 |= interest as u8
            | if interest == Interest::Input {
                Self::READING
            } else {
                0
            };
    }

    /// Whether it was there.
    fn take(&mut self, interest: Interest) -> bool {
        let had = self.has(interest);
        self.0 &= !(interest as u8
            | if interest == Interest::Input {
                Self::READING
            } else {
                0
            });
        had
    }

    pub(crate) fn run(self) -> RunState {
        match self.0 >> Self::RUN_SHIFT {
            0 => RunState::Idle,
            1 => RunState::Start,
            2 => RunState::Due,
            _ => RunState::Pooled,
        }
    }

    pub(super) fn set_run(&mut self, run: RunState) {
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
pub(super) struct Wakers(BTreeMap<(SlotIndex, Interest), Waker>);

impl Wakers {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, slot: SlotIndex, interest: Interest) -> Option<Waker> {
        if self.0.is_empty() {
            None
        } else {
            self.0.remove(&(slot, interest))
        }
    }

    fn has(&self, slot: SlotIndex, interest: Interest) -> bool {
        !self.0.is_empty() && self.0.contains_key(&(slot, interest))
    }
}

impl State {
    /// A future waits for `interest` and is woken through `waker`.
    pub(crate) fn wait(&mut self, key: Key, interest: Interest, waker: &Waker) {
        self.touch(key);
        let Some(slot) = self.table.get(key) else {
            return;
        };
        slot.waits.add(interest);
        self.keep_waker(key, interest, waker);
        if interest == Interest::Input {
            self.arm_receive(key);
        }
    }

    /// The future that waited for `interest` was dropped.
    pub(crate) fn stop_waiting(&mut self, key: Key, interest: Interest) {
        if let Some(slot) = self.table.get(key)
            && slot.waits.take(interest)
        {
            self.wakes
                .replaced
                .extend(self.wakes.wakers.take(key.slot, interest));
        }
    }

    /// Keeps `waker`, unless it is that of the one task which every event without a waker wakes: an
    /// accepted connection's own, or the one that uses a connection which the shard opened.
    fn keep_waker(&mut self, key: Key, interest: Interest, waker: &Waker) {
        let sleeper = self.sleeper(waker);
        let Some(slot) = self.table.get(key) else {
            return;
        };
        let by_task = match &sleeper {
            Sleeper::Task(task) if slot.talk != Talk::Dialed => *task == key,
            Sleeper::Task(task) => {
                if !slot.waits.has_others(interest) {
                    slot.waiter = Some(*task);
                }
                slot.waiter == Some(*task)
            }
            Sleeper::Other(_) => false,
        };
        let kept = match sleeper {
            _ if by_task => self.wakes.wakers.take(key.slot, interest),
            Sleeper::Task(_) => self
                .wakes
                .wakers
                .0
                .insert((key.slot, interest), waker.clone()),
            Sleeper::Other(waker) => self.wakes.wakers.0.insert((key.slot, interest), waker),
        };
        self.wakes.replaced.extend(kept);
    }

    /// `interest` has come: whoever waits for it is woken.
    pub(super) fn fire(&mut self, key: Key, interest: Interest) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        if !slot.waits.take(interest) {
            return;
        }
        let (dialed, waiter) = (slot.talk == Talk::Dialed, slot.waiter);
        match self.wakes.wakers.take(key.slot, interest) {
            Some(waker) => self.wakes.outside.push(waker),
            None if dialed => waiter.into_iter().for_each(|task| self.wake(task)),
            None => self.wake(key),
        }
    }

    /// The connection can go on no more: all that is waited for has come, and its handler is polled
    /// whatever else it waits for.
    pub(super) fn fire_all(&mut self, key: Key) {
        Interest::ALL
            .into_iter()
            .for_each(|interest| self.fire(key, interest));
        if self
            .table
            .get(key)
            .is_some_and(|slot| slot.talk != Talk::Dialed)
        {
            self.wake(key);
        }
    }

    /// Nobody waits for the connection any more.
    pub(super) fn forget_waits(&mut self, key: Key) {
        Interest::ALL
            .into_iter()
            .for_each(|interest| self.stop_waiting(key, interest));
    }

    /// The task of `key` is about to be polled: what it waits for then, it says anew. Gives where
    /// it stood.
    pub(super) fn begin_poll(&mut self, key: Key) -> Option<RunState> {
        self.reads_left = self.bounds.reads_per_turn_max;
        let slot = self.table.get(key)?;
        let before = slot.waits.run();
        slot.waits.set_run(RunState::Idle);
        if !self.wakes.wakers.has(key.slot, Interest::Input) {
            slot.waits.0 &= !Waits::READING;
        }
        Some(before)
    }

    /// The connection is looked at when the task that is being polled has gone as far as it can.
    pub(super) fn touch(&mut self, key: Key) {
        if let Some(slot) = self.table.get(key)
            && slot.waits.0 & Waits::TOUCHED == 0
        {
            slot.waits.0 |= Waits::TOUCHED;
            self.touched.push(key);
        }
    }

    /// A task was polled: what it has written goes out, on whatever connections and whatever it
    /// waits for, and the fitting deadlines run.
    pub(super) fn settle(&mut self) {
        while let Some(key) = self.touched.pop() {
            let Some(slot) = self.table.get(key) else {
                continue;
            };
            slot.waits.0 &= !Waits::TOUCHED;
            if slot.phase == super::table::Phase::Serving {
                self.send_output(key);
                self.set_deadline(key);
            }
        }
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
