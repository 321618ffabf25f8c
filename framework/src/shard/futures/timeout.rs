//! Any future within a time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::shard::futures::sleep::{Sleep, sleep};

/// Awaits `future` for `within` at most, which counts from now. At least `within` passes before it
/// gives up; an outcome that is there by then is given.
///
/// When the time is over `future` is dropped with what this returns: of an operation of a
/// connection its documentation says what that leaves behind. For tasks of a shard.
///
/// # Errors
///
/// [`Elapsed`] when `future` has not ended in time.
///
/// ```
/// use std::time::Duration;
///
/// use corelane::{Conn, Error, timeout};
///
/// async fn greet(conn: &mut Conn) -> Result<(), Error> {
///     match timeout(Duration::from_secs(5), conn.read_line(80)).await {
///         Ok(line) => drop(line?),
///         Err(_elapsed) => conn.write("are you there?\n").await?,
///     }
///     Ok(())
/// }
/// # let _ = greet;
/// ```
pub fn timeout<F: Future>(within: Duration, future: F) -> Timeout<F> {
    Timeout {
        future,
        sleep: sleep(within),
    }
}

/// The time of a [`timeout`] was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time for it is over")]
pub struct Elapsed;

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

pin_project! {
    /// The future of [`timeout`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        #[pin]
        sleep: Sleep,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        this.sleep.poll(context).map(|()| Err(Elapsed))
    }
}
