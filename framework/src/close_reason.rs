//! Why a connection ended.

use std::fmt;

/// The one reason for which a connection ended: the same word in the log, the counters and the
/// tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
    /// The server is stopping, or an operator has asked for the end, and the connection had nothing
    /// in hand.
    Drained,
    /// The server stopped at `timeouts.drain` with the connection still busy.
    DrainCut,
    /// The shard was short of memory or buffers, and this connection held more of them than any
    /// other.
    Overloaded,
    /// The handler gave it up: [`Conn::abort`](crate::Conn::abort).
    Aborted,
    /// The connection was behind with what was published to a topic
    /// ([`Behind::Close`](crate::Behind::Close)).
    SlowSubscriber,
    /// An operator has closed it, at once.
    ClosedByOperator,
    /// The peer is no proxy that `listener.proxy_trusted` names.
    ProxyUntrusted,
    /// The PROXY header is none, or not whole, or longer than `listener.proxy_header_max`, or its
    /// checksum is wrong.
    ProxyInvalid,
    /// The PROXY header was not there within `listener.proxy_timeout`.
    ProxyTimeout,
    /// The TLS handshake was not over within `listener.tls.handshake_timeout`.
    TlsTimeout,
    /// The TLS handshake has failed: what came was none, or had nothing in common with what the
    /// listener's settings allow, or the client's certificate was not accepted.
    TlsFailed,
    /// A TLS session could not go on: a record was none of it, or too many came without data.
    TlsInvalid,
    /// Any other error of the socket.
    SocketError,
}

impl CloseReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 31] = [
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
        Self::SlowSubscriber,
        Self::ClosedByOperator,
        Self::ProxyUntrusted,
        Self::ProxyInvalid,
        Self::ProxyTimeout,
        Self::TlsTimeout,
        Self::TlsFailed,
        Self::TlsInvalid,
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
            Self::SlowSubscriber => "slow_subscriber",
            Self::ClosedByOperator => "closed_by_operator",
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::ProxyInvalid => "proxy_invalid",
            Self::ProxyTimeout => "proxy_timeout",
            Self::TlsTimeout => "tls_timeout",
            Self::TlsFailed => "tls_failed",
            Self::TlsInvalid => "tls_invalid",
            Self::SocketError => "socket_error",
        }
    }

    /// Whether the server itself put an end to it: the handler is not waited for.
    pub(crate) fn is_cut(self) -> bool {
        match self {
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
            | Self::SlowSubscriber
            | Self::ClosedByOperator
            | Self::ProxyTimeout
            | Self::TlsTimeout => true,
            Self::PeerClosed
            | Self::HandlerClosed
            | Self::PeerReset
            | Self::PeerUnreachable
            | Self::Refused
            | Self::AddressLimit
            | Self::ProtocolError
            | Self::HandlerFailed
            | Self::HandlerPanicked
            | Self::Drained
            | Self::Aborted
            | Self::ProxyUntrusted
            | Self::ProxyInvalid
            | Self::TlsFailed
            | Self::TlsInvalid
            | Self::SocketError => false,
        }
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
            Self::ProxyUntrusted | Self::ProxyTimeout => false,
            // An end without the session's last words says it already, and a reset might overtake
            // the alert that says why.
            Self::TlsTimeout | Self::TlsFailed | Self::TlsInvalid => false,
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
            | Self::SlowSubscriber
            | Self::ClosedByOperator
            | Self::ProxyInvalid
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
