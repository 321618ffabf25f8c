//! What the shards have of a listener's TLS.

use std::sync::Arc;
#[cfg(feature = "tls")]
use std::time::Duration;

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

/// What has become of files and ticket keys since the last look.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "nothing becomes of them")
)]
pub(crate) enum Look {
    Same,
    /// Some acceptance is another. A line for each new certificate: none where only ticket keys
    /// have changed.
    Changed(Vec<String>),
    /// Files have changed and cannot be used: all is as it was.
    Failed(Vec<FileProblem>),
}
