//! What an operation on a connection can fail with.

use std::io;

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
    Connect(#[source] io::Error),
    /// An upstream of a [`Pool`](crate::Pool) could not be asked, or did not answer.
    #[error(transparent)]
    Upstream(Box<UpstreamError>),
    /// What was given to [`spawn`](crate::spawn) panicked.
    #[error("in a spawned task: {0}")]
    TaskPanicked(String),
    /// What was given to [`spawn`](crate::spawn) was dropped before its end: its shard has ended.
    #[error("the task was dropped with its shard")]
    TaskDropped,
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
    BlockingThread(#[source] io::Error),
    /// What was given to [`unblock`](crate::unblock) panicked.
    #[error("in unblock: {0}")]
    BlockingPanicked(String),
    /// Something else that the handler did failed in the operating system: a file, a socket of its
    /// own. Made of an [`io::Error`] by `?`.
    #[error(transparent)]
    Io(io::Error),
    /// The handler failed for a reason of its own.
    #[error(transparent)]
    Handler(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A failure of the handler's own.
    pub fn handler(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Handler(error.into())
    }

    /// The reason for which a connection ends when its handler returns this.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Closed(reason) => *reason,
            Self::FrameTooLong { .. } | Self::Protocol(_) | Self::Truncated => {
                CloseReason::ProtocolError
            }
            Self::Connect(_) | Self::Upstream(_) | Self::TooManyTasks => CloseReason::HandlerFailed,
            Self::TaskPanicked(_) | Self::TaskDropped => CloseReason::HandlerFailed,
            Self::Io(_) | Self::Handler(_) => CloseReason::HandlerFailed,
            Self::BlockingFull { .. } | Self::BlockingThread(_) | Self::BlockingPanicked(_) => {
                CloseReason::HandlerFailed
            }
        }
    }
}

impl Error {
    /// The nearest word of the standard library for it.
    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Closed(CloseReason::PeerReset) => io::ErrorKind::ConnectionReset,
            Self::Closed(CloseReason::Overloaded) => io::ErrorKind::ConnectionAborted,
            Self::Closed(reason) if reason.is_cut() => io::ErrorKind::TimedOut,
            Self::Closed(_) => io::ErrorKind::ConnectionAborted,
            Self::FrameTooLong { .. } | Self::Protocol(_) => io::ErrorKind::InvalidData,
            Self::Truncated => io::ErrorKind::UnexpectedEof,
            Self::Connect(error) | Self::BlockingThread(error) | Self::Io(error) => error.kind(),
            Self::Upstream(error) => error.failure().kind(),
            Self::BlockingFull { .. } => io::ErrorKind::QuotaExceeded,
            Self::TooManyTasks | Self::TaskPanicked(_) | Self::TaskDropped => io::ErrorKind::Other,
            Self::BlockingPanicked(_) | Self::Handler(_) => io::ErrorKind::Other,
        }
    }
}

/// For the futures-io traits and what is built on them. `?` makes the same [`Error`] of it again.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            error => Self::new(error.kind(), error),
        }
    }
}

/// [`Error::Io`]; or the error of a connection that a library of futures-io has passed on.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Io)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn is_of_any_thread<T: std::error::Error + Send + Sync + 'static>() {}

    #[test]
    fn an_error_may_go_anywhere_and_names_its_source() {
        is_of_any_thread::<Error>();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let source = Error::Connect(refused())
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            .map(io::Error::kind);
        assert_eq!(source, Some(io::ErrorKind::ConnectionRefused));
        let own = Error::handler(Error::Connect(refused()));
        assert!(own.source().is_some(), "a wrapped error keeps its source");
        assert!(Error::Truncated.source().is_none());
    }

    #[test]
    fn an_error_comes_back_whole_through_io() {
        let passed = io::Error::from(Error::Closed(CloseReason::IdleTimeout));
        assert_eq!(passed.kind(), io::ErrorKind::TimedOut);
        assert!(matches!(
            Error::from(passed),
            Error::Closed(CloseReason::IdleTimeout)
        ));
        let own = Error::from(io::Error::from(io::ErrorKind::NotFound));
        assert!(matches!(&own, Error::Io(error) if error.kind() == io::ErrorKind::NotFound));
        assert_eq!(io::Error::from(own).kind(), io::ErrorKind::NotFound);
    }
}
