//! Connections to an upstream, kept for the next request: one pool per shard and `[upstream.NAME]`
//! section.
//!
//! A request's way through it: a permit to use a connection (`permits`), an idle connection or a
//! new one (`health` says whether it may be tried), the exchange, and back. Idle connections are in
//! the shard's care (`shard::conns`): it closes those that end, speak out of turn or grow old, so
//! there is no task behind a pool, and nothing that keeps the shard from ending.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::or;

use crate::config::Upstream;
use crate::conn::connection::Conn;
use crate::conn::frame::Frame;
use crate::conn::output::Output;
use crate::error::Error;
use crate::id::Key;
use crate::metrics::UpstreamCounters;
use crate::shard::futures::sleep::sleep;
use crate::shard::handle::Shard;
use crate::step::Step;
#[cfg(feature = "tls")]
use crate::tls::client::ClientTls;
use crate::tls::{UpstreamClient, UpstreamClients};
use crate::upstream::acquire::{Acquire, Permit};
use crate::upstream::attempt::Attempt;
use crate::upstream::connector::{Connector, timed_out};
use crate::upstream::failure::failure_of;
use crate::upstream::inner::Inner;
use crate::upstream::permits::Permits;
#[cfg(not(feature = "tls"))]
use crate::upstream::pool_no_tls::PoolTls;
#[cfg(feature = "tls")]
use crate::upstream::pool_tls::PoolTls;
use crate::upstream_error::{UpstreamError, UpstreamFailure};

/// The connections of one shard to one upstream, as `[upstream.NAME]` of the settings describes it.
/// Made by [`ShardContext::pool`](crate::ShardContext::pool); a clone is the same pool.
///
/// No more than `connections_max` are open at a time. Whoever finds all of them in use waits for
/// his turn, first come, first served, with `waiting_max` others at most and for `connect_timeout`
/// at most. The connection used last is the next to be used, so those that are to spare grow old
/// and are closed after `idle_timeout`. One that the upstream closes meanwhile, or on which it says
/// something that nobody asked for, is closed at once and never met.
///
/// An upstream that cannot be connected to is left alone for a moment, half a second at most:
/// requests fail at once meanwhile, and the first one after that tries again.
///
/// With `[upstream.NAME.tls]` its connections begin with a TLS handshake, which is part of the
/// connect; a request knows nothing of it.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use corelane::{AppSettings, Conn, Error, Handler, Pool, ShardContext, Step};
///
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct RelaySettings {}
/// # impl AppSettings for RelaySettings {
/// #     const NAME: &'static str = "relay";
/// #     const ABOUT: &'static str = "Passes lines on";
/// #     const LISTEN: &'static str = "127.0.0.1:7008";
/// # }
/// /// Passes each line on to the upstream of the settings, and its answer back.
/// struct Relay(Option<Pool>);
///
/// fn line(bytes: &[u8]) -> Step<()> {
///     match bytes.iter().position(|byte| *byte == b'\n') {
///         Some(end) => Step::Frame { value: (), length: end + 1 },
///         None => Step::NeedMore,
///     }
/// }
///
/// impl Handler for Relay {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         let Some(pool) = &self.0 else { return conn.write("no [upstream.next] is set\n").await };
///         while let Some(request) = conn.read_frame(1024, line).await? {
///             let mut next = pool.get().await?;
///             let answer = next.exchange(request.bytes, 1024, line).await?;
///             next.done();
///             conn.write(answer.bytes).await?;
///         }
///         Ok(())
///     }
/// }
///
/// fn main() -> ExitCode {
///     corelane::run(|shard: &ShardContext, _settings: &RelaySettings| Relay(shard.pool("next")))
/// }
/// ```
#[derive(Clone)]
pub struct Pool(Rc<Inner>);

/// The sections `[upstream.NAME]`, by name.
type Upstreams = Arc<BTreeMap<String, Upstream>>;

