//! The handler's part: it reads, writes, waits, opens connections and ends in any way there is, as
//! the seed says.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::{or, zip};

use crate::conn::connection::Conn;
use crate::error::{CloseReason, Error};
use crate::id::Key;
use crate::shard::conns::ConnMut;
use crate::shard::conns::slot::{PeerState, RecvState};
use crate::shard::futures::notify::Notify;
use crate::shard::handle::Shard;
use crate::shard::sim::random::Random;
use crate::shard::sim::world::World;
use crate::step::Step;
use crate::upstream::connector::Connector;

/// Actions of a handler at most.
const ACTIONS_MAX: u32 = 60;
/// Longest frame that a handler asks for.
const FRAME_MAX: u32 = 700;

/// What all handlers of a run share.
pub(crate) struct Stage {
    pub(crate) world: RefCell<World>,
    /// Whoever waits within the shard.
    notifies: RefCell<Vec<Rc<Notify>>>,
    /// Wakers that something foreign would use.
    kept: RefCell<Vec<Waker>>,
    random: RefCell<Random>,
    /// A rule was broken within a handler.
    pub(crate) is_broken: Cell<bool>,
}

impl Stage {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            world: RefCell::default(),
            notifies: RefCell::default(),
            kept: RefCell::default(),
            random: RefCell::new(random),
            is_broken: Cell::new(false),
        }
    }

    /// Wakes one of those who wait for something other than a connection, or all of them.
    pub(crate) fn wake(&self, all: bool) {
        loop {
            let (notify, waker) = (
                self.notifies.borrow_mut().pop(),
                self.kept.borrow_mut().pop(),
            );
            let none = notify.is_none() && waker.is_none();
            if let Some(notify) = notify {
                notify.notify();
            }
            if let Some(waker) = waker {
                waker.wake();
            }
            if none || !all {
                return;
            }
        }
    }

    fn below(&self, count: u32) -> u32 {
        self.random.borrow_mut().below(count)
    }
}

/// Tells the world what the end of a handler makes of its connection, however the end comes.
struct Leaving<'a> {
    stage: &'a Stage,
    key: Key,
    outcome: Option<CloseReason>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.outcome.is_none() && std::thread::panicking() {
            return self.stage.is_broken.set(true); // a rule was broken in it, which must not pass for a panic of its own
        }
        let failed =
            Shard::with(|shard| shard.core().conns.get(self.key).map(|conn| conn.failure()))
                .unwrap_or(Some(CloseReason::HandlerClosed));
        let expected = self
            .outcome
            .or(failed)
            .unwrap_or_else(|| panic!("{:?}: its handler was dropped for nothing", self.key));
        assert!(
            self.outcome.is_some() || expected.is_cut(),
            "only who is cut is not waited for: {expected}"
        );
        self.stage.world.borrow_mut().life(self.key).expected = Some(expected);
    }
}

pub(crate) async fn serve(stage: &Stage, key: Key) -> Result<(), Error> {
    let mut conn = Conn::new(key);
    let mut leaving = Leaving {
        stage,
        key,
        outcome: None,
    };
    let outcome = play(stage, &mut conn, &mut leaving, true).await;
    leaving.outcome = Some(reason_after(key, &outcome));
    outcome
}

/// The first rule that fits: the connection failed; its handler did; the peer ended it; the drain
/// did; the handler did.
fn reason_after(key: Key, outcome: &Result<(), Error>) -> CloseReason {
    Shard::with(|shard| {
        let slot = shard.core().conns.snapshot(key);
        let slot = slot.expect("a slot outlives its handler");
        match (slot.failed, outcome) {
            (Some(failure), _) => failure,
            (None, Err(error)) => error.reason(),
            (None, Ok(())) if slot.recv == RecvState::Ended => CloseReason::PeerClosed,
            (None, Ok(())) if slot.peer_state == PeerState::Over => CloseReason::Drained,
            (None, Ok(())) => CloseReason::HandlerClosed,
        }
    })
}

