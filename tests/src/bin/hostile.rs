//! A server whose handler does what handlers must not do, for the tests of isolation.
//!
//! Unless `[app]` fixes a behaviour for all, each connection asks for its own by its first line.

use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use corelane::{AppSettings, Chunk, Conn, Connector, Error, Handler, sleep};
use futures_lite::future::{or, yield_now};

/// Longest first line.
const LINE_MAX: usize = 1024;
/// How long `block` keeps its shard's thread.
const BLOCKED: Duration = Duration::from_secs(1);
/// After this long a shard without traffic has parked.
const PARKED: Duration = Duration::from_millis(50);
/// How long `doze` rests.
const REST: Duration = Duration::from_millis(700);
/// What `flood` writes, again and again.
const FLOOD: &[u8] = &[b'~'; 4096];
/// `hesitate` drops up to this many reads before it waits for one.
const DROPPED_MAX: u32 = 7;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Behaviour {
    /// The first line says which of the others.
    #[default]
    Ask,
    /// Sends back what it receives.
    Echo,
    /// Tells its shard's number, then echoes.
    Shard,
    /// Panics at once.
    Panic,
    /// Panics when it is dropped, having stalled until then.
    Bomb,
    /// Keeps every chunk it receives, for ever.
    Hold,
    /// Reads nothing, writes nothing, and never returns.
    Stall,
    /// Keeps the shard's thread for a second, then tells its number and echoes.
    Block,
    /// Writes for ever and reads nothing.
    Flood,
    /// Echoes, but gives up most of its reads half-way.
    Hesitate,
    /// Waits for another thread, then tells so and echoes.
    Thread,
    /// Echoes, and waits for its reads through a waker of its own, as a combinator does.
    Between,
    /// Fails with an error of its own.
    Fail,
    /// Fails with an error that quotes what the client sent, byte for byte.
    Quote,
    /// Panics with a text that does the same.
    Exclaim,
    /// Returns at once, whatever the client still sends.
    Leave,
    /// Frames for itself: reads until it has a whole line, then sends that back.
    Gather,
    /// Reads, answers nothing, and says of all it has read that it is done with it.
    Absorb,
    /// As `gather`, but rests after each read.
    Doze,
    /// Sends half an answer, and then as the rest of the first line says: gives the connection up,
    /// fails, or panics.
    Half,
    /// Says so and waits for something else for ever, without a flush.
    Answer,
    /// Answers each chunk by a word, and by another one when it is polled again in the same turn.
    Twice,
    /// Rests for an hour, and says so when the server drains meanwhile.
    Rest,
    /// Reads to the end and says what that was.
    End,
    /// Connects where the settings say, and passes on what goes wrong there.
    PassOn,
}

impl Behaviour {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"echo" => Self::Echo,
            b"shard" => Self::Shard,
            b"panic" => Self::Panic,
            b"bomb" => Self::Bomb,
            b"hold" => Self::Hold,
            b"stall" => Self::Stall,
            b"block" => Self::Block,
            b"flood" => Self::Flood,
            b"hesitate" => Self::Hesitate,
            b"thread" => Self::Thread,
            b"between" => Self::Between,
            b"fail" => Self::Fail,
            b"quote" => Self::Quote,
            b"exclaim" => Self::Exclaim,
            b"leave" => Self::Leave,
            b"gather" => Self::Gather,
            b"absorb" => Self::Absorb,
            b"doze" => Self::Doze,
            b"half" => Self::Half,
            b"answer" => Self::Answer,
            b"twice" => Self::Twice,
            b"rest" => Self::Rest,
            b"end" => Self::End,
            b"pass_on" => Self::PassOn,
            _ => return None,
        })
    }
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HostileSettings {
    behaviour: Behaviour,
    /// Panic where a shard makes its handler.
    panic_at_start: bool,
    /// Where `pass_on` connects.
    upstream: Option<SocketAddr>,
}

impl AppSettings for HostileSettings {
    const NAME: &'static str = "hostile";
    const ABOUT: &'static str = "Misbehaves on demand";
    const LISTEN: &'static str = "127.0.0.1:7009";
}

struct Hostile {
    behaviour: Behaviour,
    upstream: Option<SocketAddr>,
}

