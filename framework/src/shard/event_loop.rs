//! The event loop of a shard. One kernel entry serves a whole batch.
//!
//! A turn reaps completions, applies them to the table, lets go of every borrow and polls the tasks
//! concerned; what they submit goes out with the next entry.
//!
//! Waiting has two forms. Straight after work the shard waits in its own ring: one system call, the
//! shortest way from a packet to its handler; with `server.spin` it looks for work first, without
//! any. A longer rest is spent parked in the executor, whose rings and timers may have work of
//! their own. Whatever wakes the shard ends either: its ring watches what other threads signal, and
//! while it is parked they and its ring signal the executor. A shard that waits in its ring gives
//! the executor its turn now and then ([`yield_interval`]).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_lite::Stream;

use crate::error::Error;
#[cfg(feature = "failpoints")]
use crate::failpoint;
use crate::id::Key;
use crate::ring::{Completion, Operation, Token, Wait, are_kept};
use crate::runtime::{self, WakeWait};
use crate::shard::commands::Renewed;
use crate::shard::conns::slot::Origin;
use crate::shard::core::Core;
use crate::shard::handle::Shard;
use crate::shard::held_back::log_held_back;
use crate::shard::hooks::Hooks;
use crate::shard::policy::admission::Admission;
use crate::shard::policy::wait_policy::yield_interval;
use crate::shard::task_poller::{PREFETCH_AHEAD, TaskPoller};
use crate::time::{Tick, Ticks};

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
    pub(crate) async fn run_loop<S, F>(
        &self,
        wake: &WakeWait,
        tasks: &mut TaskPoller<S, F>,
        hooks: &impl Hooks,
    ) -> io::Result<()>
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), Error>>,
    {
        let mut signals = pin!(wake.signals());
        let mut yielded = self.clock();
        loop {
            #[cfg(feature = "failpoints")]
            failpoint::check(failpoint::Point::Shard)?;
            let over = self.turn(self.started.elapsed());
            self.tell(hooks);
            tasks.run(self);
            self.bells.ring();
            let is_turn_of_executor = self.clock() > yielded + yield_interval(are_kept());
            if is_turn_of_executor || self.core().conns.shared.run_queue.waits_on_executor() {
                runtime::yield_to_executor().await;
                yielded = self.clock();
            }
            if let Some(failure) = self.core().conns.shared.ring.take_failure() {
                return Err(failure);
            }
            if over {
                self.end_publications(hooks);
                return Ok(());
            }
            if let Rest::Parked = self.rest() {
                self.park(signals.as_mut()).await?;
            }
        }
    }

    /// The shard has drained: whoever has published is told whom that has met.
    pub(crate) fn end_publications(&self, hooks: &impl Hooks) {
        while self.core().conns.shared.topics.are_active() {
            self.core().conns.deliver_publications();
        }
        hooks.received();
        self.bells.ring();
    }

    /// The time of this turn.
    fn clock(&self) -> Duration {
        self.core().conns.shared.clock
    }

    /// Applies what has happened by `now`, since the start. True when the shard has drained.
    pub(crate) fn turn(&self, now: Duration) -> bool {
        self.metrics.busy_since.set(now.as_millis() as u64 + 1);
        self.wake.begin_turn();
        self.bells.resume();
        let mut core = self.core();
        core.set_clock(now);
        if let Some(Renewed { settings, tls }) = self.commands.take_renewed() {
            core.renew(settings, tls);
        }
        if let Some(queue) = self.commands.says_drain()
            && !core.conns.shared.is_draining
        {
            core.begin_drain(queue);
        }
        for task in self.registered.collect() {
            core.wake(task);
        }
        core.apply_completions();
        if !std::mem::replace(&mut core.is_watched, true) {
            core.conns.shared.ring.watch(&self.wake);
        }
        core.conns.grant_handshakes();
        core.assess_overload(self.commands.memory_is_short());
        core.evict();
        if self.commands.is_asked() {
            core.surveys.extend(self.commands.take_surveys());
        }
        core.survey();
        core.fire_timers();
        core.fire_tickers();
        core.sweep();
        core.measure_rates();
        core.conns.cool_receives();
        core.trim();
        core.log_held_back();
        let over = core.advance_drain(|| self.bells.finish_serving());
        core.make_room();
        core.post_accepts();
        over
    }

    /// Submits what the tasks wanted and waits in the ring for something to do, or says that the
    /// shard can be parked.
    fn rest(&self) -> Rest {
        let mut core = self.core();
        core.feed();
        core.tell_gauges();
        if self.measures_turns {
            let lasted = self
                .started
                .elapsed()
                .saturating_sub(core.conns.shared.clock);
            self.metrics.turns.record(lasted);
        }
        core.set_task_timer(|| self.started.elapsed());
        let wait = match core.begin_wait() {
            wait if wait == Wait::No || self.bells.rest() => wait,
            _ => Wait::No,
        };
        if wait != Wait::No {
            self.metrics.busy_since.set(0);
        }
        // The timer that ends the wait is set and ends this too. Where several completions are
        // gathered, nobody is in such a hurry.
        if let Some(spin) = self.spin
            && wait == Wait::ForOne
        {
            let until = self.started + core.conns.shared.clock + spin;
            core.conns.shared.ring.enter(Wait::No);
            if core.conns.shared.ring.spin(until) {
                return Rest::None;
            }
        }
        core.conns.shared.ring.enter(wait);
        // A program that has just ended orders the drain from within the shard: nothing else would
        // end the wait for it.
        let is_ordered = self.commands.says_drain().is_some() && !core.conns.shared.is_draining;
        if wait != Wait::No || is_ordered || core.has_work() {
            return Rest::None;
        }
        if self.wake.park() && self.bells.rest() && core.prepare_to_park() {
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
            if self.core().has_work() {
                return Poll::Ready(Ok(()));
            }
            self.parked.set(Some(context.waker().clone()));
            Poll::Pending
        });
        let parked = parked.await;
        self.parked.set(None);
        self.wake.unpark();
        let mut core = self.core();
        core.wait_policy.parked();
        core.conns.shared.ring.set_wakeups(false);
        parked
    }
}

