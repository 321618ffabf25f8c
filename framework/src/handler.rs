//! All that an application author implements.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{App, AppSettings, InForce, Upstream};
use crate::conn::connection::Conn;
use crate::conn::proxy_header;
#[cfg(feature = "tls")]
use crate::conn::tls;
use crate::error::{CloseReason, Error};
use crate::id::{ConnId, Key, ShardId};
use crate::metrics::custom::{Counter, Gauge, Histogram};
use crate::metrics::{Metrics, Snapshot};
use crate::panics;
use crate::shard::conns::{Delivery, Ended};
use crate::shard::handle::Shard;
use crate::shard::hooks::Hooks;
use crate::shard::mail::mailbox::Mailbox;
use crate::shard::mail::mesh::Mesh;
use crate::shard::mail::peers::Peers;
use crate::shard::mail::topic::Topic;
use crate::shard::task_poller::report_panic;
use crate::tls::UpstreamClients;
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
///
/// # Messages
///
/// `M` is what shards and other threads send to a handler: nothing, unless it says otherwise, as
/// `impl Handler<News> for Feed`. See [`Peers`].
pub trait Handler<M: Send + 'static = Nothing>: 'static {
    /// Serves one connection to its end. What it wrote is sent before the connection closes.
    ///
    /// An `Err` closes the connection with the reason that the error stands for; a panic closes it
    /// with [`HandlerPanicked`](crate::CloseReason::HandlerPanicked). Other connections are not
    /// affected by either.
    fn serve(&self, conn: &mut Conn) -> impl Future<Output = Result<(), Error>>;

    /// Once, when every shard has its handler and before this one's first connection: the place to
    /// [`spawn`](crate::spawn) what belongs to no connection. A panic in it ends the server.
    fn on_start(&self, shard: &ShardContext<M>) {
        let _ = shard;
    }

    /// A shard, this one among them, or another thread has sent `message`: between two polls of the
    /// shard's tasks, at most [`mailbox.messages_per_turn_max`](https://docs.rs/corelane) of them
    /// in a turn.
    ///
    /// It must not wait: what it wants to send that has no room is for
    /// [`try_send`](crate::Peer::try_send)'s caller to decide, or for a spawned task. A panic in it
    /// loses this message, is logged and changes nothing else.
    fn on_message(&self, message: M) {
        let _ = message;
    }

    /// When a connection that was served is closed and its place free, a turn after its `serve` has
    /// ended: `reason` is the one that is logged and counted.
    ///
    /// Not for connections that were turned away or had no valid PROXY header, nor for those that
    /// the shard opened. A panic in
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

    /// A reload has changed keys of `[app]` that [`AppSettings::LIVE`] names: each shard's handler is
    /// told between two turns. A panic in it is logged and changes nothing.
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// use corelane::{AppSettings, Conn, Error, Handler, Reloaded};
    ///
    /// #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// #[serde(default)]
    /// struct GreetSettings {
    ///     greeting: String,
    /// }
    ///
    /// impl AppSettings for GreetSettings {
    ///     const NAME: &'static str = "greet";
    ///     const ABOUT: &'static str = "Greets";
    ///     const LISTEN: &'static str = "127.0.0.1:7007";
    ///     const LIVE: &'static [&'static str] = &["greeting"];
    /// }
    ///
    /// struct Greet {
    ///     greeting: RefCell<String>,
    /// }
    ///
    /// impl Handler for Greet {
    ///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
    ///         let greeting = self.greeting.borrow().clone();
    ///         conn.write(&greeting).await
    ///     }
    ///
    ///     fn on_reload(&self, settings: &Reloaded<'_>) {
    ///         if let Some(settings) = settings.app::<GreetSettings>() {
    ///             self.greeting.replace(settings.greeting.clone());
    ///         }
    ///     }
    /// }
    /// ```
    fn on_reload(&self, settings: &Reloaded<'_>) {
        let _ = settings;
    }
}

/// The settings after a reload, as [`Handler::on_reload`] is told of them.
#[derive(Clone, Copy, Debug)]
pub struct Reloaded<'a>(&'a App);

impl<'a> Reloaded<'a> {
    /// The application's own, as the factory was given them; none if they are not of this type.
    pub fn app<S: AppSettings>(&self) -> Option<&'a S> {
        self.0.get()
    }
}

/// The messages of a handler that is sent none: there is no value of it.
#[derive(Clone, Copy, Debug)]
pub enum Nothing {}

