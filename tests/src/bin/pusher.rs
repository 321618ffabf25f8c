//! A server whose handlers wait for several things at once, as those that push do: they race, join,
//! split, select and drop halves. A connection says by its first line how.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, bounded};
use corelane::{
    AppSettings, Chunk, Conn, Error, Handler, Notify, Pool, ReadHalf, ShardContext, Step, sleep,
    spawn,
};
use futures_lite::future::{or, poll_once, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_util::future::Fuse;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, select};

/// Longest first line, and longest answer of an upstream.
const LINE_MAX: usize = 128;
/// What `duplex` writes: more than the sockets and the queue take.
const DUPLEX_BYTES: usize = 8 << 20;
/// A piece of it; of a length that divides nothing, so that one that is lost shifts the pattern.
const PIECE: usize = 4099;
const TIMER: Duration = Duration::from_micros(200);
/// Numbers on the wire.
const NUMBER_BYTES: usize = 8;

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PusherSettings {
    /// A task beside the connections keeps its waker, and nobody ever wakes it.
    forgotten_waker: bool,
}

impl AppSettings for PusherSettings {
    const NAME: &'static str = "pusher";
    const ABOUT: &'static str = "Waits for several things at once";
    const LISTEN: &'static str = "127.0.0.1:7013";
}

struct Pusher {
    pools: [Option<Pool>; 2],
    forgotten_waker: Cell<bool>,
}

impl Handler for Pusher {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        if self.forgotten_waker.take() {
            spawn(forgotten())?;
        }
        let Some(line) = conn.read_line(LINE_MAX).await? else {
            return Ok(());
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["echo"] => echo(conn).await,
            ["race", order, interval, count] => {
                race(
                    conn,
                    order == "peer",
                    &messages(number(interval)?, number(count)?),
                )
                .await
            }
            ["join", order, count] => {
                join(conn, order == "reader", &messages(0, number(count)?)).await
            }
            ["duplex", "split", order] => duplex(conn, order == "writer").await,
            ["duplex", "futures-io", order] => duplex_futures_io(conn, order == "writer").await,
            ["drop", what] => dropped(conn, what).await,
            ["select", way] => self.select(conn, way).await,
            _ => Err(Error::handler("no such behaviour")),
        }
    }
}

fn number(word: &str) -> Result<u64, Error> {
    word.parse().map_err(Error::handler)
}

async fn forgotten() {
    let mut kept = None;
    poll_fn(|context| {
        kept = Some(context.waker().clone());
        Poll::<()>::Pending
    })
    .await;
}

async fn echo(conn: &mut Conn) -> Result<(), Error> {
    while let Some(bytes) = conn.read().await? {
        conn.write(bytes).await?;
    }
    Ok(())
}

/// Numbers from 0 from a thread, so many milliseconds apart, and when each was sent.
fn messages(interval: u64, count: u64) -> Receiver<(u64, Instant)> {
    let (channel, messages) = bounded(1);
    thread::spawn(move || {
        for number in 0..count {
            thread::sleep(Duration::from_millis(interval));
            if channel.send_blocking((number, Instant::now())).is_err() {
                break;
            }
        }
    });
    messages
}

enum Event {
    Peer(Option<Chunk>),
    Pushed((u64, Instant)),
}

/// After the last message nothing more comes.
async fn pushed(channel: &Receiver<(u64, Instant)>) -> (u64, Instant) {
    match channel.recv().await {
        Ok(message) => message,
        Err(_) => pending().await,
    }
}

/// Echoes, and passes each message on: its number, and by how many microseconds it was late.
async fn race(
    conn: &mut Conn,
    peer_first: bool,
    channel: &Receiver<(u64, Instant)>,
) -> Result<(), Error> {
    loop {
        let peer = async { conn.read().await.map(Event::Peer) };
        let thread = async { Ok(Event::Pushed(pushed(channel).await)) };
        let event = if peer_first {
            or(peer, thread).await
        } else {
            or(thread, peer).await
        };
        match event? {
            Event::Peer(None) => return Ok(()),
            Event::Peer(Some(bytes)) => {
                let is_whole = bytes.last() == Some(&b'\n');
                conn.write(bytes).await?;
                // What is pushed comes between lines.
                if !is_whole && let Some(rest) = conn.read_line(LINE_MAX).await? {
                    conn.write(rest).await?;
                    conn.write("\n").await?;
                }
            }
            Event::Pushed((number, sent)) => {
                conn.write(&format!("pushed {number} {}\n", sent.elapsed().as_micros()))
                    .await?
            }
        }
    }
}

