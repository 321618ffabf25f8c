//! The handler of ten lines on Corelane, and one that waits for five things at once.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_channel::{Receiver, RecvError};
use corelane::{
    AppSettings, Chunk, Conn, Error, Handler, Pool, ShardContext, Step, WriteHalf, sleep_until,
    spawn,
};
use futures_lite::future::or;
use futures_util::{FutureExt, select};
use push::{MESSAGE_BYTES, Message, Request, messages, messages_in_turn, now};

/// Longest answer of an upstream.
const ANSWER_MAX: usize = 64;
/// The timer of `select` is set to so much after it went off.
const TIMER: Duration = Duration::from_micros(300);

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PushSettings {
    /// A task beside the connections keeps its waker, and nobody ever wakes it.
    forgotten_waker: bool,
}

impl AppSettings for PushSettings {
    const NAME: &'static str = "push_corelane";
    const ABOUT: &'static str = "Passes on what another thread sends";
    const LISTEN: &'static str = "127.0.0.1:7012";
}

struct Push {
    upstreams: [Option<Pool>; 2],
    forgotten_waker: Cell<bool>,
}

impl Handler for Push {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        if self.forgotten_waker.take() {
            spawn(forgotten())?;
        }
        let Some(first) = conn.read().await? else {
            return Ok(());
        };
        match Request::of(&first) {
            Request::Echo => echo(conn, first).await,
            Request::Push { interval, core } => {
                Box::pin(push(conn, messages(interval, core))).await
            }
            Request::Select { core } => Box::pin(self.select(conn, core)).await,
        }
    }
}

async fn forgotten() {
    let mut kept = None;
    poll_fn(|context| {
        kept = Some(context.waker().clone());
        Poll::<()>::Pending
    })
    .await;
}

async fn echo(conn: &mut Conn, first: Chunk) -> Result<(), Error> {
    conn.write(first).await?;
    while let Some(bytes) = conn.read().await? {
        conn.write(bytes).await?;
    }
    Ok(())
}

enum Event {
    Peer(Option<Chunk>),
    Pushed(Result<Message, RecvError>),
}

async fn push(conn: &mut Conn, channel: Receiver<Message>) -> Result<(), Error> {
    loop {
        match or(async { conn.read().await.map(Event::Peer) }, async {
            Ok(Event::Pushed(channel.recv().await))
        })
        .await?
        {
            Event::Peer(None) | Event::Pushed(Err(_)) => return Ok(()),
            Event::Peer(Some(bytes)) => conn.write(bytes).await?,
            Event::Pushed(Ok(message)) => conn.write(&message.to_bytes()).await?,
        }
    }
}

impl Push {
    /// Its own input, a channel, a timer and two upstreams, whichever has something: the peer is
    /// told how late each was heard of.
    async fn select(&self, conn: &mut Conn, core: usize) -> Result<(), Error> {
        let [first, second] = &self.upstreams;
        let (channel, acknowledge) = messages_in_turn(core);
        let (mut reader, mut writer) = conn.split();
        let (mut due, mut timers) = (Instant::now() + TIMER, 0);
        let mut timer = pin!(sleep_until(due).fuse());
        let (mut left, mut right) = (pin!(ask(first, 0).fuse()), pin!(ask(second, 0).fuse()));
        loop {
            select! {
                input = reader.read_exact(MESSAGE_BYTES).fuse() => match input? {
                    Some(bytes) => tell(&mut writer, Source::Input, Message::from_bytes(&bytes)).await?,
                    None => return Ok(()),
                },
                message = channel.recv().fuse() => {
                    tell(&mut writer, Source::Channel, message.ok()).await?;
                    acknowledge.try_send(()).map_err(|_| Error::handler("the thread has gone"))?;
                }
                () = timer => {
                    let late = due.elapsed().as_nanos() as u64;
                    tell(&mut writer, Source::Timer, Some(Message { serial: timers, sent: now() - late })).await?;
                    (due, timers) = (Instant::now() + TIMER, timers + 1);
                    timer.set(sleep_until(due).fuse());
                }
                answer = left => {
                    let answer = answer?;
                    tell(&mut writer, Source::Left, Some(answer)).await?;
                    left.set(ask(first, answer.serial + 1).fuse());
                }
                answer = right => {
                    let answer = answer?;
                    tell(&mut writer, Source::Right, Some(answer)).await?;
                    right.set(ask(second, answer.serial + 1).fuse());
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Source {
    Input,
    Channel,
    Timer,
    Left,
    Right,
}

/// One record: source, number, lateness.
async fn tell(
    writer: &mut WriteHalf<'_>,
    source: Source,
    event: Option<Message>,
) -> Result<(), Error> {
    let event = event.ok_or_else(|| Error::handler("an event without its time"))?;
    let words = [source as u64, event.serial, event.age()];
    let record: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    writer.write(&record).await
}

/// What the upstream says to PING and a number: that number, and when it said it.
async fn ask(pool: &Option<Pool>, number: u64) -> Result<Message, Error> {
    let Some(pool) = pool else {
        return pending().await;
    };
    let mut upstream = pool.get().await?;
    let answer = upstream
        .exchange(&format!("PING {number}\r\n"), ANSWER_MAX, answer)
        .await?;
    upstream.done();
    Ok(answer.value)
}

/// `+SERIAL STAMP\r\n`.
fn answer(bytes: &[u8]) -> Step<Message> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Step::NeedMore;
    };
    let parsed = || {
        let mut words = str::from_utf8(&bytes[..end])
            .ok()?
            .strip_prefix('+')?
            .split_whitespace();
        Some(Message {
            serial: words.next()?.parse().ok()?,
            sent: words.next()?.parse().ok()?,
        })
    };
    match parsed() {
        Some(value) => Step::Frame {
            value,
            length: end + 1,
        },
        None => Step::Invalid("no answer to a PING"),
    }
}

fn main() -> ExitCode {
    corelane::run(|shard: &ShardContext, settings: &PushSettings| {
        baseline_common::announce(shard.local_addr);
        Push {
            upstreams: ["left", "right"].map(|name| shard.pool(name)),
            forgotten_waker: Cell::new(settings.forgotten_waker),
        }
    })
}
