//! Why a connection ended, and what an operation on one can fail with.

use std::fmt;

use crate::pool::UpstreamError;

/// The one reason for which a connection ended: the same word in the log, the counters and the
/// tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CloseReason {
    /// The peer sent its FIN and everything it asked for was answered.
    PeerClosed,
    /// The handler returned while the peer's side was still open.
    HandlerClosed,
    /// The peer reset the connection, or closed it while data was on its way (ECONNRESET, EPIPE).
    PeerReset,
    /// The network or the peer is gone: keepalive or TCP_USER_TIMEOUT gave up (ETIMEDOUT,
    /// EHOSTUNREACH and their like).
    PeerUnreachable,
    /// The client came above the limit of connections and was turned away, as `limits.on_full`
    /// says.
    Refused,
    /// The client's address has as many connections as `limits.connections_per_address_max`.
    AddressLimit,
    /// The peer had never sent a byte and made room for another client, as `limits.reclaim` says.
    Reclaimed,
    /// Nothing came within `timeouts.first_byte` of the accept.
    FirstByteTimeout,
    /// A frame was begun and not completed within `timeouts.read`.
    ReadTimeout,
    /// A request was not over within `timeouts.request` of its first byte.
    RequestTimeout,
    /// The peer took nothing of what it was sent for `timeouts.write`.
    WriteTimeout,
    /// A request came in at less than `limits.receive_rate_min`.
    ReceiveTooSlow,
    /// The peer took what it was sent at less than `limits.send_rate_min`.
    SendTooSlow,
    /// Nothing came for `timeouts.idle`.
    IdleTimeout,
    /// The connection was open for `timeouts.lifetime`.
    LifetimeExceeded,
    /// The peer broke the protocol: an invalid, truncated or oversized frame.
    ProtocolError,
    /// The handler returned an error of its own.
    HandlerFailed,
    /// The handler panicked.
    HandlerPanicked,
    /// The server is stopping and the connection had nothing in hand.
    Drained,
    /// The server stopped at `timeouts.drain` with the connection still busy.
    DrainCut,
    /// The shard was short of memory or buffers, and this connection held more of them than any
    /// other.
    Overloaded,
    /// The handler gave it up: [`Conn::abort`](crate::Conn::abort).
    Aborted,
    /// Any other error of the socket.
    SocketError,
}

impl CloseReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 23] = [
        Self::PeerClosed,
        Self::HandlerClosed,
        Self::PeerReset,
        Self::PeerUnreachable,
        Self::Refused,
        Self::AddressLimit,
        Self::Reclaimed,
        Self::FirstByteTimeout,
        Self::ReadTimeout,
        Self::RequestTimeout,
        Self::WriteTimeout,
        Self::ReceiveTooSlow,
        Self::SendTooSlow,
        Self::IdleTimeout,
        Self::LifetimeExceeded,
        Self::ProtocolError,
        Self::HandlerFailed,
        Self::HandlerPanicked,
        Self::Drained,
        Self::DrainCut,
        Self::Overloaded,
        Self::Aborted,
        Self::SocketError,
    ];

    /// The reason's word, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::HandlerClosed => "handler_closed",
            Self::PeerReset => "peer_reset",
            Self::PeerUnreachable => "peer_unreachable",
            Self::Refused => "refused",
            Self::AddressLimit => "address_limit",
            Self::Reclaimed => "reclaimed",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::ReadTimeout => "read_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::ReceiveTooSlow => "receive_too_slow",
            Self::SendTooSlow => "send_too_slow",
            Self::IdleTimeout => "idle_timeout",
            Self::LifetimeExceeded => "lifetime_exceeded",
            Self::ProtocolError => "protocol_error",
            Self::HandlerFailed => "handler_failed",
            Self::HandlerPanicked => "handler_panicked",
            Self::Drained => "drained",
            Self::DrainCut => "drain_cut",
            Self::Overloaded => "overloaded",
            Self::Aborted => "aborted",
            Self::SocketError => "socket_error",
        }
    }

    /// Whether the server itself put an end to it: the handler is not waited for.
    pub(crate) fn is_cut(self) -> bool {
        matches!(
            self,
            Self::Reclaimed
                | Self::FirstByteTimeout
                | Self::ReadTimeout
                | Self::RequestTimeout
                | Self::WriteTimeout
                | Self::ReceiveTooSlow
                | Self::SendTooSlow
                | Self::IdleTimeout
                | Self::LifetimeExceeded
                | Self::DrainCut
                | Self::Overloaded
        )
    }

    /// Whether the peer is told by a reset that what it has received may not be whole. Not where
    /// nothing was on its way, or all was said.
    pub(crate) fn resets(self) -> bool {
        match self {
            Self::PeerClosed
            | Self::HandlerClosed
            | Self::Drained
            | Self::Refused
            | Self::AddressLimit => false,
            Self::Reclaimed | Self::FirstByteTimeout | Self::IdleTimeout => false,
            Self::ReadTimeout
            | Self::RequestTimeout
            | Self::WriteTimeout
            | Self::ReceiveTooSlow
            | Self::SendTooSlow
            | Self::LifetimeExceeded
            | Self::ProtocolError
            | Self::HandlerFailed
            | Self::HandlerPanicked
            | Self::DrainCut
            | Self::Overloaded
            | Self::Aborted => true,
            // The kernel has done with it.
            Self::PeerReset | Self::PeerUnreachable | Self::SocketError => false,
        }
    }

    /// The reason behind an errno of a receive or a send (recv(2), send(2), tcp(7)).
    pub(crate) fn of_errno(errno: i32) -> Self {
        match errno {
            libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => Self::PeerReset,
            libc::ETIMEDOUT
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN => Self::PeerUnreachable,
            _ => Self::SocketError,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_number() {
        for (number, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
        }
    }
}
