//! All that changes in a shard, behind one borrow. Nobody holds it across a wake, a poll or an
//! await.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, InForce};
use crate::id::{Key, ServerNumber, ShardId};
use crate::metrics::Metrics;
use crate::ring::buffers::BufferPool;
use crate::ring::{Completion, Ring};
use crate::shard::commands::survey::Survey;
use crate::shard::conns::deadline::Deadlines;
use crate::shard::conns::entrances::{Entrance, Entrances};
use crate::shard::conns::interest::Wakers;
use crate::shard::conns::own_timeouts::OwnTimeouts;
use crate::shard::conns::proxied::Proxies;
use crate::shard::conns::queue::Segments;
use crate::shard::conns::table::Table;
use crate::shard::conns::tls::Sessions;
use crate::shard::conns::topics::{self, Topics};
use crate::shard::conns::{Conns, Ended, Inboxes, Places, Shared};
use crate::shard::policy::admission::Admission;
use crate::shard::policy::bounds::{self, Bounds, MemoryShare};
use crate::shard::policy::grace::Grace;
use crate::shard::policy::log_limit::LogLimiter;
use crate::shard::policy::min_rate::MinRate;
use crate::shard::policy::overload::Overload;
use crate::shard::policy::recv_mode::RecvModes;
use crate::shard::policy::request_timer::RequestTimers;
use crate::shard::policy::wait_policy::WaitPolicy;
use crate::shard::state::acceptor::{Acceptor, ListenSocket};
use crate::shard::state::attempts::Attempts;
use crate::shard::state::drain::Drain;
use crate::shard::state::reclaim::Reclaim;
use crate::shard::task::run_queue::RunQueue;
use crate::shard::task::spawned::{Spawned, SpawnedTask, spawned_index};
use crate::shard::task::tickers::{TICKS_PER_TURN_MAX, Tickers};
use crate::shard::task::timers::Timers;
use crate::shard::task::wake::{ShardNumber, Waiter};
use crate::time::Tick;
use crate::tls::{Acceptances, UpstreamClients};

/// The state of a shard.
pub(crate) struct Core {
    pub(crate) conns: Conns,
    // Accepting, admission, connects, drain.
    pub(crate) acceptor: Acceptor,
    /// Of each listener.
    pub(crate) admissions: Vec<Admission>,
    /// Accepted, and waiting for a place among the served.
    pub(crate) held: VecDeque<Key>,
    /// None: nobody makes room for another.
    pub(crate) reclaim: Option<Reclaim>,
    pub(crate) attempts: Attempts,
    pub(crate) drain: Drain,
    /// Accepted connections that have ended since it was told last: those of one turn at most.
    pub(crate) left: Vec<Ended>,
    /// What the admin server has asked, and is being answered.
    pub(crate) surveys: Vec<Survey>,
    /// Settings that have come into force since it was told last.
    pub(crate) reloaded: Option<InForce>,
    /// The same of what upstreams are met with.
    pub(crate) tls_renewed: Option<UpstreamClients>,
    // Tasks beside connections.
    pub(crate) spawned: Spawned,
    pub(crate) task_timers: Timers,
    pub(crate) tickers: Tickers,
    // The event loop's own.
    /// The turn's completions.
    pub(crate) completions: Vec<Completion>,
    /// Whether the ring watches what other threads signal.
    pub(crate) is_watched: bool,
    /// The tick that the kernel's timer which ends a park is set to; never if there is none.
    pub(crate) park_timer: Tick,
    pub(crate) wait_policy: WaitPolicy,
    /// When to give memory back, if nothing is received until then.
    pub(crate) trim_due: Tick,
    pub(crate) grace: Grace,
}

/// What a core is made of.
pub(crate) struct CoreParts {
    pub(crate) id: ShardId,
    pub(crate) server: ServerNumber,
    pub(crate) number: ShardNumber,
    /// Connections that it accepts at most.
    pub(crate) connections_max: u32,
    pub(crate) memory: MemoryShare,
    pub(crate) config: Arc<Config>,
    /// None: a shard of a client.
    pub(crate) listeners: Vec<ListenSocket>,
    pub(crate) entrances: Vec<Entrance>,
    pub(crate) tls: Acceptances,
    pub(crate) buffers: Rc<BufferPool>,
    pub(crate) metrics: Arc<Metrics>,
    /// Since the server's start.
    pub(crate) clock: Duration,
}

impl Core {
    /// Makes the shard's ring and tables, on the shard's own thread.
    pub(crate) fn new(mut parts: CoreParts) -> io::Result<Self> {
        let entrances = std::mem::take(&mut parts.entrances);
        let shared = Shared::new(&parts, entrances)?;
        let table = Table::with_capacity(shared.places.capacity().max(1));
        let (config, clock) = (&*parts.config, parts.clock);
        let limits = &config.limits;
        Ok(Self {
            conns: Conns { table, shared },
            acceptor: Acceptor::new(parts.listeners, config),
            admissions: admissions(config, clock),
            held: VecDeque::new(),
            reclaim: limits.admission.reclaim.then(Reclaim::default),
            drain: Drain::default(),
            left: Vec::new(),
            surveys: Vec::new(),
            reloaded: None,
            tls_renewed: None,
            spawned: Spawned::default(),
            task_timers: Timers::default(),
            tickers: Tickers::default(),
            completions: Vec::new(),
            is_watched: false,
            park_timer: Tick::NEVER,
            wait_policy: WaitPolicy::new(limits.gather_completions_max),
            trim_due: Tick::NEVER,
            grace: Grace::NONE,
            attempts: Attempts::new(parts.config),
        })
    }

    // ---- tasks ----

