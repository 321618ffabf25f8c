//! The state that the connections of a shard share: the plan, the orders, the counts.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelane::{Notify, ShardContext, sleep_until, websocket};

use super::heard::Heard;
use super::recorder::{Delta, Recorder};
use super::turns::{ConnectRate, Schedule};
use crate::control::{Control, RunStage};
use crate::failure::{Failure, FailureKind};
use crate::plan::{Mode, Plan};
use crate::rooms::Rooms;
use crate::token::Participant;
use crate::workload::StreamKey;

/// How often a shard looks for orders while nothing else wakes it.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Failures after which a shard gives the ramp up if none of its connections was served: the server
/// is not there.
const FAILURES_IN_VAIN_MAX: u32 = 200;

/// How a shard's deltas reach the control thread.
pub(super) type Tell = Box<dyn FnMut(Delta)>;

/// A shard's part of a run.
pub(super) struct Shard {
    pub(super) plan: Arc<Plan>,
    pub(super) control: Arc<Control>,
    /// This shard's number, and how many there are.
    pub(super) id: u32,
    pub(super) shards: u32,
    pub(super) count: u32,
    pub(super) rooms: Rooms,
    /// What a handshake of WebSocket offers: nothing.
    pub(super) websocket: Rc<websocket::Options>,
    /// Of no size in the modes that have no rooms.
    pub(super) heard: RefCell<Heard>,
    pub(super) recorder: RefCell<Recorder<Tell>>,
    pub(super) connect_rate: RefCell<ConnectRate>,
    /// Bytes on their way into a connection.
    pub(super) scratch: RefCell<Vec<u8>>,
    /// A connection's turn has come, or the run has come to another stage.
    pub(super) turns: Vec<Notify>,
    /// Set once the load begins.
    pub(super) schedule: Cell<Option<Schedule>>,
    /// Connects begun and not yet served, nor failed.
    pub(super) pending: Cell<u32>,
    /// `pending` has fallen.
    pub(super) settled: Notify,
    pub(super) served: Cell<u32>,
    pub(super) failed: Cell<u32>,
    /// Connections' tasks that are not over, and those of them that have still something to ask or
    /// to be answered.
    pub(super) alive: Cell<u32>,
    pub(super) owing: Cell<u32>,
    /// Connections that have failed, and of each the first of its requests that it will not send.
    pub(super) never_sent: RefCell<Vec<(u32, u64)>>,
    /// The last of them is over.
    pub(super) deserted: Notify,
    /// Cycles of a storm that are still to begin; none: no such bound.
    pub(super) cycles: Cell<Option<u64>>,
    /// Streams of bytes used so far: each connection, and each cycle of a storm, has one of its
    /// own.
    pub(super) streams: Cell<u64>,
}

