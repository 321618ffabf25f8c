//! One core: a listener, a ring, buffers, a connection table and the tasks that serve its
//! connections. Nothing of it is shared.
//!
//! In the order in which a connection meets them: [`accept`] and [`admission`], or [`dial`],
//! [`connection`] (its life and end), [`input`], [`output`], [`serve`] (its handler's task),
//! [`deadline`], [`request`], [`progress`], [`pressure`], [`drain`]. [`idle`] is for connections in
//! a pool, [`spawn`] and [`sleep`] are for tasks beside connections. [`turn`] is the loop that
//! drives them, [`wake`] how tasks come to be polled; [`table`] and [`queue`] are what they work
//! on.

pub(crate) mod accept;
mod addresses;
mod admission;
mod backoff;
mod bounds;
mod connection;
pub(crate) mod deadline;
mod dial;
mod drain;
mod executor;
#[cfg(any(test, fuzzing))]
pub(crate) mod framing;
mod grace;
mod idle;
mod input;
pub(crate) mod interest;
#[cfg(test)]
mod model;
mod notify;
mod output;
mod pace;
pub(crate) mod panics;
pub(crate) mod pressure;
mod progress;
mod queue;
mod rate;
mod request;
mod serve;
mod sleep;
mod spawn;
mod spread;
#[cfg(any(test, fuzzing))]
mod stand_in;
mod table;
mod tempo;
mod throttle;
mod turn;
mod wake;

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use accept::Acceptor;
use admission::Admission;
use bounds::Bounds;
use dial::Dials;
use drain::{Drain, Drainers};
use grace::Grace;
use pace::Pace;
use pressure::Pressure;
use progress::Flows;
use request::Requests;
use serve::Tasks;
use sleep::Sleepers;
use spawn::SpawnTable;
use table::Table;
use tempo::Tempos;
use wake::{Registered, ShardNumber, Wakes};

use crate::config::Config;
use crate::conn::Conn;
use crate::error::Error;
use crate::handler::Handler;
use crate::metrics::Metrics;
use crate::preflight::MemoryShare;
use crate::ring::buffers::{Pool, Span};
use crate::ring::{Completion, Key, Ring, SlotIndex, WakeFd};
use crate::runtime::WakeWait;
use crate::unblock::Blocking;

pub(crate) use deadline::Tick;
pub(crate) use dial::{Stage as DialStage, Target};
pub use drain::{Draining, draining};
pub use executor::{OnExecutor, on_executor};
pub(crate) use interest::Interest;
pub use notify::{Notified, Notify};
pub(crate) use request::Reading;
pub use sleep::{Sleep, sleep, sleep_until};
pub use spawn::spawn;
pub(crate) use throttle::{Subject, Throttles};
pub(crate) use wake::{Sleeper, rouse, wake_named};

/// What a connection takes in a shard's tables: slot, its deadline and that of its send, tempo,
/// request and flow (whether they are on or not), its turn at each of three things that are spread
/// over a time, and the place and allocation of its task; the future itself not.
pub(crate) const CONNECTION_BYTES: u64 = (size_of::<table::Slot>()
    + 2 * size_of::<Tick>()
    + 1
    + request::BYTES
    + progress::BYTES
    + 3 * size_of::<SlotIndex>()
    + 3 * size_of::<usize>()) as u64;

/// A shard's number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A connection's name, unique in its process until its slot has been used 2^32 times:
/// `shard.slot.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    shard: ShardId,
    slot: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(shard: ShardId, key: Key) -> Self {
        Self {
            shard,
            slot: key.slot.0,
            generation: key.generation.number(),
        }
    }
}

impl ConnId {
    /// What [`Self::of_word`] makes a name of again.
    fn word(key: Key) -> u64 {
        u64::from(key.slot.0) << 32 | u64::from(key.generation.number())
    }

    /// As [`Metrics::serving`] has it; none for 0, which says that nobody was served yet.
    pub(crate) fn of_word(shard: ShardId, word: u64) -> Option<Self> {
        (word != 0).then_some(Self {
            shard,
            slot: (word >> 32) as u32,
            generation: word as u32,
        })
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}.{}.{}",
            self.shard, self.slot, self.generation
        )
    }
}

/// What the control thread tells a shard.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// It only ever grows.
    stage: AtomicU8,
    memory_short: AtomicBool,
}

impl Orders {
    const SERVE: u8 = 1;
    const DRAIN: u8 = 2;

    /// Every shard has its handler.
    pub(crate) fn serve(&self) {
        self.stage.fetch_max(Self::SERVE, Ordering::Release);
    }

    /// Waits for the order to serve; false if the order is to drain, so that nobody is to be
    /// served. The control thread unparks.
    fn wait_to_serve(&self) -> bool {
        loop {
            match self.stage.load(Ordering::Acquire) {
                Self::SERVE => return true,
                Self::DRAIN => return false,
                _ => std::thread::park(),
            }
        }
    }

    pub(crate) fn drain(&self) {
        self.stage.store(Self::DRAIN, Ordering::Release);
    }