/// Counts what it reads while it passes messages on, and tells the count.
async fn join(
    conn: &mut Conn,
    reader_first: bool,
    channel: &Receiver<(u64, Instant)>,
) -> Result<(), Error> {
    let (mut reader, mut writer) = conn.split();
    let read = async {
        let mut bytes = 0;
        while let Some(chunk) = reader.read().await? {
            bytes += chunk.len();
        }
        Ok::<_, Error>(bytes)
    };
    let write = async {
        while let Ok((number, _)) = channel.recv().await {
            writer.write(&format!("{number}\n")).await?;
            writer.flush().await?;
        }
        Ok::<_, Error>(())
    };
    let (read, written) = both(reader_first, read, write).await;
    written?;
    let text = format!("read {}\n", read?);
    conn.write(&text).await
}

/// Both futures, polled in this order or in the other.
async fn both<A, B>(
    in_order: bool,
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
) -> (A, B) {
    if in_order {
        return zip(a, b).await;
    }
    let (b, a) = zip(b, a).await;
    (a, b)
}

/// Byte number `index` of what `duplex` writes.
fn piece(start: usize) -> Vec<u8> {
    (start..(start + PIECE).min(DUPLEX_BYTES))
        .map(|index| (index % 251) as u8)
        .collect()
}

/// Writes much, reads until the end, both at once; then tells how much it has read.
async fn duplex(conn: &mut Conn, writer_first: bool) -> Result<(), Error> {
    let (mut reader, mut writer) = conn.split();
    let write = async {
        for start in (0..DUPLEX_BYTES).step_by(PIECE) {
            writer.write(&piece(start)).await?;
        }
        writer.flush().await
    };
    let read = async {
        let mut bytes = 0;
        while let Some(chunk) = reader.read().await? {
            bytes += chunk.len();
        }
        Ok::<_, Error>(bytes)
    };
    let (written, read) = both(writer_first, write, read).await;
    written?;
    let text = format!("read {}\n", read?);
    conn.write(&text).await
}

/// The same through the traits, whose halves know nothing of each other but a lock.
async fn duplex_futures_io(conn: &mut Conn, writer_first: bool) -> Result<(), Error> {
    let (mut reader, mut writer) = futures_lite::io::split(&mut *conn);
    let write = async {
        for start in (0..DUPLEX_BYTES).step_by(PIECE) {
            writer.write_all(&piece(start)).await?;
        }
        writer.flush().await
    };
    let read = async {
        let (mut bytes, mut buffer) = (0, vec![0; PIECE]);
        loop {
            match reader.read(&mut buffer).await? {
                0 => return Ok::<_, io::Error>(bytes),
                length => bytes += length,
            }
        }
    };
    let (written, read) = both(writer_first, write, read).await;
    written.map_err(Error::handler)?;
    let text = format!("read {}\n", read.map_err(Error::handler)?);
    conn.write(&text).await
}

/// Begins to wait for its connection and drops that half-way, says so, and then waits for another
/// thread alone. Tells how often it was polled for that, and echoes.
async fn dropped(conn: &mut Conn, what: &str) -> Result<(), Error> {
    let flood = vec![b'~'; DUPLEX_BYTES];
    match what {
        "read" => drop(or(async { Some(conn.read().await) }, async { None }).await),
        "read-half" => {
            let (mut reader, _writer) = conn.split();
            drop(poll_once(reader.read()).await);
        }
        "write" => drop(or(async { Some(conn.write(&flood).await) }, async { None }).await),
        "write-half" => {
            let (_reader, mut writer) = conn.split();
            drop(poll_once(writer.write(&flood)).await);
        }
        "flush" => {
            drop(poll_once(conn.write(&flood)).await);
            drop(poll_once(conn.flush()).await);
        }
        _ => return Err(Error::handler("nothing of that kind to drop")),
    }
    if what.starts_with("read") {
        conn.write("now\n").await?;
    }
    let (said, word) = bounded::<()>(1);
    let (ready, begins) = bounded::<()>(1);
    thread::spawn(move || {
        let begun = begins.recv_blocking();
        // What was waited for comes meanwhile: the peer sends, or reads all there is.
        thread::sleep(Duration::from_millis(500));
        begun.and_then(|()| said.send_blocking(()).map_err(|_| async_channel::RecvError))
    });
    ready.try_send(()).map_err(Error::handler)?;
    let (mut polls, mut wait) = (0, pin!(word.recv()));
    poll_fn(|context| {
        polls += 1;
        wait.as_mut().poll(context)
    })
    .await
    .map_err(Error::handler)?;
    conn.write(&format!("\npolls {polls}\n")).await?;
    echo(conn).await
}

/// What `select` waits for: input, another thread, a timer, a task, two upstreams.
const SOURCES: usize = 6;
/// A source, and the number of its event; none at the end of the input.
type Happened = Result<Option<(usize, u64)>, Error>;
type Next<'a> = Pin<Box<dyn Future<Output = Happened> + 'a>>;

struct Sources<'a> {
    reader: Cell<Option<ReadHalf<'a>>>,
    channel: Receiver<u64>,
    acknowledge: Sender<()>,
    there: Rc<Notify>,
    back: Rc<Notify>,
    pools: [&'a Pool; 2],
}

