//! The process: starts the shards, waits for a signal, drains, reports. Everything here runs on the
//! control thread.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::handler::{self, Handler, ShardContext};
use crate::id::ShardId;
use crate::log::{LogHandle, Losses};
use crate::metrics::{Metrics, Reading};
use crate::net::listen::listen;
use crate::panics;
use crate::preflight::plan::{self, Plan, ShardPlan};
use crate::ring::WakeFd;
use crate::runtime::spawn_shard;
use crate::server::memory::MemoryWatch;
use crate::server::readiness::{Readiness, Unready};
use crate::server::report::{Reporter, Whole};
use crate::server::signals::{self, Request};
use crate::server::timeout_summary;
use crate::server::watchdog::Watchdog;
use crate::shard::commands::Commands;
use crate::shard::handle::{Setup, describes_panics};
use crate::shard::run;

/// How long a shard may take to become ready. No key, as for the next: past either something of
/// ours is broken.
const READY_MAX: Duration = Duration::from_secs(30);
/// Beyond the drain deadline, how long the shards may take to end.
const END_MAX: Duration = Duration::from_secs(3);
/// A signal that comes again so soon is the same one: GNU timeout sends it to its child, and then
/// to the group that the child is in.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Why a server ended other than cleanly.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It never served; the text says why.
    Start(String),
    /// It failed while serving; the log says why.
    Running,
}

/// What the control thread hears of.
enum Event {
    Ready,
    /// A shard has ended; an error if it should not have.
    Ended(ShardId, Result<(), String>),
    Signal(Request),
}

/// The control thread's end of one shard.
struct ShardHandle {
    plan: ShardPlan,
    commands: Arc<Commands>,
    metrics: Arc<Metrics>,
    wake: WakeFd,
    thread: JoinHandle<()>,
}

/// Serves until a signal has drained the server or a shard has died.
pub(crate) fn run<H: Handler>(
    config: Config,
    plan: &Plan,
    log: &LogHandle,
    factory: impl Fn(&ShardContext) -> Result<H, String> + Send + Sync + 'static,
) -> Result<(), Failure> {
    let (events, inbox) = channel();
    // Before any shard: a signal that comes during the start must not kill the process half-way.
    signals::watch(events.clone(), Event::Signal)
        .map_err(|error| Failure::Start(format!("signals cannot be watched: {error}")))?;
    panics::install_hook(describes_panics);
    let config = Arc::new(config);
    let refused = |error| Failure::Start(plan::listen_problem(&config, &error).to_string());
    let (listeners, address) = listen(&config, plan.shards.len()).map_err(refused)?;
    let factory = Arc::new(factory);
    let started = Instant::now();
    let mut handles = Vec::with_capacity(plan.shards.len());
    for (shard, listener) in plan.shards.iter().zip(listeners) {
        let context = ShardContext {
            id: ShardId(shard.id),
            shards: plan.shards.len() as u32,
            cpu: shard.cpu(),
            connections_max: shard.connections_max,
            local_addr: address,
            upstreams: Arc::clone(&config.upstreams),
            metrics: Arc::new(Metrics::of(&config.upstreams)),
        };
        let handle = ShardHandle::start(
            &config,
            shard,
            context,
            listener,
            started,
            Arc::clone(&factory),
            events.clone(),
        );
        handles.push(handle.map_err(|error| {
            Failure::Start(format!("shard {} does not start: {error}", shard.id))
        })?);
    }
    tell_admission(&config, plan);
    tell_memory(plan);
    let readiness = Readiness::new();
    Server {
        config,
        address,
        connections_max: plan.connections_max,
        handles,
        inbox,
        started,
        readiness,
    }
    .run(log)
}

/// The most memory that the settings can take, as a sum.
fn tell_memory(plan: &Plan) {
    tracing::info!(
        memory_bound_bytes = plan.memory.bytes(),
        kernel_sockets_bytes = plan.memory.kernel_sockets_bytes,
        kernel_buffers_bytes = plan.memory.kernel_buffers_bytes.unwrap_or(0),
        unread_per_shard_max = plan.memory.share.unread_max,
        unsent_per_shard_max = plan.memory.share.unsent_max,
        sum = %plan.memory,
        "memory"
    );
}

/// Who is let in, and that each shard counts for itself; 0: no bound.
fn tell_admission(config: &Config, plan: &Plan) {
    let admission = &config.limits.admission;
    tracing::info!(
        connections_max = plan.connections_max,
        follows = if config.limits.connections_max.is_some() {
            "limits.connections_max"
        } else {
            "the descriptor limit"
        },
        descriptors_max = plan.descriptors_max,
        connections_per_shard_max = plan.shards.iter().map(|shard| shard.connections_max).max(),
        on_full = admission.on_full.word(),
        reclaim = admission.reclaim,
        connections_per_address_and_shard_max = admission.connections_per_address_max.unwrap_or(0),
        address_prefix_v6 = admission.address_prefix_v6,
        accepts_per_second_and_shard_max = admission.accepts_per_second_max.unwrap_or(0),
        "admission"
    );
}

