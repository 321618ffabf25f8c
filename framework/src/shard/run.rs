//! Runs one shard to its end.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;

use crate::error::Error;
use crate::id::{Key, SlotIndex};
use crate::panics;
use crate::ring::LENT_BYTES;
use crate::runtime::WakeWait;
use crate::shard::commands::Queue;
use crate::shard::conns::slot::Slot;
use crate::shard::futures::spawn::spawn;
use crate::shard::handle::{Setup, Shard};
use crate::shard::hooks::Hooks;
use crate::shard::policy::{min_rate, request_timer};
use crate::shard::task_poller::TaskPoller;
use crate::time::Tick;

/// What a connection takes in a shard's tables: slot, its deadline and that of its send, receive
/// mode, the buffer of its send, request and rate (whether they are on or not), its turn in the
/// three paced queues that may list every connection (changes of receive mode, looks at the rate of
/// receiving and at that of sending), and the place and allocation of its task; the future itself
/// not.
pub(crate) const CONNECTION_BYTES: u64 = (size_of::<Slot>()
    + 2 * size_of::<Tick>()
    + 1
    + request_timer::BYTES
    + min_rate::BYTES
    + LENT_BYTES
    + 3 * size_of::<SlotIndex>()
    + 3 * size_of::<usize>()) as u64;

/// Runs one shard of a server: after a drain it ends well, else with the error that its ring met.
/// `make_serve` makes what serves each connection, and what is told of the rest, or says why it
/// cannot; `ready` is told once that is there. Connections are accepted when that is so of every
/// shard.
pub(crate) async fn run<S, F, K: Hooks>(
    setup: Setup,
    make_serve: impl FnOnce() -> Result<(S, K), String>,
    ready: impl FnOnce(),
) -> io::Result<()>
where
    S: Fn(Key) -> F,
    F: Future<Output = Result<(), Error>>,
{
    let (shard, wake) = enter(setup)?;
    // Caught here: what it has spawned must not be dropped by the thread's very end.
    let serve = match panics::as_shard(make_serve) {
        Ok(made) => made.map_err(|error| format!("its factory failed: {error}")),
        Err(panic) => Err(format!("its factory failed: {panic}")),
    };
    let served = serve.is_ok() && {
        ready();
        shard.commands.wait_to_serve()
    };
    match serve {
        Ok((serve, hooks)) if served => {
            let outcome = match panics::as_shard(|| hooks.started()) {
                Ok(()) => run_tasks(&shard, &wake, serve, &hooks).await,
                Err(panic) => Err(io::Error::other(format!("in on_start {panic}"))),
            };
            shard.metrics.busy_since.set(0);
            outcome
        }
        refused => {
            shard.drop_born();
            refused.map(drop).map_err(io::Error::other)
        }
    }
}

/// Runs one shard of a client until `main` has ended and the connections that it opened have
/// closed.
pub(crate) async fn run_client<F: Future<Output = ()> + 'static>(
    setup: Setup,
    main: impl FnOnce() -> F + 'static,
) -> io::Result<()> {
    let (shard, wake) = enter(setup)?;
    let finished = Rc::new(Cell::new(false));
    let drain = DrainAtEnd {
        shard: Rc::clone(&shard),
        finished: Rc::clone(&finished),
    };
    let main = async move {
        main().await;
        drain.finished.set(true);
    };
    spawn(main).map_err(io::Error::from)?;
    let outcome = run_tasks(
        &shard,
        &wake,
        |_accepted: Key| std::future::ready(Ok(())),
        &(),
    )
    .await;
    if finished.get() {
        outcome
    } else {
        outcome.and(Err(io::Error::other("its program panicked")))
    }
}

async fn run_tasks<S, F>(
    shard: &Shard,
    wake: &WakeWait,
    serve: S,
    hooks: &impl Hooks,
) -> io::Result<()>
where
    S: Fn(Key) -> F,
    F: Future<Output = Result<(), Error>>,
{
    let mut tasks = TaskPoller::new(serve);
    let outcome = shard.run_loop(wake, &mut tasks, hooks).await;
    let handler = tasks.end();
    if let Err(panic) = panics::as_shard(|| drop(handler)) {
        tracing::error!(shard = shard.id.0, panic, "the handler was dropped");
    }
    shard.drop_born();
    shard.core().conns.abandon_publications();
    shard.core().log_all_held_back();
    outcome
}

/// Ends the shard when the program on it ends, however that comes about.
struct DrainAtEnd {
    shard: Rc<Shard>,
    finished: Rc<Cell<bool>>,
}

impl Drop for DrainAtEnd {
    fn drop(&mut self) {
        self.shard.commands.drain(Queue::Serve);
    }
}

/// Makes the shard of this thread.
fn enter(setup: Setup) -> io::Result<(Rc<Shard>, WakeWait)> {
    #[cfg(feature = "failpoints")]
    crate::failpoint::enter(setup.id.0);
    let shard = Shard::enter(setup)?;
    let wake = WakeWait::new(shard.wake.clone())?;
    Ok((shard, wake))
}
