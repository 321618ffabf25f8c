//! Tasks as far as they concern waking: who is due ([`run_queue`]), who waits for the time
//! ([`timers`]) and, of many, for ticks ([`tickers`]), how a task is named for wakers and other
//! threads ([`wake`]), the tasks beside connections ([`spawned`]), and what tells of messages
//! ([`bell`]). Their futures are in [`task_poller`](crate::shard::task_poller).

pub(crate) mod bell;
pub(crate) mod run_queue;
pub(crate) mod spawned;
pub(crate) mod tickers;
pub(crate) mod timers;
pub(crate) mod wake;