impl ShardHandle {
    fn start<H: Handler>(
        config: &Arc<Config>,
        plan: &ShardPlan,
        context: ShardContext,
        listener: std::net::TcpListener,
        started: Instant,
        factory: Arc<impl Fn(&ShardContext) -> Result<H, String> + Send + Sync + 'static>,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let (commands, metrics) = (Arc::<Commands>::default(), context.metrics.clone());
        let wake = WakeFd::new()?;
        let setup = Setup {
            id: context.id,
            connections_max: plan.connections_max,
            memory: plan.memory,
            config: Arc::clone(config),
            listener: Some(listener),
            local_addr: context.local_addr,
            wake: wake.clone(),
            commands: Arc::clone(&commands),
            metrics: Arc::clone(&metrics),
            started,
        };
        let (id, ready) = (context.id, events.clone());
        let main = async move || {
            let serve = || {
                let handler = Rc::new(factory(&context)?);
                Ok(move |key| handler::serve(Rc::clone(&handler), key))
            };
            run::run(setup, serve, || tell(&ready, Event::Ready)).await
        };
        let thread = spawn_shard(
            &format!("shard-{id}"),
            plan.affinity.clone(),
            main,
            move |outcome| tell(&events, Event::Ended(id, outcome)),
        )?;
        Ok(Self {
            plan: plan.clone(),
            commands,
            metrics,
            wake,
            thread,
        })
    }

    /// Lets the shard serve; it has its handler.
    fn serve(&self) {
        self.commands.serve();
        self.thread.thread().unpark();
    }

    fn drain(&self) {
        self.commands.drain();
        self.thread.thread().unpark(); // it may wait for the order to serve
        self.signal();
    }

    fn tell_memory(&self, short: bool) {
        self.commands.tell_memory(short);
        self.signal();
    }

    fn signal(&self) {
        if let Err(error) = self.wake.signal() {
            tracing::error!(shard = self.plan.id, %error, "the shard cannot be woken");
        }
    }
}

struct Server {
    config: Arc<Config>,
    address: SocketAddr,
    connections_max: u32,
    handles: Vec<ShardHandle>,
    inbox: Receiver<Event>,
    started: Instant,
    readiness: Readiness,
}

/// How far the server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting { until: Instant },
    Serving,
    Draining { until: Instant },
}

