//! Two shards in this process, which are sent what they are to do and tell of it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use corelane::{Handler, Server, ServerHandle, Settings, ShardContext, ShardId};
use loadtest::Stop;
use loadtest::error::Error;
use push::comparison::go_on;

/// Messages that one shard may have sent the other and that are not received yet.
pub(crate) const CAPACITY: usize = 1024;
/// A turn of which nothing was heard for so long has lost a message.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// How often a wait looks whether an end was asked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A server whose handlers are sent `M` and tell `T`.
pub(crate) struct Shards<M, T> {
    handle: ServerHandle<M>,
    told: Receiver<T>,
}

impl<M: Send + 'static, T: Send + 'static> Shards<M, T> {
    /// With the handlers that `make` gives, which tell by the sender.
    pub(crate) fn start<H: Handler<M>>(
        [first, second]: [usize; 2],
        make: impl Fn(&ShardContext<M>, Sender<T>) -> H + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let (tell, told) = channel();
        let settings = Settings::new()
            .set("server.shards", 2)
            .set_toml(format!("server.cpus=[{first}, {second}]"))
            .set_toml("server.pin=true")
            .set("limits.connections_max", 16)
            .set("mailbox.capacity", CAPACITY as u64);
        let server = Server::builder()
            .settings(settings)
            .handler(move |shard: &ShardContext<M>| make(shard, tell.clone()))
            .bind()
            .and_then(|server| server.spawn());
        let handle = server.map_err(|error| Error::Refused(error.to_string()))?;
        handle.wait_ready().map_err(failed)?;
        Ok(Self { handle, told })
    }

    pub(crate) fn send(&self, shard: u32, message: M) -> Result<(), Error> {
        let sent = self.handle.sender().try_send(ShardId(shard), message);
        sent.map_err(|full| Error::Failed(format!("shard {shard}: {full}")))
    }

    /// The next that a handler tells.
    pub(crate) fn hear(&self, stop: &Stop) -> Result<T, Error> {
        let begun = Instant::now();
        while begun.elapsed() < LOST_AFTER {
            go_on(stop)?;
            match self.told.recv_timeout(LOOK_INTERVAL) {
                Ok(told) => return Ok(told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Err(Error::Failed("the shards do not come to an end".to_owned()))
    }

    /// Ends the server.
    pub(crate) fn end(self) -> Result<(), Error> {
        self.handle.drain();
        self.handle.join().outcome.map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Failed(format!("the server: {error}"))
}