async fn play(
    stage: &Stage,
    conn: &mut Conn,
    leaving: &mut Leaving<'_>,
    opens: bool,
) -> Result<(), Error> {
    for _ in 0..ACTIONS_MAX {
        if stage.world.borrow().is_ending {
            break;
        }
        match stage.below(48) {
            0..=11 if !read(stage, conn, false).await? => break,
            12..=14 if !read_frame(stage, conn).await? => break,
            15..=22 => write(stage, conn).await?,
            23..=26 if !read(stage, conn, true).await? => break,
            27..=28 => {
                conn.flush().await?;
                stage.world.borrow_mut().was_flushed(conn.key());
            }
            29 => read_and_leave_off(stage, conn).await,
            30..=31 => wait_within(stage).await,
            32 => wait_foreign(stage).await,
            33 if opens => Box::pin(open(stage)).await,
            34 if stage.below(4) == 0 => conn.close().await?,
            40 => race(stage, conn).await?,
            41..=42 => both_ways(stage, conn).await?,
            43..=44 => begin_and_leave_off(stage, conn).await?,
            45 => abandon(stage, conn).await?,
            46 if stage.below(4) == 0 => {
                stage.world.borrow_mut().life(conn.key()).aborts = true;
                conn.abort();
            }
            35 => return Ok(()),
            36 => return Err(Error::handler("of its own")),
            37 if stage.below(6) == 0 => {
                leaving.outcome = Some(CloseReason::HandlerPanicked);
                std::panic::resume_unwind(Box::new("a handler's")); // without the hook, which would tell of it
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads what comes next, and perhaps sends it back from where it lies. False at the end.
async fn read(stage: &Stage, conn: &mut Conn, echo: bool) -> Result<bool, Error> {
    stage.world.borrow_mut().life(conn.key()).reads_all = true;
    let Some(chunk) = conn.read().await? else {
        stage.world.borrow_mut().was_told_the_end(conn.key(), 0);
        return Ok(false);
    };
    stage.world.borrow_mut().was_read(conn.key(), &chunk);
    if echo && !chunk.is_empty() && can_write(conn.key()) {
        stage.world.borrow_mut().writes(conn.key(), &chunk);
        conn.write(chunk).await?;
        stage.world.borrow_mut().has_written(conn.key());
    }
    Ok(true)
}

async fn read_frame(stage: &Stage, conn: &mut Conn) -> Result<bool, Error> {
    let length = 1 + stage.below(FRAME_MAX) as usize;
    stage.world.borrow_mut().life(conn.key()).reads_all = false;
    let mut offered = 0;
    let parse = |bytes: &[u8]| {
        offered = bytes.len();
        if bytes.len() < length {
            Step::NeedMore
        } else {
            Step::Frame { value: (), length }
        }
    };
    match conn.read_frame(FRAME_MAX as usize, parse).await {
        Ok(Some(frame)) => {
            assert_eq!(frame.bytes.len(), length);
            stage.world.borrow_mut().was_read(conn.key(), &frame.bytes);
            Ok(true)
        }
        Ok(None) => {
            stage.world.borrow_mut().was_told_the_end(conn.key(), 0);
            Ok(false)
        }
        Err(Error::Truncated) => {
            stage
                .world
                .borrow_mut()
                .was_told_the_end(conn.key(), offered);
            Err(Error::Truncated)
        }
        Err(error) => Err(error),
    }
}

/// After our own FIN nothing can be written, and the attempt must not count.
fn can_write(key: Key) -> bool {
    Shard::with(|shard| {
        let mut core = shard.core();
        let conn = core.conns.get(key);
        conn.is_some_and(|conn| conn.output_refusal().is_none())
    })
}

async fn write(stage: &Stage, conn: &mut Conn) -> Result<(), Error> {
    if !can_write(conn.key()) {
        return conn.write(b"refused").await;
    }
    let length = match stage.below(4) {
        0 => 1,
        1 => stage.below(40),
        2 => stage.below(400),
        _ => stage.below(3000),
    };
    let bytes = stage
        .world
        .borrow_mut()
        .next_output(conn.key(), length as usize);
    if stage.below(4) == 0 {
        conn.write(Arc::<[u8]>::from(bytes)).await?;
    } else {
        conn.write(&bytes).await?;
    }
    stage.world.borrow_mut().has_written(conn.key());
    Ok(())
}

/// Begins to read, and drops that half-way if nothing is there.
async fn read_and_leave_off(stage: &Stage, conn: &mut Conn) {
    let key = conn.key();
    let mut read = pin!(conn.read());
    let begun = poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await;
    if let Poll::Ready(Ok(Some(chunk))) = begun {
        stage.world.borrow_mut().was_read(key, &chunk);
    }
}

/// Waits for input, for another task and for another thread at the same time, and leaves off two of
/// them.
async fn race(stage: &Stage, conn: &mut Conn) -> Result<(), Error> {
    let key = conn.key();
    stage.world.borrow_mut().life(key).reads_all = true;
    let read = async { Some(conn.read().await) };
    let within = async {
        wait_within(stage).await;
        None
    };
    let foreign = async {
        wait_foreign(stage).await;
        None
    };
    if let Some(Some(chunk)) = or(read, or(within, foreign)).await.transpose()? {
        stage.world.borrow_mut().was_read(key, &chunk);
    }
    Ok(())
}

/// Reads and writes at the same time, in either order, through the task's waker or through wakers
/// of each half's own.
async fn both_ways(stage: &Stage, conn: &mut Conn) -> Result<(), Error> {
    let key = conn.key();
    if !can_write(key) {
        return Ok(());
    }
    stage.world.borrow_mut().life(key).reads_all = true;
    let (mut reader, mut writer) = conn.split();
    let bytes = stage
        .world
        .borrow_mut()
        .next_output(key, stage.below(4000) as usize);
    let (reads, flushes) = (stage.below(4), stage.below(2) == 0);
    let write = async {
        writer.write(&bytes).await?;
        stage.world.borrow_mut().has_written(key);
        if flushes {
            writer.flush().await?;
            stage.world.borrow_mut().was_flushed(key);
        }
        Ok::<(), Error>(())
    };
    let read = async {
        for _ in 0..reads {
            if stage.world.borrow().is_ending {
                break;
            }
            let Some(chunk) = reader.read().await? else {
                break;
            };
            stage.world.borrow_mut().was_read(key, &chunk);
        }
        Ok::<(), Error>(())
    };
    let (read, wrote) = match stage.below(3) {
        0 => zip(read, write).await,
        1 => {
            let (wrote, read) = zip(write, read).await;
            (read, wrote)
        }
        _ => Separately::new(read, write).await,
    };
    read.and(wrote)
}

/// Begins to write what was read, or to flush, and drops that half-way.
async fn begin_and_leave_off(stage: &Stage, conn: &mut Conn) -> Result<(), Error> {
    let key = conn.key();
    if stage.below(2) == 0 {
        let mut flush = pin!(conn.flush());
        if poll_fn(|context| Poll::Ready(flush.as_mut().poll(context)))
            .await
            .is_ready()
            && can_write(key)
        {
            stage.world.borrow_mut().was_flushed(key);
        }
        return Ok(());
    }
    stage.world.borrow_mut().life(key).reads_all = true;
    let Some(chunk) = conn.read().await? else {
        return Ok(());
    };
    stage.world.borrow_mut().was_read(key, &chunk);
    let bytes = chunk.to_vec();
    let mut write = pin!(conn.write(chunk));
    if let Poll::Ready(Ok(())) = poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await
    {
        let mut world = stage.world.borrow_mut();
        world.writes(key, &bytes);
        world.has_written(key);
    }
    Ok(())
}

/// Polls through the futures-io traits, which know no dropping, and goes on to something else.
async fn abandon(stage: &Stage, conn: &mut Conn) -> Result<(), Error> {
    let key = conn.key();
    let mut buffer = [0; 100];
    let read = poll_fn(|context| {
        Poll::Ready(AsyncRead::poll_read(
            Pin::new(&mut *conn),
            context,
            &mut buffer,
        ))
    })
    .await;
    if let Poll::Ready(Ok(length)) = read {
        stage.world.borrow_mut().was_read(key, &buffer[..length]);
    }
    if can_write(key) {
        let bytes = stage.world.borrow_mut().next_output(key, 100);
        let written = poll_fn(|context| {
            Poll::Ready(AsyncWrite::poll_write(
                Pin::new(&mut *conn),
                context,
                &bytes,
            ))
        })
        .await;
        let mut world = stage.world.borrow_mut();
        let written = if let Poll::Ready(Ok(length)) = written {
            length
        } else {
            0
        };
        world.unwrites(key, bytes.len() - written);
        world.has_written(key);
    }
    wait_within(stage).await;
    Ok(())
}

/// Two futures, each polled only when it was woken itself.
struct Separately<A: Future, B: Future> {
    first: Part<A>,
    second: Part<B>,
}

struct Part<F: Future> {
    future: Pin<Box<F>>,
    output: Option<F::Output>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken {
    is_set: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::Relaxed);
        let task = self.task.lock().expect("nobody panics with it").take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future> Part<F> {
    fn new(future: F) -> Self {
        let woken = Arc::new(Woken {
            is_set: AtomicBool::new(true),
            ..Woken::default()
        });
        Self {
            future: Box::pin(future),
            output: None,
            woken,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        *self.woken.task.lock().expect("nobody panics with it") = Some(context.waker().clone());
        if self.output.is_none() && self.woken.is_set.swap(false, Ordering::Relaxed) {
            let waker = Waker::from(Arc::clone(&self.woken));
            if let Poll::Ready(output) = self.future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                self.output = Some(output);
            }
        }
        self.output.is_some()
    }
}

impl<A: Future, B: Future> Separately<A, B> {
    fn new(first: A, second: B) -> Self {
        Self {
            first: Part::new(first),
            second: Part::new(second),
        }
    }
}

impl<A: Future, B: Future> Unpin for Separately<A, B> {}

impl<A: Future, B: Future> Future for Separately<A, B> {
    type Output = (A::Output, B::Output);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (first, second) = (self.first.poll(context), self.second.poll(context));
        if first && second {
            Poll::Ready((
                self.first.output.take().expect("it has ended"),
                self.second.output.take().expect("it has ended"),
            ))
        } else {
            Poll::Pending
        }
    }
}

async fn wait_within(stage: &Stage) {
    let notify = Rc::new(Notify::new());
    stage.notifies.borrow_mut().push(Rc::clone(&notify));
    notify.notified().await;
}

async fn wait_foreign(stage: &Stage) {
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        if polls > 1 || stage.world.borrow().is_ending {
            return Poll::Ready(());
        }
        stage.kept.borrow_mut().push(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Opens a connection, uses it, and leaves it in one of the ways there are.
async fn open(stage: &Stage) {
    let connector = Connector::new().timeout(Duration::from_secs(2));
    let Ok(mut conn) = connector.connect(([127, 0, 0, 1], 9).into()).await else {
        return;
    };
    for _ in 0..3 {
        let key = conn.key();
        if stage.below(3) == 0 {
            conn.set_read_deadline(Some(Duration::from_secs(2)));
        }
        for _ in 0..stage.below(4) {
            let went_on = match stage.below(3) {
                0 => write(stage, &mut conn).await.is_ok(),
                1 => matches!(read(stage, &mut conn, false).await, Ok(true)),
                _ => conn.flush().await.is_ok(),
            };
            if !went_on || stage.world.borrow().is_ending {
                return;
            }
        }
        match stage.below(4) {
            0 => return,
            1 => return on_conn(key, |conn| conn.discard()),
            _ if !on_conn(key, |conn| conn.check_in(Some(Duration::from_secs(3)))) => {
                return;
            }
            _ => drop(conn),
        }
        wait_within(stage).await;
        if !on_conn(key, |conn| conn.check_out()) {
            return;
        }
        conn = Conn::new(key);
    }
}

/// Nothing, if the connection is gone.
fn on_conn<R: Default>(key: Key, act: impl FnOnce(&mut ConnMut<'_>) -> R) -> R {
    Shard::with(|shard| shard.core().conns.get(key).as_mut().map(act)).unwrap_or_default()
}