impl Server {
    fn run(self, log: &LogHandle) -> Result<(), Failure> {
        let (mut waiting, mut alive) = (self.handles.len(), self.handles.len());
        let mut stage = Stage::Starting {
            until: self.started + READY_MAX,
        };
        let (mut failure, mut dead, mut signalled) = (None, None, None);
        let mut watchdog = Watchdog::new(&self.config, self.started);
        let mut reporter = Reporter::new(self.config.log.stats_interval, self.started);
        let mut memory = MemoryWatch::new(self.started);
        let mut losses = Losses::new(self.started);
        while alive > 0 {
            let due = [
                watchdog.due(),
                reporter.due(),
                Some(memory.due()),
                Some(losses.due()),
            ];
            let event = self.next_event(stage, due.into_iter().flatten().min());
            match (event, stage) {
                (Some(Event::Ready), _) => {
                    waiting -= 1;
                    if waiting == 0 && matches!(stage, Stage::Starting { .. }) {
                        self.handles.iter().for_each(ShardHandle::serve);
                        timeout_summary::log(&self.config);
                        tracing::info!(addr = %self.address, shards = self.handles.len(), connections_max = self.connections_max, "listening");
                        stage = Stage::Serving;
                    }
                }
                (Some(Event::Ended(_, Ok(()))), Stage::Draining { .. }) => alive -= 1,
                (Some(Event::Ended(shard, outcome)), _) => {
                    alive -= 1;
                    let why = outcome
                        .err()
                        .unwrap_or_else(|| "ended without an order to".to_owned());
                    match stage {
                        Stage::Starting { .. } => {
                            tracing::error!(%shard, why, "a shard does not start; none serves")
                        }
                        _ => tracing::error!(%shard, why, "a shard died; the others drain"),
                    }
                    dead.get_or_insert(shard);
                    failure.get_or_insert(if waiting > 0 {
                        Failure::Start(format!("shard {shard} does not start: {why}"))
                    } else {
                        Failure::Running
                    });
                    stage = self.drain(stage);
                }
                (Some(Event::Signal(again)), _)
                    if signalled.is_some_and(|first| is_same(first, again)) =>
                {
                    tracing::debug!(signal = again.signal, "the same signal again");
                }
                // Not the first one after a shard has died: whoever drains then has not been told
                // to be quick.
                (Some(Event::Signal(Request { signal, .. })), Stage::Draining { .. })
                    if signalled.is_some() =>
                {
                    tracing::warn!(signal, "a second signal: exiting at once");
                    return Err(Failure::Running);
                }
                (Some(Event::Signal(request)), _) => {
                    tracing::info!(
                        signal = request.signal,
                        connections = self.read().connections,
                        "draining"
                    );
                    signalled = Some(request);
                    stage = self.drain(stage);
                }
                (None, Stage::Starting { until } | Stage::Draining { until })
                    if Instant::now() >= until =>
                {
                    tracing::error!(?stage, shards = alive, "shards do not answer");
                    return Err(Failure::Running);
                }
                (None, _) => {}
            }
            losses.look(Instant::now(), log.dropped());
            watchdog.look(
                Instant::now(),
                self.handles
                    .iter()
                    .map(|shard| (ShardId(shard.plan.id), &*shard.metrics)),
            );
            if let Some(short) = memory.look(Instant::now()) {
                tracing::warn!(short, "memory nears its bound, or does so no more");
                self.handles
                    .iter()
                    .for_each(|shard| shard.tell_memory(short));
            }
            self.readiness
                .set(readiness(stage, dead, watchdog.stalled()));
            let (address, ready) = (self.address, self.readiness.get().is_ok());
            let whole = Whole {
                address,
                ready,
                log_lines_dropped: log.dropped(),
            };
            reporter.report(
                Instant::now(),
                whole,
                self.handles
                    .iter()
                    .map(|shard| (ShardId(shard.plan.id), shard.metrics.read())),
            );
        }
        self.end(log);
        failure.map_or(Ok(()), Err)
    }

    /// The next event, or none when it is time to look at something.
    fn next_event(&self, stage: Stage, due: Option<Instant>) -> Option<Event> {
        let deadline = match stage {
            Stage::Starting { until } | Stage::Draining { until } => Some(until),
            Stage::Serving => None,
        };
        let due = [deadline, due].into_iter().flatten().min();
        let patience = due.map_or(Duration::from_secs(3600), |due| {
            due.saturating_duration_since(Instant::now())
        });
        self.inbox.recv_timeout(patience).ok()
    }

    /// Commands every shard to drain, once.
    fn drain(&self, stage: Stage) -> Stage {
        if let Stage::Draining { .. } = stage {
            return stage;
        }
        self.handles.iter().for_each(ShardHandle::drain);
        Stage::Draining {
            until: Instant::now() + self.config.timeouts.drain + END_MAX,
        }
    }

    fn read(&self) -> Reading {
        let mut whole = Reading::default();
        self.handles
            .iter()
            .for_each(|shard| whole.add(&shard.metrics.read()));
        whole
    }

    fn end(self, log: &LogHandle) {
        let whole = self.read();
        tracing::info!(
            accepted = whole.accepted,
            closed = whole.closed_total(),
            connections = whole.connections,
            tasks = whole.tasks,
            stalls = whole.stalls,
            accepts_aborted = whole.accepts_aborted,
            accepts_failed = whole.accepts_failed,
            log_lines_dropped = log.dropped(),
            reasons = %whole.reasons(),
            "drained"
        );
        for shard in self.handles {
            if shard.thread.join().is_err() {
                tracing::error!(shard = shard.plan.id, "the shard's thread panicked");
            }
        }
    }
}

fn is_same(first: Request, again: Request) -> bool {
    first.signal == again.signal && again.at.saturating_duration_since(first.at) < SAME_SIGNAL
}

/// Whether the server can be given work. What lasts is told before what may pass.
fn readiness(stage: Stage, dead: Option<ShardId>, stalled: Option<ShardId>) -> Result<(), Unready> {
    match (dead, stage, stalled) {
        (Some(shard), ..) => Err(Unready::ShardDied(shard)),
        (None, Stage::Starting { .. }, _) => Err(Unready::Starting),
        (None, Stage::Draining { .. }, _) => Err(Unready::Draining),
        (None, Stage::Serving, Some(shard)) => Err(Unready::Stalled(shard)),
        (None, Stage::Serving, None) => Ok(()),
    }
}

/// A control thread that has gone needs no news.
fn tell(events: &Sender<Event>, event: Event) {
    drop(events.send(event));
}