thread_local! {
    /// The pools of this thread's shard, so that each name has one.
    static POOLS: RefCell<BTreeMap<Arc<str>, Pool>> = const { RefCell::new(BTreeMap::new()) };
    /// The upstreams of the settings in force; none: those of the start.
    static RELOADED: RefCell<Option<Upstreams>> = const { RefCell::new(None) };
    /// The same of what they shake hands by.
    static TLS_RENEWED: RefCell<Option<UpstreamClients>> = const { RefCell::new(None) };
}

impl Pool {
    /// This thread's pool of that name; `upstream` and `tls` are of the settings of the start.
    pub(crate) fn of_this_thread(
        name: &str,
        upstream: &Upstream,
        tls: Option<&UpstreamClient>,
        counters: &Arc<UpstreamCounters>,
    ) -> Self {
        POOLS.with_borrow_mut(|pools| {
            if let Some(pool) = pools.get(name) {
                return pool.clone();
            }
            let upstream = RELOADED.with_borrow(|reloaded| {
                let reloaded = reloaded.as_ref().and_then(|upstreams| upstreams.get(name));
                reloaded.unwrap_or(upstream).clone()
            });
            let tls = TLS_RENEWED.with_borrow(|renewed| match renewed {
                Some(renewed) => PoolTls::of(renewed.get(name)),
                None => PoolTls::of(tls),
            });
            let name: Arc<str> = name.into();
            pools
                .entry(Arc::clone(&name))
                .or_insert(Self::new(name, upstream, tls, Arc::clone(counters)))
                .clone()
        })
    }

    /// This thread's pools are of these upstreams from now on, which have the names of those before.
    pub(crate) fn reload_this_thread(upstreams: &Upstreams) {
        RELOADED.set(Some(Arc::clone(upstreams)));
        let pools: Vec<Self> = POOLS.with_borrow(|pools| pools.values().cloned().collect());
        for pool in pools {
            if let Some(upstream) = upstreams.get(pool.name()) {
                pool.0.reload(upstream);
            }
        }
    }

    /// This thread's pools shake hands by these from now on; what has not changed is the same as
    /// before.
    pub(crate) fn renew_tls_of_this_thread(clients: &UpstreamClients) {
        TLS_RENEWED.set(Some(Arc::clone(clients)));
        let pools: Vec<Self> = POOLS.with_borrow(|pools| pools.values().cloned().collect());
        for pool in pools {
            if pool.0.tls.renew(clients.get(pool.name())) {
                pool.0.start_afresh();
            }
        }
    }

    fn new(
        name: Arc<str>,
        upstream: Upstream,
        tls: PoolTls,
        counters: Arc<UpstreamCounters>,
    ) -> Self {
        let permits = Permits::new(
            upstream.connections_max,
            upstream.waiting_max,
            Arc::clone(&counters),
        )
        .into();
        Self(Rc::new(Inner {
            name,
            tls,
            upstream: RefCell::new(Rc::new(upstream)),
            permits,
            idle: RefCell::default(),
            health: RefCell::default(),
            counters,
        }))
    }

