//! What an operation on a connection can fail with.

pub(crate) use crate::close_reason::CloseReason;
use crate::upstream_error::UpstreamError;

/// What an operation on a connection fails with, and what a handler may return.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection has ended; every further operation says the same.
    #[error("the connection has ended: {0}")]
    Closed(CloseReason),
    /// The peer's frame is longer than the handler allows.
    #[error("the frame is longer than {max} bytes")]
    FrameTooLong {
        /// The handler's bound, in bytes.
        max: usize,
    },
    /// The peer's bytes are not a frame.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The peer ended its side in the middle of a frame.
    #[error("the peer ended its side within a frame")]
    Truncated,
    /// A connection could not be opened, for the reason that the kernel gave.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// An upstream of a [`Pool`](crate::Pool) could not be asked, or did not answer.
    #[error("{0}")]
    Upstream(Box<UpstreamError>),
    /// The shard has as many tasks as it can hold.
    #[error("the shard has too many tasks")]
    TooManyTasks,
    /// As many calls of [`unblock`](crate::unblock) wait for a thread as
    /// `limits.blocking_waiting_per_shard_max` allows.
    #[error(
        "{waiting_max} calls wait for a blocking thread already (limits.blocking_waiting_per_shard_max)"
    )]
    BlockingFull {
        /// The bound.
        waiting_max: usize,
    },
    /// No thread for what was given to [`unblock`](crate::unblock) could be started, and there is
    /// no other.
    #[error("no blocking thread can be started: {0}")]
    BlockingThread(std::io::Error),
    /// What was given to [`unblock`](crate::unblock) panicked.
    #[error("in unblock: {0}")]
    BlockingPanicked(String),
    /// The handler failed for a reason of its own.
    #[error("{0}")]
    Handler(Box<dyn std::error::Error>),
}

impl Error {
    /// A failure of the handler's own.
    pub fn handler(error: impl Into<Box<dyn std::error::Error>>) -> Self {
        Self::Handler(error.into())
    }

    /// The reason for which a connection ends when its handler returns this.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Closed(reason) => *reason,
            Self::FrameTooLong { .. } | Self::Protocol(_) | Self::Truncated => {
                CloseReason::ProtocolError
            }
            Self::Connect(_) | Self::Upstream(_) | Self::TooManyTasks | Self::Handler(_) => {
                CloseReason::HandlerFailed
            }
            Self::BlockingFull { .. } | Self::BlockingThread(_) | Self::BlockingPanicked(_) => {
                CloseReason::HandlerFailed
            }
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Closed(CloseReason::PeerReset) => std::io::ErrorKind::ConnectionReset,
            Error::Closed(CloseReason::Overloaded) => std::io::ErrorKind::ConnectionAborted,
            Error::Closed(reason) if reason.is_cut() => std::io::ErrorKind::TimedOut,
            Error::Closed(_) => std::io::ErrorKind::ConnectionAborted,
            Error::FrameTooLong { .. } | Error::Protocol(_) => std::io::ErrorKind::InvalidData,
            Error::Truncated => std::io::ErrorKind::UnexpectedEof,
            Error::Connect(error) => error.kind(),
            Error::Upstream(error) => error.failure().kind(),
            Error::BlockingThread(error) => error.kind(),
            Error::BlockingFull { .. } => std::io::ErrorKind::QuotaExceeded,
            Error::TooManyTasks | Error::BlockingPanicked(_) | Error::Handler(_) => {
                std::io::ErrorKind::Other
            }
        };
        Self::new(kind, error.to_string())
    }
}
