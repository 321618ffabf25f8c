//! The client: one thread, one epoll set, edge-triggered; one read and one write per request.
//!
//! A run goes through stages. While it ramps up, each connection is opened, makes one request and
//! is then parked, so that load does not slow down the ramp; then all of them start. A warm-up
//! later the window opens in which requests are counted; at its end nothing new is asked, and what
//! is under way is awaited, so that nobody is cut off in the middle.

mod pace;
mod stage;
mod window;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};

use crate::args::RunArguments;
use crate::connection::{Connection, Phase};
use crate::error::Error;
use crate::failure::{Failure, Failures};
use crate::plan::{Mode, Plan};
use crate::report::{self, Connections, Report};
use crate::workload::StreamKey;
use crate::{Stop, system};
use pace::Pace;
use stage::Stage;
use window::Recorder;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Connects begun in one turn: replies wait meanwhile, and one connect takes most of a millisecond
/// once half of the local ports are taken (the kernel tries all even ports before any odd one).
const CONNECTS_PER_TURN_MAX: usize = 16;
/// Bytes of one read or write.
const SCRATCH_SIZE: usize = 64 << 10;
/// How often overdue connections and signals are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Carry out `loadtest run`. True: everything was as it should be.
pub fn command(arguments: &RunArguments, stop: &Stop) -> Result<bool, Error> {
    let plan = Plan::try_from(arguments)?;
    if let Some(core) = arguments.cpu {
        system::pin(core)?;
    }
    let report = run(&plan, stop, &mut ())?;
    if arguments.json {
        println!("{}", serde_json::json!(report));
    } else {
        print!("{report}");
    }
    Ok(report.is_clean())
}

/// Carry out a plan on the calling thread.
pub fn run(plan: &Plan, stop: &Stop, observer: &mut dyn Observer) -> Result<Report, Error> {
    system::descriptors_reserve(plan.connections)?;
    let failed = Error::failed("cannot wait for events");
    Engine::new(plan).and_then(|engine| engine.run(stop, observer)).map_err(failed)
}

/// Told at the instants between which requests are counted, to measure something else meanwhile.
pub trait Observer {
    /// The load is steady; counting begins.
    fn window_opened(&mut self);
    /// Counting has ended.
    fn window_closed(&mut self);
}

/// Nothing else to measure.
impl Observer for () {
    fn window_opened(&mut self) {}
    fn window_closed(&mut self) {}
}

struct Engine<'a> {
    plan: &'a Plan,
    poll: Poll,
    connections: Vec<Connection>,
    /// Slots of `connections` to be opened, in order.
    unopened: VecDeque<usize>,
    scratch: Vec<u8>,
    stage: Stage,
    pace: Pace,
    tally: Tally,
    recorder: Recorder,
    failures: Failures,
    interrupted: bool,
}

#[derive(Debug, Default)]
struct Tally {
    /// Connects begun.
    begun: u64,
    established: u64,
    served: u64,
    /// Connections that wait for the server: in the ramp and in a storm, those not yet served.
    busy: u32,
    parked: u32,
}

impl Tally {
    fn waiting(&mut self, phase: Phase) -> Option<&mut u32> {
        match phase {
            Phase::Closed => None,
            Phase::Connecting | Phase::Exchanging => Some(&mut self.busy),
            Phase::Parked => Some(&mut self.parked),
        }
    }
}

