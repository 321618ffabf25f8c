//! What the shards have of TLS, their listeners' and their upstreams'.

use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::time::Duration;

#[cfg(feature = "tls")]
use super::client::ClientTls;
use super::problem::FileProblem;

/// What the connections of a listener shake hands by.
#[cfg(feature = "tls")]
#[derive(Debug)]
pub(crate) struct Acceptance {
    /// Its `Debug` hides the keys.
    pub(crate) config: Arc<rustls::ServerConfig>,
    /// From the first wait for a handshake to its end.
    pub(crate) handshake_timeout: Duration,
    /// Steps of handshakes that a shard computes in a turn, at most.
    pub(crate) handshakes_per_turn_max: u32,
}

/// There is none.
#[cfg(not(feature = "tls"))]
#[derive(Debug)]
pub(crate) enum Acceptance {}

/// Of each listener, in the order of the start; none: its connections are plain.
pub(crate) type Acceptances = Arc<[Option<Arc<Acceptance>>]>;

/// What connections to an upstream shake hands by.
#[cfg(feature = "tls")]
pub(crate) type UpstreamClient = ClientTls;

/// There is none.
#[cfg(not(feature = "tls"))]
#[derive(Debug)]
pub(crate) enum UpstreamClient {}

/// Of each upstream that is asked by TLS, by its name.
pub(crate) type UpstreamClients = Arc<BTreeMap<String, UpstreamClient>>;

/// All of it that is in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsInForce {
    pub(crate) acceptances: Acceptances,
    pub(crate) upstreams: UpstreamClients,
}

/// What has become of files and ticket keys since the last look.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "nothing becomes of them")
)]
pub(crate) enum Look {
    Same,
    /// Some acceptance is another, or what some upstream is met with. A line for each new
    /// certificate: none where only ticket keys have changed.
    Changed(Vec<String>),
    /// Files have changed and cannot be used: all is as it was.
    Failed(Vec<FileProblem>),
}
