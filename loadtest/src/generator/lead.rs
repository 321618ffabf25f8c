//! A shard's way through the stages of a run.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use corelane::{Notify, ShardContext, sleep, sleep_until, spawn};

use super::connection;
use super::recorder::Delta;
use super::shard::{LOOK_INTERVAL, Shard, Tell};
use super::turns::{Cursor, Schedule};
use crate::control::{Control, RunStage};
use crate::failure::{Failure, FailureKind};
use crate::plan::{Mode, Plan};

/// How often it looks while the run waits for it.
const LOOK_INTERVAL_SHORT: Duration = Duration::from_millis(10);
/// And where several runs take turns: a turn begins with a look.
const LOOK_INTERVAL_TOKEN: Duration = Duration::from_millis(1);
/// And while the connections rest: their cost is measured then, and looking costs, too.
const LOOK_INTERVAL_REST: Duration = Duration::from_secs(2);
const TELL_INTERVAL: Duration = Duration::from_millis(500);

/// A message of a shard to the control thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its counts and measured times.
    Delta(u32, Box<Delta>),
    /// Every connection of its share was served once, or has failed.
    Ramped,
    /// Every connection has ended before it was told to.
    Deserted,
    /// The window has closed, and nothing that was due in it is still to be sent or answered.
    Settled,
    /// Its connections have ended.
    Done,
}

pub(crate) async fn run(
    plan: Arc<Plan>,
    control: Arc<Control>,
    events: Sender<Event>,
    context: ShardContext,
) {
    let shard = Rc::new(Shard::new(plan, control, &context, tell(&context, &events)));
    let telling = spawn(tell_now_and_then(Rc::clone(&shard)));
    telling.expect("a new shard has room for tasks");
    if shard.plan.mode == Mode::Storm {
        shard.control.window_opens.set(shard.control.clock()); // nothing comes before its first connect
    }
    shard.ramp().await;
    let _nobody_listens = events.send(Event::Ramped);
    shard.lead(&events).await;
    shard.see_off().await;
    shard.count_never_sent();
    shard.count_unheard();
    shard.recorder.borrow_mut().tell();
    let _nobody_listens = events.send(Event::Done);
}

fn tell(context: &ShardContext, events: &Sender<Event>) -> Tell {
    let (shard, events) = (context.id.0, events.clone());
    Box::new(move |delta| {
        let _nobody_listens = events.send(Event::Delta(shard, Box::new(delta)));
    })
}

async fn tell_now_and_then(shard: Rc<Shard>) {
    while shard.control.stage.get() != RunStage::Over {
        let interval = match shard.control.stage.get() {
            RunStage::Resting => LOOK_INTERVAL_REST,
            _ => TELL_INTERVAL,
        };
        sleep(interval).await;
        shard.recorder.borrow_mut().tell();
    }
    shard.settled.notify(); // a ramp that was cut short waits for nobody any more
}

impl Shard {
    /// Starts every connection, at its pace, and waits until each was served or has failed, or the
    /// run is over. In a storm they are only started.
    async fn ramp(self: &Rc<Self>) {
        let pending_max = self.plan.in_flight_max.div_ceil(self.shards).max(1);
        let is_storm = self.plan.mode == Mode::Storm;
        for index in 0..self.count {
            if !is_storm {
                self.settle_below(pending_max).await;
                self.wait_for_place().await;
            }
            if self.control.stage.get() >= RunStage::Finishing || self.is_in_vain() {
                (index..self.count).for_each(|index| self.never_sends(index, 0));
                break;
            }
            self.alive.set(self.alive.get() + 1);
            self.owing.set(self.owing.get() + 1);
            self.pending.set(self.pending.get() + 1);
            let task = connection::run(Rc::clone(self), index);
            spawn(task).expect("a shard has room for as many tasks as connections");
        }
        if !is_storm {
            self.settle_below(1).await;
        }
    }

    /// Waits until fewer connects than `pending_max` are begun and not yet served, unless the run
    /// is over before.
    async fn settle_below(&self, pending_max: u32) {
        let is_over = || self.control.stage.get() == RunStage::Over;
        while self.pending.get() >= pending_max && !is_over() {
            self.settled.notified().await;
        }
    }

