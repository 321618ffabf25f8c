//! Ours: a server in this process with one topic, to which all who connect are subscribed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{Conn, Handler, Server, ServerHandle, Settings, ShardContext, Topic};
use loadtest::error::Error;

const TOPIC: &str = "all";
/// Subscriptions take far less.
const SUBSCRIBED_AFTER: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) struct Publisher {
    handle: ServerHandle,
    subscribed: Arc<AtomicU32>,
}

impl Publisher {
    /// With so many shards, and room for so many subscribers.
    pub(crate) fn start(shards: u32, connections: u32) -> Result<Self, Error> {
        let subscribed = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&subscribed);
        let server = Server::builder()
            .settings(settings(shards, connections))
            .handler(move |shard: &ShardContext| Subscription {
                topic: shard.topic(TOPIC),
                subscribed: Arc::clone(&counted),
            })
            .bind()
            .and_then(|server| server.spawn());
        let handle = server.map_err(|error| Error::Refused(error.to_string()))?;
        handle.wait_ready().map_err(failed)?;
        Ok(Self { handle, subscribed })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    /// Waits until so many are subscribed.
    pub(crate) fn subscribed(&self, connections: u32) -> Result<(), Error> {
        let begun = Instant::now();
        while self.subscribed.load(Ordering::Relaxed) < connections {
            if begun.elapsed() > SUBSCRIBED_AFTER {
                return Err(failed("not all are subscribed"));
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    pub(crate) fn publish(&self, line: Arc<[u8]>) -> Result<(), Error> {
        let published = self.handle.sender().publish(TOPIC, line);
        published.map(drop).map_err(failed)
    }

    /// Ends the server.
    pub(crate) fn end(self) -> Result<(), Error> {
        self.handle.drain();
        self.handle.join().outcome.map_err(failed)
    }
}

/// Subscribers never speak, and the kernel does not spread them evenly.
fn settings(shards: u32, connections: u32) -> Settings {
    Settings::new()
        .set_toml("server.listen=\"0.0.0.0:0\"")
        .set("server.shards", u64::from(shards))
        .set_toml("server.pin=true")
        .set("listener.backlog", 4096)
        .set_toml("socket.keepalive=false")
        .set_toml("timeouts.first_byte=\"off\"")
        .set_toml("timeouts.idle=\"off\"")
        .set(
            "limits.connections_max",
            u64::from(connections) * 9 / 8 + 64,
        )
}

struct Subscription {
    topic: Topic,
    subscribed: Arc<AtomicU32>,
}

impl Handler for Subscription {
    async fn serve(&self, conn: &mut Conn) -> Result<(), corelane::Error> {
        self.topic
            .subscribe(conn.id())
            .map_err(corelane::Error::handler)?;
        self.subscribed.fetch_add(1, Ordering::Relaxed);
        while conn.read().await?.is_some() {}
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Failed(format!("the server: {error}"))
}
