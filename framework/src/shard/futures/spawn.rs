//! Tasks that belong to no connection: what a handler or a client program starts on its shard.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::error::Error;
use crate::panics;
use crate::shard::handle::{Shard, wake_waiter};
use crate::shard::task::spawned::SpawnedTask;
use crate::shard::task::wake::Waiter;

/// Starts `task` on this thread's shard, beside the connections' handlers. It is first polled at
/// the end of the turn, whether its handle is awaited, kept or dropped.
///
/// It ends with the shard at the latest: then it is dropped where it waits. A panic in it ends it
/// and nothing else; it is logged, and told to who awaits the handle.
///
/// ```
/// use corelane::{Error, spawn};
///
/// async fn sum() -> Result<u32, Error> {
///     let (one, two) = (spawn(async { 20 })?, spawn(async { 22 })?);
///     Ok(one.await? + two.await?)
/// }
/// # let _ = sum;
/// ```
///
/// # Errors
///
/// [`Error::TooManyTasks`] when the shard has a million of them.
///
/// # Panics
///
/// On a thread that is not a shard's.
pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> Result<JoinHandle<T>, Error> {
    let end = Rc::new(Cell::new(End::Running));
    let handle = JoinHandle(Rc::clone(&end));
    let task: SpawnedTask = Box::pin(Spawned {
        task,
        end: Ending(end),
    });
    let refused = Shard::with(|shard| shard.core().spawn(task));
    if refused.is_none() {
        Ok(handle)
    } else {
        Err(Error::TooManyTasks) // and it is dropped with no borrow held
    }
}

/// A task that was [`spawn`]ed. Awaited it gives what the task has ended with; dropped it leaves
/// the task alone.
///
/// Awaiting it fails with [`Error::TaskPanicked`], or with [`Error::TaskDropped`] where its shard
/// ended before the task did.
pub struct JoinHandle<T>(Rc<Cell<End<T>>>);

/// How far a spawned task has come.
enum End<T> {
    Running,
    Awaited(Waiter),
    /// The error in a box: it is rare, and a task whose handle is dropped keeps the place for it.
    Ended(Result<T, Box<Error>>),
    Taken,
}

/// Whether it is not running any more.
fn is_over<T>(end: &Cell<End<T>>) -> bool {
    let before = end.replace(End::Taken);
    let is_over = matches!(before, End::Ended(_) | End::Taken);
    end.set(before);
    is_over
}

impl<T> JoinHandle<T> {
    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        is_over(&self.0)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.replace(End::Taken) {
            End::Ended(outcome) => Poll::Ready(outcome.map_err(|error| *error)),
            End::Taken => panic!("a JoinHandle is not polled after its end"),
            before @ (End::Running | End::Awaited(_)) => {
                let waiter = Shard::with(|shard| Waiter::of(context.waker(), shard.number()));
                self.0.set(End::Awaited(waiter));
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The task with the place for what it ends with.
    struct Spawned<T, F> {
        #[pin]
        task: F,
        end: Ending<T>,
    }
}

impl<T, F: Future<Output = T>> Future for Spawned<T, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match panics::as_handler(|| this.task.poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => {
                this.end.tell(Ok(value));
                Poll::Ready(())
            }
            Err(panic) => {
                let text = panics::text(&*panic).to_string();
                this.end.tell(Err(Box::new(Error::TaskPanicked(text))));
                std::panic::resume_unwind(panic) // whoever polls tasks logs it
            }
        }
    }
}

/// The task's side: dropped before the task has ended it says that.
struct Ending<T>(Rc<Cell<End<T>>>);

impl<T> Ending<T> {
    fn tell(&self, outcome: Result<T, Box<Error>>) {
        match self.0.replace(End::Ended(outcome)) {
            End::Awaited(Waiter::Other(waker)) => waker.wake(),
            End::Awaited(task) => wake_waiter(task),
            End::Running | End::Ended(_) | End::Taken => {}
        }
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        if !is_over(&self.0) {
            self.tell(Err(Box::new(Error::TaskDropped)));
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
    fn a_task_that_its_shard_drops_is_told_to_who_awaits_it() {
        let all = MemoryShare {
            unread_max: u32::MAX,
            unsent_max: u32::MAX,
        };
        let shard = stand_in_shard(Config::default(), all);
        let mut handle = spawn(std::future::pending::<u8>()).expect("there is room");
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut handle).poll(&mut context).is_pending() && !handle.is_finished());
        shard.drop_born();
        assert!(handle.is_finished());
        let Poll::Ready(Err(Error::TaskDropped)) = Pin::new(&mut handle).poll(&mut context) else {
            panic!("it waits for ever")
        };
        assert!(size_of::<End<()>>() <= 24, "{}", size_of::<End<()>>());
    }
}
