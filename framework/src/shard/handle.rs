//! The shard of a thread: what its event loop, its tasks and their connections share, all of them
//! on its thread.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::io;
#[cfg(any(test, fuzzing, feature = "testing"))]
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::blocking::Blocking;
#[cfg(any(test, fuzzing, feature = "testing"))]
use crate::config::ONLY;
use crate::config::{Config, Endpoint};
use crate::id::{Key, ServerNumber, ShardId};
use crate::metrics::Metrics;
use crate::panics;
use crate::ring::buffers::{BufRef, BufferPool};
use crate::ring::{WakeFd, wake_by};
use crate::shard::commands::Commands;
use crate::shard::conns::entrances::Entrance;
use crate::shard::core::{Core, CoreParts};
use crate::shard::policy::bounds::MemoryShare;
use crate::shard::policy::log_limit::LogKind;
use crate::shard::state::acceptor::ListenSocket;
use crate::shard::task::bell::Bells;
use crate::shard::task::wake::{Registered, ShardNumber, Waiter, named, wake_elsewhere};
use crate::tls::Acceptances;

thread_local! {
    /// The shard of this thread. It stands here and not in every connection and chunk because these
    /// are the memory of an idle connection: a pointer saved in each is 32 bytes in an echo.
    static CURRENT: OnceCell<Rc<Shard>> = const { OnceCell::new() };
}

/// All that a shard needs to start, made by the control thread.
pub(crate) struct Setup {
    pub(crate) id: ShardId,
    pub(crate) server: ServerNumber,
    /// Connections that it accepts at most.
    pub(crate) connections_max: u32,
    pub(crate) memory: MemoryShare,
    pub(crate) config: Arc<Config>,
    /// In the order of the settings. None: a shard of a client.
    pub(crate) listeners: Vec<ShardListener>,
    /// What their connections shake hands by, in the same order.
    pub(crate) tls: Acceptances,
    pub(crate) wake: WakeFd,
    pub(crate) commands: Arc<Commands>,
    /// Of the server's shards, where they send each other messages.
    pub(crate) bells: Bells,
    pub(crate) metrics: Arc<Metrics>,
    /// The server's start: tick 0, and the zero of `busy_since`.
    pub(crate) started: Instant,
}

/// A listener, as one shard has it.
#[derive(Debug)]
pub(crate) struct ShardListener {
    pub(crate) name: String,
    /// With the real port.
    pub(crate) endpoint: Endpoint,
    pub(crate) socket: ListenSocket,
}

impl ShardListener {
    /// One by which nobody comes: a test says who has.
    #[cfg(any(test, fuzzing, feature = "testing"))]
    pub(crate) fn stand_in(address: SocketAddr) -> Self {
        Self {
            name: ONLY.to_owned(),
            endpoint: Endpoint::Tcp(address),
            socket: ListenSocket {
                socket: None,
                is_kept: false,
            },
        }
    }
}

/// One shard.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) buffers: Rc<BufferPool>,
    pub(crate) metrics: Arc<Metrics>,
    core: RefCell<Core>,
    pub(crate) commands: Arc<Commands>,
    /// What tells this shard and the others of messages.
    pub(crate) bells: Rc<Bells>,
    pub(crate) started: Instant,
    /// How long to look for work before a wait; none: not at all.
    pub(crate) spin: Option<Duration>,
    /// Somebody may ask how long turns last.
    pub(crate) measures_turns: bool,
    /// Wakes the event loop while it is parked.
    pub(crate) parked: Cell<Option<Waker>>,
    /// Threads for what blocks.
    pub(crate) blocking: Blocking,
    /// How other threads wake tasks of this shard.
    pub(crate) registered: Registered,
    /// What they and the control thread signal: it ends whatever the shard waits in.
    pub(crate) wake: WakeFd,
}

impl Shard {
    /// Makes the shard of this thread, unless it has one.
    pub(crate) fn enter(setup: Setup) -> io::Result<Rc<Self>> {
        wake_by(wake_named);
        let shard = Self::new(setup)?;
        Ok(CURRENT.with(|current| Rc::clone(current.get_or_init(|| shard))))
    }

