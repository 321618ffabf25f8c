//! A running server, as the program around it sees it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use crate::config::{InForce, SettingChange};
use crate::handler::Nothing;
use crate::metrics::{Metrics, Snapshot};
use crate::net::listener::ListenerAddr;
use crate::server::ended::{Ended, ServerError};
use crate::server::event::{Event, tell};
use crate::server::progress::Progress;
use crate::server::reload::{ReloadError, ReloadRequest};
use crate::settings::Settings;
use crate::shard::mail;

/// A server that runs on threads of its own. Dropping the handle leaves it running.
///
/// Every function may be called from any thread, a shard's own included, but for those that wait
/// ([`wait_ready`](Self::wait_ready), [`join`](Self::join)), which would bring that shard to a
/// stand.
#[derive(Debug)]
pub struct ServerHandle<M = Nothing> {
    pub(super) listeners: Arc<[ListenerAddr]>,
    pub(super) events: Sender<Event>,
    pub(super) progress: Arc<Progress>,
    pub(super) shards: Vec<Arc<Metrics>>,
    pub(super) control: JoinHandle<Result<(), ServerError>>,
    pub(super) sender: mail::sender::Sender<M>,
}

impl<M: Send + 'static> ServerHandle<M> {
    /// Sends messages to the handlers of the shards, and bytes to connections, from any thread.
    ///
    /// ```
    /// use corelane::{Conn, Error, Handler, Server, Settings, ShardContext, ShardId};
    ///
    /// struct Log;
    ///
    /// impl Handler<String> for Log {
    ///     async fn serve(&self, _conn: &mut Conn) -> Result<(), Error> {
    ///         Ok(())
    ///     }
    ///
    ///     fn on_message(&self, message: String) {
    ///         println!("{message}");
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let settings = Settings::new().set("server.shards", 1).set("limits.connections_max", 10);
    /// let factory = |_shard: &ShardContext<String>| Log;
    /// let handle = Server::builder().settings(settings).handler(factory).bind()?.spawn()?;
    /// let sender = handle.sender();
    /// std::thread::spawn(move || sender.try_send(ShardId(0), "hello".to_owned())).join().unwrap()?;
    /// handle.drain();
    /// handle.join().outcome?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sender(&self) -> mail::sender::Sender<M> {
        self.sender.clone()
    }

    /// The address that it listens on, with the real port; of several listeners the first's, and
    /// unspecified if that is a Unix socket.
    pub fn local_addr(&self) -> SocketAddr {
        let first = self.listeners.first();
        first.map_or(([0, 0, 0, 0], 0).into(), |first| {
            first.endpoint.socket_addr()
        })
    }

    /// Where each listener listens, in the order of the settings.
    ///
    /// ```
    /// use corelane::{Conn, Error, Server, Settings, from_fn};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let factory = |_shard: &_| from_fn(async |_conn: &mut Conn| Ok::<(), Error>(()));
    /// let path = std::env::temp_dir().join(format!("example-{}.sock", std::process::id()));
    /// let listeners = format!(
    ///     "[[listener]]\nname = 'public'\nlisten = '127.0.0.1:0'\n\
    ///      [[listener]]\nname = 'private'\nlisten = 'unix:{}'\n",
    ///     path.display()
    /// );
    /// let settings = Settings::from_toml(listeners)
    ///     .set("server.shards", 1)
    ///     .set("limits.connections_max", 10);
    /// let handle = Server::builder().settings(settings).handler(factory).bind()?.spawn()?;
    /// let names = handle.local_addrs().iter().map(|listener| &*listener.name);
    /// assert_eq!(names.collect::<Vec<_>>(), ["public", "private"]);
    /// assert_eq!(handle.local_addrs()[1].endpoint.to_string(), format!("unix:{}", path.display()));
    /// # handle.drain();
    /// # handle.join().outcome?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addrs(&self) -> &[ListenerAddr] {
        &self.listeners
    }

    /// Ends when every shard serves; on any executor. Whoever connects before that waits in the
    /// kernel's queue.
    ///
    /// # Errors
    ///
    /// Why the server does not start, or has ended before it could.
    pub fn ready(&self) -> impl Future<Output = Result<(), ServerError>> + Send + use<M> {
        let progress = Arc::clone(&self.progress);
        poll_fn(move |context| progress.poll(context))
    }

    /// As [`Self::ready`], on this thread.
    ///
    /// # Errors
    ///
    /// As for [`Self::ready`].
    pub fn wait_ready(&self) -> Result<(), ServerError> {
        self.progress.wait()
    }

    /// Has the server drain: it accepts nobody more, requests in hand are answered, and after
    /// `timeouts.drain` at the latest it has ended. Once is enough.
    pub fn drain(&self) {
        tell(&self.events, Event::Drain);
    }

    /// Has the server go on under `settings`, which replace those before as a whole: all of them, or
    /// none. Shards are under them from their next turn on; connections stay. What has changed, in
    /// the order of the keys.
    ///
    /// Which keys can change while the server runs, and what becomes of those who are connected:
    /// docs/settings.md and docs/operations.md.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the settings, and each key that needs a restart; or that the
    /// server ends.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use corelane::{Conn, Error, from_fn, ReloadError, Server, Settings};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let factory = |_shard: &_| from_fn(async |_conn: &mut Conn| Ok::<(), Error>(()));
    /// let settings = Settings::new().set("server.shards", 1).set("limits.connections_max", 10);
    /// let handle = Server::builder().settings(settings.clone()).handler(factory).bind()?.spawn()?;
    ///
    /// let patient = settings.clone().set("timeouts.idle", Duration::from_secs(3600));
    /// let changes = handle.reload(patient)?;
    /// assert_eq!(changes[0].to_string(), r#"timeouts.idle "5m" -> "1h""#);
    ///
    /// let larger = settings.set("limits.connections_max", 20);
    /// assert!(matches!(handle.reload(larger), Err(ReloadError::Refused(_))));
    /// # handle.drain();
    /// # handle.join().outcome?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reload(&self, settings: Settings) -> Result<Vec<SettingChange>, ReloadError> {
        let settings = InForce::embedded(settings.load()?);
        let (request, answer) = ReloadRequest::new(Some(settings));
        tell(&self.events, Event::Reload(request));
        answer.recv().unwrap_or(Err(ReloadError::Ended))
    }

    /// Waits until the server has ended, which without [`Self::drain`] it does only if a shard
    /// dies.
    pub fn join(self) -> Ended {
        let outcome = self.control.join();
        Ended {
            outcome: outcome.unwrap_or(Err(ServerError::ControlPanicked)),
            stats: sum(&self.shards),
        }
    }

    /// The counters of all shards together, as they are now.
    pub fn stats(&self) -> Snapshot {
        sum(&self.shards)
    }

    /// The counters of each shard, by its number.
    pub fn shard_stats(&self) -> Vec<Snapshot> {
        self.shards.iter().map(|shard| shard.read()).collect()
    }
}

fn sum(shards: &[Arc<Metrics>]) -> Snapshot {
    let mut whole = Snapshot::default();
    shards.iter().for_each(|shard| whole.add(&shard.read()));
    whole
}
