//! The life of one connection of the load tester.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use corelane::{Conn, Connector, Error, sleep};

use super::Generator;
use super::exchange::{Exchange, Stream, await_replies, drip};
use super::turns::lag;
use crate::failure::{Failure, FailureKind};
use crate::floor::Seat;
use crate::orders::Stage;
use crate::plan::Mode;

/// How long a cycle of a storm waits when the connections of those before it have not closed yet.
const ROOM_WAIT: Duration = Duration::from_millis(1);

/// Connection `index` of the shard, from its connect to its end.
///
/// The future of this is what a connection costs the load tester while it is held: what is long and
/// soon over is boxed.
pub(super) async fn run(generator: Rc<Generator>, index: u32) {
    let mut come = Come::default();
    if matches!(generator.plan.mode, Mode::Storm { .. }) {
        Box::pin(storm(&generator, index)).await;
    } else {
        let outcome = live(&generator, index, &mut come).await;
        generator.ended(index, outcome, come.is_served);
    }
    generator.left(come.is_through);
}

/// How far a connection has come.
#[derive(Debug, Default)]
struct Come {
    /// Its first request was answered.
    is_served: bool,
    /// It has nothing more to ask, and nothing is owed to it.
    is_through: bool,
}

async fn live(generator: &Generator, index: u32, come: &mut Come) -> Result<(), Failure> {
    let greeted = greet(generator, index).await;
    if greeted.is_err() {
        generator.never_sends(index, 0);
    }
    let mut life = greeted?;
    come.is_served = true;
    generator.settle(true);
    match generator.plan.mode {
        Mode::Open { .. } => life.open_loop().await?,
        Mode::Slow { .. } => life.drip_on().await?,
        Mode::Closed => life.closed_loop().await?,
        Mode::Idle | Mode::Storm { .. } => {}
    }
    come.is_through = true;
    generator.through();
    life.hold(Stage::Finishing).await
}

/// The connect, and the first request.
async fn greet(generator: &Generator, index: u32) -> Result<Life<'_>, Failure> {
    let conn = Box::pin(generator.connect(index)).await?;
    let mut life = Life {
        generator,
        conn,
        stream: generator.new_stream(),
        index,
    };
    let now = generator.orders.clock();
    Exchange::new(&mut life, 1, now, now).await?;
    Ok(life)
}

/// A connection that stands.
pub(super) struct Life<'a> {
    pub(super) generator: &'a Generator,
    pub(super) conn: Conn,
    pub(super) stream: Stream,
    index: u32,
}

