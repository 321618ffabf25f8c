//! Ticks at a period, spread so that those of many do not fall together.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::id::Key;
use crate::shard::core::Core;
use crate::shard::handle::Shard;
use crate::shard::policy::tick_grid::Period;
use crate::shard::task::tickers::TickKey;
use crate::shard::task::wake::Waiter;

/// Ticks once per `period`, for a task that belongs to no connection; a connection has
/// [`Conn::every`](crate::Conn::every).
///
/// A period is rounded up to whole milliseconds, and cut to 2^32 of them (49 days). The first tick
/// comes within the first period, and all others whole periods after it. Where in the period they
/// lie follows from how many tickers the shard has made before: those of any number made one after
/// another are even over it, whenever that was.
///
/// For tasks of a shard.
///
/// ```
/// use std::time::Duration;
///
/// use corelane::{Error, every, spawn};
///
/// /// Looks after something of the shard, once a minute.
/// fn look_after(mut look: Box<dyn FnMut()>) -> Result<(), Error> {
///     spawn(async move {
///         let mut minutes = every(Duration::from_secs(60));
///         loop {
///             minutes.tick().await;
///             look();
///         }
///     })?;
///     Ok(())
/// }
/// # let _ = look_after;
/// ```
///
/// # Panics
///
/// On a thread that is not a shard's.
pub fn every(period: Duration) -> Every {
    let place = Shard::with(|shard| shard.core().tickers.next_place());
    Every::at_place(place, period)
}

/// A ticker: what [`every`] and [`Conn::every`](crate::Conn::every) give.
///
/// One that waits takes some 30 bytes of its shard beside its own 24. Of those whose ticks have come
/// a turn of the shard wakes 64 at most, the longest overdue first; the others have the next turns.
///
/// A task that has stopped waiting for a tick half-way may still be woken by it, once.
pub struct Every {
    /// The next tick; as it stands among the shard's while the ticker waits.
    next: TickKey,
    period: Period,
    waits: Option<WaitsAs>,
    /// Not `Send`: on another thread the key would mean another ticker.
    of_this_thread: PhantomData<Rc<()>>,
}

/// Whom the shard wakes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsAs {
    Task(Key),
    /// Which waker that is the shard knows.
    Other,
}

impl Every {
    /// Ticker number `place` of this thread's shard.
    pub(crate) fn at_place(place: u32, period: Duration) -> Self {
        let period = Period::of(period);
        let due = Shard::with(|shard| {
            let phase = period.phase(shard.id, place);
            period.first_after(now(&shard.core()), phase)
        });
        Self {
            next: TickKey::idle(due),
            period,
            waits: None,
            of_this_thread: PhantomData,
        }
    }

    /// Waits for the next tick. Gives how many periods have passed since the last one, or since the
    /// ticker was made: 1, or more where it was not waited for or the shard was late. Ticks that
    /// were missed are not made up for: the next one comes where it would have.
    ///
    /// May be dropped at any time, as when it is raced against an operation of a connection: no tick
    /// is lost, and waiting again costs next to nothing.
    pub fn tick(&mut self) -> NextTick<'_> {
        NextTick { every: self }
    }

    /// [`Self::tick`] for hand-written futures: pending, it wakes the task at the next tick.
    pub fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<u64> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let now = now(&core);
            if now >= self.next.due() {
                let waker = self.stop_waiting(&mut core);
                let (passed, due) = self.period.passed(self.next.due(), now);
                self.next = TickKey::idle(due);
                drop(core);
                drop(waker); // with no borrow held: it may be anybody's
                return Poll::Ready(passed);
            }
            let waiter = Waiter::of(context.waker(), shard.number());
            let waits = match &waiter {
                Waiter::Task(task) => WaitsAs::Task(*task),
                Waiter::Other(_) => WaitsAs::Other,
            };
            if waits == WaitsAs::Other || self.waits != Some(waits) {
                let waker = self.stop_waiting(&mut core);
                self.next = core.tickers.insert(self.next.due(), waiter);
                self.waits = Some(waits);
                drop(core);
                drop(waker); // as above
            }
            Poll::Pending
        })
    }

    /// Gives the waker that is not needed any more.
    fn stop_waiting(&mut self, core: &mut Core) -> Option<std::task::Waker> {
        self.waits.take()?;
        core.tickers.remove(self.next)
    }
}

/// The time of the turn, by which the ticks go, in milliseconds since the server's start.
fn now(core: &Core) -> u64 {
    core.conns.shared.clock.as_millis() as u64
}

impl Drop for Every {
    fn drop(&mut self) {
        if self.waits.is_some() {
            let waker = Shard::try_with(|shard| self.stop_waiting(&mut shard.core()));
            drop(waker); // with no borrow held, as above
        }
    }
}

impl fmt::Debug for Every {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Every")
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// The future of [`Every::tick`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct NextTick<'a> {
    every: &'a mut Every,
}

impl Future for NextTick<'_> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        self.every.poll_tick(context)
    }
}

#[cfg(test)]
mod tests;