impl Pusher {
    /// Tells of each event, by source and number.
    async fn select(&self, conn: &mut Conn, way: &str) -> Result<(), Error> {
        let [Some(left), Some(right)] = &self.pools else {
            return Err(Error::handler("two upstreams are to be set"));
        };
        let (reader, mut writer) = conn.split();
        let (channel, acknowledge) = numbers_in_turn();
        let (there, back) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        spawn(answering(Rc::clone(&there), Rc::clone(&back)))?;
        let reader = Cell::new(Some(reader));
        let sources = Sources {
            reader,
            channel,
            acknowledge,
            there,
            back,
            pools: [left, right],
        };
        if way == "unordered" {
            let mut unordered: FuturesUnordered<Next<'_>> =
                (0..SOURCES).map(|source| sources.next(source, 0)).collect();
            while let Some(Some((source, number))) = unordered.next().await.transpose()? {
                writer.write(&format!("{source} {number}\n")).await?;
                unordered.push(sources.next(source, number + 1));
            }
            return Ok(());
        }
        let mut events: [Fuse<Next<'_>>; SOURCES] =
            std::array::from_fn(|source| sources.next(source, 0).fuse());
        while let Some((source, number)) = first(way, &mut events).await? {
            writer.write(&format!("{source} {number}\n")).await?;
            events[source] = sources.next(source, number + 1).fuse();
        }
        Ok(())
    }
}

impl<'a> Sources<'a> {
    fn next(&self, source: usize, number: u64) -> Next<'_> {
        Box::pin(async move {
            match source {
                0 => return Ok(self.input().await?.map(|number| (source, number))),
                1 => {
                    let number = self.channel.recv().await.map_err(Error::handler)?;
                    self.acknowledge.try_send(()).map_err(Error::handler)?;
                    return Ok(Some((source, number)));
                }
                2 => sleep(TIMER).await,
                3 => {
                    self.there.notify();
                    self.back.notified().await;
                }
                _ => {
                    return ask(self.pools[source - 4], number)
                        .await
                        .map(|number| Some((source, number)));
                }
            }
            Ok(Some((source, number)))
        })
    }

    async fn input(&self) -> Result<Option<u64>, Error> {
        let Some(mut reader) = self.reader.take() else {
            return Err(Error::handler("there is one reader"));
        };
        let bytes = reader.read_exact(NUMBER_BYTES).await?;
        self.reader.set(Some(reader));
        Ok(bytes.and_then(|bytes| Some(u64::from_le_bytes(bytes[..].try_into().ok()?))))
    }
}

/// Whichever comes first. The others go on where they stand.
async fn first(way: &str, events: &mut [Fuse<Next<'_>>; SOURCES]) -> Happened {
    let [a, b, c, d, e, f] = events;
    match way {
        "or" => or(a, or(b, or(c, or(d, or(e, f))))).await,
        "or-reversed" => or(f, or(e, or(d, or(c, or(b, a))))).await,
        "select" => {
            let (mut a, mut b, mut c, mut d, mut e, mut f) = (a, b, c, d, e, f);
            select! { a = a => a, b = b => b, c = c => c, d = d => d, e = e => e, f = f => f }
        }
        _ => Err(Error::handler("no such way to wait")),
    }
}

/// Numbers from a thread, each as soon as the one before it was acknowledged.
fn numbers_in_turn() -> (Receiver<u64>, Sender<()>) {
    let ((channel, numbers), (acknowledge, acknowledged)) = (bounded(1), bounded(1));
    thread::spawn(move || {
        (0..).find(|number| {
            channel.send_blocking(*number).is_err() || acknowledged.recv_blocking().is_err()
        })
    });
    (numbers, acknowledge)
}

/// Sets one flag for each time that the other was set.
async fn answering(there: Rc<Notify>, back: Rc<Notify>) {
    loop {
        there.notified().await;
        back.notify();
    }
}

/// PING and a number to an upstream that sends the number back.
async fn ask(pool: &Pool, number: u64) -> Result<u64, Error> {
    let mut upstream = pool.get().await?;
    let answer = upstream
        .exchange(&format!("PING {number}\r\n"), LINE_MAX, answer)
        .await?;
    upstream.done();
    Ok(answer.value)
}

fn answer(bytes: &[u8]) -> Step<u64> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Step::NeedMore;
    };
    let number = str::from_utf8(&bytes[..end])
        .ok()
        .and_then(|text| text.strip_prefix('+')?.trim_end().parse().ok());
    number.map_or(Step::Invalid("no number"), |value| Step::Frame {
        value,
        length: end + 1,
    })
}

fn main() -> ExitCode {
    corelane::run(|shard: &ShardContext, settings: &PusherSettings| Pusher {
        pools: ["left", "right"].map(|name| shard.pool(name)),
        forgotten_waker: Cell::new(settings.forgotten_waker),
    })
}
