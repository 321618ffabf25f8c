//! What each shard of the load tester runs: it opens its share of the connections, hands them their
//! turns, and sees them off.
//!
//! In the order in which it happens: [`Generator::ramp`] starts a task per connection
//! ([`connection`]); [`Generator::lead`] goes through the stages of the run that the control thread
//! orders, and through the turns ([`turns`]) of an open loop; [`Generator::see_off`] waits for the
//! connections to end. What is measured meanwhile goes to the control thread as [`Delta`]s
//! ([`recorder`]).
//!
//! What is measured is every request that was intended for the window, whenever it is answered, and
//! even if it is not ([`unanswered`]).

mod connection;
mod exchange;
mod pace;
mod recorder;
mod turns;
mod unanswered;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use corelane::{Notify, ShardContext, sleep, sleep_until, spawn};

use crate::failure::{Failure, FailureKind};
use crate::orders::{Orders, Stage};
use crate::plan::{Mode, Plan};
use pace::Pace;
use recorder::Recorder;
pub(crate) use recorder::{Delta, Times, times};
use turns::{Cursor, Schedule};
use unanswered::NeverSent;

/// How often a shard looks for orders while nothing else wakes it.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often it looks while the run waits for it.
const LOOK_INTERVAL_SHORT: Duration = Duration::from_millis(10);
/// And where several runs take turns: a turn begins with a look.
const LOOK_INTERVAL_SEAT: Duration = Duration::from_millis(1);
/// And while the connections rest: what they cost is measured then, and looking costs, too.
const LOOK_INTERVAL_REST: Duration = Duration::from_secs(2);
/// How often it tells what it has measured.
const TELL_INTERVAL: Duration = Duration::from_millis(500);
/// Failures after which a shard gives the ramp up if none of its connections was served: the server
/// is not there.
const FAILURES_IN_VAIN_MAX: u32 = 200;

/// What a shard tells the control thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// What it has counted and measured.
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

/// How a shard's deltas reach the control thread.
type Tell = Box<dyn FnMut(Delta)>;

/// A shard's part of a run.
struct Generator {
    plan: Arc<Plan>,
    orders: Arc<Orders>,
    /// This shard's number, and how many there are.
    shard: u32,
    shards: u32,
    /// Connections of this shard.
    count: u32,
    recorder: RefCell<Recorder<Tell>>,
    pace: RefCell<Pace>,
    /// Bytes on their way into a connection.
    scratch: RefCell<Vec<u8>>,
    /// A connection's turn has come, or the run has come to another stage.
    turns: Vec<Notify>,
    /// Set once the load begins.
    schedule: Cell<Option<Schedule>>,
    /// Connects begun and not yet served, nor failed.
    pending: Cell<u32>,
    /// `pending` has fallen.
    settled: Notify,
    served: Cell<u32>,
    failed: Cell<u32>,
    /// Connections' tasks that are not over, and those of them that have still something to ask or
    /// to be answered.
    alive: Cell<u32>,
    owing: Cell<u32>,
    /// Requests that the connections which have failed will not send.
    never_sent: RefCell<Vec<NeverSent>>,
    /// The last of them is over.
    deserted: Notify,
    /// Cycles of a storm that are still to begin; none: no such bound.
    cycles: Cell<Option<u64>>,
    /// Streams of bytes used so far: each connection, and each cycle of a storm, has one of its
    /// own.
    streams: Cell<u64>,
}

/// Runs a shard's part of `plan`.
pub(crate) async fn run(
    plan: Arc<Plan>,
    orders: Arc<Orders>,
    events: Sender<Event>,
    context: ShardContext,
) {
    let generator = Rc::new(Generator::new(plan, orders, &context, events.clone()));
    let telling = spawn(tell_now_and_then(Rc::clone(&generator)));
    telling.expect("a new shard has room for tasks");
    if matches!(generator.plan.mode, Mode::Storm { .. }) {
        generator.orders.open_window(generator.orders.clock()); // nothing comes before its first connect
    }
    generator.ramp().await;
    let _nobody_listens = events.send(Event::Ramped);
    generator.lead(&events).await;
    generator.see_off().await;
    generator.count_never_sent();
    generator.recorder.borrow_mut().tell();
    let _nobody_listens = events.send(Event::Done);
}

