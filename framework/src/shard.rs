//! One core: a listener, a ring, buffers, a connection table and the tasks that serve its connections. Nothing of it is shared.
//!
//! In the order in which a connection meets them: [`accept`], [`connection`] (receive, send, end), [`serve`] (its handler's task),
//! [`deadline`], [`drain`]. [`turn`] is the loop that drives them, [`wake`] how tasks come to be polled; [`table`] and [`queue`] are what
//! they work on.

pub(crate) mod accept;
mod bounds;
mod connection;
pub(crate) mod deadline;
mod drain;
mod pace;
pub(crate) mod panics;
mod queue;
mod serve;
mod table;
mod throttle;
mod turn;
mod wake;

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use accept::Acceptor;
use bounds::Bounds;
use deadline::Tick;
use drain::Drain;
use pace::Pace;
use serve::Tasks;
use table::Table;
use throttle::Throttle;
use turn::Grace;
use wake::{Registered, Wakes};

use crate::config::Config;
use crate::conn::Conn;
use crate::handler::Handler;
use crate::metrics::Metrics;
use crate::ring::buffers::{Pool, Span};
use crate::ring::{Completion, Key, Ring, WakeFd};
use crate::runtime::WakeWait;

pub(crate) use table::Waiting;
pub(crate) use wake::wake_named;

/// A shard's number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A connection's name, unique in its process until its slot has been used 2^32 times: `shard.slot.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    shard: ShardId,
    slot: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(shard: ShardId, key: Key) -> Self {
        Self { shard, slot: key.slot.0, generation: key.generation.number() }
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.shard, self.slot, self.generation)
    }
}

/// What the control thread tells a shard: it only ever grows.
#[derive(Debug, Default)]
pub(crate) struct Orders(AtomicU8);

impl Orders {
    const DRAIN: u8 = 1;

    pub(crate) fn drain(&self) {
        self.0.store(Self::DRAIN, Ordering::Release);
    }

    fn says_drain(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::DRAIN
    }
}

/// All that a shard needs to start, made by the control thread.
pub(crate) struct Setup {
    pub(crate) id: ShardId,
    pub(crate) connections_max: u32,
    pub(crate) config: Arc<Config>,
    pub(crate) listener: TcpListener,
    pub(crate) local_addr: SocketAddr,
    pub(crate) wake: WakeFd,
    pub(crate) orders: Arc<Orders>,
    pub(crate) metrics: Arc<Metrics>,
    /// The server's start: tick 0, and the zero of `busy_since`.
    pub(crate) started: Instant,
}

thread_local! {
    /// The shard of this thread. It stands here and not in every connection and chunk because these are the memory of an idle
    /// connection: a pointer saved in each is 32 bytes in an echo.
    static CURRENT: OnceCell<Rc<Shard>> = const { OnceCell::new() };
}

/// One shard, shared by its pump, its tasks and their connections: all of them on its thread.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) local_addr: SocketAddr,
    pub(crate) pool: Rc<Pool>,
    pub(crate) metrics: Arc<Metrics>,
    state: RefCell<State>,
    orders: Arc<Orders>,
    started: Instant,
    /// Wakes the pump while it is parked.
    parked: Cell<Option<Waker>>,
    /// How other threads wake tasks of this shard.
    registered: Registered,
}

/// What changes in a shard, behind one borrow. Nobody holds it across a wake, a poll or an await.
pub(crate) struct State {
    ring: Ring,
    table: Table,
    acceptor: Acceptor,
    drain: Drain,
    bounds: Bounds,
    pool: Rc<Pool>,
    metrics: Arc<Metrics>,
    id: ShardId,
    /// The time of this turn, since the server's start, and its tick.
    clock: Duration,
    now: Tick,
    wakes: Wakes,
    /// Connections whose receive waits for a buffer.
    starved: Vec<Key>,
    /// The turn's completions.
    completions: Vec<Completion>,
    panics: Throttle,
    refused_accepts: Throttle,
    /// The tick that the timer in the kernel is set to; never if there is none.
    timer: Tick,
    pace: Pace,
    /// When to give memory back, if nothing is received until then.
    trim_due: Tick,
    grace: Grace,
}

impl Shard {
    /// Makes the shard's ring and buffers, on the shard's own thread.
    fn new(setup: Setup) -> io::Result<(Rc<Self>, WakeWait)> {
        let config = &*setup.config;
        let pool = Rc::new(Pool::new(config.buffers.size, config.buffers.count)?);
        // Never freed: a handler may keep a chunk in a thread-local that is destroyed after the shard.
        std::mem::forget(Rc::clone(&pool));
        let mut ring = Ring::new(setup.connections_max, config.limits.accepts_in_flight_max, Rc::clone(&pool))?;
        ring.register_wake(&setup.wake)?;
        let state = State {
            ring,
            table: Table::with_capacity(setup.connections_max),
            acceptor: Acceptor::new(setup.listener, config.limits.accepts_in_flight_max),
            drain: Drain::default(),
            bounds: Bounds::of(config),
            pool: Rc::clone(&pool),
            metrics: Arc::clone(&setup.metrics),
            id: setup.id,
            clock: setup.started.elapsed(),
            now: Tick::at(setup.started.elapsed()),
            wakes: Wakes::default(),
            starved: Vec::new(),
            completions: Vec::new(),
            panics: Throttle::new(),
            refused_accepts: Throttle::new(),
            timer: Tick::NEVER,
            pace: Pace::new(config.limits.gather_completions_max),
            trim_due: Tick::NEVER,
            grace: Grace::NONE,
        };
        let shard = Self {
            id: setup.id,
            local_addr: setup.local_addr,
            pool,
            metrics: setup.metrics,
            state: RefCell::new(state),
            orders: setup.orders,
            started: setup.started,
            parked: Cell::new(None),
            registered: Registered::new(setup.id, setup.wake.try_clone()?),
        };
        Ok((Rc::new(shard), WakeWait::new(setup.wake)))
    }

    /// This thread's shard. Handlers, connections and chunks live on shard threads only.
    pub(crate) fn with<R>(act: impl FnOnce(&Self) -> R) -> R {
        CURRENT.with(|current| act(current.get().expect("a connection or chunk never leaves its shard's thread")))
    }

    /// Releases a span of this thread's pool. At the thread's very end the shard may be gone already; then nobody needs the buffer.
    pub(crate) fn release(span: Span) {
        let _gone = CURRENT.try_with(|current| current.get().map(|shard| shard.pool.release(span)));
    }

    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }
}

/// Runs one shard to its end: after a drain, or with the error that its ring met. `ready` is told once connections can be served.
pub(crate) async fn run<H: Handler>(setup: Setup, handler: H, ready: impl FnOnce()) -> io::Result<()> {
    let (shard, wake) = Shard::new(setup)?;
    let shard = CURRENT.with(|current| Rc::clone(current.get_or_init(|| shard)));
    ready();
    let handler = &handler;
    let mut tasks = Tasks::new(|key| async move { handler.serve(&mut Conn::new(key)).await });
    let outcome = shard.pump(&wake, &mut tasks).await;
    shard.metrics.busy_since.set(0);
    outcome.and(wake.close().await)
}
