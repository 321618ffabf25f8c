//! The executor under a shard. The only file that names glommio, so that what glommio does to the
//! unwary is answered in one place.

use std::convert::identity;
use std::future::Future;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_lite::stream::{self, Stream};
use glommio::io::PollableFd;
use glommio::{LocalExecutorBuilder, Placement};

use crate::affinity;
use crate::panics::as_shard;
use crate::ring::{WakeFd, queues_bytes};

/// Memory of glommio's own I/O buffers per executor: its default is 10 MB, and the data path uses
/// none of it.
const IO_MEMORY: usize = 64 * 1024;
/// Entries of each of glommio's three rings: they carry a parked shard's wait and what handlers do
/// beside their connection.
const RING_DEPTH: usize = 32;
/// Its rings, each of which has the I/O buffers registered.
const RINGS: u64 = 3;
/// The executor's preemption is off. When its timer fires between the executor's look at its rings
/// and its look at its run queue, glommio takes the queue for empty and parks on runnable tasks:
/// with a timer of 1 ms a task that does nothing but yield sleeps for ever within seconds.
/// [`yield_to_executor`] does what preemption is for.
const PREEMPT_INTERVAL: Duration = YEAR;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A thread that keeps to the cores of `affinity`, if there is one, runs `main` on an executor of
/// its own, and tells `ended` how that came out: whatever happens, a panic and an executor that
/// cannot be made (memlock, io_uring refused) included.
pub(crate) fn spawn_shard<F: Future<Output = io::Result<()>> + 'static>(
    name: &str,
    affinity: Option<Vec<usize>>,
    main: impl FnOnce() -> F + Send + 'static,
    ended: impl FnOnce(Result<(), String>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let run = move || -> Result<(), String> {
                if let Some(cores) = affinity {
                    affinity::keep_to(&cores)
                        .map_err(|error| format!("it cannot keep to cores {cores:?}: {error}"))?;
                }
                let executor = builder()
                    .make()
                    .map_err(|error| why_not_started(&error.into()))?;
                executor
                    .run(main())
                    .map_err(|error| why_not_started(&error))
            };
            ended(as_shard(run).map_err(unless_threadless).and_then(identity));
        })
}

/// An executor has a thread of its own for calls that block, and panics where there is none for it.
fn unless_threadless(why: String) -> String {
    match why.contains("failed to spawn thread") {
        true => why_not_started(&io::Error::from_raw_os_error(libc::EAGAIN)),
        false => why,
    }
}

/// What passed its check may have been taken since, or by another process of the user before. How
/// many threads there may be is not checked: nothing tells how many there are.
pub(crate) fn why_not_started(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => format!(
            "{error}: the user, or the control group, has as many threads as it may, or there is no \
             room for a thread's stack: raise `ulimit -u` and `ulimit -v`, LimitNPROC= and TasksMax= \
             in the unit, or the container's pids limit"
        ),
        Some(libc::ENOMEM) => format!(
            "{error}: there is none left, or what this user may lock (`ulimit -l`, LimitMEMLOCK= in \
             the unit) is used up, by other processes of the user, too"
        ),
        _ => error.to_string(),
    }
}

/// What an executor has locked, as the kernel counts since Linux 6.14. Without the I/O buffers it
/// would work, without a ring it is not made.
pub(crate) fn locked_bytes() -> u64 {
    let depth = RING_DEPTH as u32;
    RINGS * (queues_bytes(depth, 2 * depth) + IO_MEMORY as u64)
}

/// Its own placement asks /sys for the cores, panics where that is hidden, and knows nothing of
/// affinity and cpusets: a thread that makes an executor sets its own affinity before.
fn builder() -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT_INTERVAL)
}

/// Gives the executor a look at its own rings and timers, which it takes only when no task can run:
/// an event loop that goes on and on must do this now and then.
pub(crate) async fn yield_to_executor() {
    glommio::timer::sleep(Duration::ZERO).await;
}

/// A [`WakeFd`] as the executor waits for it: the parked shard's only wait.
pub(crate) struct WakeWait {
    wake: PollableFd<WakeFd>,
}

impl WakeWait {
    pub(crate) fn new(wake: WakeFd) -> io::Result<Self> {
        Ok(Self {
            wake: PollableFd::new(wake)?,
        })
    }

    /// An item for each time that the descriptor was signalled, which clears it. It may be left in
    /// mid-wait and polled again.
    pub(crate) fn signals(&self) -> impl Stream<Item = io::Result<()>> {
        stream::unfold(&self.wake, |wake| async move {
            let signal = match wake.readable().await {
                Ok(()) => wake.get_ref().clear(),
                Err(error) => Err(error.into()),
            };
            Some((signal, wake))
        })
    }
}