impl Core {
    /// Gives freed buffers to the kernel, and those who waited for one their receive.
    pub(crate) fn feed(&mut self) {
        self.conns.shared.buffers.publish();
        self.conns.feed_starved();
    }

    /// Tells other threads what the turn has left.
    fn tell_gauges(&self) {
        let shared = &self.conns.shared;
        shared.metrics.unread.set(shared.unread);
        shared.metrics.unsent.set(shared.unsent);
        shared
            .metrics
            .buffers_in_use
            .set(shared.buffers.in_use().into());
    }

    /// Time has come to `clock` since the start. After a stop, what peers sent meanwhile is heard
    /// before any deadline is looked at.
    fn set_clock(&mut self, clock: Duration) {
        let now = Tick::at(clock);
        let due = self.next_look().max(self.conns.shared.now);
        self.conns.shared.clock = clock;
        self.conns.shared.now = now;
        self.wait_policy.turn(clock);
        if self.grace.begins(due, now) {
            self.reset_windows();
        }
    }

    /// When deadlines or rates are looked at next.
    fn next_look(&self) -> Tick {
        let shared = &self.conns.shared;
        let requests = shared.requests.sweep.due(shared.now);
        let output = shared.min_rate.sweep.due(shared.now);
        shared.deadlines.earliest().min(requests).min(output)
    }

    // ---- completions ----

    fn apply_completions(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        let shared = &mut self.conns.shared;
        let most = shared.bounds.turn_completions_max;
        shared.ring.reap(&mut completions, most);
        self.grace.turned(completions.is_empty());
        for coming in completions.iter().take(PREFETCH_AHEAD) {
            self.conns.table.prefetch(coming.token.key);
        }
        for (index, completion) in completions.iter().enumerate() {
            if let Some(coming) = completions.get(index + PREFETCH_AHEAD) {
                self.conns.table.prefetch(coming.token.key);
            }
            self.dispatch(*completion);
        }
        completions.clear();
        self.completions = completions;
    }

    fn dispatch(&mut self, completion: Completion) {
        match completion.token.operation {
            Operation::Accept => self.accepted(completion),
            Operation::Install => self.installed(completion),
            Operation::Connect => self.connected(completion),
            Operation::Close => self.closed(completion),
            Operation::Unacknowledged => self.unacknowledged(completion),
            Operation::Receive => self.received(completion),
            Operation::Poll
            | Operation::Send
            | Operation::QuietSend
            | Operation::Shutdown
            | Operation::Cancel => self.completed(completion),
            Operation::TaskTimer => {
                let serial = completion.token.key.generation.number();
                self.task_timers.fired(serial);
            }
            // The turn that it caused does the rest. One that was replaced is not the timer any
            // more.
            Operation::Timer if completion.token == Token::timer(self.park_timer.0) => {
                self.park_timer = Tick::NEVER;
            }
            Operation::WaitTimer => self.wait_policy.elapsed(),
            Operation::Wake => {
                self.wait_policy.woken();
                if !completion.more {
                    self.is_watched = false;
                }
            }
            Operation::Timer | Operation::Reset | Operation::Expose => {}
        }
    }