/// A connection that has ended, as [`Handler::on_close`] is told of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnInfo {
    /// Its name, as in the log.
    pub id: ConnId,
    /// Its peer's address.
    pub peer_addr: SocketAddr,
    /// The client's, where the peer is a proxy that has named it
    /// ([`Proxied::source`](crate::Proxied::source)).
    pub proxied_addr: Option<SocketAddr>,
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
pub trait IntoHandler<Form> {
    /// What is sent to the handler.
    type Message: Send + 'static;
    /// The handler of a shard.
    type Handler: Handler<Self::Message>;

    /// The handler, or why there is none.
    ///
    /// # Errors
    ///
    /// What the factory failed with, as text.
    fn into_handler(self) -> Result<Self::Handler, String>;
}

/// The `Form` of a factory's outcome that is a handler of messages `M`; the compiler finds it.
#[derive(Debug)]
pub struct Plain<M>(PhantomData<M>);

/// The `Form` of a factory's outcome that is a `Result`; the compiler finds it.
#[derive(Debug)]
pub struct Fallible<M>(PhantomData<M>);

impl<M: Send + 'static, H: Handler<M>> IntoHandler<Plain<M>> for H {
    type Message = M;
    type Handler = Self;

    fn into_handler(self) -> Result<Self, String> {
        Ok(self)
    }
}

impl<M: Send + 'static, H: Handler<M>, E: Display> IntoHandler<Fallible<M>> for Result<H, E> {
    type Message = M;
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

/// What a shard tells the factory that makes its handler, whose messages are `M`.
pub struct ShardContext<M = Nothing> {
    /// The shard's number, from 0.
    pub id: ShardId,
    /// How many shards there are.
    pub shards: u32,
    /// The core it is pinned to; `None`: the scheduler moves it between those that it may run on
    /// (`server.pin`).
    pub cpu: Option<usize>,
    /// Connections it holds at most.
    pub connections_max: u32,
    /// The address it listens on, with the real port; of several listeners the first's, and
    /// unspecified if that is a Unix socket.
    pub local_addr: SocketAddr,
    pub(crate) upstreams: Arc<BTreeMap<String, Upstream>>,
    /// By what those of them are met that have TLS.
    pub(crate) upstream_clients: UpstreamClients,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) mesh: Arc<Mesh<M>>,
}

impl<M: Send + 'static> ShardContext<M> {
    /// The server's shards, as this one sends to them. Of a client they are none.
    ///
    /// To be called on the shard's own thread, as a factory is.
    pub fn peers(&self) -> Peers<M> {
        Peers::of_this_thread(&self.mesh)
    }

    /// What is published under that name, on all shards of the server. Asked again it is the same.
    ///
    /// To be called on the shard's own thread, as a factory is. A client's shard has nobody who
    /// could subscribe.
    pub fn topic(&self, name: &str) -> Topic {
        Topic::of_this_thread(&self.mesh, name)
    }

    /// Sends `bytes` to a connection of this shard, as [`Peers::send_to`] does to that of any:
    /// [`Gone`](Delivery::Gone) for one of another.
    pub fn send_to(&self, conn: ConnId, bytes: impl Into<Arc<[u8]>>) -> Delivery {
        Shard::with(|shard| shard.core().conns.deliver(conn, bytes.into()))
    }

    /// The shard's pool of connections to `[upstream.NAME]`; none if the settings have no such
    /// section. Asked again it gives the same pool.
    ///
    /// To be called on the shard's own thread, as a factory is.
    pub fn pool(&self, name: &str) -> Option<Pool> {
        let (upstream, counters) = (self.upstreams.get(name)?, self.metrics.upstreams.get(name)?);
        let tls = self.upstream_clients.get(name);
        Some(Pool::of_this_thread(name, upstream, tls, counters))
    }

    /// A counter of the handler's own, for the endpoint of metrics
    /// ([`admin.listen`](https://docs.rs/corelane)): one that only grows. The sum over the shards is
    /// what is served. Asked again it is the same.
    ///
    /// ```
    /// use corelane::{Conn, Counter, Error, Handler, ShardContext};
    ///
    /// struct Lines {
    ///     read: Counter,
    /// }
    ///
    /// impl Handler for Lines {
    ///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
    ///         while conn.read_line(1024).await?.is_some() {
    ///             self.read.increment();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let factory = |shard: &ShardContext| Lines {
    ///     read: shard.counter("lines_read_total", "Lines that peers have sent."),
    /// };
    /// # let _ = factory;
    /// ```
    ///
    /// # Panics
    ///
    /// When the name is none of Prometheus's, begins with `corelane_` or `process_`, does not end in
    /// `_total`, or is that of another kind of metric: the start is refused with that text.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.metrics.custom.counter(name, help)
    }

    /// As [`Self::counter`], a number that goes up and down; its name may end otherwise.
    ///
    /// # Panics
    ///
    /// As [`Self::counter`].
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.metrics.custom.gauge(name, help)
    }

    /// As [`Self::gauge`], how often values fell into each of a few ranges. `bounds` are the upper
    /// ends of the ranges, in base units such as seconds and bytes; one more is above the last.
    ///
    /// # Panics
    ///
    /// As [`Self::counter`], and when the bounds do not rise or are not finite.
    pub fn histogram(&self, name: &'static str, help: &'static str, bounds: &[f64]) -> Histogram {
        self.metrics.custom.histogram(name, help, bounds)
    }

    /// The shard's counters as they are now; of the whole server:
    /// [`ServerHandle::stats`](crate::ServerHandle::stats).
    pub fn stats(&self) -> Snapshot {
        self.metrics.read()
    }
}

