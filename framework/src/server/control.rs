//! The control thread: waits until every shard can serve, lets them, hears of signals and of shards
//! that end, looks after them meanwhile, drains.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::config::InForce;
use crate::handler::{Handler, ShardContext};
use crate::id::ShardId;
use crate::log::{LogHandle, Losses};
use crate::metrics::{Counter, Metrics};
use crate::panics;
use crate::server::admins::Admins;
use crate::server::ended::ServerError;
use crate::server::event::Event;
use crate::server::listeners::Listening;
use crate::server::memory::MemoryWatch;
use crate::server::progress::Progress;
use crate::server::readiness::{Readiness, Unready};
use crate::server::reload::{Answer, ReloadError, ReloadRequest, RunningSettings, Source};
use crate::server::report::{Reporter, Whole};
use crate::server::service::Service;
use crate::server::shards::{self, ShardHandle};
use crate::server::signals::Request;
use crate::server::socket_files::SocketFiles;
use crate::server::timeout_summary;
use crate::server::tls::TlsWatch;
use crate::server::view::View;
use crate::server::watchdog::Watchdog;
use crate::shard::commands::Queue;
use crate::shard::handle::describes_panics;
use crate::shard::mail::mesh::Mesh;
use crate::tls::TlsInForce;

/// How long a shard may take to become ready. No key, as for the next: past either something of
/// ours is broken.
const READY_MAX: Duration = Duration::from_secs(30);
/// Beyond the drain deadline, how long the shards may take to end.
const END_MAX: Duration = Duration::from_secs(3);
/// How long to wait for an event where nothing is to be looked at. No key: nothing follows from it.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);
/// A signal that comes again so soon is the same one: GNU timeout sends it to its child, and then
/// to the group that the child is in.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// How far the server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting { until: Instant },
    Serving,
    Draining { until: Instant },
}

/// A server whose shards run.
pub(crate) struct Control {
    view: Arc<View>,
    settings: RunningSettings,
    shards: Vec<ShardHandle>,
    admins: Admins,
    inbox: Receiver<Event>,
    stage: Stage,
    /// Shards that are not ready, and that have not ended.
    waiting: usize,
    alive: usize,
    /// The first shard that died, and why the server ends for it.
    dead: Option<ShardId>,
    failure: Option<ServerError>,
    signalled: Option<Request>,
    started: Instant,
    service: Service,
    /// What becomes of the kernel's queues at the end.
    queue: Queue,
    files: SocketFiles,
    watch: Watch,
}

/// What is looked at now and then.
struct Watch {
    watchdog: Watchdog,
    reporter: Reporter,
    memory: MemoryWatch,
    losses: Losses,
    tls: TlsWatch,
}