impl Handler for Hostile {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let behaviour = match self.behaviour {
            Behaviour::Ask => asked(conn).await?,
            fixed => Some(fixed),
        };
        match behaviour {
            None | Some(Behaviour::Ask | Behaviour::Echo) => echo(conn).await,
            Some(Behaviour::Shard) => shard(conn).await,
            Some(Behaviour::Panic) => panic!("on demand"),
            Some(Behaviour::Bomb) => bomb().await,
            Some(Behaviour::Hold) => hold(conn).await,
            Some(Behaviour::Stall) => pending().await,
            Some(Behaviour::Block) => block(conn).await,
            Some(Behaviour::Flood) => flood(conn).await,
            Some(Behaviour::Hesitate) => hesitate(conn).await,
            Some(Behaviour::Thread) => thread(conn).await,
            Some(Behaviour::Between) => between(conn).await,
            Some(Behaviour::Fail) => Err(Error::handler(std::io::Error::other("on demand"))),
            Some(Behaviour::Quote) => Err(Error::handler(heard(conn).await?)),
            Some(Behaviour::Exclaim) => panic!("{}", heard(conn).await?),
            Some(Behaviour::Leave) => Ok(()),
            Some(Behaviour::Gather) => gather(conn, Duration::ZERO).await,
            Some(Behaviour::Doze) => gather(conn, REST).await,
            Some(Behaviour::Absorb) => absorb(conn).await,
            Some(Behaviour::Half) => half(conn).await,
            Some(Behaviour::Answer) => {
                conn.write(b"answered\n").await?;
                pending().await
            }
            Some(Behaviour::Twice) => twice(conn).await,
            Some(Behaviour::Rest) => rest(conn).await,
            Some(Behaviour::End) => end(conn).await,
            Some(Behaviour::PassOn) => pass_on(self.upstream).await,
        }
    }
}

/// What the first line asks for; a line that asks for nothing is sent back.
async fn asked(conn: &mut Conn) -> Result<Option<Behaviour>, Error> {
    let Some(line) = conn.read_line(LINE_MAX).await? else {
        return Ok(None);
    };
    let behaviour = Behaviour::named(&line);
    if behaviour.is_none() {
        conn.write(line).await?;
        conn.write(b"\n").await?;
    }
    Ok(behaviour)
}

async fn echo(conn: &mut Conn) -> Result<(), Error> {
    while let Some(bytes) = conn.read().await? {
        conn.write(bytes).await?;
    }
    Ok(())
}

/// The next chunk as text, as careless as text from a peer can be.
async fn heard(conn: &mut Conn) -> Result<String, Error> {
    let bytes = conn.read().await?.ok_or(Error::Truncated)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn shard(conn: &mut Conn) -> Result<(), Error> {
    let number = format!("{}\n", conn.shard());
    conn.write(number.as_str()).await?;
    echo(conn).await
}

async fn bomb() -> Result<(), Error> {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            // A panic while unwinding would abort the process by the language's own rule.
            assert!(thread::panicking(), "dropped on demand");
        }
    }
    let _bomb = Bomb;
    pending().await
}

async fn hold(conn: &mut Conn) -> Result<(), Error> {
    let mut held: Vec<Chunk> = Vec::new();
    while let Some(bytes) = conn.read().await? {
        held.push(bytes);
    }
    drop(held);
    Ok(())
}

async fn gather(conn: &mut Conn, rest: Duration) -> Result<(), Error> {
    let mut line = Vec::new();
    while let Some(bytes) = conn.read().await? {
        if !rest.is_zero() {
            sleep(rest).await;
        }
        line.extend_from_slice(&bytes);
        if line.ends_with(b"\n") {
            conn.write(&line).await?;
            line.clear();
        }
    }
    Ok(())
}

async fn half(conn: &mut Conn) -> Result<(), Error> {
    let Some(how) = conn.read_line(LINE_MAX).await? else {
        return Ok(());
    };
    conn.write(b"half an answer").await?;
    conn.flush().await?;
    match &*how {
        b"abort" => conn.abort(),
        b"fail" => return Err(Error::handler("half-way")),
        b"panic" => panic!("half-way"),
        b"close and fail" => {
            conn.close().await?;
            return Err(Error::handler("after all was said"));
        }
        _ => pending().await,
    }
    assert!(
        conn.read().await.is_err(),
        "a connection that was given up goes on"
    );
    Ok(())
}

async fn twice(conn: &mut Conn) -> Result<(), Error> {
    while conn.read().await?.is_some() {
        conn.write(b"one ").await?;
        yield_now().await;
        conn.write(b"two\n").await?;
    }
    Ok(())
}

