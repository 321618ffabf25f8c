//! What is spoken with a server.

use clap::ValueEnum;

/// The protocol of requests and replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Payloads, different for each connection and message; the same bytes come back
    Echo,
    /// PING as a Redis client sends it; +PONG comes back
    Ping,
    /// HTTP/1.1 on connections that are kept: each payload is the body of a POST, and the same
    /// bytes are that of its answer; or a GET, with --expect
    Http,
    /// WebSocket: each payload is a binary message, which comes back as one
    Websocket,
}

impl Protocol {
    /// Whether there is more on the wire than what is sent and expected back.
    pub(crate) fn is_framed(self) -> bool {
        matches!(self, Self::Http | Self::Websocket)
    }
}