    /// The task of `key` is polled at the end of the turn: an accepted connection's, or a spawned
    /// one.
    pub(crate) fn wake(&mut self, key: Key) {
        if spawned_index(key).is_none() {
            if let Some(mut conn) = self.conns.get(key) {
                conn.wake();
            }
        } else if self.spawned.wake(key) {
            self.conns.shared.run_queue.push(key);
        }
    }

    pub(crate) fn wake_waiter(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Task(task) => self.wake(task),
            Waiter::Other(waker) => self.conns.shared.run_queue.push_waker(waker),
        }
    }

    /// Swaps the list of those that are due for an empty one.
    pub(crate) fn take_due(&mut self, empty: &mut Vec<Key>) {
        while let Some(task) = self.conns.shared.run_queue.pop_woken() {
            self.wake(task);
        }
        self.conns.shared.run_queue.take_due(empty);
    }

    /// Gives the task back if there are too many.
    pub(crate) fn spawn(&mut self, task: SpawnedTask) -> Option<SpawnedTask> {
        match self.spawned.add(task) {
            Ok(key) => self.conns.shared.run_queue.push(key),
            Err(task) => return Some(task),
        }
        None
    }

    /// Wakes those whose time has come.
    pub(crate) fn fire_timers(&mut self) {
        while let Some(waiter) = self.task_timers.pop_due(self.conns.shared.clock) {
            self.wake_waiter(waiter);
        }
    }

    /// Wakes those whose tick has come, as many as a turn may.
    pub(crate) fn fire_tickers(&mut self) {
        for _ in 0..TICKS_PER_TURN_MAX {
            let Some(waiter) = self.tickers.pop_due(self.conns.shared.clock) else {
                return;
            };
            self.wake_waiter(waiter);
        }
    }
}

fn admissions(config: &Config, clock: Duration) -> Vec<Admission> {
    let (on_full, listeners) = (config.limits.admission.on_full, config.listeners());
    let of_each = listeners.iter().map(|listener| {
        let is_proxied = listener.queue.proxy.is_some();
        Admission::new(on_full, &listener.clients, is_proxied, clock)
    });
    of_each.collect()
}

impl Shared {
    fn new(parts: &CoreParts, entrances: Vec<Entrance>) -> io::Result<Self> {
        let (config, clock) = (&*parts.config, parts.clock);
        let limits = &config.limits;
        let places = Places::new(
            parts.connections_max,
            config.spare_per_shard(),
            config.outbound_per_shard(),
        );
        let slots = places.capacity().max(1);
        Ok(Self {
            id: parts.id,
            server: parts.server,
            number: parts.number,
            laps: BTreeMap::new(),
            ring: Ring::new(
                slots,
                limits.accepts_in_flight_max,
                limits.connects_in_flight_max,
                Rc::clone(&parts.buffers),
            )?,
            buffers: Rc::clone(&parts.buffers),
            metrics: Arc::clone(&parts.metrics),
            bounds: Bounds::of(config, parts.memory),
            places,
            deadlines: Deadlines::with_capacity(slots),
            own_timeouts: OwnTimeouts::default(),
            entrances: Entrances::new(entrances, slots),
            proxies: Proxies::new(&config.listeners()),
            tls: Sessions::new(&parts.tls),
            segments: Segments::new(),
            clock,
            now: Tick::at(clock),
            is_draining: false,
            unread: 0,
            unsent: 0,
            recv_modes: RecvModes::with_capacity(slots),
            requests: RequestTimers::new(config.timeouts.request, bounds::receive_rate(limits)),
            min_rate: MinRate::new(bounds::send_rate(limits)),
            overload: Overload::new(),
            log: LogLimiter::new(config.log.lines_per_reason_max),
            run_queue: RunQueue::default(),
            wakers: Wakers::default(),
            inboxes: Inboxes::default(),
            topics: Topics::new(topics::Bounds {
                deliveries_per_turn_max: config.topic.deliveries_per_turn_max,
                topics_max: config.topic.topics_per_shard_max as usize,
                subscriptions_max: config.topic.subscriptions_per_connection_max as usize,
            }),
            starved: Vec::new(),
            touched: Vec::new(),
            reads_left: 0,
            is_behind: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::error::CloseReason;
    use crate::id::SlotIndex;
    use crate::shard::conns::interest::Interest;
    use crate::shard::conns::slot::Origin;
    use crate::shard::policy::bounds::MemoryShare;
    use crate::shard::sim::stand_in::stand_in_shard;
    use crate::shard::task::wake::waker_of;

    #[test]
    fn tasks_that_wait_for_outbound_connections_are_polled_in_the_order_of_the_events() {
        let shard = stand_in_shard(
            Config::default(),
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let core = &mut *shard.core();
        for _ in 0..3 {
            assert!(core.spawn(Box::pin(std::future::pending())).is_none());
        }
        let mut tasks = Vec::new();
        core.take_due(&mut tasks);
        let mut conns = Vec::new();
        for (index, task) in tasks.iter().enumerate() {
            core.spawned.begin_poll(*task);
            let slot = SlotIndex(index as u32);
            let peer = ([127, 0, 0, 1], 1).into();
            let key = core.conns.occupy(slot, peer, Origin::Outbound);
            let mut conn = core.conns.get(key).expect("it lives");
            conn.connect_submitted();
            conn.connected(0, false).expect("it is connected");
            conn.wait(Interest::Input, &waker_of(shard.number(), *task));
            conns.push(key);
        }
        for key in conns {
            core.conns
                .get(key)
                .expect("it lives")
                .fail(CloseReason::PeerReset);
        }
        let mut due = Vec::new();
        core.take_due(&mut due);
        assert_eq!(due, tasks);
    }
}