async fn tell_now_and_then(generator: Rc<Generator>) {
    while generator.orders.stage() != Stage::Over {
        let is_resting = generator.orders.stage() == Stage::Resting;
        sleep(if is_resting {
            LOOK_INTERVAL_REST
        } else {
            TELL_INTERVAL
        })
        .await;
        generator.recorder.borrow_mut().tell();
    }
}

impl Generator {
    fn new(
        plan: Arc<Plan>,
        orders: Arc<Orders>,
        context: &ShardContext,
        events: Sender<Event>,
    ) -> Self {
        let (shard, shards) = (context.id.0, context.shards);
        let count = share(plan.connections.into(), shard, shards) as u32;
        let cycles = match plan.mode {
            Mode::Storm { cycles } => cycles.map(|cycles| share(cycles, shard, shards)),
            _ => None,
        };
        let send: Tell = Box::new(move |delta| {
            let _nobody_listens = events.send(Event::Delta(shard, Box::new(delta)));
        });
        Self {
            pace: RefCell::new(Pace::new(
                plan.rate.map(|rate| f64::from(rate) / f64::from(shards)),
            )),
            plan,
            orders,
            shard,
            shards,
            count,
            recorder: RefCell::new(Recorder::new(send)),
            scratch: RefCell::new(Vec::new()),
            turns: (0..count).map(|_| Notify::new()).collect(),
            schedule: Cell::new(None),
            pending: Cell::new(0),
            settled: Notify::new(),
            served: Cell::new(0),
            failed: Cell::new(0),
            alive: Cell::new(0),
            owing: Cell::new(0),
            never_sent: RefCell::new(Vec::new()),
            deserted: Notify::new(),
            cycles: Cell::new(cycles),
            streams: Cell::new(0),
        }
    }

    /// Starts every connection, at its pace, and waits until each was served or has failed. In a
    /// storm they are only started.
    async fn ramp(self: &Rc<Self>) {
        let pending_max = self.plan.in_flight_max.div_ceil(self.shards).max(1);
        let is_storm = matches!(self.plan.mode, Mode::Storm { .. });
        for index in 0..self.count {
            while !is_storm && self.pending.get() >= pending_max {
                self.settled.notified().await;
            }
            if !is_storm {
                self.wait_for_place().await;
            }
            if self.orders.stage() >= Stage::Finishing || self.is_in_vain() {
                (index..self.count).for_each(|index| self.never_sends(index, 0));
                break;
            }
            self.alive.set(self.alive.get() + 1);
            self.owing.set(self.owing.get() + 1);
            self.pending.set(self.pending.get() + 1);
            let task = connection::run(Rc::clone(self), index);
            spawn(task).expect("a shard has room for as many tasks as connections");
        }
        while !is_storm && self.pending.get() > 0 {
            self.settled.notified().await;
        }
    }

    /// Waits for a place in the stream of connects.
    async fn wait_for_place(&self) {
        let place = self.pace.borrow_mut().reserve(self.orders.clock());
        while place > self.orders.clock() && self.orders.stage() < Stage::Settling {
            let look = self.orders.clock() + LOOK_INTERVAL;
            sleep_until(self.orders.instant(place.min(look))).await;
        }
    }

    fn is_in_vain(&self) -> bool {
        self.served.get() == 0 && self.failed.get() >= FAILURES_IN_VAIN_MAX
    }

    /// Goes through the stages until the connections are to end.
    async fn lead(&self, events: &Sender<Event>) {
        while self.orders.stage() == Stage::Ramping {
            sleep(LOOK_INTERVAL_SHORT).await;
        }
        let mut cursor = self
            .schedule()
            .map(|schedule| Cursor::new(schedule, self.count));
        if cursor.is_none() {
            self.wake_all();
        }
        let (mut turn, mut told) = (None, Told::default());
        while self.orders.stage() < Stage::Finishing {
            let (stage, now) = (self.orders.stage(), self.orders.clock());
            if let Some(cursor) = &mut cursor {
                self.hand_out(cursor, now);
            }
            self.tell_how_it_goes(stage, &mut told, events);
            let due = cursor
                .as_ref()
                .and_then(Cursor::due)
                .filter(|due| *due < self.orders.window_closes());
            let mut next = self.next_look(stage, now, due);
            if let Some(seat) = &self.plan.seat {
                let present = seat.turn();
                if present.is_some() && present != turn {
                    self.wake_all();
                }
                (turn, next) = (present, now + LOOK_INTERVAL_SEAT);
            }
            sleep_until(self.orders.instant(next)).await;
        }
    }

