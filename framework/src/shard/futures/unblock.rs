//! Waiting for what blocks, on another thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::blocking::{first_line, lock};
use crate::error::Error;
use crate::panics::as_shard;
use crate::shard::handle::Shard;

/// Runs `act`, which may block, on another thread, and gives what it returns. The shard goes on
/// meanwhile.
///
/// For files, a resolver, a hash that takes milliseconds: whatever would hold up every connection
/// of the shard. A shard has up to `limits.blocking_threads_per_shard_max` threads for it, which
/// run on any core that the process may use, and `limits.blocking_waiting_per_shard_max` more calls
/// wait for one.
///
/// It is started here and not at the first poll. Dropping the future leaves it running and drops
/// what it returns. What still waits for a thread when the shard ends is dropped; what runs then is
/// not waited for.
///
/// A thread that a handler starts itself inherits the shard's one core (`server.pin`), and competes
/// with the shard for it.
///
/// # Errors
///
/// [`Error::BlockingFull`] when as many wait for a thread as may, and `act` was dropped.
/// [`Error::BlockingPanicked`] when it panicked. [`Error::BlockingThread`] when there is no thread
/// for it and none can be started.
///
/// # Panics
///
/// On a thread that is not a shard's.
///
/// ```
/// use corelane::{Conn, Error, unblock};
///
/// async fn send_file(conn: &mut Conn, path: &'static str) -> Result<(), Error> {
///     let bytes = unblock(move || std::fs::read(path)).await?.map_err(Error::handler)?;
///     conn.write(&*bytes).await
/// }
/// # let _ = send_file;
/// ```
pub fn unblock<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Unblock<T> {
    let promise = Arc::<Promise<T>>::default();
    let keeper = Keeper(Arc::clone(&promise));
    let job = Box::new(move || keeper.keep(as_shard(act).map_err(first_line)));
    let refused = Shard::with(|shard| shard.blocking.submit(job)).err();
    Unblock { promise, refused }
}

/// The future of [`unblock`].
#[must_use = "dropping it loses what the call returns, or that it failed"]
pub struct Unblock<T> {
    promise: Arc<Promise<T>>,
    refused: Option<Error>,
}

impl<T> Future for Unblock<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        if let Some(error) = self.refused.take() {
            return Poll::Ready(Err(error));
        }
        let mut state = lock(&self.promise.state);
        match std::mem::replace(&mut *state, Outcome::Taken) {
            Outcome::Kept(outcome) => Poll::Ready(outcome.map_err(Error::BlockingPanicked)),
            Outcome::Pending(waker) => {
                let same = waker.filter(|waker| waker.will_wake(context.waker()));
                *state = Outcome::Pending(Some(same.unwrap_or_else(|| context.waker().clone())));
                Poll::Pending
            }
            Outcome::Taken => panic!("polled again after it was ready"),
        }
    }
}

impl<T> Unpin for Unblock<T> {}

impl<T> fmt::Debug for Unblock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Unblock").finish_non_exhaustive()
    }
}

/// Where the outcome of a call is left for its future.
struct Promise<T> {
    state: Mutex<Outcome<T>>,
}

enum Outcome<T> {
    /// None yet; who waits for it.
    Pending(Option<Waker>),
    /// What it returned, or the words of its panic.
    Kept(Result<T, String>),
    Taken,
}

impl<T> Default for Promise<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(Outcome::Pending(None)),
        }
    }
}

/// The thread's end of a promise. Dropped without an outcome, which happens when the shard ends
/// first, it leaves the future waiting: that ends with the shard too.
struct Keeper<T>(Arc<Promise<T>>);

impl<T> Keeper<T> {
    /// Gives the words of a panic back if nobody waits for them.
    fn keep(self, outcome: Result<T, String>) -> Option<String> {
        if Arc::strong_count(&self.0) == 1 {
            return outcome.err();
        }
        let before = std::mem::replace(&mut *lock(&self.0.state), Outcome::Kept(outcome));
        if let Outcome::Pending(Some(waker)) = before {
            waker.wake();
        }
        None
    }
}
