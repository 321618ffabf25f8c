//! Tasks as far as they concern waking: who is due ([`run_queue`]), who waits for the time
//! ([`timers`]), how a task is named for wakers and other threads ([`wake`]), and the tasks beside
//! connections ([`spawned`]). Their futures are in [`task_poller`](crate::shard::task_poller).

pub(crate) mod run_queue;
pub(crate) mod spawned;
pub(crate) mod timers;
pub(crate) mod wake;
