//! A server that is a process of its own: what its service manager is told, and when; the process
//! that it takes over from, and those that it hands over to.

use std::io;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::config::Steer;
use crate::metrics::Metrics;
use crate::net::inherited;
use crate::preflight::plan::ShardPlan;
use crate::server::event::Event;
use crate::server::listeners::{Listening, steer_sockets};
use crate::server::notify::{self, Notifier};
use crate::server::predecessor::Predecessor;
use crate::server::successor::Successors;
use crate::server::watchdog;

/// How often the line of status may change. It wakes nobody: it goes with the next look.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// Of the time in which a shard has to make progress, after how much one that had not is looked at
/// again.
const RETRIES: u32 = 8;

/// What a process has and a server inside another program has not.
#[derive(Debug, Default)]
pub(crate) struct Service {
    notifier: Notifier,
    predecessor: Option<Predecessor>,
    /// None before the listeners are known, and from the end on.
    successors: Option<Successors>,
    pings: Option<Pings>,
    status: String,
    status_due: Option<Instant>,
}

/// The service manager's watchdog (WatchdogSec= in the unit).
#[derive(Debug)]
struct Pings {
    /// Half of what it grants.
    period: Duration,
    next: Instant,
}

impl Service {
    /// Of this process, as its environment says.
    pub(crate) fn of_process(predecessor: Option<Predecessor>) -> Self {
        let pings = notify::watchdog_from_env().map(|within| Pings {
            period: within / 2,
            next: Instant::now(),
        });
        Self {
            notifier: Notifier::from_env(),
            predecessor,
            pings,
            ..Self::default()
        }
    }

    /// Keeps copies of the listeners for the processes to come.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub(crate) fn keep(&mut self, listening: &Listening) -> io::Result<()> {
        let (listeners, admin) = (&listening.listeners, &listening.admin);
        self.successors = Some(Successors::new(listeners, admin)?);
        Ok(())
    }

    /// Whether another process serves until this one does.
    pub(crate) fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// The shards are about to serve: listeners that others have opened become as the settings want
    /// them.
    pub(crate) fn set_up_listeners<'p>(
        &self,
        steer: Steer,
        plans: impl Iterator<Item = &'p ShardPlan> + Clone,
    ) {
        let listeners = self.successors.iter().flat_map(Successors::listeners);
        for listener in listeners.filter(|listener| listener.inherited) {
            for socket in &listener.sockets {
                if let Err(error) = inherited::set_up(socket, &listener.settings) {
                    tracing::warn!(%error, "a listener keeps the options that it was passed with");
                }
            }
            if !listener.kept {
                steer_sockets(steer, plans.clone(), &listener.sockets, true);
            }
        }
    }

    /// Every shard serves.
    pub(crate) fn ready(&mut self) {
        self.predecessor
            .take()
            .into_iter()
            .for_each(Predecessor::tell_ready);
        self.notifier.ready();
        self.status_due = None;
    }

    /// The server, which serves, reads its settings again; [`Self::reloaded`] ends it.
    pub(crate) fn reloading(&mut self) {
        self.notifier.reloading();
    }

    /// It has, whatever came of it.
    pub(crate) fn reloaded(&mut self) {
        self.notifier.ready();
    }

    /// Starts a new process, which is to serve in this one's place.
    ///
    /// # Errors
    ///
    /// When none can be started now.
    pub(crate) fn start_successor(
        &mut self,
        within: Duration,
        events: &Sender<Event>,
    ) -> Result<(), String> {
        let successors = self.successors.as_mut();
        let successors = successors.ok_or("this process ends, or is another program's part")?;
        successors.start(within, events)
    }

    /// The new process has failed.
    pub(crate) fn successor_failed(&mut self) {
        self.successors.iter_mut().for_each(Successors::settled);
    }

    /// Process `pid` is the service from now on, and tells the service manager.
    pub(crate) fn hand_over(&mut self, pid: Pid) {
        self.successor_failed();
        std::mem::take(&mut self.notifier).main_pid(pid);
        self.pings = None;
    }

    /// The server ends: nobody else may hold the listeners, which the shards are about to close.
    pub(crate) fn stopping(&mut self) {
        self.successors = None;
        self.notifier.stopping();
        self.status_due = None;
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.pings.as_ref().map(|pings| pings.next)
    }

    /// Tells what has become of the server, which began at `started`.
    pub(crate) fn look<'a>(
        &mut self,
        now: Instant,
        started: Instant,
        status: impl FnOnce() -> String,
        shards: impl Iterator<Item = &'a Metrics>,
    ) {
        if self.status_due.is_none_or(|due| now >= due) {
            let status = status();
            if status != self.status {
                self.notifier.status(&status);
                self.status = status;
            }
            self.status_due = Some(now + STATUS_EVERY);
        }
        let Some(pings) = self.pings.as_mut().filter(|pings| now >= pings.next) else {
            return;
        };
        let since_start = now.saturating_duration_since(started);
        if watchdog::all_progress(since_start, pings.period, shards) {
            self.notifier.watchdog();
            pings.next = now + pings.period;
        } else {
            // Soon: a pause of the whole process looks like this too.
            pings.next = now + pings.period / RETRIES;
        }
    }
}
