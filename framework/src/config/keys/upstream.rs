//! `[upstream.NAME]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::addresses::{IpOr, UpstreamAddress};
use crate::config::declare::section;
use crate::config::numbers::Whole;

use super::timeouts::{TIMEOUT, TIMEOUT_OR_OFF};
use super::units::{SHARD_CONNECTIONS_MAX, secs};

const CONNECTIONS: Whole = Whole::of("connections", 1, 65_536);
const IDLE: Whole = Whole::of("connections", 0, 65_536);
const WAITING: Whole = Whole::of("requests", 0, SHARD_CONNECTIONS_MAX);

section! {
    /// A server that handlers ask, under a name of the operator's choice, and each shard's pool of
    /// connections to it. Every number is for one shard, and its connections count against the
    /// descriptor limit.
    struct Upstream {
        /// Address and port of the upstream.
        shipped addr: SocketAddr = UpstreamAddress, SocketAddr::from((Ipv4Addr::LOCALHOST, 6379)), live;

        /// Local address to connect from.
        documented source: Option<IpAddr> = IpOr("any"), None, live;

        /// Connections open at a time, idle ones included.
        shipped connections_max: u32 = CONNECTIONS, 8;

        /// Connections that the pool keeps while no request uses them. No more than
        /// `connections_max`, which is also the default.
        documented idle_max: u32 = IDLE, connections_max, live;

        /// Requests that may wait while all connections are in use. One more fails at once.
        documented waiting_max: u32 = WAITING, 1024, live;

        /// How long a connect may take, the TLS handshake included, and how long a request waits for
        /// a connection in use.
        shipped connect_timeout: Duration = TIMEOUT, secs(1), live;

        /// How long a request may take from the moment it has its connection. With `"off"` only
        /// `timeouts.idle` bounds it.
        shipped request_timeout: Option<Duration> = TIMEOUT_OR_OFF, Some(secs(5)), live;

        /// How long the pool keeps a connection that no request uses. Set less than the upstream's
        /// own bound, if it has one.
        documented idle_timeout: Option<Duration> = TIMEOUT_OR_OFF, Some(secs(60)), live;
    }
}

impl Upstream {
    /// The defaults of an upstream at that address.
    #[cfg(test)]
    pub(crate) fn at(addr: SocketAddr) -> Self {
        Self {
            addr,
            ..Self::default()
        }
    }
}
