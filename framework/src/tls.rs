//! What connections shake hands by: made by the control thread, shared by all shards.
//!
//! Without the feature `tls` there is no [`Acceptance`], so that nobody else asks for the feature.

#[cfg(feature = "tls")]
pub(crate) mod client;

use std::sync::Arc;
#[cfg(feature = "tls")]
use std::time::Duration;

use crate::config::ListenerSettings;

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

/// Those of the listeners' settings.
pub(crate) fn acceptances(listeners: &[ListenerSettings]) -> Acceptances {
    listeners.iter().map(|_| None).collect()
}