    /// The upstream's name in the settings.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// From now on its connections shake hands by these, within `connect_timeout`, whatever
    /// `[upstream.NAME.tls]` says now and after a reload; none: they are plain. Those that have begun
    /// otherwise are closed: idle ones at once, those in use when their request is over.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: impl Into<Option<ClientTls>>) {
        self.0.tls.set(tls.into());
        self.0.start_afresh();
    }

    /// Waits for a connection: an idle one, a new one, or one that comes free. It is the caller's
    /// for `request_timeout`.
    ///
    /// Dropping the future takes the request back.
    ///
    /// # Errors
    ///
    /// [`Error::Upstream`]: all connections are in use and as many as may wait do so, or none came
    /// free in time; the upstream cannot be connected to, or could not be a moment ago.
    pub async fn get(&self) -> Result<Pooled, Error> {
        let permit = Acquire::new(&self.0)
            .await
            .map_err(|failure| self.error(failure))?;
        let (upstream, tls_number) = (self.0.upstream(), self.0.tls.number());
        let mut conn = match self.0.take_idle() {
            Some(conn) => conn,
            None => self
                .0
                .connect(&upstream)
                .await
                .map_err(|failure| self.error(failure))?,
        };
        conn.set_read_deadline(upstream.request_timeout);
        Ok(Pooled {
            pool: self.clone(),
            upstream,
            tls_number,
            conn,
            in_request: false,
            _permit: permit,
        })
    }

    /// Connections that are in use now, or being made.
    pub fn in_use(&self) -> usize {
        self.0.permits.borrow().in_use()
    }

    /// Connections that are open now and used by nobody.
    pub fn idle(&self) -> usize {
        let idle: Vec<Key> = self.0.idle.borrow().iter().copied().collect();
        Shard::with(|shard| {
            idle.into_iter()
                .filter(|key| is_checked_in(shard, *key))
                .count()
        })
    }

    /// Requests that wait for a connection now.
    pub fn waiting(&self) -> usize {
        self.0.permits.borrow().waiting()
    }

    fn error(&self, failure: UpstreamFailure) -> Error {
        self.0.counters.failed.add(1);
        Error::Upstream(Box::new(UpstreamError::new(&self.0.name, failure)))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pool({})", self.0.name)
    }
}

impl Inner {
    /// The connection that was used last, of those that are still open.
    fn take_idle(&self) -> Option<Conn> {
        loop {
            let key = self.idle.borrow_mut().pop_back()?;
            if check_out(key) {
                return Some(Conn::new(key));
            }
        }
    }

    async fn connect(&self, upstream: &Rc<Upstream>) -> Result<Conn, UpstreamFailure> {
        let attempt = Attempt::begin(self, upstream, Instant::now())?;
        let Upstream {
            addr,
            source,
            connect_timeout,
            ..
        } = **upstream;
        let connector = Connector::new().timeout(connect_timeout);
        let connector = source.map_or(connector, |source| connector.source(source));
        // Of the same moment as `addr`: what comes into force meanwhile may be for another upstream.
        let handshake = self.tls.handshake(addr, connect_timeout);
        let connect = connector.connect(addr);
        // The connector's own bound is counted in the ticks of a deadline, and begins only when the
        // connect does.
        let late = async move {
            sleep(connect_timeout).await;
            Err(timed_out(format!("no answer within {connect_timeout:?}")))
        };
        let connected = or(connect, late).await;
        let outcome = match handshake {
            Some(handshake) => handshake.shake(connected).await,
            None => connected,
        };
        attempt.end(outcome, Instant::now())
    }

    /// Keeps the connection for the next request, or closes it if it is not fit for one. The one
    /// unused for longest makes room.
    fn check_in(&self, key: Key) {
        let Upstream {
            idle_max,
            idle_timeout,
            ..
        } = *self.upstream();
        let kept = idle_max > 0 && check_in(key, idle_timeout);
        if !kept {
            return discard(key);
        }
        let mut idle = self.idle.borrow_mut();
        let oldest = if idle.len() < idle_max as usize {
            None
        } else {
            idle.pop_front()
        };
        idle.push_back(key);
        drop(idle);
        if let Some(oldest) = oldest {
            discard(oldest);
        }
    }
}

impl Inner {
    /// What was opened is of no use any more, and what failed may not fail again.
    fn start_afresh(&self) {
        let idle = self.idle.take();
        idle.into_iter().for_each(discard);
        self.health.take();
    }

