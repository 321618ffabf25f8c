//! Why an upstream could not be asked, or did not answer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::close_reason::CloseReason;

/// The failure of an upstream, with its name.
#[derive(Clone, Debug)]
pub struct UpstreamError {
    upstream: Arc<str>,
    failure: UpstreamFailure,
}

impl UpstreamError {
    pub(crate) fn new(upstream: &Arc<str>, failure: UpstreamFailure) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            failure,
        }
    }

    /// The upstream's name in the settings.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// What went wrong.
    pub fn failure(&self) -> &UpstreamFailure {
        &self.failure
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "upstream {}: {}", self.upstream, self.failure)
    }
}

impl std::error::Error for UpstreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.source()
    }
}

/// What can go wrong with an upstream.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamFailure {
    /// All connections are in use, and `waiting_max` requests wait for one.
    #[error("all connections are in use and {waiting_max} requests wait already")]
    Full {
        /// The bound from the settings.
        waiting_max: u32,
    },
    /// All connections were in use, and none came free within `connect_timeout`.
    #[error("no connection came free within {0:?}")]
    Busy(Duration),
    /// No connection could be opened.
    #[error("cannot connect to {addr}: {error}")]
    Connect {
        /// The upstream's address.
        addr: SocketAddr,
        /// What connect(2) said, or what is wrong with the TLS handshake; `TimedOut` after
        /// `connect_timeout`.
        #[source]
        error: Arc<io::Error>,
    },
    /// The last connect failed a moment ago, so that no new one was tried.
    #[error("down, the last connect to {addr} failed: {error}")]
    Down {
        /// The upstream's address.
        addr: SocketAddr,
        /// What the last connect said.
        #[source]
        error: Arc<io::Error>,
    },
    /// No answer came within `request_timeout`.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// The connection has ended in the middle of a request.
    #[error("the connection ended before the answer: {0}")]
    Lost(CloseReason),
    /// The answer is not what the caller's parser expects.
    #[error("a wrong answer: {0}")]
    Malformed(String),
}

impl UpstreamFailure {
    /// The nearest word of the standard library for it.
    pub(crate) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Full { .. } => io::ErrorKind::QuotaExceeded,
            Self::Busy(_) | Self::NoAnswer(_) => io::ErrorKind::TimedOut,
            Self::Connect { error, .. } | Self::Down { error, .. } => error.kind(),
            Self::Lost(_) => io::ErrorKind::ConnectionAborted,
            Self::Malformed(_) => io::ErrorKind::InvalidData,
        }
    }
}
