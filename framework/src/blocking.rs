//! What blocks, off the shard's thread: a bounded pool of threads for each shard.
//!
//! A shard starts a thread when there is more to do than threads rest; one that has rested for
//! [`REST_MAX`] ends. They run wherever the process may, for a thread that is started on a pinned
//! one inherits its core. The lock is the shard's and its own threads', and no connection's data
//! passes it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::affinity;
use crate::error::Error;
use crate::id::ShardId;
use crate::panics::as_shard;

/// A thread that has had nothing to do for this long ends. No key: a thread costs little while it
/// rests, and little to start.
const REST_MAX: Duration = Duration::from_secs(10);
/// Of panics whose future is gone, so that nobody else hears of them, one is logged in this time.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Without the backtrace that may follow: a handler may tell its peer.
pub(crate) fn first_line(mut told: String) -> String {
    told.truncate(told.find('\n').unwrap_or(told.len()));
    told
}

/// Something to run. What it gives are the words of a panic that nobody else hears of.
pub(crate) type Job = Box<dyn FnOnce() -> Option<String> + Send>;

/// A shard's end of its threads. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Blocking {
    shard: ShardId,
    threads_max: usize,
    waiting_max: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that rest, or have been started and have not looked yet: each takes one job off the
    /// queue.
    resting: usize,
    over: bool,
    told: Option<Instant>,
}

impl Blocking {
    pub(crate) fn new(shard: ShardId, threads_max: u32, waiting_max: u32) -> Self {
        Self {
            shard,
            threads_max: threads_max as usize,
            waiting_max: waiting_max as usize,
            shared: Arc::default(),
        }
    }

    pub(crate) fn submit(&self, job: Job) -> Result<(), Error> {
        let mut queue = lock(&self.shared.queue);
        let waiting = queue.jobs.len().saturating_sub(queue.resting);
        let is_for_resting = queue.jobs.len() < queue.resting;
        let starts = !is_for_resting && queue.threads < self.threads_max;
        if !is_for_resting && !starts && waiting >= self.waiting_max {
            drop(queue); // before the job, whose parts may do anything when they are dropped
            return Err(Error::BlockingFull {
                waiting_max: self.waiting_max,
            });
        }
        queue.jobs.push_back(job);
        if !starts {
            self.shared.work.notify_one();
            return Ok(());
        }
        (queue.threads, queue.resting) = (queue.threads + 1, queue.resting + 1);
        let Err(error) = self.start_thread() else {
            return Ok(());
        };
        (queue.threads, queue.resting) = (queue.threads - 1, queue.resting - 1);
        if queue.threads > 0 && waiting < self.waiting_max {
            return Ok(()); // one of those there are will come to it
        }
        let refused = queue.jobs.pop_back();
        drop(queue);
        drop(refused);
        Err(Error::BlockingThread(error))
    }

    fn start_thread(&self) -> io::Result<()> {
        let (shared, shard) = (Arc::clone(&self.shared), self.shard);
        let thread = std::thread::Builder::new().name(format!("blocking-{shard}"));
        thread.spawn(move || shared.work_off(shard)).map(drop)
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.over = true;
        let left = std::mem::take(&mut queue.jobs);
        drop(queue);
        self.shared.work.notify_all();
        if as_shard(|| drop(left)).is_err() {
            tracing::error!(
                shard = self.shard.0,
                "what waited for a blocking thread panicked when it was dropped"
            );
        }
    }
}

impl Shared {
    /// What a thread does until it has rested for long enough, or the shard is over.
    fn work_off(&self, shard: ShardId) {
        if let Err(error) = affinity::leave_core() {
            tracing::warn!(shard = shard.0, %error, "a blocking thread stays on its shard's core");
        }
        loop {
            let queue = lock(&self.queue);
            let nothing = |queue: &mut Queue| queue.jobs.is_empty() && !queue.over;
            let waited = self.work.wait_timeout_while(queue, REST_MAX, nothing);
            let (mut queue, _elapsed) = waited.unwrap_or_else(PoisonError::into_inner);
            queue.resting -= 1;
            let Some(job) = queue.jobs.pop_front() else {
                queue.threads -= 1;
                return;
            };
            drop(queue);
            // What it returned may be dropped here, and that may panic as well.
            let unheard = as_shard(job).unwrap_or_else(|told| Some(first_line(told)));
            let mut queue = lock(&self.queue);
            queue.resting += 1;
            if let Some(panic) = unheard
                && queue.may_tell(Instant::now())
            {
                drop(queue);
                tracing::error!(
                    shard = shard.0,
                    panic,
                    "a blocking call that nobody waits for panicked"
                );
            }
        }
    }
}

impl Queue {
    fn may_tell(&mut self, now: Instant) -> bool {
        let may = self
            .told
            .is_none_or(|told| now.duration_since(told) >= TELL_INTERVAL);
        if may {
            self.told = Some(now);
        }
        may
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("jobs", &self.jobs.len())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// What is behind these locks is whole at any time: no code of others runs under them.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    #[test]
    fn no_more_threads_are_started_than_allowed_and_no_more_wait() {
        let blocking = Blocking::new(ShardId(0), 2, 3);
        let (started, starts) = channel();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let blocked = || {
            let (started, gate) = (started.clone(), Arc::clone(&gate));
            job(move || {
                started.send(std::thread::current().id()).unwrap();
                drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open));
            })
        };
        for _ in 0..5 {
            blocking.submit(blocked()).unwrap();
        }
        assert!(matches!(
            blocking.submit(blocked()),
            Err(Error::BlockingFull { waiting_max: 3 })
        ));
        let mut threads = vec![
            starts.recv_timeout(BOUND).unwrap(),
            starts.recv_timeout(BOUND).unwrap(),
        ];
        assert!(
            starts.recv_timeout(Duration::from_millis(50)).is_err(),
            "a third runs"
        );
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        threads.extend((0..3).map(|_| starts.recv_timeout(BOUND).unwrap()));
        threads.sort_by_key(|thread| format!("{thread:?}"));
        threads.dedup();
        assert_eq!(threads.len(), 2);
    }

    #[test]
    fn what_waits_for_a_thread_when_the_shard_ends_is_dropped_and_the_threads_end() {
        let blocking = Blocking::new(ShardId(0), 1, 8);
        let (shared, (open, gate)) = (Arc::clone(&blocking.shared), channel::<()>());
        blocking
            .submit(job(move || assert!(gate.recv().is_err())))
            .unwrap();
        let held = Arc::new(());
        let kept = Arc::clone(&held);
        blocking.submit(job(move || drop(kept))).unwrap();
        drop(blocking);
        assert_eq!(Arc::strong_count(&held), 1);
        drop(open);
        let deadline = Instant::now() + BOUND;
        while lock(&shared.queue).threads > 0 {
            assert!(Instant::now() < deadline, "its thread goes on");
            std::thread::yield_now();
        }
    }

    fn job(act: impl FnOnce() + Send + 'static) -> Job {
        Box::new(move || {
            act();
            None
        })
    }
}
