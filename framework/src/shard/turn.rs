//! The pump: the loop of a shard. One kernel entry serves a whole batch.
//!
//! A turn reaps completions, applies them to the table, lets go of every borrow and polls the tasks
//! concerned; what they submit goes out with the next entry.
//!
//! Waiting has two forms. Straight after work the shard lingers in its own ring: one system call,
//! the shortest way from a packet to its handler; with `server.spin` it looks for work first,
//! without any. A longer rest is spent parked in the executor, whose rings and timers may have work
//! of their own. Whatever wakes the shard ends either: its ring watches what other threads signal,
//! and while it is parked they and its ring signal the executor. A lingering shard gives the
//! executor its turn every few milliseconds ([`BREATH_INTERVAL`]).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_lite::Stream;

use super::deadline::{Tick, Ticks};
use super::pace::BREATH_INTERVAL;
use super::serve::Tasks;
use super::{Shard, State};
use crate::error::Error;
#[cfg(feature = "failpoints")]
use crate::failpoint;
use crate::ring::{Completion, Key, Operation, Token, Wait, are_kept};
use crate::runtime::{self, WakeWait};

/// How many completions or tasks ahead the state of a connection is fetched: far enough for memory
/// to answer, near enough to find it.
pub(super) const PREFETCH_AHEAD: usize = 4;
/// A shard that has received nothing for this long gives memory back.
const TRIM_AFTER: Ticks = Ticks::seconds(2);
/// A timer is never set shorter than this.
const TIMER_MIN: Duration = Duration::from_millis(1);

/// How a shard with nothing to do waits.
enum Rest {
    /// It does not: there is something to do again.
    None,
    Parked,
}

impl Shard {
    /// Drives the shard until it has drained or its ring has failed.
    pub(super) async fn pump<S, F>(
        &self,
        wake: &WakeWait,
        tasks: &mut Tasks<S, F>,
    ) -> io::Result<()>
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), Error>>,
    {
        let mut signals = pin!(wake.signals());
        let mut breathed = self.clock();
        loop {
            #[cfg(feature = "failpoints")]
            failpoint::check(failpoint::Point::Shard)?;
            let over = self.turn(self.started.elapsed());
            tasks.run(self);
            if self.clock() > breathed + BREATH_INTERVAL {
                runtime::breathe().await;
                breathed = self.clock();
            } else if self.state().wakes.wait_on_executor() {
                runtime::breathe().await;
            }
            if let Some(failure) = self.state().ring.take_failure() {
                return Err(failure);
            }
            if over {
                return Ok(());
            }
            if let Rest::Parked = self.rest() {
                self.park(signals.as_mut()).await?;
            }
        }
    }

    /// The time of this turn.
    fn clock(&self) -> Duration {
        self.state().clock
    }

    /// Applies what has happened by `now`, since the start. True when the shard has drained.
    pub(super) fn turn(&self, now: Duration) -> bool {
        self.metrics.busy_since.set(now.as_millis() as u64 + 1);
        self.wake.begin_turn();
        let mut state = self.state();
        state.tell_time(now);
        if self.orders.says_drain() && !state.drain.is_on() {
            state.begin_drain();
        }
        self.registered.collect(&mut state);
        state.apply_completions();
        if !std::mem::replace(&mut state.is_watched, true) {
            state.ring.watch(&self.wake);
        }
        state.feel_pressure(self.orders.memory_is_short());
        state.close_doomed();
        state.rouse_sleepers();
        state.sweep();
        state.measure_rates();
        state.change_tempo();
        state.trim();
        state.tell_held_back();
        let over = state.advance_drain();
        state.reclaim();
        state.post_accepts();
        over
    }

    /// Submits what the tasks wanted and waits in the ring for something to do, or says that the
    /// shard can be parked.
    fn rest(&self) -> Rest {
        let mut state = self.state();
        state.feed();
        state.set_alarm(|| self.started.elapsed());
        let wait = state.linger();
        if wait != Wait::No {
            self.metrics.busy_since.set(0);
        }
        // The timer that ends the wait is set and ends this too. Where several completions are
        // gathered, nobody is in such a hurry.
        if let Some(spin) = self.spin
            && wait == Wait::ForOne
        {
            let until = self.started + state.clock + spin;
            state.ring.enter(Wait::No);
            if state.ring.spin(until) {
                return Rest::None;
            }
        }
        state.ring.enter(wait);
        // A program that has just ended orders the drain from within the shard: nothing else would
        // end the wait for it.
        let is_ordered = self.orders.says_drain() && !state.drain.is_on();
        if wait != Wait::No || is_ordered || state.has_work() {
            return Rest::None;
        }
        if self.wake.park() && state.prepare_to_park() {
            return Rest::Parked;
        }
        self.wake.unpark();
        Rest::None
    }

    /// Leaves the thread to the executor until the wake descriptor is signalled or something that
    /// runs there wakes a task of ours.
    async fn park(
        &self,
        mut signals: Pin<&mut impl Stream<Item = io::Result<()>>>,
    ) -> io::Result<()> {
        self.metrics.busy_since.set(0);
        #[cfg(feature = "failpoints")]
        failpoint::pause(failpoint::Point::Park);
        let parked = poll_fn(|context| {
            if let Poll::Ready(signal) = signals.as_mut().poll_next(context) {
                return Poll::Ready(signal.unwrap_or(Ok(())));
            }
            if self.state().has_work() {
                return Poll::Ready(Ok(()));
            }
            self.parked.set(Some(context.waker().clone()));
            Poll::Pending
        });
        let parked = parked.await;
        self.parked.set(None);
        self.wake.unpark();
        let mut state = self.state();
        state.pace.parked();
        state.ring.set_wakeups(false);
        parked
    }
}