    /// Goes through the stages until the connections are to end.
    async fn lead(&self, events: &Sender<Event>) {
        while self.control.stage.get() == RunStage::Ramping {
            sleep(LOOK_INTERVAL_SHORT).await;
        }
        let schedule = self.schedule();
        let count = match self.plan.mode {
            Mode::Push => u32::from(self.id == 0),
            _ => self.count,
        };
        let mut cursor = schedule.map(|schedule| Cursor::new(schedule, count));
        if cursor.is_none() {
            self.wake_all();
        }
        let (mut turn, mut told) = (None, Told::default());
        while self.control.stage.get() < RunStage::Finishing {
            let (stage, now) = (self.control.stage.get(), self.control.clock());
            if let Some(cursor) = &mut cursor {
                self.hand_out(cursor, now);
            }
            self.tell_how_it_goes(stage, &mut told, events);
            let due = cursor.as_ref().and_then(Cursor::due);
            let mut next = self.next_look(stage, now, due);
            if let Some(participant) = &self.plan.participant {
                let present = participant.turn();
                if present.is_some() && present != turn {
                    self.wake_all();
                }
                (turn, next) = (present, now + LOOK_INTERVAL_TOKEN);
            }
            sleep_until(self.control.instant(next)).await;
        }
    }

    fn next_look(&self, stage: RunStage, now: Duration, due: Option<Duration>) -> Duration {
        let closes = self.control.window_closes.get();
        let not_before = now + self.plan.hand_out_interval;
        match stage {
            RunStage::Resting => now + LOOK_INTERVAL_REST,
            RunStage::Settling => now + LOOK_INTERVAL_SHORT,
            _ if self.alive.get() == 0 || now >= closes => now + LOOK_INTERVAL_SHORT,
            _ => {
                let due = due.unwrap_or(closes).max(not_before);
                due.min(closes).min(now + LOOK_INTERVAL)
            }
        }
    }

    /// Once each: that nobody is left, and that nothing is owed any more. Connections that wait
    /// for a turn hear that there will be none.
    fn tell_how_it_goes(&self, stage: RunStage, told: &mut Told, events: &Sender<Event>) {
        if self.alive.get() == 0 && !std::mem::replace(&mut told.deserted, true) {
            let _nobody_listens = events.send(Event::Deserted);
        }
        if stage != RunStage::Settling {
            return;
        }
        let silenced = self.control.silenced.count();
        let is_first = !std::mem::replace(&mut told.settling, true);
        if is_first || std::mem::replace(&mut told.silenced, silenced) != silenced {
            self.wake_all();
        }
        if self.owing.get() == 0 && !std::mem::replace(&mut told.settled, true) {
            self.recorder.borrow_mut().tell();
            let _nobody_listens = events.send(Event::Settled);
        }
    }

    /// When connections are to speak, in the modes that say so.
    fn schedule(&self) -> Option<Schedule> {
        if !self.plan.mode.has_turns() {
            return None;
        }
        let connections = match self.plan.mode {
            Mode::Push => 1, // who publishes
            _ => self.plan.connections,
        };
        let schedule = Schedule {
            begins: self.control.load_begins.get(),
            interval: self.plan.interval,
            connections: connections.into(),
            shards: self.shards.into(),
            first: self.id.into(),
        };
        self.schedule.set(Some(schedule));
        Some(schedule)
    }

    /// Tells those whose turn has come, unless that is after the window.
    fn hand_out(&self, cursor: &mut Cursor, now: Duration) {
        let opens = self.control.window_opens.get();
        let closes = self.control.window_closes.get();
        let mut offered = [0; 2];
        while cursor.due().is_some_and(|due| due < closes)
            && let Some((index, due)) = cursor.take(now)
        {
            let replies = self.plan.replies(self.number(index));
            offered[usize::from(due >= opens)] += replies;
            self.turns[index as usize].notify();
        }
        let mut recorder = self.recorder.borrow_mut();
        for (is_measured, offered) in [false, true].into_iter().zip(offered) {
            recorder.of(is_measured).counts.offered += offered;
        }
    }

    fn wake_all(&self) {
        self.turns.iter().for_each(Notify::notify);
    }

    /// Waits for the connections to end, or until the control thread does not.
    async fn see_off(&self) {
        self.wake_all();
        while self.alive.get() > 0 && self.control.stage.get() < RunStage::Over {
            let over = async { self.deserted.notified().await };
            futures_lite::future::or(over, sleep(LOOK_INTERVAL)).await;
        }
        if self.alive.get() > 0 {
            let (alive, id) = (self.alive.get(), self.id);
            let left =
                format!("{alive} connections of shard {id} had not ended when the run was over");
            let failure = Failure::new(FailureKind::Other, left);
            self.delta().failures.add(id.into(), &failure);
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    deserted: bool,
    settling: bool,
    /// How many speakers had failed.
    silenced: u64,
    settled: bool,
}
