//! The stages of a run, as the control thread leads the shards through them.
//!
//! While it ramps up, each connection is opened, makes one request and is then held, so that load
//! does not slow down the ramp; then all of them begin. A warm-up later the window opens. Every
//! request that is due in it is measured: at its end nothing new is asked, but what was due and
//! could not be sent yet is sent, and all replies are awaited, for as long as `--timeout` says.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use corelane::Client;

use super::observe::Machine;
use super::progress::{Progress, Show};
use super::totals::Totals;
use super::verdict;
use crate::control::{Control, RunStage};
use crate::data::Report;
use crate::error::Error;
use crate::generator::{self, Event};
use crate::plan::{Mode, Plan};
use crate::stop::Stop;
use crate::token::Participant;

/// Between two samples of the timeline.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How often signals and the end of a stage are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// And at most, towards a stage's end.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// A shorter delay of the control thread is one that a busy machine has, too.
const LATE_MIN: Duration = Duration::from_millis(100);
/// From the order to load until the first request is due: every shard has seen the order by then.
const LOAD_LEAD: Duration = Duration::from_millis(200);
/// How long replies are awaited once a signal has asked for the end.
const INTERRUPTED_FINISH: Duration = Duration::from_secs(1);
/// How long closed connections may take to be gone: their last segments, and what a busy kernel has
/// to do for a million of them.
const END_MAX: Duration = Duration::from_secs(120);
/// How long the connections rest before they are watched: replies under way, and what the shards
/// put away when it is quiet.
const REST_LEAD: Duration = Duration::from_secs(3);
/// A finish takes so much longer than the deadline of the last request.
const FINISH_MARGIN: Duration = Duration::from_secs(1);

/// Told at the instants between which requests are counted, to measure something else meanwhile.
pub trait Observer {
    /// The load is steady; counting begins.
    fn window_opened(&mut self);
    /// Counting has ended.
    fn window_closed(&mut self);
}

impl Observer for () {
    fn window_opened(&mut self) {}
    fn window_closed(&mut self) {}
}

/// Carries out `plan`.
///
/// # Errors
///
/// When the shards cannot be started, or one of them dies.
pub fn run(
    plan: Plan,
    show: Show,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let plan = Arc::new(plan);
    let machine = Machine::before(&plan);
    let control = Arc::new(Control::new(Instant::now()));
    let (events, inbox) = channel();
    let client = start(&plan, &control, &events)?;
    drop(events);
    let mut engine = Engine {
        totals: Totals::new(&plan),
        progress: Progress::new(show, &plan),
        plan,
        control,
        inbox,
        machine,
        observer,
        until: None,
        rest_measured_from: None,
        interrupted: false,
        stood_still: Duration::ZERO,
    };
    let outcome = engine.lead(stop);
    engine.control.stage.set(RunStage::Over);
    if outcome.is_ok() {
        client.join_within(END_MAX).map_err(Error::Failed)?;
    }
    outcome?;
    engine.take_events(Duration::ZERO)?;
    Ok(engine.report())
}

fn start(
    plan: &Arc<Plan>,
    control: &Arc<Control>,
    events: &Sender<Event>,
) -> Result<Client, Error> {
    let (of_shards, control, events) = (Arc::clone(plan), Arc::clone(control), events.clone());
    let client = Client::start(&plan.settings(), move |shard| {
        let (plan, control) = (Arc::clone(&of_shards), Arc::clone(&control));
        generator::run(plan, control, events.clone(), shard)
    });
    client.map_err(|problems| Error::Refused(problems.join("\n")))
}

struct Engine<'a> {
    plan: Arc<Plan>,
    control: Arc<Control>,
    inbox: Receiver<Event>,
    totals: Totals,
    machine: Machine,
    progress: Progress,
    observer: &'a mut dyn Observer,
    /// When the stage ends by itself, on the run's clock.
    until: Option<Duration>,
    /// When the watch over resting connections begins, if it has not.
    rest_measured_from: Option<Duration>,
    interrupted: bool,
    /// How long this thread did not run in the window though it was due.
    stood_still: Duration,
}