async fn rest(conn: &mut Conn) -> Result<(), Error> {
    let drains = or(
        async {
            conn.draining().await;
            true
        },
        async {
            sleep(Duration::from_secs(3600)).await;
            false
        },
    );
    let text = if drains.await {
        "it drains\n"
    } else {
        "an hour\n"
    };
    conn.write(text).await
}

async fn end(conn: &mut Conn) -> Result<(), Error> {
    assert_eq!(conn.end_of_input(), None);
    while conn.read().await?.is_some() {}
    let text = format!("{:?}\n", conn.end_of_input());
    conn.write(text.as_str()).await
}

async fn pass_on(upstream: Option<SocketAddr>) -> Result<(), Error> {
    let mut upstream = Connector::new()
        .connect(upstream.ok_or(Error::Protocol("no upstream is set"))?)
        .await?;
    while upstream.read().await?.is_some() {}
    Ok(())
}

async fn absorb(conn: &mut Conn) -> Result<(), Error> {
    while conn.read().await?.is_some() {
        conn.request_done();
    }
    Ok(())
}

async fn block(conn: &mut Conn) -> Result<(), Error> {
    thread::sleep(BLOCKED);
    let number = format!("blocked {}\n", conn.shard());
    conn.write(number.as_str()).await?;
    echo(conn).await
}

async fn flood(conn: &mut Conn) -> Result<(), Error> {
    loop {
        conn.write(FLOOD).await?;
    }
}

async fn hesitate(conn: &mut Conn) -> Result<(), Error> {
    for round in 0_u32.. {
        let mut read = None;
        for polls in 0..round % (DROPPED_MAX + 1) {
            read = or(async { Some(conn.read().await) }, give_up_after(polls)).await;
            if read.is_some() {
                break;
            }
        }
        let read = match read {
            Some(read) => read,
            None => conn.read().await,
        };
        match read? {
            Some(bytes) => conn.write(bytes).await?,
            None => break,
        }
    }
    Ok(())
}

/// What another thread says, and who waits for it.
#[derive(Debug, Default)]
struct Word {
    said: bool,
    waker: Option<Waker>,
}

async fn thread(conn: &mut Conn) -> Result<(), Error> {
    let word = Arc::<Mutex<Word>>::default();
    let other = Arc::clone(&word);
    thread::spawn(move || {
        // Long enough for the shard to have parked.
        thread::sleep(PARKED);
        let mut word = other.lock().expect("nobody panics with the lock");
        word.said = true;
        word.waker.take().into_iter().for_each(Waker::wake);
    });
    poll_fn(|context| {
        let mut word = word.lock().expect("nobody panics with the lock");
        word.waker = Some(context.waker().clone());
        if word.said {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    conn.write(b"woken\n").await?;
    echo(conn).await
}

/// A waker that remembers being woken and passes it on: the future behind it is polled only then.
struct Passed {
    woken: AtomicBool,
    outer: Mutex<Waker>,
}

impl Wake for Passed {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.outer
            .lock()
            .expect("nobody panics with the lock")
            .wake_by_ref();
    }
}

async fn between(conn: &mut Conn) -> Result<(), Error> {
    while let Some(bytes) = read_between(conn).await? {
        conn.write(bytes).await?;
    }
    Ok(())
}

async fn read_between(conn: &mut Conn) -> Result<Option<Chunk>, Error> {
    let mut read = pin!(conn.read());
    let mut passed: Option<Arc<Passed>> = None;
    let polled = poll_fn(|context| {
        let outer = context.waker().clone();
        let passed = passed.get_or_insert_with(|| {
            Arc::new(Passed {
                woken: AtomicBool::new(true),
                outer: Mutex::new(outer),
            })
        });
        if !passed.woken.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        read.as_mut()
            .poll(&mut Context::from_waker(&Waker::from(Arc::clone(passed))))
    });
    polled.await
}

async fn give_up_after<T>(polls: u32) -> Option<T> {
    for _ in 0..polls {
        yield_now().await;
    }
    None
}

fn main() -> ExitCode {
    corelane::run(|_shard, settings: &HostileSettings| {
        assert!(!settings.panic_at_start, "at start, on demand");
        Hostile {
            behaviour: settings.behaviour,
            upstream: settings.upstream,
        }
    })
}
