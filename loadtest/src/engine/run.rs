//! The stages of a run, as the control thread leads the shards through them.
//!
//! While it ramps up, each connection is opened, makes one request and is then held, so that load
//! does not slow down the ramp; then all of them begin. A warm-up later the window opens. Every
//! request that is due in it is measured: at its end nothing new is asked, but what was due and
//! could not be sent yet is sent, and all replies are awaited, for as long as `--timeout` says.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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
/// What a finish takes beyond the deadline of the last request.
const FINISH_MARGIN: Duration = Duration::from_secs(1);

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
    let client = {
        let (plan, control) = (Arc::clone(&plan), Arc::clone(&control));
        Client::start(&plan.settings(), move |shard| {
            generator::run(
                Arc::clone(&plan),
                Arc::clone(&control),
                events.clone(),
                shard,
            )
        })
    };
    let client = client.map_err(|problems| Error::Refused(problems.join("\n")))?;
    let progress = Progress::new(show, &plan);
    let totals = Totals::new(&plan);
    let (stage, until, rest_measured_from) = (RunStage::Ramping, None, None);
    let mut engine = Engine {
        plan,
        control,
        inbox,
        totals,
        machine,
        progress,
        stage,
        until,
        rest_measured_from,
        interrupted: false,
    };
    let outcome = engine.lead(stop, observer);
    engine.control.set_stage(RunStage::Over);
    if outcome.is_ok() {
        client.join_within(END_MAX).map_err(Error::Failed)?;
    }
    outcome?;
    engine.take_events();
    Ok(engine.report())
}

struct Engine {
    plan: Arc<Plan>,
    control: Arc<Control>,
    inbox: Receiver<Event>,
    totals: Totals,
    machine: Machine,
    progress: Progress,
    stage: RunStage,
    /// When the stage ends by itself, on the run's clock.
    until: Option<Duration>,
    /// When the watch over resting connections begins, if it has not.
    rest_measured_from: Option<Duration>,
    interrupted: bool,
}

impl Engine {
    /// Leads the shards through the run until the last connection has ended.
    fn lead(&mut self, stop: &Stop, observer: &mut dyn Observer) -> Result<(), Error> {
        let mut sample_at = SAMPLE_INTERVAL;
        while self.totals.done < self.plan.shards {
            self.take_event(self.patience())?;
            let now = self.control.clock();
            if stop.is_set() && !self.interrupted {
                self.interrupted = true;
                self.finish(now + INTERRUPTED_FINISH, observer);
            }
            self.advance(now, observer);
            if now >= sample_at {
                self.sample(now);
                sample_at = now + SAMPLE_INTERVAL;
            }
            if self.stage == RunStage::Over && self.until.is_some_and(|until| now >= until) {
                return Err(Error::Failed(
                    "the load tester's own shards do not end".to_owned(),
                ));
            }
        }
        self.sample(self.control.clock());
        Ok(())
    }

