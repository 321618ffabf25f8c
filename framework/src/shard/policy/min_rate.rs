//! Least rates: peers that deliver a request, or take what they are sent, more slowly than the
//! settings allow.
//!
//! Nothing is timed per connection. What comes and goes is added up beside the table, and once a
//! window the connections with something pending are looked at: a request that has begun
//! (`request_timer`), or output that waits for room. The first look only marks a connection; one
//! that is found in the same state by the next is judged by what moved in between. A look at many
//! takes a quarter of a window (`PacedQueue`), and the next begins a window after its end. So each
//! has between one window and two and a half before it is judged, and one that has nothing pending
//! at one of the looks, or was kept waiting by us, begins anew.
//!
//! What a peer takes is not what the kernel takes from us: that comes in large steps, as its buffer
//! empties by a third, say. So whoever is still waiting at a look is asked about: how much of what
//! the kernel has of it is unacknowledged ([`Ring::ask_unacknowledged`]).
//!
//! [`Ring::ask_unacknowledged`]: crate::ring::Ring::ask_unacknowledged

use std::time::Duration;

use crate::id::SlotIndex;
use crate::shard::policy::paced_queue::PacedQueue;
use crate::time::{Tick, Ticks};

/// A receiver announces room in steps, of its largest segment and more once its buffer was full: 64
/// KiB over loopback. No window of sending is so short that the least rate comes to less, or a
/// steady reader would be found too slow between two steps.
const TAKEN_LEAST: u64 = 64 * 1024;

/// The part of a window over which a look at all that have something pending is spread.
const LOOK_PART: u32 = 4;

/// What a connection takes here, beside the table.
pub(crate) const BYTES: usize = size_of::<Backlog>();

/// Output that waits for peers, by slot; empty where there is no least rate of sending.
#[derive(Debug)]
pub(crate) struct MinRate {
    backlogs: Vec<Backlog>,
    pub(crate) sweep: Sweep,
}

impl MinRate {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self {
            backlogs: Vec::new(),
            sweep: Sweep::new(rate),
        }
    }

    /// From `now` on it is `rate`, for `slots` slots. Nobody is judged by a time in which it was
    /// another.
    pub(crate) fn set_rate(&mut self, rate: Option<Rate>, slots: usize, now: Tick) {
        if self.sweep.rate == rate {
            return;
        }
        let slots = if rate.is_some() { slots } else { 0 };
        self.backlogs.resize(slots, Backlog::IDLE);
        self.reset_windows();
        self.sweep = Sweep::new(rate);
        self.sweep.one_is_pending(now);
    }

    /// A connection begins or ends.
    pub(crate) fn reset(&mut self, slot: SlotIndex) {
        if self.sweep.rate.is_none() {
            return;
        }
        if self.backlogs.len() <= slot.0 as usize {
            self.backlogs.resize(slot.0 as usize + 1, Backlog::IDLE);
        }
        self.backlogs[slot.0 as usize] = Backlog::IDLE;
    }

    /// A send waits for room.
    pub(crate) fn waits(&mut self, slot: SlotIndex, now: Tick) {
        let Some(backlog) = self.backlogs.get_mut(slot.0 as usize) else {
            return;
        };
        if backlog.state == BacklogState::Idle {
            *backlog = Backlog {
                bytes: 0,
                state: BacklogState::Begun,
            };
            self.sweep.one_is_pending(now);
        }
    }

    /// The kernel has taken `count` bytes; with `all` taken nothing waits any more.
    pub(crate) fn took(&mut self, slot: SlotIndex, count: u32, all: bool) {
        let Some(backlog) = self.backlogs.get_mut(slot.0 as usize) else {
            return;
        };
        *backlog = if all {
            Backlog::IDLE
        } else {
            Backlog {
                bytes: backlog.bytes.saturating_add(count),
                ..*backlog
            }
        };
    }

    /// Whoever waits now waits from now on: the shard itself was late.
    pub(crate) fn reset_windows(&mut self) {
        for backlog in self
            .backlogs
            .iter_mut()
            .filter(|backlog| backlog.state == BacklogState::Marked)
        {
            backlog.state = BacklogState::Begun;
        }
    }

    /// Those who are to be asked about now.
    pub(crate) fn due_now(&mut self, now: Tick, clock: Duration) -> Vec<SlotIndex> {
        self.sweep.take(now, clock, || {
            pending(&self.backlogs, |backlog| {
                backlog.state != BacklogState::Idle
            })
        })
    }

    /// The kernel has `unacknowledged` bytes of the connection. True: its peer has taken too little
    /// since the mark.
    pub(crate) fn is_too_slow(&mut self, slot: SlotIndex, unacknowledged: u32) -> bool {
        let (Some(backlog), Some(rate)) = (self.backlogs.get_mut(slot.0 as usize), self.sweep.rate)
        else {
            return false;
        };
        let before = std::mem::replace(
            backlog,
            Backlog {
                bytes: unacknowledged,
                state: BacklogState::Marked,
            },
        );
        match before.state {
            BacklogState::Idle => {
                *backlog = Backlog::IDLE; // it was all taken before the answer came
                false
            }
            BacklogState::Begun => false,
            BacklogState::Marked => !rate.is_met_by(before.bytes.saturating_sub(unacknowledged)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Backlog {
    /// What the kernel had unacknowledged at the mark, and what it has taken since.
    bytes: u32,
    state: BacklogState,
}

impl Backlog {
    const IDLE: Self = Self {
        bytes: 0,
        state: BacklogState::Idle,
    };
}

/// How long output has waited for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BacklogState {
    /// None does.
    Idle,
    /// Not since the last look.
    Begun,
    /// At the last look, and ever since.
    Marked,
}

/// Looks, one after the other, at the connections with something pending.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// No least rate, no sweep.
    pub(crate) rate: Option<Rate>,
    /// When the next begins; never while nothing is pending, or one is on.
    due: Tick,
    left: PacedQueue<SlotIndex>,
}

impl Sweep {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            due: Tick::NEVER,
            left: PacedQueue::new(),
        }
    }

    /// Something is pending from `now` on.
    pub(crate) fn one_is_pending(&mut self, now: Tick) {
        if let Some(rate) = self.rate {
            self.due = self.due.min(now.after(rate.window));
        }
    }

    /// When a shard at rest is to go on.
    pub(crate) fn due(&self, now: Tick) -> Tick {
        if self.left.is_over() {
            self.due
        } else {
            self.left.goes_on(now)
        }
    }

    /// Whether there is something to do.
    pub(crate) fn is_due(&self, now: Tick, clock: Duration) -> bool {
        if self.left.is_over() {
            now >= self.due
        } else {
            self.left.is_due(clock)
        }
    }

    /// Whose turn it is. When a look begins, `pending` finds the connections with something
    /// pending; the last of them ends it. Between two looks at a connection lies a window, however
    /// late the first of them was.
    pub(crate) fn take(
        &mut self,
        now: Tick,
        clock: Duration,
        pending: impl FnOnce() -> Vec<SlotIndex>,
    ) -> Vec<SlotIndex> {
        let Some(rate) = self.rate else {
            return Vec::new();
        };
        if self.left.is_over() && now >= self.due {
            self.due = Tick::NEVER;
            self.left.add(pending(), clock, rate.look);
        }
        let taken = self.left.take(clock);
        if !taken.is_empty() && self.left.is_over() {
            self.due = now.after(rate.window);
        }
        taken
    }
}

