//! Tasks as far as they concern waking: who is due, who waits for the time, and how a task is named
//! for other threads. Their futures are in [`task_poller`](crate::shard::task_poller).

pub(crate) mod run_queue;
pub(crate) mod spawned;
pub(crate) mod timers;
pub(crate) mod wake;
