//! One task of a shard telling others that they may go on.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::shard::handle::{Shard, wake_waiter};
use crate::shard::task::wake::Waiter;

/// Who waits by [`Notify::poll_notified`]: at most one at a time.
const NAMELESS: u32 = 0;

/// Lets tasks of a shard wait for another: a flag, and whoever waits for it.
///
/// Cheaper than a channel and, unlike one from elsewhere, known to the shard: while its tasks wait
/// for nothing but connections, sleeps and these, it takes the short way from a packet to its
/// handler.
///
/// ```
/// use std::rc::Rc;
///
/// use corelane::{Error, Notify, spawn};
///
/// async fn first_answer() -> Result<(), Error> {
///     let answered = Rc::new(Notify::new());
///     let other = Rc::clone(&answered);
///     spawn(async move { other.notify() })?;
///     answered.notified().await;
///     Ok(())
/// }
/// # let _ = first_answer;
/// ```
#[derive(Default)]
pub struct Notify {
    set: Cell<bool>,
    /// How often all were told.
    rounds: Cell<u32>,
    serial: Cell<u32>,
    /// The last to have begun to wait, and those before it.
    last: Cell<Option<Entry>>,
    earlier: Cell<Option<Box<Earlier>>>,
}

/// As many as there are futures that wait, but for the last. Made when there are several: a program
/// may have a `Notify` for each of a million connections.
#[derive(Default)]
struct Earlier(Vec<Entry>);

struct Entry {
    number: u32,
    waiter: Waiter,
}

impl Notify {
    /// One that is not set and that nobody waits for.
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            rounds: Cell::new(0),
            serial: Cell::new(NAMELESS),
            last: Cell::new(None),
            earlier: Cell::new(None),
        }
    }

    /// Sets the flag and wakes one who waits for it, the last to have begun. Setting it twice
    /// before anybody looks is the same as once.
    pub fn notify(&self) {
        self.set.set(true);
        let last = self.last.take();
        self.last.set(self.pop_earlier());
        if let Some(last) = last {
            last.wake();
        }
    }

    /// Wakes all who wait now, each [`Notified`] that was made and has not ended among them, and
    /// leaves the flag as it is: who begins to wait later waits for the next time.
    pub fn notify_all(&self) {
        self.rounds.set(self.rounds.get().wrapping_add(1));
        let earlier = self.earlier.take().unwrap_or_default().0;
        for entry in self.last.take().into_iter().chain(earlier) {
            // It knows of no round, and looks at the flag.
            self.set.set(self.set.get() || entry.number == NAMELESS);
            entry.wake();
        }
    }

    /// Waits until the flag is set, and takes it down, or until all are told.
    ///
    /// May be dropped half-way: a flag that is set by then stays set.
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            round: self.rounds.get(),
            number: NAMELESS,
        }
    }

    /// [`Self::notified`] for hand-written futures, one of which may wait at a time.
    pub fn poll_notified(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_as(NAMELESS, context)
    }

    fn poll_as(&self, number: u32, context: &mut Context<'_>) -> Poll<()> {
        if self.set.take() {
            return Poll::Ready(());
        }
        let waiter = Shard::with(|shard| Waiter::of(context.waker(), shard.number()));
        let before = self.enter(Entry { number, waiter });
        drop(before); // with no borrow held: it may be anybody's waker
        Poll::Pending
    }

    /// Gives the entry of that number that was there before, whose place the new one takes.
    fn enter(&self, entry: Entry) -> Option<Entry> {
        let last = self.last.take();
        if last
            .as_ref()
            .is_some_and(|last| last.number == entry.number)
        {
            self.last.set(Some(entry));
            return last;
        }
        let Some(last) = last else {
            self.last.set(Some(entry));
            return None;
        };
        let mut earlier = self.earlier.take().unwrap_or_default();
        let mut places = earlier.0.iter_mut();
        let before = match places.find(|place| place.number == entry.number) {
            Some(place) => {
                self.last.set(Some(last));
                Some(std::mem::replace(place, entry))
            }
            None => {
                earlier.0.push(last);
                self.last.set(Some(entry));
                None
            }
        };
        self.earlier.set(Some(earlier));
        before
    }

    fn leave(&self, number: u32) -> Option<Entry> {
        let last = self.last.take();
        if last.as_ref().is_some_and(|last| last.number == number) {
            self.last.set(self.pop_earlier());
            return last;
        }
        self.last.set(last);
        let mut earlier = self.earlier.take()?;
        let place = earlier.0.iter().position(|entry| entry.number == number);
        let left = place.map(|place| earlier.0.remove(place));
        self.earlier.set(Some(earlier));
        left
    }

    /// The last of those that wait beside the last.
    fn pop_earlier(&self) -> Option<Entry> {
        let mut earlier = self.earlier.take()?;
        let last = earlier.0.pop();
        self.earlier.set(Some(earlier));
        last
    }

    /// A number that no other future has.
    fn next_number(&self) -> u32 {
        self.serial.set(self.serial.get().wrapping_add(1).max(1));
        self.serial.get()
    }
}