impl<M> Clone for ShardContext<M> {
    fn clone(&self) -> Self {
        Self {
            upstreams: Arc::clone(&self.upstreams),
            upstream_clients: Arc::clone(&self.upstream_clients),
            metrics: Arc::clone(&self.metrics),
            mesh: Arc::clone(&self.mesh),
            ..*self
        }
    }
}

impl<M> fmt::Debug for ShardContext<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ShardContext")
            .field("id", &self.id)
            .field("shards", &self.shards)
            .field("cpu", &self.cpu)
            .field("connections_max", &self.connections_max)
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// A handler, as its shard tells it what has happened.
pub(crate) struct Observer<H, M> {
    handler: Rc<H>,
    context: ShardContext<M>,
    mailbox: Rc<Mailbox<M>>,
    /// The section `[app]` in force.
    app: RefCell<App>,
}

impl<M: Send + 'static, H: Handler<M>> Observer<H, M> {
    pub(crate) fn new(handler: &Rc<H>, context: ShardContext<M>, app: App) -> Self {
        Self {
            app: RefCell::new(app),
            handler: Rc::clone(handler),
            mailbox: Mailbox::of_this_thread(&context.mesh),
            context,
        }
    }
}

/// The shard has ended, however that came about: nobody waits for it any more.
impl<H, M> Drop for Observer<H, M> {
    fn drop(&mut self) {
        self.context.mesh.end(self.context.id.0 as usize);
    }
}

impl<M: Send + 'static, H: Handler<M>> Hooks for Observer<H, M> {
    fn started(&self) {
        self.handler.on_start(&self.context);
    }

    fn reloaded(&self, settings: &InForce) {
        Pool::reload_this_thread(&settings.config.upstreams);
        let mailbox = &settings.config.mailbox;
        self.mailbox.set_per_turn_max(mailbox.messages_per_turn_max);
        let before = self.app.replace(settings.app.clone());
        if before != settings.app {
            panics::as_handler(|| self.handler.on_reload(&Reloaded(&settings.app)))
                .unwrap_or_else(|panic| report_panic(Key::of_place(0), &*panic));
        }
    }

    fn tls_renewed(&self, upstreams: &UpstreamClients) {
        Pool::renew_tls_of_this_thread(upstreams);
    }

    fn draining(&self) {
        self.handler.on_drain();
    }

    fn closed(&self, closed: &Ended) {
        let info = ConnInfo {
            id: closed.id,
            peer_addr: closed.peer,
            proxied_addr: closed.client.named(),
            open_for: closed.open_for,
        };
        self.handler.on_close(info, closed.reason);
    }

    fn received(&self) {
        self.mailbox.receive(|message| {
            panics::as_handler(|| self.handler.on_message(message))
                .unwrap_or_else(|panic| report_panic(Key::of_place(0), &*panic));
        });
    }
}

/// Serves the connection of `key`.
pub(crate) fn serve<M: Send + 'static, H: Handler<M>>(
    handler: Rc<H>,
    key: Key,
) -> impl Future<Output = Result<(), Error>> {
    // Made out here: a local of the block would lie in the future beside what the block was given.
    let mut conn = Conn::new(key);
    async move {
        // Boxed, so that it takes no room while the handler has the connection.
        if proxy_header::is_expected() && !Box::pin(proxy_header::read(&mut conn)).await? {
            return Ok(());
        }
        #[cfg(feature = "tls")]
        if tls::is_expected() && !Box::pin(tls::accept(&mut conn)).await? {
            return Ok(());
        }
        handler.serve(&mut conn).await
    }
}

