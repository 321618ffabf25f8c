//! One task of a shard telling another that it may go on.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::shard::handle::{Shard, wake_waiter};
use crate::shard::task::wake::Waiter;

/// Lets one task of a shard wait for another: a flag, and whoever waits for it.
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
    waiter: Cell<Option<Waiter>>,
}

impl Notify {
    /// One that is not set and that nobody waits for.
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            waiter: Cell::new(None),
        }
    }

    /// Sets the flag and wakes who waits for it. Setting it twice before anybody looks is the same
    /// as once.
    pub fn notify(&self) {
        self.set.set(true);
        match self.waiter.take() {
            Some(Waiter::Other(waker)) => waker.wake(),
            Some(task) => wake_waiter(task),
            None => {}
        }
    }

    /// Waits until the flag is set, and takes it down. Of several who wait, the last to have begun
    /// is woken.
    ///
    /// May be dropped half-way: a flag that is set by then stays set.
    pub fn notified(&self) -> Notified<'_> {
        Notified(self)
    }

    /// [`Self::notified`] for hand-written futures.
    pub fn poll_notified(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.set.take() {
            return Poll::Ready(());
        }
        let waiter = Shard::with(|shard| Waiter::of(context.waker(), shard.number()));
        self.waiter.set(Some(waiter));
        Poll::Pending
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
pub struct Notified<'a>(&'a Notify);

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_notified(context)
    }
}
