//! All that an application author implements.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Upstream;
use crate::conn::connection::Conn;
use crate::error::{CloseReason, Error};
use crate::id::{ConnId, Key, ShardId};
use crate::metrics::{Metrics, Snapshot};
use crate::shard::conns::Ended;
use crate::shard::hooks::Hooks;
use crate::upstream::pool::Pool;

/// An application: one value per shard, made by the factory given to [`run`](crate::run), and one
/// `serve` per connection.
///
/// A handler lives on one thread, and so do its futures: `Rc` and `Cell` are right inside it, locks
/// are not needed.
///
/// What `serve` holds across an `await` is the memory of an idle connection.
/// `while let Some(x) = conn.read().await?` holds some 40 bytes more than
/// `let Some(x) = conn.read().await? else { ... }` in a loop, because its temporaries live through
/// the body.
///
/// ```
/// use corelane::{Conn, Error, Handler};
///
/// struct Shout;
///
/// impl Handler for Shout {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         while let Some(line) = conn.read_line(1024).await? {
///             conn.write(&line.to_ascii_uppercase()).await?;
///             conn.write("\n").await?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Handler: 'static {
    /// Serves one connection to its end. What it wrote is sent before the connection closes.
    ///
    /// An `Err` closes the connection with the reason that the error stands for; a panic closes it
    /// with [`HandlerPanicked`](crate::CloseReason::HandlerPanicked). Other connections are not
    /// affected by either.
    fn serve(&self, conn: &mut Conn) -> impl Future<Output = Result<(), Error>>;

    /// Once, when every shard has its handler and before this one's first connection: the place to
    /// [`spawn`](crate::spawn) what belongs to no connection. A panic in it ends the server.
    fn on_start(&self, shard: &ShardContext) {
        let _ = shard;
    }

    /// When a connection that was served is closed and its place free, a turn after its `serve` has
    /// ended: `reason` is the one that is logged and counted.
    ///
    /// Not for connections that were turned away, nor for those that the shard opened. A panic in
    /// it is logged and changes nothing; so it is for [`on_drain`](Self::on_drain).
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// use corelane::{CloseReason, Conn, ConnInfo, Error, Handler};
    ///
    /// #[derive(Default)]
    /// struct Quiz {
    ///     deserters: Cell<u32>,
    /// }
    ///
    /// impl Handler for Quiz {
    ///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
    ///         conn.write("6 * 7?\n").await
    ///     }
    ///
    ///     fn on_close(&self, _conn: ConnInfo, reason: CloseReason) {
    ///         if reason == CloseReason::PeerReset {
    ///             self.deserters.set(self.deserters.get() + 1);
    ///         }
    ///     }
    /// }
    /// ```
    fn on_close(&self, conn: ConnInfo, reason: CloseReason) {
        let _ = (conn, reason);
    }

    /// Once, when the server begins to drain, before any connection is told of it.
    fn on_drain(&self) {}
}

/// A connection that has ended, as [`Handler::on_close`] is told of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnInfo {
    /// Its name, as in the log.
    pub id: ConnId,
    /// Its peer's address.
    pub peer_addr: SocketAddr,
    /// From its accept to its close, to an eighth of a second.
    pub open_for: Duration,
}

/// What a factory may give [`run`](crate::run): a handler, or a `Result` with one, whose error
/// refuses the start.
///
/// ```no_run
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct TableSettings { path: String }
/// # impl corelane::AppSettings for TableSettings {
/// #     const NAME: &'static str = "table";
/// #     const ABOUT: &'static str = "";
/// #     const LISTEN: &'static str = "127.0.0.1:7007";
/// # }
/// use corelane::{Conn, Error, Handler, ShardContext};
///
/// struct Table(Vec<u8>);
///
/// impl Handler for Table {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         conn.write(&*self.0).await
///     }
/// }
///
/// # fn main() -> std::process::ExitCode {
/// corelane::run(|_shard: &ShardContext, settings: &TableSettings| -> Result<Table, String> {
///     let table = std::fs::read(&settings.path).map_err(|error| format!("app.path {}: {error}", settings.path))?;
///     Ok(Table(table))
/// })
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "a factory gives a `Handler`, or a `Result` with one",
    label = "`{Self}` is neither"
)]
pub trait IntoHandler {
    /// The handler of a shard.
    type Handler: Handler;

