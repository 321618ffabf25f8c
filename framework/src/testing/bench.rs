//! A shard of one test, and the loop that drives it: turn, tasks, the test's program, the kernel's
//! part; and where none of them goes on, time does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::id::{Key, ListenerIndex, ServerNumber, ShardId, SlotIndex};
use crate::ring::WakeFd;
use crate::ring::stand_in::StandIn;
use crate::settings::Settings;
use crate::shard::handle::{Setup, Shard, ShardListener};
use crate::shard::policy::bounds::MemoryShare;
use crate::shard::task::bell::Bells;
use crate::shard::task_poller::TaskPoller;
use crate::testing::kernel::Kernel;
use crate::time;
use crate::tls::Acceptances;

/// Connections that are open at a time.
const CONNECTIONS_MAX: u32 = 256;
/// How often time may go on without the program doing anything, before it is taken for stuck.
const WAITS_MAX: u32 = 1_000_000;

pub(super) type Task = Pin<Box<dyn Future<Output = Result<(), Error>>>>;
/// Makes the task of a connection that was accepted.
type Start = Box<dyn FnOnce(Key) -> Task>;

thread_local! {
    /// The bench of this thread, while a program runs on it.
    static BENCH: RefCell<Option<Rc<Bench>>> = const { RefCell::new(None) };
}

/// A shard, its peers, and what is to serve connections that begin.
pub(super) struct Bench {
    shard: Rc<Shard>,
    pub(super) kernel: RefCell<Kernel>,
    /// By the slots of connections that were accepted and have not begun.
    starts: RefCell<BTreeMap<u32, Start>>,
    clock: Cell<Duration>,
    /// A peer has done something since the last look.
    is_stirred: Cell<bool>,
}

/// Runs `program` on a shard of its own with the default settings, on a thread of its own, and
/// gives what it ends with. A panic of the program is the caller's.
///
/// # Panics
///
/// When the program waits for what can never happen.
pub fn block_on<T, F>(program: impl FnOnce() -> F + Send) -> T
where
    T: Send,
    F: Future<Output = T>,
{
    block_on_with(Settings::new(), program)
}