    fn says_drain(&self) -> bool {
        self.stage.load(Ordering::Acquire) == Self::DRAIN
    }

    /// Whether the memory of the process nears its end.
    pub(crate) fn tell_memory(&self, short: bool) {
        self.memory_short.store(short, Ordering::Relaxed);
    }

    fn memory_is_short(&self) -> bool {
        self.memory_short.load(Ordering::Relaxed)
    }
}

/// All that a shard needs to start, made by the control thread.
pub(crate) struct Setup {
    pub(crate) id: ShardId,
    /// Connections that it accepts at most.
    pub(crate) connections_max: u32,
    pub(crate) memory: MemoryShare,
    pub(crate) config: Arc<Config>,
    /// None: a shard of a client.
    pub(crate) listener: Option<TcpListener>,
    pub(crate) local_addr: SocketAddr,
    pub(crate) wake: WakeFd,
    pub(crate) orders: Arc<Orders>,
    pub(crate) metrics: Arc<Metrics>,
    /// The server's start: tick 0, and the zero of `busy_since`.
    pub(crate) started: Instant,
}

thread_local! {
    /// The shard of this thread. It stands here and not in every connection and chunk because these
    /// are the memory of an idle connection: a pointer saved in each is 32 bytes in an echo.
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
    /// How long to look for work before a wait; none: not at all.
    spin: Option<Duration>,
    /// Wakes the pump while it is parked.
    parked: Cell<Option<Waker>>,
    /// Threads for what blocks.
    pub(crate) blocking: Blocking,
    /// How other threads wake tasks of this shard.
    registered: Registered,
    /// What they and the control thread signal: it ends whatever the shard waits in.
    wake: WakeFd,
}

/// What changes in a shard, behind one borrow. Nobody holds it across a wake, a poll or an await.
pub(crate) struct State {
    ring: Ring,
    table: Table,
    tempos: Tempos,
    requests: Requests,
    flows: Flows,
    acceptor: Acceptor,
    admission: Admission,
    dials: Dials,
    drain: Drain,
    drainers: Drainers,
    bounds: Bounds,
    /// Bytes received and not read, and bytes written and not taken by the kernel, of all
    /// connections.
    unread: u64,
    unsent: u64,
    pressure: Pressure,
    pool: Rc<Pool>,
    metrics: Arc<Metrics>,
    id: ShardId,
    number: ShardNumber,
    /// The time of this turn, since the server's start, and its tick.
    clock: Duration,
    now: Tick,
    wakes: Wakes,
    /// Something was to be sent behind a send of this turn, whose end may be told with the next
    /// entry only.
    is_behind: bool,
    /// Whether the ring watches what other threads signal.
    is_watched: bool,
    /// Connections that the task being polled has written to or waited for.
    touched: Vec<Key>,
    /// What the task that is being polled may still read before it is the others' turn.
    reads_left: u32,
    spawned: SpawnTable,
    sleepers: Sleepers,
    /// Connections whose receive waits for a buffer.
    starved: Vec<Key>,
    /// The turn's completions.
    completions: Vec<Completion>,
    /// How much of what peers can cause is logged.
    throttles: Throttles,
    /// The tick that the timer in the kernel is set to; never if there is none.
    timer: Tick,
    pace: Pace,
    /// When to give memory back, if nothing is received until then.
    trim_due: Tick,
    grace: Grace,
}

impl Shard {
    /// Makes the shard's ring and buffers, on the shard's own thread.
    fn new(setup: Setup) -> io::Result<Rc<Self>> {
        let config = &*setup.config;
        let pool = Rc::new(Pool::new(config.buffers.size, config.buffers.count)?);
        // Never freed: a handler may keep a chunk in a thread-local that is destroyed after the
        // shard.
        std::mem::forget(Rc::clone(&pool));
        let (accepted_max, outbound_max) = (setup.connections_max, config.outbound_per_shard());
        let limits = &config.limits;
        let spare_max = config.spare_per_shard();
        let places = (accepted_max + spare_max + outbound_max).max(1);
        let mut ring = Ring::new(
            places,
            limits.accepts_in_flight_max,
            limits.connects_in_flight_max,
            Rc::clone(&pool),
        )?;
        ring.register_wake(&setup.wake)?;
        let registered = Registered::new(setup.wake.clone())
            .ok_or_else(|| io::Error::other("the process has too many shards"))?;
        let state = State {
            ring,
            table: Table::with_capacity(accepted_max, spare_max, outbound_max),
            tempos: Tempos::with_capacity(places),
            requests: Requests::new(config.timeouts.request, bounds::receive_rate(limits)),
            flows: Flows::new(bounds::send_rate(limits)),
            acceptor: Acceptor::new(setup.listener, config),
            admission: Admission::new(&config.limits.admission, setup.started.elapsed()),
            dials: Dials::new(Arc::clone(&setup.config)),
            drain: Drain::default(),
            drainers: Drainers::default(),
            bounds: Bounds::of(config, setup.memory),
            unread: 0,
            unsent: 0,
            pressure: Pressure::new(),
            pool: Rc::clone(&pool),
            metrics: Arc::clone(&setup.metrics),
            id: setup.id,
            number: registered.number,
            clock: setup.started.elapsed(),
            now: Tick::at(setup.started.elapsed()),
            wakes: Wakes::default(),
            is_behind: false,
            is_watched: false,
            touched: Vec::new(),
            reads_left: 0,
            spawned: SpawnTable::default(),
            sleepers: Sleepers::default(),
            starved: Vec::new(),
            completions: Vec::new(),
            throttles: Throttles::new(config.log.lines_per_reason_max),
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
            spin: config.server.spin,
            parked: Cell::new(None),
            blocking: Blocking::new(
                setup.id,
                config.limits.blocking_threads_per_shard_max,
                config.limits.blocking_waiting_per_shard_max,
            ),
            registered,
            wake: setup.wake,
        };
        Ok(Rc::new(shard))
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

    /// Releases a span of this thread's pool. At the thread's very end the shard may be gone
    /// already; then nobody needs the buffer.
    pub(crate) fn release(span: Span) {
        let _gone = Self::try_with(|shard| shard.pool.release(span));
    }

    /// Drops what was spawned before the shard served anybody, and never will be polled.
    fn drop_born(&self) {
        let born = self.state().take_born();
        if let Err(panic) = panics::as_shard(|| drop(born)) {
            tracing::error!(shard = self.id.0, panic, "a spawned task was dropped");
        }
    }

    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }
}