impl State {
    /// Gives freed buffers to the kernel, and those who waited for one their receive.
    pub(super) fn feed(&mut self) {
        self.pool.publish();
        self.feed_starved();
    }

    /// Time has come to `clock` since the start. After a stop, what peers sent meanwhile is heard
    /// before any deadline is looked at.
    fn tell_time(&mut self, clock: Duration) {
        let now = Tick::at(clock);
        let due = self.next_look().max(self.now);
        (self.clock, self.now) = (clock, now);
        self.pace.turn(clock);
        if self.grace.begins(due, now) {
            self.excuse_all();
        }
    }

    /// When deadlines or rates are looked at next.
    fn next_look(&self) -> Tick {
        let looks = self
            .requests
            .looks
            .due(self.now)
            .min(self.flows.looks.due(self.now));
        self.table.deadlines.earliest().min(looks)
    }

    fn apply_completions(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        self.ring
            .reap(&mut completions, self.bounds.turn_completions_max);
        self.grace.turned(completions.is_empty());
        completions
            .iter()
            .take(PREFETCH_AHEAD)
            .for_each(|coming| self.table.prefetch(coming.token.key));
        for (index, completion) in completions.iter().enumerate() {
            if let Some(coming) = completions.get(index + PREFETCH_AHEAD) {
                self.table.prefetch(coming.token.key);
            }
            self.apply(*completion);
        }
        completions.clear();
        self.completions = completions;
    }

    fn apply(&mut self, completion: Completion) {
        match completion.token.operation {
            Operation::Accept => self.accepted(completion),
            Operation::Install => self.installed(completion),
            Operation::Connect => self.connected(completion),
            Operation::Alarm => self.sleepers.rang(completion.token.key.generation.number()),
            Operation::Receive => {
                self.trim_due = Tick::NEVER;
                self.pace.message(completion.token.key.slot);
                self.received(completion);
            }
            Operation::Poll => self.polled(completion),
            Operation::Unacknowledged => self.unacknowledged(completion),
            Operation::Send | Operation::QuietSend => self.sent(completion),
            Operation::Shutdown => self.shut_down(completion),
            Operation::Close => self.closed(completion),
            // The turn that it caused does the rest. One that was replaced is not the timer any
            // more.
            Operation::Timer if completion.token == Token::timer(self.timer.0) => {
                self.timer = Tick::NEVER
            }
            Operation::Linger => self.pace.elapsed(),
            Operation::Wake => {
                self.pace.heard();
                if !completion.more {
                    self.is_watched = false;
                }
            }
            // What was cancelled completes by itself.
            Operation::Cancel if completion.result < 0 => {
                self.cancel_failed(completion.token.key, -completion.result)
            }
            Operation::Cancel | Operation::Timer | Operation::Reset => {}
        }
    }

    /// Gives memory back that a burst has left, when nothing was received for a while.
    fn trim(&mut self) {
        if self.now >= self.trim_due && !self.ring.has_completions() {
            self.trim_due = Tick::NEVER;
            self.pool.trim();
        }
    }

    fn sweep_is_due(&self) -> bool {
        self.table
            .deadlines
            .is_due(self.now, self.clock, self.bounds.expired_per_turn_max)
            && self.grace.is_over(self.now)
    }