/// What an application's own types take, as far as the memory sum asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppBytes {
    /// The future of one connection.
    pub(crate) task: usize,
    /// One place of a mailbox.
    pub(crate) parcel: usize,
}

impl AppBytes {
    pub(crate) fn of<M: Send + 'static, H: Handler<M>>() -> Self {
        fn made_by<H, F>(_serve: impl Fn(Rc<H>, Key) -> F) -> usize {
            size_of::<F>()
        }
        Self {
            task: made_by::<H, _>(serve::<M, H>),
            parcel: Mesh::<M>::PARCEL_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Http, Limits, Response};

    struct Echo;

    impl Handler for Echo {
        async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
            while let Some(bytes) = conn.read().await? {
                conn.write(bytes).await?;
            }
            Ok(())
        }
    }

    struct Hello {
        limits: Rc<Limits>,
    }

    impl Handler for Hello {
        async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
            let mut http = Http::new(conn, &self.limits);
            loop {
                let next = http.next().await?;
                let Some(request) = next else {
                    return Ok(());
                };
                let hello = Response::ok().header("Content-Type", "text/plain");
                request.respond(hello.body("hello\n")).await?;
            }
        }
    }

    /// With the 85 bytes of a table's entry and the allocator's own 8 it is below 200 bytes in all.
    #[test]
    fn an_idle_connection_that_speaks_http_is_small() {
        let http = AppBytes::of::<Nothing, Hello>();
        assert!(http.task <= 104, "{http:?}");
    }

    #[cfg(feature = "websocket")]
    struct Socket {
        limits: Rc<Limits>,
        options: Rc<crate::websocket::Options>,
    }

    #[cfg(feature = "websocket")]
    impl Handler for Socket {
        #[expect(clippy::manual_async_fn, reason = "as in apps/echo")]
        fn serve(&self, conn: &mut Conn) -> impl Future<Output = Result<(), Error>> {
            async move {
                let mut http = Http::new(conn, &self.limits);
                loop {
                    let Some(request) = http.next().await? else {
                        return Ok(());
                    };
                    let Some(request) = route(request).await? else {
                        continue;
                    };
                    let mut ws = request.websocket(&self.options).await?;
                    loop {
                        let Some(message) = ws.next().await? else {
                            return Ok(());
                        };
                        ws.send(message).await?;
                    }
                }
            }
        }
    }

    #[cfg(feature = "websocket")]
    struct Direct {
        limits: Rc<Limits>,
        options: Rc<crate::websocket::Options>,
    }

    #[cfg(feature = "websocket")]
    async fn route(
        request: crate::http::Request<'_>,
    ) -> Result<Option<crate::http::Request<'_>>, Error> {
        if request.path() == "/" {
            return Ok(Some(request));
        }
        request.respond(Response::ok()).await?;
        Ok(None)
    }

    #[cfg(feature = "websocket")]
    impl Handler for Direct {
        #[expect(clippy::manual_async_fn, reason = "as in apps/echo")]
        fn serve(&self, conn: &mut Conn) -> impl Future<Output = Result<(), Error>> {
            async move {
                let ws = crate::websocket::accept(conn, &self.limits, &self.options, route);
                let Some(mut ws) = ws.await? else {
                    return Ok(());
                };
                loop {
                    let Some(message) = ws.next().await? else {
                        return Ok(());
                    };
                    ws.send(message).await?;
                }
            }
        }
    }

    /// In all, with 93 bytes beside the task as above, of handlers that keep nothing they need not: a
    /// `while let` keeps 32 bytes for its `?`, and an `async fn` its arguments twice.
    #[cfg(feature = "websocket")]
    #[test]
    fn an_idle_web_socket_takes_240_bytes_at_most() {
        let all = |app: AppBytes| 93 + app.task;
        let (direct, socket) = (
            all(AppBytes::of::<Nothing, Direct>()),
            all(AppBytes::of::<Nothing, Socket>()),
        );
        assert!(direct <= 208, "{direct}");
        assert!(socket <= 240, "{socket}, with HTTP beside it");
    }

    #[test]
    fn that_a_header_may_be_read_first_takes_no_room_of_an_idle_connection() {
        let mut conn = Conn::new(Key::of_place(0));
        let own = size_of_val(&Echo.serve(&mut conn));
        let around = size_of::<Rc<Echo>>() + size_of::<Conn>() + size_of::<usize>();
        assert!(AppBytes::of::<Nothing, Echo>().task <= own + around);
    }
}