    fn received(&mut self, completion: Completion) {
        let key = completion.token.key;
        self.trim_due = Tick::NEVER;
        self.wait_policy.message(key.slot);
        let buffers = &self.conns.shared.buffers;
        let length = completion.result.max(0) as u32;
        let buffer = completion
            .buffer
            .map(|index| buffers.received(index, length, key));
        match (self.conns.get(key), buffer) {
            (Some(mut conn), buffer) => conn.received(completion, buffer),
            (None, buffer) => {
                debug_assert!(false, "a slot lives until its operations have completed");
                if let Some(buffer) = buffer {
                    self.conns.shared.buffers.release(buffer);
                }
            }
        }
    }

    /// Another operation of a connection.
    fn completed(&mut self, completion: Completion) {
        let Some(mut conn) = self.conns.get(completion.token.key) else {
            return;
        };
        match completion.token.operation {
            Operation::Poll => conn.polled(),
            Operation::Send | Operation::QuietSend => conn.sent(completion),
            Operation::Shutdown => conn.fin_sent(),
            // What was cancelled completes by itself.
            Operation::Cancel if completion.result < 0 => conn.cancel_failed(-completion.result),
            _ => {}
        }
    }

    fn closed(&mut self, completion: Completion) {
        let errno = (-completion.result).max(0);
        match self.conns.closed(completion.token.key, errno) {
            Some(ended) if ended.origin == Origin::Outbound => self.outbound_closed(&ended),
            Some(ended) => {
                self.accepted_closed(&ended);
                self.left.push(ended);
            }
            None => {}
        }
    }

    // ---- what is due ----

    /// Gives memory back that a burst has left, when nothing was received for a while.
    fn trim(&mut self) {
        let is_due = self.conns.shared.now >= self.trim_due;
        if is_due && !self.conns.shared.ring.has_completions() {
            self.trim_due = Tick::NEVER;
            self.conns.shared.buffers.trim();
        }
    }

    fn sweep_is_due(&self) -> bool {
        let shared = &self.conns.shared;
        let most = shared.bounds.expired_per_turn_max;
        let is_due = shared.deadlines.is_due(shared.now, shared.clock, most);
        is_due && self.grace.is_over(shared.now)
    }

    /// Ends the connections whose deadline has passed.
    fn sweep(&mut self) {
        if !self.sweep_is_due() {
            return;
        }
        self.grace.judged();
        let mut expired = Vec::new();
        let shared = &mut self.conns.shared;
        let most = shared.bounds.expired_per_turn_max;
        let (now, clock) = (shared.now, shared.clock);
        shared.deadlines.sweep(now, clock, most, &mut expired);
        for slot in expired {
            if let Some(mut conn) = self.conns.at(slot) {
                conn.expire();
            }
        }
    }

    /// Logs how many lines were held back, as far as the intervals are over.
    fn log_held_back(&mut self) {
        let shared = &mut self.conns.shared;
        log_held_back(shared.id, shared.log.take_held_back(shared.now));
    }

    /// The same for all intervals: the shard ends.
    pub(crate) fn log_all_held_back(&mut self) {
        let shared = &mut self.conns.shared;
        log_held_back(shared.id, shared.log.take_held_back(Tick::NEVER));
    }

    // ---- waiting ----

    /// Sets the kernel's timer to the earliest of the tasks' timers and ticks, or to when more may
    /// be accepted.
    fn set_task_timer(&mut self, clock: impl FnOnce() -> Duration) {
        let admissions = self.admissions.iter();
        let refilled_at = admissions.filter_map(Admission::refilled_at).min();
        let shared = &mut self.conns.shared;
        // Those that are due already have the next turn, without a wait.
        let tick = self.tickers.next().filter(|due| *due > shared.clock);
        let also = refilled_at.into_iter().chain(tick).min();
        self.task_timers.set(also, &mut shared.ring, clock);
    }