    /// The handler, or why there is none.
    ///
    /// # Errors
    ///
    /// What the factory failed with, as text.
    fn into_handler(self) -> Result<Self::Handler, String>;
}

impl<H: Handler> IntoHandler for H {
    type Handler = Self;

    fn into_handler(self) -> Result<Self, String> {
        Ok(self)
    }
}

impl<H: Handler, E: Display> IntoHandler for Result<H, E> {
    type Handler = H;

    fn into_handler(self) -> Result<H, String> {
        self.map_err(|error| error.to_string())
    }
}

/// A handler from an async closure.
///
/// ```
/// use corelane::{Conn, Error, ShardContext, from_fn};
///
/// let factory = |_shard: &ShardContext| {
///     from_fn(async |conn: &mut Conn| {
///         while let Some(bytes) = conn.read().await? {
///             conn.write(bytes).await?;
///         }
///         Ok::<(), Error>(())
///     })
/// };
/// # let _ = factory;
/// ```
pub fn from_fn<F>(serve: F) -> FromFn<F>
where
    F: AsyncFn(&mut Conn) -> Result<(), Error> + 'static,
{
    FromFn(serve)
}

/// What [`from_fn`] makes.
#[derive(Clone, Copy, Debug)]
pub struct FromFn<F>(F);

impl<F> Handler for FromFn<F>
where
    F: AsyncFn(&mut Conn) -> Result<(), Error> + 'static,
{
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        (self.0)(conn).await
    }
}

/// What a shard tells the factory that makes its handler.
#[derive(Clone, Debug)]
pub struct ShardContext {
    /// The shard's number, from 0.
    pub id: ShardId,
    /// How many shards there are.
    pub shards: u32,
    /// The core it is pinned to; `None`: the scheduler moves it between those that it may run on
    /// (`server.pin`).
    pub cpu: Option<usize>,
    /// Connections it holds at most.
    pub connections_max: u32,
    /// The address it listens on, with the real port.
    pub local_addr: SocketAddr,
    pub(crate) upstreams: Arc<BTreeMap<String, Upstream>>,
    pub(crate) metrics: Arc<Metrics>,
}

impl ShardContext {
    /// The shard's pool of connections to `[upstream.NAME]`; none if the settings have no such
    /// section. Asked again it gives the same pool.
    ///
    /// To be called on the shard's own thread, as a factory is.
    pub fn pool(&self, name: &str) -> Option<Pool> {
        let (upstream, counters) = (self.upstreams.get(name)?, self.metrics.upstreams.get(name)?);
        Some(Pool::of_this_thread(name, upstream, counters))
    }

    /// The shard's counters as they are now; of the whole server:
    /// [`ServerHandle::stats`](crate::ServerHandle::stats).
    pub fn stats(&self) -> Snapshot {
        self.metrics.read()
    }
}

/// A handler, as its shard tells it what has happened.
pub(crate) struct Observer<H> {
    handler: Rc<H>,
    context: ShardContext,
}

impl<H: Handler> Observer<H> {
    pub(crate) fn new(handler: &Rc<H>, context: ShardContext) -> Self {
        let handler = Rc::clone(handler);
        Self { handler, context }
    }
}

impl<H: Handler> Hooks for Observer<H> {
    fn started(&self) {
        self.handler.on_start(&self.context);
    }

    fn draining(&self) {
        self.handler.on_drain();
    }

    fn closed(&self, closed: &Ended) {
        let info = ConnInfo {
            id: ConnId::new(self.context.id, closed.key),
            peer_addr: closed.peer,
            open_for: closed.open_for,
        };
        self.handler.on_close(info, closed.reason);
    }
}

/// Serves the connection of `key`.
pub(crate) fn serve<H: Handler>(
    handler: Rc<H>,
    key: Key,
) -> impl Future<Output = Result<(), Error>> {
    // Made out here: a local of the block would lie in the future beside what the block was given.
    let mut conn = Conn::new(key);
    async move { handler.serve(&mut conn).await }
}

/// Bytes of the future of one connection of that handler.
pub(crate) fn task_bytes<H: Handler>() -> usize {
    fn made_by<H, F>(_serve: impl Fn(Rc<H>, Key) -> F) -> usize {
        size_of::<F>()
    }
    made_by::<H, _>(serve::<H>)
}
