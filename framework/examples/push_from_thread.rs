//! News from a thread of the program's own, pushed to every connection of every shard.
//!
//! ```text
//! cargo run --example push_from_thread
//! nc 127.0.0.1 7012
//! ```
//!
//! One thread makes the news; a channel takes them to a task of each shard, which wakes who
//! listens there. The bytes are there once, however many connections they go to
//! ([`Output::Shared`](corelane::Output)). Who does not keep up misses news, and holds up nobody.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender, bounded};
use corelane::{AppSettings, Conn, Error, Handler, Notify, ShardContext, spawn};

/// News that wait for a shard at most; with more the shard misses some.
const WAITING_MAX: usize = 16;

type News = Arc<[u8]>;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PushSettings {
    interval_ms: u64,
}

impl Default for PushSettings {
    fn default() -> Self {
        Self { interval_ms: 1000 }
    }
}

impl AppSettings for PushSettings {
    const NAME: &'static str = "push_from_thread";
    const ABOUT: &'static str = "Counts aloud to whoever listens";
    const LISTEN: &'static str = "127.0.0.1:7012";
    // Listeners say nothing.
    const DEFAULTS: &'static str = "
        [timeouts]
        first_byte = 'off'
        idle = 'off'
    ";
}

/// What the connections of one shard share.
#[derive(Default)]
struct Board {
    latest: RefCell<News>,
    fresh: Notify,
}

struct Push {
    board: Rc<Board>,
    news: Receiver<News>,
}

impl Handler for Push {
    fn on_start(&self, _shard: &ShardContext) {
        let (board, news) = (Rc::clone(&self.board), self.news.clone());
        let passes_on = async move {
            while let Ok(latest) = news.recv().await {
                board.latest.replace(latest);
                board.fresh.notify_all();
            }
        };
        spawn(passes_on).expect("the shard has no other task yet");
    }

    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let (mut reader, mut writer) = conn.split();
        let tell = async {
            loop {
                self.board.fresh.notified().await;
                let latest = Arc::clone(&self.board.latest.borrow());
                writer.write(latest).await?;
                writer.flush().await?;
            }
        };
        // It may hang up, and the server may stop: then its input ends.
        let listen = async {
            while reader.read().await?.is_some() {}
            Ok(())
        };
        futures_lite::future::or(listen, tell).await
    }
}

/// The thread: it never waits for a shard.
fn count_aloud(shards: &[Sender<News>], interval: Duration) {
    for number in 1_u64.. {
        let news: News = format!("{number}\n").into_bytes().into();
        for shard in shards {
            let _missed = shard.try_send(Arc::clone(&news));
        }
        thread::sleep(interval);
    }
}

/// At most so many shards; each takes its own end of the channel.
const SHARDS_MAX: usize = 256;

fn main() -> ExitCode {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..SHARDS_MAX).map(|_| bounded(WAITING_MAX)).unzip();
    let started = std::sync::Once::new();
    corelane::run(move |shard: &ShardContext, settings: &PushSettings| {
        let (senders, interval) = (&senders, Duration::from_millis(settings.interval_ms));
        started.call_once(|| {
            let senders = senders[..(shard.shards as usize).min(SHARDS_MAX)].to_vec();
            thread::spawn(move || count_aloud(&senders, interval));
        });
        let news = receivers.get(shard.id.0 as usize).cloned();
        news.ok_or("too many shards").map(|news| Push {
            board: Rc::default(),
            news,
        })
    })
}