impl Life<'_> {
    /// Requests at their intended times, whatever the replies do.
    async fn open_loop(&mut self) -> Result<(), Failure> {
        let mut round = 0;
        let outcome = self.ask_by_turns(&mut round).await;
        self.generator
            .never_sends_after(self.index, round, &outcome);
        outcome
    }

    /// Leaves in `round` the first that was not sent.
    async fn ask_by_turns(&mut self, round: &mut u64) -> Result<(), Failure> {
        let mut free = self.generator.orders.clock();
        while let Some(intended) = self.turn(*round).await? {
            *round += 1;
            let now = self.generator.orders.clock();
            if let Some(lag) = lag(intended, free, now) {
                self.generator
                    .record_request(intended, now, |delta| delta.lagged(lag));
            }
            let requests = self.generator.plan.workload.pipeline;
            Exchange::new(self, requests, intended, now).await?;
            free = self.generator.orders.clock();
        }
        Ok(())
    }

    /// One request after the other.
    async fn closed_loop(&mut self) -> Result<(), Failure> {
        let generator = self.generator;
        while generator.orders.stage() < Stage::Settling {
            self.hold_until(|| generator.may_ask() || generator.orders.stage() >= Stage::Settling)
                .await?;
            let _speaking = generator.plan.seat.as_ref().map(Seat::speak);
            while generator.may_ask() {
                let now = generator.orders.clock();
                Exchange::new(self, generator.plan.workload.pipeline, now, now).await?;
            }
        }
        Ok(())
    }

    /// A byte at each turn, and in the end what comes back for them.
    async fn drip_on(&mut self) -> Result<(), Failure> {
        let mut round = 0;
        while self.turn(round).await?.is_some() {
            drip(self).await?;
            round += 1;
        }
        await_replies(self).await
    }

    /// Waits for the intended time of request `round`; none when there is to be none any more.
    async fn turn(&mut self, round: u64) -> Result<Option<Duration>, Failure> {
        poll_fn(|context| {
            loop {
                let (generator, index) = (self.generator, self.index);
                if generator.orders.stage() >= Stage::Finishing {
                    return Poll::Ready(Ok(None));
                }
                let due = generator
                    .schedule
                    .get()
                    .map(|schedule| schedule.due(index, round));
                if let Some(due) = due {
                    let (now, closes) =
                        (generator.orders.clock(), generator.orders.window_closes());
                    if due >= closes {
                        return Poll::Ready(Ok(None));
                    }
                    if now >= closes + generator.plan.timeout {
                        return Poll::Ready(Err(never_sent(now.saturating_sub(due))));
                    }
                    if due <= now {
                        return Poll::Ready(Ok(Some(due)));
                    }
                }
                if let Poll::Ready(event) = self.poll_quiet(context) {
                    event?;
                } else {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Holds the connection without asking anything until the run has come to `stage`.
    async fn hold(&mut self, stage: Stage) -> Result<(), Failure> {
        let generator = self.generator;
        self.hold_until(|| generator.orders.stage() >= stage).await
    }

    async fn hold_until(&mut self, is_over: impl Fn() -> bool) -> Result<(), Failure> {
        poll_fn(|context| {
            while !is_over() {
                match self.poll_quiet(context) {
                    Poll::Ready(event) => event?,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Something happens to a connection that is not asked anything: it is called, bytes come, or
    /// it ends.
    fn poll_quiet(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.generator.turns[self.index as usize]
            .poll_notified(context)
            .is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        match self.conn.poll_read(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Some(chunk))) => Poll::Ready(
                self.stream
                    .take(&self.generator.plan.workload, &chunk)
                    .map(|_replies| ()),
            ),
            Poll::Ready(Ok(None)) => {
                Poll::Ready(Err(closed_early("while nothing was asked of it")))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
        }
    }
}

/// Connect, one request, close, and again.
async fn storm(generator: &Generator, index: u32) {
    loop {
        generator.wait_for_place().await;
        if generator.orders.stage() >= Stage::Settling
            || generator.is_in_vain()
            || !generator.begin_cycle()
        {
            break;
        }
        let mut served = false;
        let outcome = cycle(generator, index, &mut served).await;
        if served {
            generator.served.set(generator.served.get() + 1);
            generator.record(|delta| delta.served += 1);
        }
        generator.ended(index, outcome, served);
    }
    generator.settle(false);
}

async fn cycle(generator: &Generator, index: u32, served: &mut bool) -> Result<(), Failure> {
    let begun = generator.orders.clock(); // the latency of a storm is that of its cycles, so the connect counts
    let connected = generator.connect(index).await;
    if connected.is_err() {
        generator.gave_up(1, begun);
    }
    let mut life = Life {
        generator,
        conn: connected?,
        stream: generator.new_stream(),
        index,
    };
    Exchange::new(&mut life, 1, begun, generator.orders.clock()).await?;
    *served = true;
    Ok(())
}

impl Generator {
    /// Whether a closed loop sends another request.
    fn may_ask(&self) -> bool {
        matches!(self.orders.stage(), Stage::Warming | Stage::Measuring)
            && self.plan.seat.as_ref().is_none_or(Seat::has_floor)
    }

    async fn connect(&self, index: u32) -> Result<Conn, Failure> {
        let target = self.plan.target(self.number(index));
        let mut connector = Connector::new().timeout(self.plan.timeout).speaks_first();
        if let Some(source) = self.plan.source(self.number(index)) {
            connector = connector.source(source);
        }
        self.record(|delta| delta.begun += 1);
        let begun = self.orders.clock();
        loop {
            let tried = self.orders.clock();
            match connector.connect(target).await {
                Ok(conn) => {
                    let now = self.orders.clock();
                    self.in_time("connect", now.saturating_sub(tried))?;
                    self.record(|delta| delta.connected(now.saturating_sub(begun)));
                    return Ok(conn);
                }
                Err(Error::Connect(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
                    sleep(ROOM_WAIT).await
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether what took so long was as quick as `--timeout` wants it. The shard's deadlines come
    /// by up to three eighths of a second late.
    pub(super) fn in_time(&self, what: &str, took: Duration) -> Result<(), Failure> {
        let timeout = self.plan.timeout;
        if took <= timeout {
            return Ok(());
        }
        let late = format!(
            "a {what} took {} ms, --timeout is {} ms",
            took.as_millis(),
            timeout.as_millis()
        );
        Err(Failure::new(FailureKind::TimedOut, late))
    }

    /// The connection's number in the whole run.
    fn number(&self, index: u32) -> u32 {
        index * self.shards + self.shard
    }

    fn new_stream(&self) -> Stream {
        let used = self.streams.get();
        self.streams.set(used + 1);
        Stream::new(
            self.plan.seed,
            used * u64::from(self.shards) + u64::from(self.shard),
        )
    }

    /// Records what is of no one request.
    pub(super) fn record<R>(&self, record: impl FnOnce(&mut super::Delta) -> R) -> R {
        record(self.recorder.borrow_mut().of(false))
    }

    /// Records what became of a request that was to be sent at `intended` and came to its end
    /// `now`.
    pub(super) fn record_request<R>(
        &self,
        intended: Duration,
        now: Duration,
        record: impl FnOnce(&mut super::Delta) -> R,
    ) -> R {
        record(
            self.recorder
                .borrow_mut()
                .of(self.is_measured(intended, now)),
        )
    }

    /// Of an open loop, and of a storm, what was to be sent in the window. A closed loop sends
    /// nothing while it waits, so that what it has sent before is all that can tell of a stall in
    /// the window: of it, whatever was under way then.
    fn is_measured(&self, intended: Duration, now: Duration) -> bool {
        match self.plan.mode {
            Mode::Closed => {
                self.orders.window_opens() <= now && intended < self.orders.window_closes()
            }
            _ => self.orders.is_within_window(intended),
        }
    }

    /// Whether another cycle of the storm may begin; if so, it has.
    fn begin_cycle(&self) -> bool {
        let left = self.cycles.get();
        self.cycles.set(left.map(|left| left.saturating_sub(1)));
        left != Some(0)
    }

    /// A connection of the ramp was served for the first time, or will not be.
    fn settle(&self, served: bool) {
        if served {
            self.served.set(self.served.get() + 1);
            self.record(|delta| delta.served += 1);
        }
        self.pending.set(self.pending.get() - 1);
        self.settled.notify();
    }

    fn ended(&self, index: u32, outcome: Result<(), Failure>, served: bool) {
        let number = self.number(index).into();
        self.record(|delta| delta.ended += 1);
        if let Err(failure) = outcome {
            self.failed.set(self.failed.get() + 1);
            self.record(|delta| delta.failed(number, &failure));
        }
        if !served && !matches!(self.plan.mode, Mode::Storm { .. }) {
            self.settle(false);
        }
    }

    /// A connection has nothing more to ask, and nothing is owed to it.
    fn through(&self) {
        self.owing.set(self.owing.get() - 1);
    }

    fn left(&self, is_through: bool) {
        if !is_through {
            self.through();
        }
        self.alive.set(self.alive.get() - 1);
        if self.alive.get() == 0 {
            self.deserted.notify();
        }
    }
}

fn never_sent(waited: Duration) -> Failure {
    let waited = waited.as_millis();
    Failure::new(
        FailureKind::TimedOut,
        format!(
            "a request that was due in the window waited {waited} ms for its turn and was never sent"
        ),
    )
}

pub(super) fn closed_early(when: &str) -> Failure {
    Failure::new(
        FailureKind::ClosedEarly,
        format!("the server closed the connection {when}"),
    )
}
