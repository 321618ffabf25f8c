//! The servers.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// A server that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ServerKind {
    /// The framework's echo application
    Echo,
    /// io_uring without a framework: the reference
    RawUring,
    /// epoll without a runtime
    RawEpoll,
    /// tokio on one thread
    Tokio,
    /// monoio, a runtime on io_uring
    Monoio,
    /// glommio on its own sockets
    Glommio,
    /// Go, a goroutine per connection; left out by default where it is not built
    GoNetpoller,
    /// HTTP on the framework
    HttpEcho,
    /// HTTP by epoll and httparse, without a runtime
    EpollHttp,
    /// hyper on tokio, on one thread
    Hyper,
    /// WebSocket on the framework
    WebsocketEcho,
    /// fastwebsockets on tokio, on one thread
    TokioWebsocket,
    /// The framework's echo application, by TLS
    EchoTls,
    /// tokio-rustls, on one thread
    TokioRustls,
}

impl ServerKind {
    /// Whether it is an application on the framework, with its settings.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Echo | Self::HttpEcho | Self::WebsocketEcho | Self::EchoTls
        )
    }

    /// Whether it has a certificate.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::EchoTls | Self::TokioRustls)
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::RawUring => "raw_uring",
            Self::RawEpoll => "raw_epoll",
            Self::Tokio => "tokio",
            Self::Monoio => "monoio",
            Self::Glommio => "glommio",
            Self::GoNetpoller => "go_netpoller",
            Self::HttpEcho => "http_echo",
            Self::EpollHttp => "epoll_http",
            Self::Hyper => "hyper",
            Self::WebsocketEcho => "websocket_echo",
            Self::TokioWebsocket => "tokio_websocket",
            Self::EchoTls => "echo_tls",
            Self::TokioRustls => "tokio_rustls",
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_server_has_one_name_in_arguments_tables_and_json() {
        for server in ServerKind::value_variants() {
            assert_eq!(
                server.to_possible_value().unwrap().get_name(),
                server.name()
            );
            assert_eq!(serde_json::json!(server), server.name());
        }
    }
}