    fn next_look(&self, stage: Stage, now: Duration, due: Option<Duration>) -> Duration {
        match stage {
            Stage::Settling => now + LOOK_INTERVAL_SHORT,
            Stage::Resting => now + LOOK_INTERVAL_REST,
            _ if self.alive.get() == 0 || now >= self.orders.window_closes() => {
                now + LOOK_INTERVAL_SHORT
            }
            _ => {
                let look = (now + LOOK_INTERVAL).min(self.orders.window_closes());
                due.map_or(look, |due| {
                    look.min(due.max(now + self.plan.hand_out_interval))
                })
            }
        }
    }

    /// Once each: that nobody is left, and that nothing is owed any more. Whoever waits for a turn
    /// hears that there will be none.
    fn tell_how_it_goes(&self, stage: Stage, told: &mut Told, events: &Sender<Event>) {
        if self.alive.get() == 0 && !std::mem::replace(&mut told.deserted, true) {
            let _nobody_listens = events.send(Event::Deserted);
        }
        if stage != Stage::Settling {
            return;
        }
        if !std::mem::replace(&mut told.settling, true) {
            self.wake_all();
        }
        if self.owing.get() == 0 && !std::mem::replace(&mut told.settled, true) {
            self.recorder.borrow_mut().tell();
            let _nobody_listens = events.send(Event::Settled);
        }
    }

    /// When connections are to speak, in the modes that say so.
    fn schedule(&self) -> Option<Schedule> {
        let (Mode::Open { interval } | Mode::Slow { interval }) = self.plan.mode else {
            return None;
        };
        let schedule = Schedule {
            begins: self.orders.load_begins(),
            interval,
            connections: self.plan.connections.into(),
            shards: self.shards.into(),
            first: self.shard.into(),
        };
        self.schedule.set(Some(schedule));
        Some(schedule)
    }

    /// Tells those whose turn has come, unless that is after the window.
    fn hand_out(&self, cursor: &mut Cursor, now: Duration) {
        let (opens, closes) = (self.orders.window_opens(), self.orders.window_closes());
        let (mut turns, mut measured) = (0, 0);
        while cursor.due().is_some_and(|due| due < closes)
            && let Some((index, due)) = cursor.take(now)
        {
            turns += 1;
            measured += u64::from(due >= opens);
            self.turns[index as usize].notify();
        }
        if turns > 0 {
            let (mut recorder, requests) = (
                self.recorder.borrow_mut(),
                u64::from(self.plan.workload.pipeline),
            );
            recorder.of(false).offered += (turns - measured) * requests;
            recorder.of(true).offered += measured * requests;
        }
    }

    fn wake_all(&self) {
        self.turns.iter().for_each(Notify::notify);
    }

    /// Waits for the connections to end, or until the control thread does not.
    async fn see_off(&self) {
        self.wake_all();
        while self.alive.get() > 0 && self.orders.stage() < Stage::Over {
            let over = async { self.deserted.notified().await };
            futures_lite::future::or(over, sleep(LOOK_INTERVAL)).await;
        }
        if self.alive.get() > 0 {
            let left = format!(
                "{} connections of shard {} had not ended when the run was over",
                self.alive.get(),
                self.shard
            );
            self.record(|delta| {
                delta.failed(self.shard.into(), &Failure::new(FailureKind::Other, left))
            });
        }
    }
}

/// What a shard has told already.
#[derive(Debug, Default)]
struct Told {
    deserted: bool,
    settling: bool,
    settled: bool,
}

/// How many of `whole` fall to one of `shards` if they are dealt out in turn.
fn share(whole: u64, shard: u32, shards: u32) -> u64 {
    whole.saturating_sub(shard.into()).div_ceil(shards.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_differ_by_one_at_most_and_add_up() {
        for (whole, shards) in [(0, 1), (1, 3), (10, 3), (1_000_000, 60), (59, 60)] {
            let shares: Vec<u64> = (0..shards)
                .map(|shard| share(whole, shard, shards))
                .collect();
            assert_eq!(shares.iter().sum::<u64>(), whole);
            assert!(
                shares
                    .iter()
                    .max()
                    .zip(shares.iter().min())
                    .is_some_and(|(most, least)| most - least <= 1)
            );
        }
    }
}