impl<'a> Engine<'a> {
    fn new(plan: &'a Plan) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            plan,
            poll: Poll::new()?,
            connections: (0..plan.connections).map(|_| Connection::closed(now)).collect(),
            unopened: (0..plan.connections as usize).collect(),
            scratch: vec![0; SCRATCH_SIZE],
            stage: Stage::Ramping,
            pace: Pace::new(plan.rate, now),
            tally: Tally::default(),
            recorder: Recorder::new(),
            failures: Failures::default(),
            interrupted: false,
        })
    }

    fn run(mut self, stop: &Stop, observer: &mut dyn Observer) -> io::Result<Report> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut sweep_at = Instant::now() + SWEEP_INTERVAL;
        loop {
            let now = Instant::now();
            if now >= sweep_at {
                self.sweep(now);
                sweep_at = now + SWEEP_INTERVAL;
            }
            if stop.is_set() {
                self.interrupt(now, observer);
            }
            self.advance(now, observer);
            if self.is_over(now) {
                return Ok(self.report());
            }
            self.connect(now);
            self.wait(&mut events, now)?;
            events.iter().for_each(|event| self.on_event(event));
        }
    }

    fn wait(&mut self, events: &mut Events, now: Instant) -> io::Result<()> {
        let mut timeout = SWEEP_INTERVAL;
        if let Some(until) = self.stage.until() {
            timeout = timeout.min(until.saturating_duration_since(now));
        }
        if self.may_connect() {
            timeout = timeout.min(self.pace.wait(now));
        }
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            other => other?,
        }
        Ok(())
    }

    /// Begin as many connects as their bounds allow.
    fn connect(&mut self, now: Instant) {
        for _ in 0..CONNECTS_PER_TURN_MAX {
            if !self.may_connect() || !self.pace.take(now) {
                return;
            }
            let slot = self.unopened.pop_front().expect("may_connect() found it not empty");
            self.open(slot, now);
        }
    }

    fn may_connect(&self) -> bool {
        let wanted = match (self.stage, self.plan.mode) {
            (Stage::Ramping, _) => true,
            (Stage::Measuring { .. }, Mode::Storm { cycles }) => cycles.is_none_or(|cycles| self.tally.begun < cycles),
            _ => false,
        };
        wanted && !self.unopened.is_empty() && self.tally.busy < self.plan.in_flight_max
    }

    fn open(&mut self, slot: usize, now: Instant) {
        let key = StreamKey::new(self.plan.seed, self.tally.begun);
        self.tally.begun += 1;
        let target = self.plan.target(slot as u32);
        match Connection::open(target, key, self.poll.registry(), Token(slot), now) {
            Ok(connection) => self.change(slot, |closed| *closed = connection),
            Err(error) => self.fail(slot, &error.into()),
        }
    }

    fn on_event(&mut self, event: &Event) {
        let slot = event.token().0;
        let outcome = match self.connections[slot].phase() {
            Phase::Closed => Ok(()), // it was about a connection that has been closed since
            Phase::Connecting => self.on_connected(slot, event),
            Phase::Exchanging | Phase::Parked => self.exchange(slot, event),
        };
        if let Err(failure) = outcome {
            self.fail(slot, &failure);
        }
    }

    fn on_connected(&mut self, slot: usize, event: &Event) -> Result<(), Failure> {
        if !self.connections[slot].connected()? {
            return Ok(());
        }
        self.tally.established += 1;
        // The latency of a storm is that of its cycles, so the connect counts.
        let since = match self.plan.mode {
            Mode::Storm { .. } => self.connections[slot].since(),
            Mode::Closed | Mode::Idle => Instant::now(),
        };
        self.ask(slot, 1, since)?;
        // A server that has closed already makes no further event.
        if event.is_read_closed() { self.exchange(slot, event) } else { Ok(()) }
    }

    fn exchange(&mut self, slot: usize, event: &Event) -> Result<(), Failure> {
        let workload = &self.plan.workload;
        let connection = &mut self.connections[slot];
        let before = connection.answered(workload);
        let outcome = connection.read(workload, &mut self.scratch, event.is_read_closed());
        let now = Instant::now();
        let replies = connection.answered(workload) - before;
        if replies > 0 {
            let always = self.plan.mode == Mode::Idle;
            self.recorder.record(replies, connection.waited(now), always);
        }
        if connection.phase() == Phase::Exchanging && connection.is_answered(workload) {
            return self.on_answered(slot, outcome, now);
        }
        outcome?;
        connection.write(workload, &mut self.scratch)
    }

    /// All replies have come; `outcome` is what came of reading on.
    fn on_answered(&mut self, slot: usize, outcome: Result<(), Failure>, now: Instant) -> Result<(), Failure> {
        if self.connections[slot].is_first() {
            self.tally.served += 1;
        }
        if matches!(self.plan.mode, Mode::Storm { .. }) {
            self.close(slot); // the cycle is complete, whether or not the server closes as well
            return Ok(());
        }
        outcome?;
        if self.plan.mode == Mode::Closed && self.stage.is_loaded() {
            return self.ask(slot, self.plan.workload.pipeline, now);
        }
        self.change(slot, Connection::park);
        Ok(())
    }

    fn ask(&mut self, slot: usize, requests: u32, now: Instant) -> Result<(), Failure> {
        self.change(slot, |connection| connection.ask(requests, now));
        self.connections[slot].write(&self.plan.workload, &mut self.scratch)
    }

    fn fail(&mut self, slot: usize, failure: &Failure) {
        self.failures.add(slot, failure);
        self.close(slot);
    }

    fn close(&mut self, slot: usize) {
        self.change(slot, Connection::close);
        if matches!(self.plan.mode, Mode::Storm { .. }) {
            self.unopened.push_back(slot);
        }
    }

    /// Every change of a connection's phase goes through here and is counted.
    fn change(&mut self, slot: usize, change: impl FnOnce(&mut Connection)) {
        let connection = &mut self.connections[slot];
        if let Some(count) = self.tally.waiting(connection.phase()) {
            *count -= 1;
        }
        change(connection);
        if let Some(count) = self.tally.waiting(connection.phase()) {
            *count += 1;
        }
    }

    fn sweep(&mut self, now: Instant) {
        let Plan { workload, timeout, .. } = self.plan;
        for slot in 0..self.connections.len() {
            if let Err(failure) = self.connections[slot].check_deadline(workload, *timeout, now) {
                self.fail(slot, &failure);
            }
        }
    }

    fn report(self) -> Report {
        let wanted = match self.plan.mode {
            Mode::Storm { cycles } => cycles.unwrap_or(self.tally.begun),
            Mode::Closed | Mode::Idle => self.plan.connections.into(),
        };
        let Tally { established, served, .. } = self.tally;
        Report {
            target: self.plan.target,
            kind: report::kind(self.plan),
            connections: Connections { wanted, established, served },
            requests: self.recorder.requests,
            window: self.recorder.window(),
            failures: self.failures,
            interrupted: self.interrupted,
        }
    }
}