/// As [`block_on`], with these settings; what concerns the machine, listeners and the log has no
/// effect.
///
/// ```
/// use std::time::Duration;
///
/// use corelane::{CloseReason, Settings, from_fn, testing};
///
/// let settings = Settings::new().set("timeouts.first_byte", Duration::from_secs(1));
/// testing::block_on_with(settings, async || {
///     let mut peer = testing::serve(from_fn(async |conn| conn.read().await.map(drop)));
///     assert_eq!(peer.closed().await, CloseReason::FirstByteTimeout);
/// });
/// ```
///
/// # Panics
///
/// As [`block_on`], and when the settings are wrong.
pub fn block_on_with<T, F>(settings: Settings, program: impl FnOnce() -> F + Send) -> T
where
    T: Send,
    F: Future<Output = T>,
{
    let run = move || {
        let bench = Rc::new(Bench::new(&settings));
        BENCH.set(Some(Rc::clone(&bench)));
        let ended = bench.drive(program());
        BENCH.set(None);
        ended
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Time that has gone by since the program began, all of it virtual.
///
/// # Panics
///
/// Elsewhere than in the program of [`block_on`]; so do [`serve`](super::serve) and [`pair`](super::pair).
pub fn elapsed() -> Duration {
    Bench::current().clock.get()
}

/// Whether the program is to be polled.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Bench {
    fn new(settings: &Settings) -> Self {
        let config = settings.load();
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let started = Instant::now();
        time::set_virtual(started);
        let setup = Setup {
            id: ShardId(0),
            server: ServerNumber::next(),
            connections_max: CONNECTIONS_MAX,
            memory: MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
            config: Arc::new(config),
            listeners: vec![ShardListener::stand_in(([127, 0, 0, 1], 7007).into())],
            tls: Acceptances::default(),
            wake: WakeFd::new().expect("there is a descriptor left"),
            commands: Arc::default(),
            bells: Bells::default(),
            metrics: Arc::default(),
            started,
        };
        StandIn::begin_on_this_thread();
        let shard = Shard::enter(setup).expect("there is memory");
        Self {
            shard,
            kernel: RefCell::default(),
            starts: RefCell::default(),
            clock: Cell::new(Duration::ZERO),
            is_stirred: Cell::new(false),
        }
    }

    pub(super) fn current() -> Rc<Self> {
        let current = BENCH.with_borrow(Option::clone);
        current.expect("this is for programs that `testing::block_on` runs")
    }

    /// A peer has done something.
    pub(super) fn stir(&self) {
        self.is_stirred.set(true);
    }

    /// A connection from a new peer, which `start` serves.
    pub(super) fn accept(&self, start: impl FnOnce(Key) -> Task + 'static) -> (Key, usize) {
        let connected = self.kernel.borrow_mut().connect(CONNECTIONS_MAX);
        let (slot, wire) = connected.expect("no more than 256 connections at a time");
        self.starts.borrow_mut().insert(slot, Box::new(start));
        let mut core = self.shard.core();
        let port = 1024 + (wire % 60_000) as u16;
        core.open(
            SlotIndex(slot),
            ([127, 0, 0, 1], port).into(),
            ListenerIndex(0),
        );
        let conn = core.conns.at(SlotIndex(slot));
        let key = conn.expect("it was opened just now").key;
        self.stir();
        (key, wire)
    }

    /// Runs `program` to its end.
    fn drive<F: Future>(&self, program: F) -> F::Output {
        let mut program = pin!(program);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut tasks = TaskPoller::new(|key: Key| -> Task {
            let start = self.starts.borrow_mut().remove(&key.slot.0);
            start.expect("a connection begins once")(key)
        });
        let mut waits = 0;
        loop {
            self.shard.turn(self.clock.get());
            self.tell_closed();
            tasks.run(&self.shard);
            let is_due = woken.0.swap(false, Ordering::AcqRel);
            if is_due {
                waits = 0;
                if let Poll::Ready(ended) = self.poll(program.as_mut(), &waker) {
                    let _serve = tasks.end();
                    return ended;
                }
            }
            let went_on = self.enter() || self.is_stirred.take() || is_due;
            if !went_on && !woken.0.load(Ordering::Acquire) && !self.shard.core().has_due() {
                waits += 1;
                assert!(
                    waits <= WAITS_MAX,
                    "the program waits for what does not happen"
                );
                self.wait();
            }
        }
    }

    fn poll<F: Future>(&self, program: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
        let mut core = self.shard.core();
        let shared = &mut core.conns.shared;
        shared.reads_left = shared.bounds.reads_per_turn_max;
        drop(core);
        let polled = program.poll(&mut Context::from_waker(waker));
        self.shard.core().conns.after_poll();
        polled
    }

    /// Tells the peers of connections that the turn has closed.
    fn tell_closed(&self) {
        let left = std::mem::take(&mut self.shard.core().left);
        let mut kernel = self.kernel.borrow_mut();
        for closed in left {
            kernel.closed(closed.key.slot.0, closed.reason);
        }
    }

    /// True: the kernel's part has something new for the shard.
    fn enter(&self) -> bool {
        let mut core = self.shard.core();
        core.feed();
        let ring = &mut core.conns.shared.ring;
        self.kernel.borrow_mut().enter(ring, &self.shard.buffers)
    }

    /// Lets time go on to what is due next.
    fn wait(&self) {
        let due = self.shard.core().next_due();
        let due = due.expect("the program waits for what can never happen");
        let now = due.max(self.clock.get() + Duration::from_millis(1));
        self.clock.set(now);
        time::set_virtual(self.shard.started + now);
    }
}