impl Shard {
    pub(super) fn new(
        plan: Arc<Plan>,
        control: Arc<Control>,
        context: &ShardContext,
        tell: Tell,
    ) -> Self {
        let (shard, shards) = (context.id.0, context.shards);
        let count = share(plan.connections.into(), shard, shards) as u32;
        let cycles = plan.cycles.map(|cycles| share(cycles, shard, shards));
        let rooms = plan.rooms();
        let heard = match plan.mode.has_rooms() {
            true => Heard::new(count, rooms.speakers(0)),
            false => Heard::new(0, 0),
        };
        let rate = plan.rate.map(|rate| f64::from(rate) / f64::from(shards));
        Self {
            connect_rate: RefCell::new(ConnectRate::new(rate)),
            plan,
            control,
            id: shard,
            shards,
            count,
            rooms,
            websocket: Rc::default(),
            heard: RefCell::new(heard),
            recorder: RefCell::new(Recorder::new(tell)),
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

    pub(super) async fn wait_for_place(&self) {
        let place = self.connect_rate.borrow_mut().reserve(self.control.clock());
        while place > self.control.clock() && self.control.stage.get() < RunStage::Settling {
            let look = self.control.clock() + LOOK_INTERVAL;
            sleep_until(self.control.instant(place.min(look))).await;
        }
    }

    pub(super) fn is_in_vain(&self) -> bool {
        self.served.get() == 0 && self.failed.get() >= FAILURES_IN_VAIN_MAX
    }

    /// Whether a closed loop sends another request.
    pub(super) fn may_ask(&self) -> bool {
        let is_loaded = (RunStage::Warming..RunStage::Settling).contains(&self.control.stage.get());
        let participant = self.plan.participant.as_ref();
        is_loaded && participant.is_none_or(Participant::holds_token)
    }

    /// Whether a step that took so long was as quick as `--timeout` wants it. The shard's deadlines
    /// come by up to three eighths of a second late.
    pub(super) fn in_time(&self, what: &str, took: Duration) -> Result<(), Failure> {
        let timeout = self.plan.timeout;
        if took <= timeout {
            return Ok(());
        }
        let [took, timeout] = [took, timeout].map(|time| time.as_secs_f64() * 1e3);
        let late = format!("a {what} took {took:.3} ms, --timeout is {timeout} ms");
        Err(Failure::new(FailureKind::TimedOut, late))
    }

    pub(super) fn number(&self, index: u32) -> u32 {
        index * self.shards + self.id
    }

    pub(super) fn next_stream(&self) -> StreamKey {
        let used = self.streams.get();
        self.streams.set(used + 1);
        let number = used * u64::from(self.shards) + u64::from(self.id);
        StreamKey::new(self.plan.seed, number)
    }

    /// Where anything but a request is recorded.
    pub(super) fn delta(&self) -> RefMut<'_, Delta> {
        RefMut::map(self.recorder.borrow_mut(), |recorder| recorder.of(false))
    }

    /// Where a request is recorded that was to be sent at `intended` and ended `now`.
    pub(super) fn delta_of(&self, intended: Duration, now: Duration) -> RefMut<'_, Delta> {
        let is_measured = self.is_measured(intended, now);
        let recorder = self.recorder.borrow_mut();
        RefMut::map(recorder, |recorder| recorder.of(is_measured))
    }

    /// In an open loop, and in a storm: the requests that were to be sent in the window. A closed
    /// loop sends nothing while it waits, so that only requests sent before can tell of a stall in
    /// the window: there, all requests under way in it.
    fn is_measured(&self, intended: Duration, now: Duration) -> bool {
        let (opens, closes) = (&self.control.window_opens, &self.control.window_closes);
        match self.plan.mode {
            Mode::Closed => opens.get() <= now && intended < closes.get(),
            _ => self.control.is_within_window(intended),
        }
    }

    /// Whether another cycle of the storm may begin; if so, it has.
    pub(super) fn begin_cycle(&self) -> bool {
        let left = self.cycles.get();
        self.cycles.set(left.map(|left| left.saturating_sub(1)));
        left != Some(0)
    }

    /// A connection of the ramp was served for the first time, or will not be.
    pub(super) fn settle(&self, served: bool) {
        if served {
            self.served.set(self.served.get() + 1);
            self.delta().counts.served += 1;
        }
        self.pending.set(self.pending.get() - 1);
        self.settled.notify();
    }

    pub(super) fn ended(&self, index: u32, outcome: Result<(), Failure>, served: bool) {
        let number = self.number(index).into();
        self.delta().counts.ended += 1;
        if let Err(failure) = outcome {
            self.failed.set(self.failed.get() + 1);
            self.delta().failures.add(number, &failure);
        }
        if !served && self.plan.mode != Mode::Storm {
            self.settle(false);
        }
    }

    /// A connection has nothing more to ask, and nothing is owed to it.
    pub(super) fn through(&self) {
        self.owing.set(self.owing.get() - 1);
    }

    pub(super) fn left(&self, is_through: bool) {
        if !is_through {
            self.through();
        }
        self.alive.set(self.alive.get() - 1);
        if self.alive.get() == 0 {
            self.deserted.notify();
        }
    }
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
