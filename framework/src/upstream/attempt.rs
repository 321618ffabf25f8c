//! A connect to an upstream, if it may be tried.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Upstream;
use crate::conn::connection::Conn;
use crate::error::Error;
use crate::shard::handle::Shard;
use crate::shard::policy::log_limit::LogKind;
use crate::upstream::health::Leave;
use crate::upstream::inner::Inner;
use crate::upstream_error::UpstreamFailure;

/// A connect on its way; dropped before its end it is given up.
pub(super) struct Attempt<'a> {
    pool: &'a Inner,
    /// To whom. If that changes meanwhile, it says nothing of whom the pool asks then.
    upstream: Rc<Upstream>,
    /// By what it shakes hands, likewise.
    tls_number: u64,
    leave: Leave,
    ended: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn begin(
        pool: &'a Inner,
        upstream: &Rc<Upstream>,
        now: Instant,
    ) -> Result<Self, UpstreamFailure> {
        let leave = pool.health.borrow_mut().ask(now);
        let leave = leave.map_err(|error| UpstreamFailure::Down {
            addr: upstream.addr,
            error,
        })?;
        Ok(Self {
            pool,
            upstream: Rc::clone(upstream),
            tls_number: pool.tls.number(),
            leave,
            ended: false,
        })
    }

    /// Whether what becomes of it is what would become of another now.
    fn counts(&self) -> bool {
        self.pool.still_asks(&self.upstream) && self.pool.tls.number() == self.tls_number
    }

    pub(super) fn end(
        mut self,
        outcome: Result<Conn, Error>,
        now: Instant,
    ) -> Result<Conn, UpstreamFailure> {
        self.ended = true;
        let (name, addr) = (&*self.pool.name, self.upstream.addr);
        let counts = self.counts();
        let error = match outcome {
            Ok(conn) => {
                if counts
                    && self.pool.health.borrow_mut().connected()
                    && may_log(LogKind::UpstreamBack)
                {
                    tracing::info!(upstream = name, %addr, "an upstream is back");
                }
                return Ok(conn);
            }
            Err(Error::Connect(error)) => Arc::new(error),
            Err(error) => Arc::new(error.into()),
        };
        if counts
            && self
                .pool
                .health
                .borrow_mut()
                .failed(self.leave, Arc::clone(&error), now)
            && may_log(LogKind::UpstreamDown)
        {
            tracing::warn!(upstream = name, %addr, %error, "an upstream cannot be connected to");
        }
        Err(UpstreamFailure::Connect { addr, error })
    }
}

/// An upstream that comes and goes is told of no more often than a peer is.
fn may_log(kind: LogKind) -> bool {
    Shard::with(|shard| shard.core().conns.shared.may_log(kind))
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended && self.counts() {
            self.pool.health.borrow_mut().given_up(self.leave);
        }
    }
}