    /// Requests in hand keep their connections and their bounds.
    fn reload(&self, upstream: &Upstream) {
        let is_same = self.still_asks(upstream);
        self.upstream.replace(Rc::new(upstream.clone()));
        let permits = &self.permits;
        permits.borrow_mut().set_waiting_max(upstream.waiting_max);
        let kept = if is_same { upstream.idle_max } else { 0 };
        let mut idle = self.idle.borrow_mut();
        let excess = idle.len().saturating_sub(kept as usize);
        let excess: Vec<Key> = idle.drain(..excess).collect();
        drop(idle);
        excess.into_iter().for_each(discard);
        if !is_same {
            self.health.take();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.idle.take().into_iter().for_each(discard);
    }
}

fn discard(key: Key) {
    Shard::try_with(|shard| {
        if let Some(mut conn) = shard.core().conns.get(key) {
            conn.discard();
        }
    });
}

fn is_checked_in(shard: &Shard, key: Key) -> bool {
    let mut core = shard.core();
    core.conns.get(key).is_some_and(|conn| conn.is_checked_in())
}

fn check_out(key: Key) -> bool {
    Shard::with(|shard| {
        let mut core = shard.core();
        core.conns.get(key).is_some_and(|mut conn| conn.check_out())
    })
}

fn check_in(key: Key, within: Option<Duration>) -> bool {
    let kept = Shard::try_with(|shard| {
        let mut core = shard.core();
        core.conns
            .get(key)
            .is_some_and(|mut conn| conn.check_in(within))
    });
    kept.unwrap_or(false)
}

/// A connection of a [`Pool`], for one request or several; otherwise a [`Conn`].
///
/// A request begins when the connection is first used mutably (written to, say) and is over when
/// [`done`](Self::done) says so. A guard that is dropped in between, by an error, a cancelled task
/// or for want of `done`, **closes the connection at once**: whatever of the answer is still to
/// come must not reach the next request. So a forgotten `done` costs a connect, never a wrong
/// answer. Even after `done` a connection with unread or unsent bytes is closed.
pub struct Pooled {
    pool: Pool,
    /// As these were when the request began.
    upstream: Rc<Upstream>,
    tls_number: u64,
    conn: Conn,
    in_request: bool,
    /// Free for the next in the queue when the connection is back: fields are dropped after `drop`
    /// has run.
    _permit: Permit,
}

impl Pooled {
    /// The request is over: its answer was read to the end. The connection goes back to the pool.
    pub fn done(mut self) {
        self.in_request = false;
    }

    /// Writes a request and waits for one frame of answer, as [`Conn::read_frame`] does. What goes
    /// wrong is the upstream's failure and says so, while a bare [`Error::Closed`] would be taken
    /// for the end of the connection that the handler serves.
    ///
    /// # Errors
    ///
    /// [`Error::Upstream`]: no answer within `request_timeout`, the connection has ended, or the
    /// answer is malformed.
    pub async fn exchange<T>(
        &mut self,
        request: impl Into<Output<'_>>,
        answer_max: usize,
        parse: impl FnMut(&[u8]) -> Step<T>,
    ) -> Result<Frame<T>, Error> {
        self.in_request = true;
        let request: Output<'_> = request.into();
        let written = self.conn.write(request).await;
        written.map_err(|error| self.blame(error))?;
        match self.conn.read_frame(answer_max, parse).await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(self.blame(Error::Truncated)),
            Err(error) => Err(self.blame(error)),
        }
    }

    /// An error of this connection as a failure of the upstream, for those who use the connection
    /// by themselves.
    pub fn blame(&self, error: Error) -> Error {
        self.pool
            .error(failure_of(error, self.upstream.request_timeout))
    }
}

impl Deref for Pooled {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Conn {
        self.in_request = true;
        &mut self.conn
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let pool = &self.pool.0;
        let is_of_use = pool.still_asks(&self.upstream) && pool.tls.number() == self.tls_number;
        if self.in_request || !is_of_use {
            discard(self.conn.key());
        } else {
            pool.check_in(self.conn.key());
        }
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Pooled({}, {})",
            self.pool.0.name,
            self.conn.id()
        )
    }
}