/// Those of `all` of which `is_pending` says so.
pub(crate) fn pending<T>(all: &[T], is_pending: impl Fn(&T) -> bool) -> Vec<SlotIndex> {
    all.iter()
        .enumerate()
        .filter(|(_, one)| is_pending(one))
        .map(|(index, _)| SlotIndex(index as u32))
        .collect()
}

/// A least rate, as bytes in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    least: u32,
    /// From the end of a look to the beginning of the next.
    window: Ticks,
    /// How long a look takes.
    look: Duration,
}

impl Rate {
    pub(crate) fn of_receiving(per_second: u32, window: Duration) -> Self {
        let least = u64::from(per_second) * window.as_millis() as u64 / 1000;
        Self {
            least: u32::try_from(least).unwrap_or(u32::MAX),
            window: Ticks::at_least(window),
            look: window / LOOK_PART,
        }
    }

    pub(crate) fn of_sending(per_second: u32, window: Duration) -> Self {
        let long_enough = Duration::from_millis(TAKEN_LEAST * 1000 / u64::from(per_second.max(1)));
        Self::of_receiving(per_second, window.max(long_enough))
    }

    pub(crate) fn is_met_by(self, bytes: u32) -> bool {
        bytes >= self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotIndex = SlotIndex(1);

    fn backlogs(per_second: u32) -> MinRate {
        let mut backlogs = MinRate::new(Some(Rate::of_sending(per_second, Duration::from_secs(1))));
        backlogs.reset(SLOT);
        backlogs
    }

    #[test]
    fn a_rate_comes_to_bytes_in_its_window() {
        assert_eq!(Rate::of_receiving(300, Duration::from_secs(10)).least, 3000);
        assert_eq!(
            Rate::of_sending(1 << 20, Duration::from_secs(10)).least,
            10 << 20
        );
        assert_eq!(
            Rate::of_receiving(1 << 30, Duration::from_secs(3600)).least,
            u32::MAX
        );
    }

    #[test]
    fn a_window_of_sending_is_longer_than_the_steps_of_a_receiver() {
        let slow = Rate::of_sending(1024, Duration::from_secs(1));
        assert_eq!(
            (slow.least, slow.window),
            (65_536, Ticks::at_least(Duration::from_secs(64)))
        );
    }

    #[test]
    fn only_whoever_waits_through_a_window_is_judged() {
        let mut backlogs = backlogs(65_536);
        backlogs.waits(SLOT, Tick(0));
        assert!(
            !backlogs.is_too_slow(SLOT, 100_000),
            "not seen waiting before"
        );
        backlogs.took(SLOT, 65_536, false);
        assert!(
            !backlogs.is_too_slow(SLOT, 100_000),
            "65 536 bytes were acknowledged"
        );
        assert!(backlogs.is_too_slow(SLOT, 99_999), "one was");
    }

    #[test]
    fn whoever_has_taken_all_begins_anew() {
        let mut backlogs = backlogs(65_536);
        backlogs.waits(SLOT, Tick(0));
        assert!(!backlogs.is_too_slow(SLOT, 100_000));
        backlogs.took(SLOT, 10, true);
        assert!(
            !backlogs.is_too_slow(SLOT, 100_000),
            "the question was asked before"
        );
        backlogs.waits(SLOT, Tick(5));
        assert!(!backlogs.is_too_slow(SLOT, 100_000));
        backlogs.reset_windows();
        assert!(!backlogs.is_too_slow(SLOT, 100_000), "the shard was late");
        assert!(backlogs.is_too_slow(SLOT, 100_000));
    }

    #[test]
    fn looks_end_when_nothing_waits() {
        let mut backlogs = backlogs(65_536);
        assert_eq!(backlogs.sweep.due(Tick(0)), Tick::NEVER);
        backlogs.waits(SLOT, Tick(0));
        let due = backlogs.sweep.due(Tick(0));
        assert_eq!(backlogs.due_now(due, Duration::ZERO), [SLOT]);
        assert_eq!(
            backlogs.sweep.due(due),
            due.after(Ticks::at_least(Duration::from_secs(1)))
        );
        backlogs.took(SLOT, 10, true);
        let due = backlogs.sweep.due(due);
        assert_eq!(
            (
                backlogs.due_now(due, Duration::ZERO).len(),
                backlogs.sweep.due(due)
            ),
            (0, Tick::NEVER)
        );
    }

    #[test]
    fn a_look_at_many_takes_a_part_of_a_window_and_the_next_begins_a_window_after_its_end() {
        let mut backlogs = backlogs(65_536);
        (0..40).map(SlotIndex).for_each(|slot| backlogs.reset(slot));
        (0..40)
            .map(SlotIndex)
            .for_each(|slot| backlogs.waits(slot, Tick(0)));
        let (due, begin) = (backlogs.sweep.due(Tick(0)), Duration::from_secs(3));
        assert_eq!(backlogs.due_now(due, begin), [SlotIndex(0)]);
        assert_eq!(
            backlogs.sweep.due(due),
            Tick(due.0 + 1),
            "a shard at rest goes on in the next tick"
        );
        assert_eq!(
            backlogs
                .due_now(due, begin + Duration::from_millis(125))
                .len(),
            16,
            "20, but for the bound of a turn"
        );
        // So late that the next would be due, were it not for this one.
        let late = Tick(due.0 + 50);
        let rest = [(); 4].map(|()| backlogs.due_now(late, begin + Duration::from_secs(9)).len());
        assert_eq!(rest, [16, 7, 0, 0]);
        assert_eq!(
            backlogs.sweep.due(late),
            late.after(Ticks::at_least(Duration::from_secs(1)))
        );
    }

    #[test]
    fn another_rate_judges_nobody_by_the_time_before_it() {
        let rate = |per_second| Some(Rate::of_sending(per_second, Duration::from_secs(1)));
        let mut backlogs = backlogs(65_536);
        backlogs.waits(SLOT, Tick(0));
        assert!(!backlogs.is_too_slow(SLOT, 100_000));
        backlogs.set_rate(rate(65_537), 2, Tick(9));
        assert!(!backlogs.is_too_slow(SLOT, 100_000));
        assert!(backlogs.is_too_slow(SLOT, 100_000));
        backlogs.set_rate(None, 2, Tick(10));
        assert!(!backlogs.sweep.is_due(Tick(1000), Duration::from_secs(1000)));
        assert!(
            !backlogs.is_too_slow(SLOT, 100_000),
            "its answer was under way"
        );
        backlogs.set_rate(rate(65_536), 2, Tick(20));
        backlogs.waits(SLOT, Tick(21));
        let due = backlogs.sweep.due(Tick(21));
        assert_eq!(backlogs.due_now(due, Duration::ZERO), [SLOT]);
    }
}