    fn sweep(&mut self) {
        if !self.sweep_is_due() {
            return;
        }
        self.grace.judged();
        let mut expired = Vec::new();
        self.table.deadlines.sweep(
            self.now,
            self.clock,
            self.bounds.expired_per_turn_max,
            &mut expired,
        );
        for slot in expired {
            if let Some(key) = self.table.occupant(slot) {
                self.expire(key);
            }
        }
    }

    /// Whether the coming entry may wait, and a timer that ends the wait if it may.
    fn linger(&mut self) -> Wait {
        let is_behind = std::mem::take(&mut self.is_behind) && self.ring.has_quiet_sends();
        let is_busy = is_behind
            || self.ring.has_completions()
            || !self.wakes.is_empty()
            || self.sweep_is_due()
            || self.spread_is_due();
        if is_busy || self.pace.is_over() || self.wakes.wait_on_executor() {
            return Wait::No;
        }
        if let Some(timer) = self.pace.begin(are_kept()) {
            self.ring.timer(timer, Token::LINGER);
        }
        self.pace.wait()
    }

    /// Whether the next turn has something to do already.
    fn has_work(&mut self) -> bool {
        !self.wakes.is_empty()
            || self.ring.has_work()
            || self.sweep_is_due()
            || self.spread_is_due()
    }

    /// Whether something that is spread over a time has its turn.
    fn spread_is_due(&self) -> bool {
        self.rates_are_due()
            || self.tempos.ebbed.is_due(self.clock)
            || self.pressure.doomed.is_due(self.clock)
    }

    /// Turns the wake-ups on and sets the timer for the next deadline. False when something came in
    /// between.
    fn prepare_to_park(&mut self) -> bool {
        #[cfg(feature = "failpoints")]
        failpoint::pause(failpoint::Point::Rest);
        self.ring.set_wakeups(true);
        if self.trim_due == Tick::NEVER && self.pool.is_wide() {
            self.trim_due = self.now.after(TRIM_AFTER);
        }
        let (accepts, drain) = (self.acceptor.resumes(self.now), self.drain.wakes(self.now));
        let own = [
            self.trim_due,
            self.tempos.due,
            self.pressure.due,
            self.throttles.due(),
        ];
        let spread = [
            self.tempos.ebbed.goes_on(self.now),
            self.pressure.doomed.goes_on(self.now),
        ];
        let others = [accepts, self.reclaims_at(), drain]
            .into_iter()
            .chain(own)
            .chain(spread);
        self.set_timer(others.fold(self.next_look(), Tick::min));
        self.ring.enter(Wait::No);
        let idle = !self.has_work();
        if !idle {
            self.ring.set_wakeups(false);
        }
        idle
    }

    /// Has the kernel wake the shard at `next`. One timer at most is in the kernel; an earlier one
    /// than needed may stay.
    fn set_timer(&mut self, next: Tick) {
        if next >= self.timer {
            return;
        }
        if self.timer != Tick::NEVER {
            self.ring.cancel(Token::timer(self.timer.0));
        }
        let delay = next.start().saturating_sub(self.clock);
        self.ring.timer(delay.max(TIMER_MIN), Token::timer(next.0));
        self.timer = next;
    }
}

#[cfg(test)]
mod tests {
    use super::super::deadline::{TICK, Tick};
    use super::super::stand_in::{ACCEPTED_MAX, stand_in_shard};
    use crate::config::{Config, Limits};
    use crate::preflight::MemoryShare;
    use crate::ring::SlotIndex;

    #[test]
    fn a_turn_ends_no_more_connections_than_it_may() {
        let limits = Limits {
            expired_per_turn_max: 3,
            ..Limits::default()
        };
        let shard = stand_in_shard(
            Config {
                limits,
                ..Config::default()
            },
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let (slots, due) = ((0..ACCEPTED_MAX).map(SlotIndex), Tick(5));
        for slot in slots.clone() {
            shard.state().open(slot, ([127, 0, 0, 1], 1).into());
            shard.state().table.deadlines.set(slot, due);
        }
        let mut left = Vec::new();
        for tick in 0..10 {
            shard.turn(TICK * tick); // at the beginning of the tick in which they are due one is ended
            left.push(
                slots
                    .clone()
                    .filter(|slot| shard.state().table.deadlines.of(*slot) == due)
                    .count(),
            );
        }
        left.dedup();
        assert_eq!(left, [4, 3, 0]);
    }
}
