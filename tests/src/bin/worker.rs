//! A server that works beside its connections, for the tests of the factory and of `unblock`. Each
//! line says what to do, and is answered by one.
//!
//! `started`: what the factory's task has come to; `cores`: where the shard's thread, a blocking
//! one and one of the handler's own may run; `block MS`; `crowd CALLS MS`: how many ran at most and
//! were refused; `panic`; `forget MS`: starts a call and drops its future; `forgotten`: how many of
//! these have ended; anything else is sent back.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use corelane::{
    AppSettings, Conn, Error, Handler, Notify, Pool, ShardContext, Step, sleep, spawn, unblock,
};

/// Longest line.
const LINE_MAX: usize = 1024;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WorkerSettings {
    /// Shards from this on have a factory that fails.
    fails_from: u32,
    /// Shards from this on have a factory that panics.
    panics_from: u32,
    /// How long such a factory takes.
    takes_ms: u64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            fails_from: u32::MAX,
            panics_from: u32::MAX,
            takes_ms: 0,
        }
    }
}

impl AppSettings for WorkerSettings {
    const NAME: &'static str = "worker";
    const ABOUT: &'static str = "Works beside its connections";
    const LISTEN: &'static str = "127.0.0.1:7011";
}

/// What the task that the factory spawned has come to.
#[derive(Default)]
struct Started {
    told: Notify,
    steps: RefCell<String>,
}

struct Worker {
    started: Rc<Started>,
    forgotten: Arc<AtomicUsize>,
}

impl Worker {
    fn new(shard: &ShardContext, settings: &WorkerSettings) -> Result<Self, String> {
        let started = Rc::<Started>::default();
        let (task, pool) = (Rc::clone(&started), shard.pool("next"));
        let spawned = spawn(async move {
            sleep(Duration::from_millis(10)).await;
            task.steps.borrow_mut().push_str("slept");
            if let Some(pool) = pool {
                let answer = ask(&pool).await.unwrap_or_else(|error| error.to_string());
                task.steps
                    .borrow_mut()
                    .push_str(&format!(", asked: {answer}"));
            }
            task.told.notify();
        });
        spawned.map_err(|error| error.to_string())?;
        if shard.id.0 >= settings.fails_from.min(settings.panics_from) {
            thread::sleep(Duration::from_millis(settings.takes_ms));
        }
        assert!(shard.id.0 < settings.panics_from, "no table, on demand");
        if shard.id.0 >= settings.fails_from {
            return Err("the table cannot be read, on demand".to_owned());
        }
        Ok(Self {
            started,
            forgotten: Arc::default(),
        })
    }

    async fn answer(&self, line: &str) -> Result<String, Error> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| {
            words
                .get(index)
                .and_then(|word| word.parse().ok())
                .unwrap_or(0_u64)
        };
        Ok(match words[0] {
            "started" => {
                self.started.told.notified().await;
                self.started.told.notify();
                self.started.steps.borrow().clone()
            }
            "cores" => {
                let own = thread::spawn(cores)
                    .join()
                    .map_err(|_panic| Error::handler("no thread"))?;
                format!(
                    "shard {} blocking {} own {own}",
                    cores(),
                    unblock(cores).await?
                )
            }
            "block" => {
                let time = Duration::from_millis(number(1));
                unblock(move || thread::sleep(time)).await?;
                "done".to_owned()
            }
            "crowd" => crowd(number(1), Duration::from_millis(number(2))).await,
            "panic" => match unblock(|| panic!("in a call, on demand")).await {
                Ok(()) => "it did not".to_owned(),
                Err(error) => error.to_string(),
            },
            "forget" => {
                let (forgotten, time) = (
                    Arc::clone(&self.forgotten),
                    Duration::from_millis(number(1)),
                );
                drop(unblock(move || {
                    thread::sleep(time);
                    forgotten.fetch_add(1, Ordering::SeqCst);
                }));
                "forgot".to_owned()
            }
            "forgotten" => self.forgotten.load(Ordering::SeqCst).to_string(),
            _ => line.to_owned(),
        })
    }
}

impl Handler for Worker {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(LINE_MAX).await? {
            let answer = self.answer(&String::from_utf8_lossy(&line)).await?;
            conn.write(answer.as_str()).await?;
            conn.write("\n").await?;
        }
        Ok(())
    }
}

async fn ask(pool: &Pool) -> Result<String, Error> {
    let mut upstream = pool.get().await?;
    let answer = upstream.exchange("PING\r\n", LINE_MAX, line).await?;
    upstream.done();
    Ok(String::from_utf8_lossy(&answer.bytes).trim_end().to_owned())
}

fn line(bytes: &[u8]) -> Step<()> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => Step::Frame {
            value: (),
            length: end + 1,
        },
        None => Step::NeedMore,
    }
}

/// Where this thread may run, as the kernel lists it.
fn cores() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or("?").trim().to_owned()
}

async fn crowd(calls: u64, time: Duration) -> String {
    let (running, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let started: Vec<_> = (0..calls)
        .map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            unblock(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(time);
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    let (mut refused, mut why) = (0, String::new());
    for call in started {
        if let Err(error) = call.await {
            (refused, why) = (refused + 1, error.to_string());
        }
    }
    format!(
        "most {} refused {refused}: {why}",
        most.load(Ordering::SeqCst)
    )
}

fn main() -> ExitCode {
    corelane::run(Worker::new)
}