    /// Whether the coming entry may wait, and a timer that ends the wait if it may.
    fn begin_wait(&mut self) -> Wait {
        let shared = &mut self.conns.shared;
        let is_behind = std::mem::take(&mut shared.is_behind) && shared.ring.has_quiet_sends();
        let has_completions = shared.ring.has_completions();
        let waits_on_executor = shared.run_queue.waits_on_executor();
        let is_busy = is_behind || has_completions || self.has_due();
        if is_busy || self.wait_policy.is_over() || waits_on_executor {
            return Wait::No;
        }
        if let Some(timer) = self.wait_policy.begin(are_kept()) {
            self.conns.shared.ring.timer(timer, Token::WAIT_TIMER);
        }
        self.wait_policy.wait()
    }

    /// Whether the next turn has something to do already.
    fn has_work(&mut self) -> bool {
        self.conns.shared.ring.has_work() || self.has_due()
    }

    /// Whether a task, a deadline or paced work has its turn.
    pub(crate) fn has_due(&self) -> bool {
        let shared = &self.conns.shared;
        let cools = shared.recv_modes.cooled.is_due(shared.clock);
        let evicts = shared.overload.evicting.is_due(shared.clock);
        let ticks = self.tickers.is_due(shared.clock);
        let is_paced_due = self.rates_are_due() || cools || evicts || ticks || self.can_survey();
        let has_task = !shared.run_queue.is_empty() || shared.topics.have_work();
        let has_task = has_task || shared.tls.waiting() > 0;
        has_task || self.sweep_is_due() || is_paced_due
    }

    /// Turns the wake-ups on and sets the timer for the next deadline. False when something came in
    /// between.
    fn prepare_to_park(&mut self) -> bool {
        #[cfg(feature = "failpoints")]
        failpoint::pause(failpoint::Point::Rest);
        self.conns.shared.ring.set_wakeups(true);
        if self.trim_due == Tick::NEVER && self.conns.shared.buffers.is_wide() {
            self.trim_due = self.conns.shared.now.after(TRIM_AFTER);
        }
        self.set_park_timer();
        self.conns.shared.ring.enter(Wait::No);
        let idle = !self.has_work();
        if !idle {
            self.conns.shared.ring.set_wakeups(false);
        }
        idle
    }

    /// When a parked shard is to go on, if nothing happens until then.
    fn next_turn(&mut self) -> Tick {
        let makes_room_at = self.makes_room_at();
        let shared = &self.conns.shared;
        let now = shared.now;
        [
            self.next_look(),
            self.acceptor.resumes(now),
            self.drain.due(now),
            makes_room_at,
            self.trim_due,
            shared.recv_modes.due,
            shared.recv_modes.cooled.goes_on(now),
            shared.overload.due,
            shared.overload.evicting.goes_on(now),
            shared.log.due(),
        ]
        .into_iter()
        .fold(Tick::NEVER, Tick::min)
    }

    /// When something is due next, if nothing happens until then.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn next_due(&mut self) -> Option<Duration> {
        let turn = Some(self.next_turn()).filter(|turn| *turn != Tick::NEVER);
        let timers = self
            .task_timers
            .next()
            .into_iter()
            .chain(self.tickers.next());
        turn.map(Tick::start).into_iter().chain(timers).min()
    }

    /// Has the kernel wake the shard for its next turn. One timer at most is in the kernel; an
    /// earlier one than needed may stay.
    fn set_park_timer(&mut self) {
        let next = self.next_turn();
        if next >= self.park_timer {
            return;
        }
        let shared = &mut self.conns.shared;
        if self.park_timer != Tick::NEVER {
            shared.ring.cancel(Token::timer(self.park_timer.0));
        }
        let delay = next.start().saturating_sub(shared.clock);
        let delay = delay.max(TIMER_MIN);
        shared.ring.timer(delay, Token::timer(next.0));
        self.park_timer = next;
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Limits};
    use crate::id::{ListenerIndex, SlotIndex};
    use crate::shard::policy::bounds::MemoryShare;
    use crate::shard::sim::stand_in::{ACCEPTED_MAX, stand_in_shard};
    use crate::time::{TICK, Tick};

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
            shard
                .core()
                .open(slot, ([127, 0, 0, 1], 1).into(), ListenerIndex(0));
            shard.core().conns.shared.deadlines.set(slot, due);
        }
        let mut left = Vec::new();
        for tick in 0..10 {
            shard.turn(TICK * tick); // at the beginning of the tick in which they are due one is ended
            left.push(
                slots
                    .clone()
                    .filter(|slot| shard.core().conns.shared.deadlines.of(*slot) == due)
                    .count(),
            );
        }
        left.dedup();
        assert_eq!(left, [4, 3, 0]);
    }
}
