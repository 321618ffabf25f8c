//! Sleeping in the shard's own ring: all sleepers share one timer of the kernel, set to the
//! earliest of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::wake::Sleeper;
use super::{Shard, State};
use crate::ring::Token;

/// A longer sleep is cut to this: far beyond any deadline, and no sum with it overflows.
const SLEEP_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Suspends the task for `duration`, at least; a duration of more than a year is cut to a year.
///
/// Each that waits has an entry in the shard's list until it ends or is dropped. The list has no
/// bound of its own: a task that waits for many at the same time has an entry for each, beside the
/// future that it holds itself.
///
/// May be dropped at any time.
///
/// For tasks of a shard: inside [`Handler::serve`](crate::Handler::serve), or in what was given to
/// [`spawn`](crate::spawn).
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration.min(SLEEP_MAX))
}

/// Suspends the task until `instant`, at least. As [`sleep`] otherwise.
pub fn sleep_until(instant: Instant) -> Sleep {
    Sleep {
        until: instant,
        entry: None,
    }
}

/// The future of [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    until: Instant,
    /// Where it stands among the sleepers.
    entry: Option<Entry>,
}

/// When a sleeper is due, since the shard's start, and a number that tells it from others that are
/// due then.
type Entry = (Duration, u64);

impl Sleep {
    /// How long ago it should have ended.
    pub(crate) fn overdue(&self) -> Duration {
        Instant::now().saturating_duration_since(self.until)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Shard::with(|shard| {
            let due = self.until.saturating_duration_since(shard.started);
            let mut state = shard.state();
            if shard.started.elapsed() >= due {
                return Poll::Ready(());
            }
            let sleeper = state.sleeper(context.waker());
            let entry = *self.entry.get_or_insert_with(|| state.sleepers.entry(due));
            let before = state.sleepers.by_time.insert(entry, sleeper);
            drop(state);
            drop(before); // with no borrow held: it may be anybody's waker
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            let sleeper = Shard::try_with(|shard| shard.state().sleepers.by_time.remove(&entry));
            drop(sleeper); // with no borrow held, as above
        }
    }
}

/// Who sleeps, and what the kernel's timer is set to: as many as there are futures that wait, which
/// are for the tasks to bound.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    by_time: BTreeMap<Entry, Sleeper>,
    serial: u64,
    /// What the timer in the kernel is set to.
    alarm: Option<Duration>,
    /// Which of the timers set so far that one is.
    alarm_serial: u32,
}

impl Sleepers {
    fn entry(&mut self, due: Duration) -> Entry {
        self.serial += 1;
        (due, self.serial)
    }

    /// The timer that was set as number `serial` has gone off.
    pub(super) fn rang(&mut self, serial: u32) {
        if serial == self.alarm_serial {
            self.alarm = None;
        }
    }
}

impl State {
    /// Wakes those whose time has come.
    pub(super) fn rouse_sleepers(&mut self) {
        while let Some(first) = self.sleepers.by_time.first_entry()
            && first.key().0 <= self.clock
        {
            let sleeper = first.remove();
            self.rouse(sleeper);
        }
    }

    /// Sets the kernel's timer to the earliest sleeper, or to when more may be accepted. One that
    /// is set too early may stay. `clock` tells the time: that of the turn is behind it by what the
    /// handlers took.
    pub(super) fn set_alarm(&mut self, clock: impl FnOnce() -> Duration) {
        let first = self
            .sleepers
            .by_time
            .first_key_value()
            .map(|(&(due, _), _)| due);
        let Some(due) = first.into_iter().chain(self.admission.refilled_at()).min() else {
            return;
        };
        let sleepers = &mut self.sleepers;
        if sleepers.alarm.is_some_and(|alarm| alarm <= due) {
            return;
        }
        if sleepers.alarm.is_some() {
            self.ring.cancel(Token::alarm(sleepers.alarm_serial));
        }
        sleepers.alarm_serial = sleepers.alarm_serial.wrapping_add(1).max(1);
        sleepers.alarm = Some(due);
        self.ring.timer(
            due.saturating_sub(clock()),
            Token::alarm(sleepers.alarm_serial),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::stand_in::stand_in_shard;
    use super::*;
    use crate::config::Config;
    use crate::preflight::MemoryShare;

    #[test]
    fn a_sleep_is_listed_once_while_it_waits_however_many_a_task_has() {
        let shard = stand_in_shard(
            Config::default(),
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let listed = || shard.state().sleepers.by_time.len();
        let hours = |count: u32| Box::pin(sleep(Duration::from_secs(3600) * count));
        let mut sleeps: Vec<_> = (1..=1000).map(hours).collect();
        assert_eq!(listed(), 0, "none waits before it is polled");
        for _ in 0..3 {
            for sleep in &mut sleeps {
                assert!(
                    sleep
                        .as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()))
                        .is_pending()
                );
            }
            assert_eq!(listed(), 1000);
        }
        sleeps.truncate(10);
        assert_eq!(listed(), 10);
        shard.state().clock = Duration::from_secs(3600 * 5 + 60);
        shard.state().rouse_sleepers();
        assert_eq!(listed(), 5);
        drop(sleeps);
        assert_eq!(listed(), 0);
    }
}