impl Engine<'_> {
    /// Leads the shards through the run until the last connection has ended.
    fn lead(&mut self, stop: &Stop) -> Result<(), Error> {
        let mut sample_at = SAMPLE_INTERVAL;
        while self.totals.done < self.plan.shards {
            let due = self.control.clock() + self.patience();
            self.take_events(self.patience())?;
            let now = self.control.clock();
            self.judge_pause(now.saturating_sub(due));
            if stop.is_set() && !self.interrupted {
                self.interrupted = true;
                self.finish(now + INTERRUPTED_FINISH);
            }
            self.advance(now);
            if now >= sample_at {
                self.sample(now);
                sample_at = now + SAMPLE_INTERVAL;
            }
            if self.control.stage.get() == RunStage::Over && self.is_past(now) {
                let why = "the load tester's own shards do not end";
                return Err(Error::Failed(why.to_owned()));
            }
        }
        self.sample(self.control.clock());
        Ok(())
    }

    /// Signals and starved cores stop the shards as they stop this thread, which is due so often
    /// that it can tell.
    fn judge_pause(&mut self, late: Duration) {
        if self.control.stage.get() == RunStage::Measuring && late > LATE_MIN {
            self.stood_still += late;
        }
    }

    /// How long an event is awaited: not beyond the end of the stage.
    fn patience(&self) -> Duration {
        let until = self.until.unwrap_or(Duration::MAX);
        let left = until.saturating_sub(self.control.clock());
        left.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL)
    }

    fn take_events(&mut self, patience: Duration) -> Result<(), Error> {
        match self.inbox.recv_timeout(patience) {
            Ok(event) => self.totals.take(event),
            Err(RecvTimeoutError::Disconnected) if self.totals.done < self.plan.shards => {
                return Err(Error::Failed("the load tester's shards died".to_owned()));
            }
            Err(_nothing) => {}
        }
        for event in self.inbox.try_iter() {
            self.totals.take(event);
        }
        Ok(())
    }

    /// Goes on to the next stage if this one is over.
    fn advance(&mut self, now: Duration) {
        let rest_begins = self.rest_measured_from.take_if(|from| now >= *from);
        if rest_begins.is_some() {
            self.machine.snapshot();
        }
        let (stage, is_past) = (self.control.stage.get(), self.is_past(now));
        let is_deserted = self.totals.deserted == self.plan.shards;
        match stage {
            RunStage::Ramping if self.totals.ramped == self.plan.shards => self.begin_load(now),
            RunStage::Warming | RunStage::Measuring if is_deserted => {
                self.finish(self.last_reply(now))
            }
            RunStage::Warming if is_past => self.measure(now),
            RunStage::Measuring if is_past => self.settle(now),
            RunStage::Settling if is_past || self.totals.settled == self.plan.shards => {
                self.rest_or_finish(now)
            }
            RunStage::Resting if is_past => {
                self.machine.snapshot();
                self.finish(self.last_reply(now));
            }
            RunStage::Finishing if is_past => self.go(RunStage::Over, Some(self.last_reply(now))),
            _ => {}
        }
    }

    /// Whether the stage ends: at its time, or when a run among several is called to the next.
    fn is_past(&self, now: Duration) -> bool {
        let stage = self.control.stage.get();
        match &self.plan.participant {
            Some(participant) if matches!(stage, RunStage::Warming | RunStage::Measuring) => {
                participant.called_to() > stage
            }
            _ => self.until.is_some_and(|until| now >= until),
        }
    }

    /// By then the replies to all requests under way have come, or are given up.
    fn last_reply(&self, now: Duration) -> Duration {
        now + self.plan.timeout + FINISH_MARGIN
    }

    fn begin_load(&mut self, now: Duration) {
        self.totals.ramp = now;
        self.control.load_begins.set(now + LOAD_LEAD);
        if self.plan.mode == Mode::Storm {
            return self.measure(now);
        }
        let opens = now + LOAD_LEAD + self.plan.warmup;
        let is_alone = self.plan.participant.is_none();
        if is_alone {
            self.control.window_opens.set(opens);
            self.control.window_closes.set(opens + self.plan.duration);
        }
        self.go(RunStage::Warming, is_alone.then_some(opens));
        self.arrive();
    }

    fn measure(&mut self, now: Duration) {
        self.control.window_opens.set(now);
        let has_cycles = self.plan.mode == Mode::Storm && self.plan.cycles.is_some();
        let is_timed = self.plan.participant.is_none() && !has_cycles;
        if is_timed {
            let closes = self.control.window_opens.get() + self.plan.duration;
            self.control.window_closes.set(closes);
        }
        let closes = is_timed.then(|| self.control.window_closes.get());
        self.go(RunStage::Measuring, closes);
        self.machine.snapshot();
        self.observer.window_opened();
        self.arrive();
    }

    fn arrive(&self) {
        self.plan.participant.iter().for_each(Participant::arrive);
    }

    /// Nothing new is asked; what was due is sent and awaited.
    fn settle(&mut self, now: Duration) {
        self.close_window();
        self.go(RunStage::Settling, Some(self.last_reply(now)));
    }

    fn rest_or_finish(&mut self, now: Duration) {
        if self.plan.rest.is_zero() {
            return self.finish(self.last_reply(now));
        }
        self.go(RunStage::Resting, Some(now + REST_LEAD + self.plan.rest));
        self.rest_measured_from = Some(now + REST_LEAD);
    }

    fn finish(&mut self, until: Duration) {
        self.close_window();
        self.go(RunStage::Finishing, Some(until));
    }

    fn close_window(&mut self) {
        self.control.window_closes.set(self.control.clock());
        if self.control.stage.get() == RunStage::Measuring {
            let closes = self.control.window_closes.get();
            self.totals.window = closes.saturating_sub(self.control.window_opens.get());
            self.observer.window_closed();
            self.machine.snapshot();
        }
    }

    fn go(&mut self, stage: RunStage, until: Option<Duration>) {
        self.until = until;
        self.control.stage.set(stage);
    }

    fn sample(&mut self, now: Duration) {
        let served = self.totals.all.served;
        let sample = self.totals.sample(now, self.machine.look());
        self.progress.show(self.control.stage.get(), sample, served);
    }

    fn report(mut self) -> Report {
        self.progress.end();
        let mut report = self.totals.report(&self.plan, &self.machine);
        report.interrupted = self.interrupted;
        report.generator.stood_still_s = self.stood_still.as_secs_f64();
        report.void = verdict::void(&report);
        report
    }
}
