//! How long a shard waits in its own ring: until it parks, and for how many completions at a time.
//!
//! A timer in the ring ends the first. How dense the traffic is, is counted from turn to turn:
//! where messages come thick, an entry waits for several, so that they share the price of the
//! entry, of the turn and of the sleep.

use std::time::Duration;

use crate::id::SlotIndex;
use crate::ring::Wait;

/// How long a shard without traffic waits in its own ring before it parks: longer than the pauses
/// of a shard that has some traffic, for parking costs more than a message; shorter than anyone
/// notices, for an order to drain or a deadline may have to wait for it. The ring's timer is set
/// once per this time and not once per wait: on a virtual machine each setting leaves the guest. No
/// key, as for the others here: they follow what a wake-up costs, and
/// `limits.gather_completions_max` turns batching off.
pub(crate) const PARK_AFTER: Duration = Duration::from_millis(50);
/// How often a shard that does not rest lets the executor see to its own rings, timers and
/// channels: what handlers wait for may be there.
pub(crate) const YIELD_INTERVAL: Duration = Duration::from_millis(5);

/// How often the executor has its turn. Where no waker is kept, no handler waits for anything
/// there.
pub(crate) fn yield_interval(wakers_are_kept: bool) -> Duration {
    if wakers_are_kept {
        YIELD_INTERVAL
    } else {
        PARK_AFTER
    }
}

/// The density of traffic is measured over this time, or over a longer one if nothing happened for
/// longer.
const PERIOD: Duration = Duration::from_millis(2);
/// Messages are batched as long as the density says that they come within this time. On average
/// each waits for half of it at most.
const BATCH_AIM: Duration = Duration::from_micros(100);
/// A message waits no longer than this for others, whatever the density said.
const BATCH_WAIT_MAX: Duration = Duration::from_micros(200);
/// Connections that must have spoken for each message that is waited for: a few that ask and answer
/// in turn must not wait for each other.
const SPEAKERS_PER_MESSAGE: u32 = 8;
/// Nothing is batched for this long after another thread has woken the shard: what comes from there
/// next would wait for messages, 50 us on average, where a push takes some 40.
const WOKEN_FOR: Duration = Duration::from_secs(1);

/// What a shard does when it has nothing to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitPolicy {
    timer: WaitTimer,
    /// Something was received, or somebody woken, since the timer was set.
    heard: bool,
    /// How much of [`PARK_AFTER`] has passed in silence.
    silent: Duration,
    /// What the timer is set to.
    period: Duration,
    /// Completions that an entry waits for; 1 unless traffic is dense.
    batch: u32,
    batch_max: u32,
    /// Since the server's start, as the next.
    batch_from: Duration,
    /// When the period began.
    began: Duration,
    /// Messages of this period.
    messages: u32,
    /// Who sent them, a bit for each 64th slot: at least as many connections as there are bits.
    speakers: u64,
}

/// The timer in the ring that ends the wait there, after which the shard parks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitTimer {
    /// It is not set.
    Off,
    /// It is in the kernel.
    Set,
    /// It went off, and there had been no traffic: the shard may park.
    Over,
}

impl WaitPolicy {
    pub(crate) fn new(batch_max: u32) -> Self {
        Self {
            timer: WaitTimer::Off,
            heard: false,
            silent: Duration::ZERO,
            period: PARK_AFTER,
            batch: 1,
            batch_max,
            batch_from: Duration::ZERO,
            began: Duration::ZERO,
            messages: 0,
            speakers: 0,
        }
    }

    pub(crate) fn set_batch_max(&mut self, batch_max: u32) {
        self.batch_max = batch_max;
        self.batch = self.batch.min(batch_max);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.timer == WaitTimer::Over
    }

    /// What the timer must be set to before the coming wait, if it is not set; it is then taken to
    /// be. Where wakers are kept, the executor may have something to do for handlers, and the wait
    /// is interrupted for its turn.
    pub(crate) fn begin(&mut self, wakers_are_kept: bool) -> Option<Duration> {
        if self.timer != WaitTimer::Off {
            return None;
        }
        self.period = yield_interval(wakers_are_kept);
        self.timer = WaitTimer::Set;
        self.heard = false;
        Some(self.period)
    }

    pub(crate) fn wait(&self) -> Wait {
        if self.batch > 1 {
            Wait::ForSome {
                completions: self.batch,
                at_most: BATCH_WAIT_MAX,
            }
        } else {
            Wait::ForOne
        }
    }