/// Runs one shard of a server to its end: after a drain, or with the error that its ring met.
/// `ready` is told once there is a handler; connections are accepted when that is so of every
/// shard.
pub(crate) async fn run<H: Handler>(
    setup: Setup,
    factory: impl FnOnce() -> Result<H, String>,
    ready: impl FnOnce(),
) -> io::Result<()> {
    let (shard, wake) = enter(setup)?;
    // Caught here: what it has spawned must not be dropped by the thread's very end.
    let handler = match panics::as_shard(factory) {
        Ok(made) => made.map_err(|error| format!("its factory failed: {error}")),
        Err(panic) => Err(format!("its factory failed: {panic}")),
    };
    let served = handler.is_ok() && {
        ready();
        shard.orders.wait_to_serve()
    };
    let handler = match handler {
        Ok(handler) if served => handler,
        refused => {
            shard.drop_born();
            return refused.map(drop).map_err(io::Error::other);
        }
    };
    let handler = &handler;
    let mut tasks = Tasks::new(|key| serve(handler, key));
    let outcome = shard.pump(&wake, &mut tasks).await;
    tasks.end();
    shard.drop_born();
    shard.state().tell_all_held_back();
    shard.metrics.busy_since.set(0);
    outcome
}

fn serve<H: Handler>(handler: &H, key: Key) -> impl Future<Output = Result<(), Error>> {
    // Made out here: a local of the block would lie in the future beside what the block was given.
    let mut conn = Conn::new(key);
    async move { handler.serve(&mut conn).await }
}

/// Bytes of the future of one connection of that handler.
pub(crate) fn task_bytes<H: Handler>() -> usize {
    fn made_by<'h, H: 'h, F>(_serve: impl Fn(&'h H, Key) -> F) -> usize {
        size_of::<F>()
    }
    made_by::<H, _>(serve::<H>)
}

/// Runs one shard of a client until `main` has ended and the connections that it opened have
/// closed.
pub(crate) async fn run_client<F: Future<Output = ()> + 'static>(
    setup: Setup,
    main: impl FnOnce() -> F + 'static,
) -> io::Result<()> {
    let (shard, wake) = enter(setup)?;
    let finished = Rc::new(Cell::new(false));
    let order = OrderAtEnd {
        shard: Rc::clone(&shard),
        finished: Rc::clone(&finished),
    };
    let main = async move {
        main().await;
        order.finished.set(true);
    };
    spawn(main).map_err(io::Error::from)?;
    let mut tasks = Tasks::new(|_accepted: Key| std::future::ready(Ok(())));
    let outcome = shard.pump(&wake, &mut tasks).await;
    tasks.end();
    shard.drop_born();
    shard.state().tell_all_held_back();
    if finished.get() {
        outcome
    } else {
        outcome.and(Err(io::Error::other("its program panicked")))
    }
}

/// Ends the shard when the program on it ends, however that comes about.
struct OrderAtEnd {
    shard: Rc<Shard>,
    finished: Rc<Cell<bool>>,
}

impl Drop for OrderAtEnd {
    fn drop(&mut self) {
        self.shard.orders.drain();
    }
}

/// Makes the shard of this thread.
fn enter(setup: Setup) -> io::Result<(Rc<Shard>, WakeWait)> {
    #[cfg(feature = "failpoints")]
    crate::failpoint::enter(setup.id.0);
    let shard = Shard::new(setup)?;
    let wake = WakeWait::new(shard.wake.clone())?;
    Ok((
        CURRENT.with(|current| Rc::clone(current.get_or_init(|| shard))),
        wake,
    ))
}