    fn new(setup: Setup) -> io::Result<Rc<Self>> {
        let config = &*setup.config;
        let limits = &config.limits;
        let buffers = Rc::new(BufferPool::new(config.buffers.size, config.buffers.count)?);
        let registered = Registered::new(setup.wake.clone())
            .ok_or_else(|| io::Error::other("the process has too many shards"))?;
        let listeners = setup.listeners.iter();
        let entrances = listeners.map(|one| Entrance::new(&one.name, &one.endpoint));
        let entrances = entrances.collect();
        let sockets = setup.listeners.into_iter().map(|listener| listener.socket);
        let mut core = Core::new(CoreParts {
            id: setup.id,
            server: setup.server,
            number: registered.number,
            connections_max: setup.connections_max,
            memory: setup.memory,
            config: Arc::clone(&setup.config),
            listeners: sockets.collect(),
            entrances,
            tls: setup.tls,
            buffers: Rc::clone(&buffers),
            metrics: Arc::clone(&setup.metrics),
            clock: setup.started.elapsed(),
        })?;
        core.conns.shared.ring.register_wake(&setup.wake)?;
        Ok(Rc::new(Self {
            id: setup.id,
            buffers,
            metrics: setup.metrics,
            core: RefCell::new(core),
            commands: setup.commands,
            bells: Rc::new(setup.bells),
            started: setup.started,
            spin: config.server.spin,
            measures_turns: config.admin.is_on(),
            parked: Cell::new(None),
            blocking: Blocking::new(
                setup.id,
                limits.blocking_threads_per_shard_max,
                limits.blocking_waiting_per_shard_max,
            ),
            registered,
            wake: setup.wake,
        }))
    }

    /// This thread's shard. Handlers, connections and chunks live on shard threads only.
    pub(crate) fn with<R>(act: impl FnOnce(&Self) -> R) -> R {
        CURRENT.with(|current| {
            act(current
                .get()
                .expect("a connection or chunk never leaves its shard's thread"))
        })
    }

    /// As [`Self::with`], where it may be too late: at the thread's very end, or with a shard that
    /// is gone.
    pub(crate) fn try_with<R>(act: impl FnOnce(&Self) -> R) -> Option<R> {
        CURRENT
            .try_with(|current| current.get().map(|shard| act(shard)))
            .ok()
            .flatten()
    }

    /// This thread's shard, if there is one.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn current() -> Option<Rc<Self>> {
        CURRENT.with(|current| current.get().map(Rc::clone))
    }

    /// Releases a buffer of this thread's pool. At the thread's very end the shard may be gone
    /// already; then nobody needs the buffer.
    pub(crate) fn release(buffer: BufRef) {
        let _gone = Self::try_with(|shard| shard.buffers.release(buffer));
    }

    pub(crate) fn core(&self) -> RefMut<'_, Core> {
        self.core.borrow_mut()
    }

    pub(crate) fn number(&self) -> ShardNumber {
        self.registered.number
    }

    /// Drops what was spawned before the shard served anybody, and never will be polled.
    pub(crate) fn drop_born(&self) {
        let born = self.core().spawned.take_born();
        if let Err(panic) = panics::as_shard(|| drop(born)) {
            tracing::error!(shard = self.id.0, panic, "a spawned task was dropped");
        }
    }

    /// Wakes a task of this thread's shard, and the event loop that polls it.
    fn wake_here(&self, key: Key) {
        self.core().wake(key);
        self.end_park();
    }

    fn end_park(&self) {
        if let Some(event_loop) = self.parked.take() {
            event_loop.wake();
        }
    }
}

/// A handler may keep a chunk in a thread-local that is destroyed after the shard: then the buffers
/// stay for ever.
impl Drop for Shard {
    fn drop(&mut self) {
        if self.buffers.referenced() > 0 {
            std::mem::forget(Rc::clone(&self.buffers));
        }
    }
}

/// Wakes the task of that name, from any thread; nothing happens when there is none any more.
pub(crate) fn wake_named(name: usize) {
    let (number, key) = named(name);
    let here = Shard::try_with(|shard| {
        let is_here = shard.number() == number;
        if is_here {
            shard.wake_here(key);
        }
        is_here
    });
    if here != Some(true) {
        wake_elsewhere(number, name);
    }
}

/// Wakes whoever that is, on this thread's shard.
pub(crate) fn wake_waiter(waiter: Waiter) {
    Shard::try_with(|shard| {
        shard.core().wake_waiter(waiter);
        shard.end_park();
    });
}

/// Whether a handler's panic that happens now, on this thread, is one to describe. While the core
/// is borrowed it is our own code's: then it is.
pub(crate) fn describes_panics() -> bool {
    Shard::try_with(|shard| {
        shard.core.try_borrow().map_or(true, |core| {
            let shared = &core.conns.shared;
            shared.log.is_open(LogKind::HandlerPanicked, shared.now)
        })
    })
    .unwrap_or(true)
}