impl Control {
    /// Starts the shards of `listening`. They tell `events`, of which `inbox` is the other end.
    /// `source` is where their settings can be read again.
    ///
    /// # Errors
    ///
    /// When a shard's thread cannot be started.
    pub(crate) fn start<M: Send + 'static, H: Handler<M>>(
        mut listening: Listening,
        source: Option<Source>,
        service: Service,
        events: &Sender<Event>,
        inbox: Receiver<Event>,
        factory: impl Fn(&ShardContext<M>) -> Result<H, String> + Send + Sync + 'static,
    ) -> Result<(Self, Arc<Mesh<M>>), String> {
        panics::install_hook(describes_panics);
        let started = Instant::now();
        let (settings, listeners) = (listening.settings.clone(), Arc::clone(&listening.addrs));
        let config = Arc::clone(&settings.config);
        let connections_max = listening.plan.connections_max;
        let bound = &listening.plan.memory;
        let memory_bound = [bound.bytes(), bound.kernel_sockets_bytes];
        let settings = RunningSettings::new(settings, source, listening.plan.memory.share);
        listening.log();
        let admin = std::mem::take(&mut listening.admin);
        let files = SocketFiles::of(&mut listening.listeners);
        let (shards, mesh, tls) = shards::start(listening, started, events, factory)?;
        let watch = Watch {
            watchdog: Watchdog::new(&config, started),
            reporter: Reporter::new(config.log.stats_interval, started),
            memory: MemoryWatch::new(started),
            losses: Losses::new(started),
            tls: TlsWatch::new(tls),
        };
        let metrics = shards.iter().map(|shard| Arc::clone(&shard.metrics));
        let view = Arc::new(View {
            config,
            listeners,
            connections_max,
            memory_bound,
            memory: watch.memory.seen(),
            tls: watch.tls.seen(),
            server: mesh.server,
            shards: metrics.collect(),
            links: shards.iter().map(ShardHandle::link).collect(),
            readiness: Readiness::new(),
            log_lines_dropped: Counter::default(),
            events: events.clone(),
        });
        let admins = Admins::new(admin, Arc::clone(&view), started);
        let mut control = Self {
            view,
            settings,
            admins,
            inbox,
            stage: Stage::Starting {
                until: started + READY_MAX,
            },
            waiting: shards.len(),
            alive: shards.len(),
            shards,
            dead: None,
            failure: None,
            signalled: None,
            started,
            service,
            queue: Queue::Serve,
            files,
            watch,
        };
        if !control.service.has_predecessor() {
            // Behind the shards' start: dropped, the control thread's end has them end again.
            control.admins.start()?;
        }
        Ok((control, mesh))
    }

    /// The counters of each shard.
    pub(crate) fn metrics(&self) -> Vec<Arc<Metrics>> {
        self.view.shards.clone()
    }

    /// Serves until the server was drained or a shard has died. `log` is the process's, if it is
    /// ours.
    pub(crate) fn run(
        mut self,
        log: Option<&LogHandle>,
        progress: &Progress,
    ) -> Result<(), ServerError> {
        let outcome = self.run_until_ended(log, progress);
        progress.settle(outcome.clone());
        if !matches!(
            outcome,
            Err(ServerError::NoAnswer { .. } | ServerError::Interrupted)
        ) {
            self.log_end(log);
            self.shards.drain(..).for_each(ShardHandle::join);
            self.admins.end();
        }
        outcome
    }

    fn run_until_ended(
        &mut self,
        log: Option<&LogHandle>,
        progress: &Progress,
    ) -> Result<(), ServerError> {
        while self.alive > 0 {
            match self.next_event() {
                Some(Event::Ready) => self.on_ready(progress),
                Some(Event::Ended(shard, outcome)) => self.on_ended(shard, outcome),
                Some(Event::Signal(request)) => self.on_signal(request)?,
                Some(Event::Restart) => self.restart(),
                Some(Event::Successor(outcome)) => self.on_successor(outcome),
                Some(Event::Drain) => self.drain(),
                Some(Event::Reload(request)) => self.on_reload(request, log),
                None => self.on_silence()?,
            }
            self.look(log);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    // ---- events ----

    /// The next event, or none when it is time to look at something.
    fn next_event(&self) -> Option<Event> {
        let deadline = match self.stage {
            Stage::Starting { until } | Stage::Draining { until } => Some(until),
            Stage::Serving => None,
        };
        let due = deadline
            .into_iter()
            .chain(self.watch.due())
            .chain(self.service.due())
            .min();
        let patience = due.map_or(PATIENCE_MAX, |due| {
            due.saturating_duration_since(Instant::now())
        });
        self.inbox.recv_timeout(patience).ok()
    }

    /// A shard has its handler; with the last of them all may serve.
    fn on_ready(&mut self, progress: &Progress) {
        self.waiting -= 1;
        if self.waiting > 0 || !matches!(self.stage, Stage::Starting { .. }) {
            return;
        }
        let steer = self.settings.in_force.config.server.steer;
        let plans = self.shards.iter().map(|shard| &shard.plan);
        self.service.set_up_listeners(steer, plans);
        self.shards.iter().for_each(ShardHandle::serve);
        self.admins.take_over(&self.settings.in_force.config);
        timeout_summary::log(&self.settings.in_force.config);
        self.files.take_over();
        let (first, others) = (self.view.first(), self.view.others_told());
        tracing::info!(addr = %first.endpoint, others, shards = self.shards.len(), connections_max = self.view.connections_max, "listening");
        self.stage = Stage::Serving;
        progress.settle(Ok(()));
        self.service.ready();
    }

    fn on_ended(&mut self, shard: ShardId, outcome: Result<(), String>) {
        self.alive -= 1;
        let is_draining = matches!(self.stage, Stage::Draining { .. });
        let why = match outcome {
            Ok(()) if is_draining => return,
            Ok(()) => "ended without an order to".to_owned(),
            Err(why) => why,
        };
        let none_serves = self.waiting > 0;
        if none_serves {
            tracing::error!(%shard, why, "a shard does not start; none serves");
        } else {
            tracing::error!(%shard, why, "a shard died; the others drain");
        }
        self.dead.get_or_insert(shard);
        self.failure.get_or_insert(if none_serves {
            ServerError::ShardNotStarted { shard, why }
        } else {
            ServerError::ShardDied { shard, why }
        });
        self.drain();
    }

    /// # Errors
    ///
    /// The second one, which ends the process at once: not the first after a shard has died, for
    /// whoever drains then has not been told to be quick.
    fn on_signal(&mut self, request: Request) -> Result<(), ServerError> {
        let signal = request.signal;
        if self.signalled.is_some_and(|first| is_same(first, request)) {
            tracing::debug!(signal, "the same signal again");
            return Ok(());
        }
        if matches!(self.stage, Stage::Draining { .. }) && self.signalled.is_some() {
            tracing::warn!(signal, "a second signal: exiting at once");
            return Err(ServerError::Interrupted);
        }
        tracing::info!(
            signal,
            connections = self.view.sum().connections,
            "draining"
        );
        self.signalled = Some(request);
        self.drain();
        Ok(())
    }

    /// One after the other: the answer tells of settings that are those of all shards from their
    /// next turn on.
    fn on_reload(&mut self, request: ReloadRequest, log: Option<&LogHandle>) {
        // Before that the service manager waits for the end of the start, and later for the end.
        let is_told = self.stage == Stage::Serving;
        if is_told {
            self.service.reloading();
        }
        request.answer(|given| self.reload(given, log));
        if is_told {
            self.service.reloaded();
        }
    }

    fn reload(&mut self, given: Option<InForce>, log: Option<&LogHandle>) -> Answer {
        if matches!(self.stage, Stage::Draining { .. }) {
            return Err(ReloadError::Draining);
        }
        let (new, changes) = self.settings.judge(given)?;
        let tls = self.watch.tls.prepare(&new.config);
        let tls = tls.map_err(ReloadError::Refused)?;
        let before = std::mem::replace(&mut self.settings.in_force, new);
        let warnings = self.settings.in_force.app.warnings.iter();
        for warning in warnings.filter(|warning| !before.app.warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        let tls = self.watch.tls.put_into_force(tls);
        if !changes.is_empty() {
            self.put_into_force(log);
        }
        let settings = (!changes.is_empty()).then(|| self.settings.in_force.clone());
        self.renew(settings.as_ref(), tls.as_ref());
        Ok(changes)
    }

    fn put_into_force(&mut self, log: Option<&LogHandle>) {
        let settings = &self.settings.in_force;
        let config = &settings.config;
        if let Some(log) = log {
            log.set_level(config.log.level);
        }
        self.watch.watchdog.reload(config);
        let reporter = &mut self.watch.reporter;
        reporter.set_interval(config.log.stats_interval, Instant::now());
        self.admins.reload(config);
    }

    /// Tells the shards what is in force now, all of it at once; none: as before.
    fn renew(&self, settings: Option<&InForce>, tls: Option<&TlsInForce>) {
        if settings.is_some() || tls.is_some() {
            let shards = self.shards.iter();
            shards.for_each(|shard| shard.renew(settings.cloned(), tls.cloned()));
        }
    }

    /// Has a new process take over, once it serves.
    fn restart(&mut self) {
        let within = self.settings.in_force.config.timeouts.restart;
        let started = match self.stage {
            Stage::Starting { .. } => Err("this one does not serve yet".to_owned()),
            Stage::Draining { .. } => Err("this one ends".to_owned()),
            Stage::Serving => self.service.start_successor(within, &self.view.events),
        };
        if let Err(why) = started {
            tracing::warn!(why, "no restart");
        }
    }

    /// The new process serves, or has failed.
    fn on_successor(&mut self, outcome: Result<Pid, String>) {
        match outcome {
            Ok(pid) if self.stage == Stage::Serving => self.hand_over(pid),
            Ok(pid) => {
                tracing::warn!(?pid, "the new process ends with this one");
                // Fails if it has ended by itself.
                let _gone = kill_process(pid, Signal::TERM);
            }
            Err(why) => {
                self.service.successor_failed();
                tracing::error!(why, "the new process fails; this one goes on");
            }
        }
    }

    fn hand_over(&mut self, pid: Pid) {
        let (pid_number, connections) = (pid.as_raw_nonzero(), self.view.sum().connections);
        tracing::info!(pid = pid_number, connections, "handed over; draining");
        self.service.hand_over(pid);
        self.queue = Queue::Leave;
        self.files.leave();
        self.drain();
        self.admins.hand_over();
    }

    /// Nothing has come by the time at which something should have.
    fn on_silence(&self) -> Result<(), ServerError> {
        match self.stage {
            Stage::Starting { until } | Stage::Draining { until } if Instant::now() >= until => {
                let (stage, shards) = (self.stage, self.alive);
                tracing::error!(?stage, shards, "shards do not answer");
                Err(ServerError::NoAnswer { shards })
            }
            _ => Ok(()),
        }
    }

    /// Commands every shard to drain, once.
    fn drain(&mut self) {
        if let Stage::Draining { .. } = self.stage {
            return;
        }
        self.service.stopping();
        self.files.remove();
        let queue = self.queue;
        self.shards.iter().for_each(|shard| shard.drain(queue));
        self.stage = Stage::Draining {
            until: Instant::now() + self.settings.in_force.config.timeouts.drain + END_MAX,
        };
    }

    // ---- what is looked at now and then ----

    fn look(&mut self, log: Option<&LogHandle>) {
        let (watch, shards, dropped) = (&mut self.watch, &self.shards, dropped(log));
        self.view.log_lines_dropped.set(dropped);
        self.admins.look();
        watch.losses.look(Instant::now(), dropped);
        let metrics = shards.iter().map(|shard| (shard.id(), &*shard.metrics));
        watch.watchdog.look(Instant::now(), metrics);
        if let Some(short) = watch.memory.look(Instant::now()) {
            tracing::warn!(short, "memory nears its bound, or does so no more");
            shards.iter().for_each(|shard| shard.tell_memory(short));
        }
        let config = &self.settings.in_force.config;
        let tls = watch.tls.look(Instant::now(), config);
        let stalled = watch.watchdog.stalled();
        let readiness = readiness(self.stage, self.dead, stalled);
        self.view.readiness.set(readiness);
        let whole = Whole {
            listeners: &self.view.listeners,
            ready: readiness.is_ok(),
            log_lines_dropped: dropped,
        };
        let readings = shards
            .iter()
            .map(|shard| (shard.id(), shard.metrics.read()));
        watch.reporter.report(Instant::now(), whole, readings);
        let metrics = shards.iter().map(|shard| &*shard.metrics);
        let status = || self.view.status();
        self.service
            .look(Instant::now(), self.started, status, metrics);
        self.renew(None, tls.as_ref());
    }

    fn log_end(&self, log: Option<&LogHandle>) {
        let whole = self.view.sum();
        tracing::info!(
            accepted = whole.accepted,
            closed = whole.closed_total(),
            connections = whole.connections,
            tasks = whole.tasks,
            stalls = whole.stalls,
            accepts_aborted = whole.accepts_aborted,
            accepts_failed = whole.accepts_failed,
            log_lines_dropped = dropped(log),
            reasons = %whole.reasons(),
            "drained"
        );
    }
}

/// Where the control thread ends early, or never begins, no shard is left waiting for its word.
impl Drop for Control {
    fn drop(&mut self) {
        self.shards
            .iter()
            .for_each(|shard| shard.drain(Queue::Serve));
    }
}

impl Watch {
    /// When to look next, at each of them.
    fn due(&self) -> impl Iterator<Item = Instant> {
        let due = [
            self.watchdog.due(),
            self.reporter.due(),
            Some(self.memory.due()),
            Some(self.losses.due()),
            self.tls.due(),
        ];
        due.into_iter().flatten()
    }
}

fn dropped(log: Option<&LogHandle>) -> u64 {
    log.map_or(0, LogHandle::dropped)
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