impl Entry {
    fn wake(self) {
        match self.waiter {
            Waiter::Other(waker) => waker.wake(),
            task => wake_waiter(task),
        }
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Notify")
            .field("set", &self.set.get())
            .finish_non_exhaustive()
    }
}

/// The future of [`Notify::notified`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    /// When it was made.
    round: u32,
    /// [`NAMELESS`] before it waits.
    number: u32,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.notify.rounds.get() != self.round {
            return Poll::Ready(());
        }
        if self.number == NAMELESS {
            self.number = self.notify.next_number();
        }
        self.notify.poll_as(self.number, context)
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if self.number != NAMELESS {
            drop(self.notify.leave(self.number)); // with no borrow held, as above
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::config::Config;
    use crate::shard::policy::bounds::MemoryShare;
    use crate::shard::sim::stand_in::stand_in_shard;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_is_woken_by_a_flag_and_all_by_a_round() {
        let all = MemoryShare {
            unread_max: u32::MAX,
            unsent_max: u32::MAX,
        };
        let _shard = stand_in_shard(Config::default(), all);
        let counts: [Arc<Count>; 3] = Default::default();
        let wakers = counts.clone().map(Waker::from);
        let woken = || {
            counts
                .each_ref()
                .map(|count| count.0.load(Ordering::Relaxed))
        };
        let notify = Notify::new();
        let (mut one, mut two) = (Box::pin(notify.notified()), Box::pin(notify.notified()));
        let unpolled = notify.notified();
        let poll = |future: Pin<&mut Notified<'_>>, waker: usize| {
            future.poll(&mut Context::from_waker(&wakers[waker]))
        };
        for _ in 0..2 {
            assert!(poll(one.as_mut(), 0).is_pending() && poll(two.as_mut(), 1).is_pending());
            assert!(
                notify
                    .poll_notified(&mut Context::from_waker(&wakers[2]))
                    .is_pending()
            );
        }
        notify.notify();
        assert_eq!(woken(), [0, 0, 1], "the last to have begun");
        assert!(
            notify
                .poll_notified(&mut Context::from_waker(&wakers[2]))
                .is_ready()
        );
        notify.notify();
        assert_eq!(woken(), [0, 1, 1], "and then the one before it");
        assert!(poll(two.as_mut(), 1).is_ready());

        let mut three = Box::pin(notify.notified());
        assert!(poll(three.as_mut(), 1).is_pending());
        assert!(
            notify
                .poll_notified(&mut Context::from_waker(&wakers[2]))
                .is_pending()
        );
        notify.notify_all();
        assert_eq!(woken(), [1, 2, 2]);
        assert!(poll(one.as_mut(), 0).is_ready() && poll(three.as_mut(), 1).is_ready());
        assert!(poll(pin!(unpolled), 0).is_ready(), "it was made before");
        assert!(
            notify
                .poll_notified(&mut Context::from_waker(&wakers[2]))
                .is_ready()
        );
        let mut later = Box::pin(notify.notified());
        assert!(poll(later.as_mut(), 0).is_pending());
        drop(later);
        assert!(notify.last.take().is_none() && notify.pop_earlier().is_none());
        assert!(size_of::<Notify>() <= 56, "{}", size_of::<Notify>());
    }
}
