//! Tasks that belong to no connection: what a handler or a client program starts on its shard.

use std::future::Future;

use crate::error::Error;
use crate::shard::handle::Shard;
use crate::shard::task::spawned::SpawnedTask;

/// Starts `task` on this thread's shard, beside the connections' handlers. It is first polled at
/// the end of the turn.
///
/// It ends with the shard at the latest: then it is dropped where it waits. A panic in it ends it
/// and nothing else.
///
/// # Errors
///
/// [`Error::TooManyTasks`] when the shard has a million of them.
///
/// # Panics
///
/// On a thread that is not a shard's.
pub fn spawn(task: impl Future<Output = ()> + 'static) -> Result<(), Error> {
    let task: SpawnedTask = Box::pin(task);
    let refused = Shard::with(|shard| shard.core().spawn(task));
    if refused.is_none() {
        Ok(())
    } else {
        Err(Error::TooManyTasks) // and it is dropped with no borrow held
    }
}
