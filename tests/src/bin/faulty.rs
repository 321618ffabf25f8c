//! An echo server with the failpoints of the framework (`framework/src/failpoint.rs`), for the
//! faults that the kernel does not have on demand. A line `dial ADDRESS` is answered with what came
//! of a connect there, `leave ADDRESS` begins one and takes it back, and `elsewhere` with the
//! milliseconds that a wait for another thread took.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{AppSettings, Conn, Connector, Error, Handler, sleep};
use futures_lite::future::poll_once;

/// Longest line.
const LINE_MAX: usize = 1024;
/// How long the other thread takes: the shard has gone to rest by then.
const ELSEWHERE: Duration = Duration::from_millis(250);
/// By then nothing is left of the request that could wake the shard: no timer of its turns, and
/// none of the connection's tempo.
const QUIET: Duration = Duration::from_secs(3);

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FaultySettings {}

impl AppSettings for FaultySettings {
    const NAME: &'static str = "faulty";
    const ABOUT: &'static str = "Sends back lines, and fails as CORELANE_FAILPOINTS says";
    const LISTEN: &'static str = "127.0.0.1:7011";
}

struct Faulty;

impl Handler for Faulty {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(LINE_MAX).await? {
            if let Some(target) = target(&line, b"dial ") {
                dial(conn, target).await?;
            } else if let Some(target) = target(&line, b"leave ") {
                let begun = poll_once(Connector::new().connect(target)).await;
                conn.write(if begun.is_none() { "left" } else { "over" })
                    .await?;
            } else if *line == *b"elsewhere" {
                sleep(QUIET).await;
                let begun = Instant::now();
                elsewhere().await;
                conn.write(&begun.elapsed().as_millis().to_string()).await?;
            } else {
                conn.write(line).await?;
            }
            conn.write("\n").await?;
        }
        Ok(())
    }
}

fn target(line: &[u8], what: &[u8]) -> Option<SocketAddr> {
    str::from_utf8(line.strip_prefix(what)?).ok()?.parse().ok()
}

async fn dial(conn: &mut Conn, target: SocketAddr) -> Result<(), Error> {
    match Connector::new().connect(target).await {
        Ok(_other) => conn.write("connected").await,
        Err(error) => conn.write(&error.to_string()).await,
    }
}

/// Ends when another thread has woken it.
async fn elsewhere() {
    let mut told = None;
    poll_fn(|context| {
        let told = told.get_or_insert_with(|| tell(context.waker().clone()));
        if told.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn tell(waiting: Waker) -> Arc<AtomicBool> {
    let told = Arc::<AtomicBool>::default();
    let tells = Arc::clone(&told);
    thread::spawn(move || {
        thread::sleep(ELSEWHERE);
        tells.store(true, Ordering::Release);
        waiting.wake();
    });
    told
}

fn main() -> ExitCode {
    corelane::run(|_shard, _settings: &FaultySettings| Faulty)
}
