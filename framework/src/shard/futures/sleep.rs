//! Sleeping in the shard's own ring: all sleepers share one timer of the kernel, set to the
//! earliest of them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::shard::handle::Shard;
use crate::shard::task::timers::TimerKey;
use crate::shard::task::wake::Waiter;
use crate::time;

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
    sleep_until(time::now() + duration.min(SLEEP_MAX))
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
    /// Where it stands among the timers.
    entry: Option<TimerKey>,
}

impl Sleep {
    /// How long ago it should have ended.
    pub(crate) fn overdue(&self) -> Duration {
        time::now().saturating_duration_since(self.until)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Shard::with(|shard| {
            let due = self.until.saturating_duration_since(shard.started);
            if time::now().saturating_duration_since(shard.started) >= due {
                return Poll::Ready(());
            }
            let waiter = Waiter::of(context.waker(), shard.number());
            let mut core = shard.core();
            let entry = *self.entry.get_or_insert_with(|| core.task_timers.key(due));
            let before = core.task_timers.insert(entry, waiter);
            drop(core);
            drop(before); // with no borrow held: it may be anybody's waker
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            let waiter = Shard::try_with(|shard| shard.core().task_timers.remove(entry));
            drop(waiter); // with no borrow held, as above
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::config::Config;
    use crate::shard::policy::bounds::MemoryShare;
    use crate::shard::sim::stand_in::stand_in_shard;

    #[test]
    fn a_sleep_is_listed_once_while_it_waits_however_many_a_task_has() {
        let shard = stand_in_shard(
            Config::default(),
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let listed = || shard.core().task_timers.len();
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
        shard.core().conns.shared.clock = Duration::from_secs(3600 * 5 + 60);
        shard.core().fire_timers();
        assert_eq!(listed(), 5);
        drop(sleeps);
        assert_eq!(listed(), 0);
    }
}