    /// A turn begins, `now` after the start of the shard: what was counted in a period that is over
    /// says how many to wait for.
    pub(crate) fn turn(&mut self, now: Duration) {
        let period = now.saturating_sub(self.began);
        if period < PERIOD {
            return;
        }
        let dense = u128::from(self.messages) * BATCH_AIM.as_nanos() / period.as_nanos();
        let many = self.speakers.count_ones() / SPEAKERS_PER_MESSAGE;
        let most = if now < self.batch_from {
            1
        } else {
            self.batch_max
        };
        self.batch = many.min(dense as u32).clamp(1, most);
        self.began = now;
        self.messages = 0;
        self.speakers = 0;
    }

    /// Another thread has woken the shard.
    pub(crate) fn woken(&mut self) {
        self.heard = true;
        self.batch = 1;
        self.batch_from = self.began + WOKEN_FOR;
    }

    pub(crate) fn message(&mut self, slot: SlotIndex) {
        self.heard = true;
        self.messages = self.messages.saturating_add(1);
        self.speakers |= 1 << (slot.0 % u64::BITS);
    }

    /// The timer has gone off.
    pub(crate) fn elapsed(&mut self) {
        self.silent = if self.heard {
            Duration::ZERO
        } else {
            self.silent + self.period
        };
        self.timer = if self.silent < PARK_AFTER {
            WaitTimer::Off
        } else {
            WaitTimer::Over
        };
    }

    /// The shard was parked. A timer that is still set remains so.
    pub(crate) fn parked(&mut self) {
        if self.timer == WaitTimer::Over {
            self.timer = WaitTimer::Off;
            self.silent = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `messages` of so many peers in a period of 2 ms.
    fn after(messages: u32, speakers: u32) -> WaitPolicy {
        let mut policy = WaitPolicy::new(4);
        policy.turn(PERIOD);
        (0..messages).for_each(|message| policy.message(SlotIndex(message % speakers)));
        policy.turn(2 * PERIOD);
        policy
    }

    #[test]
    fn messages_are_gathered_when_many_peers_speak_often() {
        assert_eq!(after(80, 50).batch, 4);
        assert_eq!(after(10_000, 1_000).batch, 4, "no more than its bound");
        assert_eq!(after(40, 50).batch, 2);
    }

    #[test]
    fn a_few_peers_and_slow_ones_are_answered_at_once() {
        assert_eq!(after(10_000, 1).batch, 1);
        assert_eq!(after(10_000, 15).batch, 1);
        assert_eq!(after(39, 64).batch, 1);
    }

    #[test]
    fn who_is_woken_by_another_thread_does_not_gather_for_a_while() {
        let mut policy = after(80, 50);
        policy.woken();
        assert_eq!(policy.batch, 1);
        let batches_at = |policy: &mut WaitPolicy, now| {
            policy.turn(now - PERIOD);
            (0..80).for_each(|message| policy.message(SlotIndex(message)));
            policy.turn(now);
            policy.batch > 1
        };
        assert!(!batches_at(&mut policy, WOKEN_FOR));
        assert!(batches_at(&mut policy, WOKEN_FOR + 2 * PERIOD));
    }

    #[test]
    fn what_was_dense_says_nothing_of_now() {
        let mut policy = after(80, 50);
        policy.turn(2 * PERIOD + PERIOD / 2);
        assert_eq!(policy.batch, 4, "the period is not over");
        policy.turn(3 * PERIOD);
        assert_eq!(policy.batch, 1);
        (0..80).for_each(|message| policy.message(SlotIndex(message)));
        policy.turn(Duration::from_secs(60));
        assert_eq!(policy.batch, 1, "in a minute, not in 2 ms");
    }

    #[test]
    fn a_shard_waits_in_its_ring_while_there_is_traffic() {
        let mut policy = WaitPolicy::new(4);
        assert_eq!(policy.begin(false), Some(PARK_AFTER));
        policy.message(SlotIndex(0));
        policy.elapsed();
        assert_eq!(
            (policy.is_over(), policy.begin(false), policy.begin(false)),
            (false, Some(PARK_AFTER), None)
        );
        policy.elapsed();
        assert!(policy.is_over());
        policy.parked();
        assert_eq!(
            (policy.is_over(), policy.begin(false)),
            (false, Some(PARK_AFTER))
        );
    }

    #[test]
    fn a_shard_whose_handlers_may_wait_on_the_executor_waits_as_long_in_pieces() {
        let mut policy = WaitPolicy::new(4);
        let pieces = (0..).take_while(|_| {
            let begun = policy.begin(true) == Some(YIELD_INTERVAL);
            policy.elapsed();
            begun && !policy.is_over()
        });
        assert_eq!(YIELD_INTERVAL * (pieces.count() as u32 + 1), PARK_AFTER);
    }
}