    /// How long an event is awaited: not beyond the end of the stage.
    fn patience(&self) -> Duration {
        let left = self.until.map_or(LOOK_INTERVAL, |until| {
            until.saturating_sub(self.control.clock())
        });
        left.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL)
    }

    fn take_event(&mut self, patience: Duration) -> Result<(), Error> {
        match self.inbox.recv_timeout(patience) {
            Ok(event) => self.totals.take(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if self.totals.done >= self.plan.shards => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::Failed("the load tester's shards died".to_owned()));
            }
        }
        self.take_events();
        Ok(())
    }

    fn take_events(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            self.totals.take(event);
        }
    }

    /// Goes on to the next stage if this one is over.
    fn advance(&mut self, now: Duration, observer: &mut dyn Observer) {
        let is_past = match &self.plan.participant {
            Some(participant) if matches!(self.stage, RunStage::Warming | RunStage::Measuring) => {
                participant.called_to() > self.stage
            }
            _ => self.until.is_some_and(|until| now >= until),
        };
        if self
            .rest_measured_from
            .take_if(|from| now >= *from)
            .is_some()
        {
            self.machine.rest_began();
        }
        let is_deserted = self.totals.deserted == self.plan.shards;
        match self.stage {
            RunStage::Ramping if self.totals.ramped == self.plan.shards => {
                self.begin_load(now, observer)
            }
            RunStage::Warming | RunStage::Measuring if is_deserted => {
                self.finish(now + self.plan.timeout + FINISH_MARGIN, observer)
            }
            RunStage::Warming if is_past => self.measure(now, observer),
            RunStage::Measuring if is_past => self.settle(now, observer),
            RunStage::Settling if is_past || self.totals.settled == self.plan.shards => {
                self.rest_or_finish(now, observer)
            }
            RunStage::Resting if is_past => {
                self.machine.rest_ended();
                self.finish(now + self.plan.timeout + FINISH_MARGIN, observer);
            }
            RunStage::Finishing if is_past => self.go(
                RunStage::Over,
                Some(now + self.plan.timeout + FINISH_MARGIN),
            ),
            _ => {}
        }
    }

    fn begin_load(&mut self, now: Duration, observer: &mut dyn Observer) {
        self.totals.ramp_ended(now);
        self.control.set_load_begins(now + LOAD_LEAD);
        if matches!(self.plan.mode, Mode::Storm { .. }) {
            return self.measure(now, observer);
        }
        let opens = now + LOAD_LEAD + self.plan.warmup;
        if self.plan.participant.is_none() {
            self.control.open_window(opens);
            self.control.close_window(opens + self.plan.duration);
        }
        self.go(
            RunStage::Warming,
            self.plan.participant.is_none().then_some(opens),
        );
        self.arrive();
    }

    fn measure(&mut self, now: Duration, observer: &mut dyn Observer) {
        self.control.open_window(now);
        let endless = self.plan.participant.is_some()
            || matches!(self.plan.mode, Mode::Storm { cycles: Some(_) });
        if !endless {
            self.control
                .close_window(self.control.window_opens() + self.plan.duration);
        }
        self.go(
            RunStage::Measuring,
            (!endless).then(|| self.control.window_closes()),
        );
        self.machine.window_opened();
        observer.window_opened();
        self.arrive();
    }

    fn arrive(&self) {
        self.plan.participant.iter().for_each(Participant::arrive);
    }

    /// Nothing new is asked; what was due is sent and awaited.
    fn settle(&mut self, now: Duration, observer: &mut dyn Observer) {
        self.close_window(observer);
        self.go(
            RunStage::Settling,
            Some(now + self.plan.timeout + FINISH_MARGIN),
        );
    }

    fn rest_or_finish(&mut self, now: Duration, observer: &mut dyn Observer) {
        if self.plan.rest.is_zero() {
            return self.finish(now + self.plan.timeout + FINISH_MARGIN, observer);
        }
        self.go(RunStage::Resting, Some(now + REST_LEAD + self.plan.rest));
        self.rest_measured_from = Some(now + REST_LEAD);
    }

    /// Lets the connections end.
    fn finish(&mut self, until: Duration, observer: &mut dyn Observer) {
        self.close_window(observer);
        self.go(RunStage::Finishing, Some(until));
    }

    fn close_window(&mut self, observer: &mut dyn Observer) {
        self.control.close_window(self.control.clock());
        if self.stage == RunStage::Measuring {
            self.totals
                .window_closed(self.control.window_opens(), self.control.window_closes());
            observer.window_closed();
            self.machine.window_closed();
        }
    }

    fn go(&mut self, stage: RunStage, until: Option<Duration>) {
        (self.stage, self.until) = (stage, until);
        self.control.set_stage(stage);
    }

    fn sample(&mut self, now: Duration) {
        let sample = self.totals.sample(now, &self.machine.look());
        let sample = sample.clone();
        self.progress
            .show(self.stage, &sample, self.totals.served());
    }

    fn report(mut self) -> Report {
        self.progress.end();
        let mut report = self.totals.report(&self.plan, &self.machine);
        report.interrupted = self.interrupted;
        report.void = verdict::void(&report);
        report
    }
}
