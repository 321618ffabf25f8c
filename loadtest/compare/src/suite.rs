//! What is compared: the servers that do the same, and what is promised of ours.

use clap::ValueEnum;
use loadtest::workload::{Protocol, Workload};
use serde::Serialize;

use super::kind::ServerKind::{
    self, Echo, EchoTls, EpollHttp, Glommio, GoNetpoller, HttpEcho, Hyper, Monoio, RawEpoll,
    RawUring, Tokio, TokioRustls, TokioWebsocket, WebsocketEcho,
};

/// What answers each GET.
const HELLO: &[u8] = b"hello\n";

/// A comparison of servers that do the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Suite {
    /// What is sent comes back
    #[default]
    Echo,
    /// GETs by HTTP/1.1, which are answered by hello
    Http,
    /// Binary messages by WebSocket come back; beside them echo without WebSocket
    Websocket,
    /// What is sent by TLS comes back
    Tls,
}

/// Of another server's processor time per request, ours takes no more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) other: ServerKind,
    pub(super) ratio_max: f64,
    /// And less than that.
    pub(super) is_below: bool,
}

const fn at_most(ratio_max: f64, other: ServerKind) -> Bound {
    Bound {
        other,
        ratio_max,
        is_below: false,
    }
}

const fn below(ratio_max: f64, other: ServerKind) -> Bound {
    Bound {
        other,
        ratio_max,
        is_below: true,
    }
}

impl Suite {
    /// All of them, in the order of the tables.
    pub fn servers(self) -> &'static [ServerKind] {
        match self {
            Self::Echo => &[
                Echo,
                RawUring,
                RawEpoll,
                Tokio,
                Monoio,
                Glommio,
                GoNetpoller,
            ],
            Self::Http => &[HttpEcho, EpollHttp, Hyper],
            Self::Websocket => &[WebsocketEcho, Echo, TokioWebsocket],
            Self::Tls => &[EchoTls, TokioRustls],
        }
    }

    /// Ours.
    pub fn subject(self) -> ServerKind {
        self.servers()[0]
    }

    /// The server that all are compared with.
    pub fn reference(self) -> ServerKind {
        self.servers()[1]
    }

    /// What is promised. Not of raw_epoll, which has no runtime: it is there to show the cost of one.
    pub(super) fn bounds(self) -> &'static [Bound] {
        match self {
            Self::Echo => {
                const {
                    &[
                        at_most(1.05, RawUring),
                        below(1.0, Tokio),
                        below(1.0, Monoio),
                        below(1.0, Glommio),
                        below(1.0, GoNetpoller),
                    ]
                }
            }
            Self::Http => const { &[at_most(1.1, EpollHttp), below(0.8, Hyper)] },
            Self::Websocket => const { &[at_most(1.15, Echo), below(0.8, TokioWebsocket)] },
            Self::Tls => const { &[at_most(1.0, TokioRustls)] },
        }
    }

    /// Loads, unless told otherwise.
    pub(super) fn connections(self) -> &'static str {
        match self {
            Self::Echo => "1,100,1000,10000,100x16,1000x16",
            Self::Http => "100,100x16",
            Self::Websocket => "100,1000",
            Self::Tls => "100",
        }
    }

    /// Idle connections, unless told otherwise.
    pub(super) fn idle(self) -> u32 {
        match self {
            Self::Echo => 15_000,
            Self::Http | Self::Websocket | Self::Tls => 0,
        }
    }

    /// The requests to `server` at `host`.
    pub(super) fn workload(
        self,
        server: ServerKind,
        host: &str,
        payload: u32,
        pipeline: u32,
    ) -> Workload {
        let protocol = match server {
            HttpEcho | EpollHttp | Hyper => Protocol::Http,
            WebsocketEcho | TokioWebsocket => Protocol::Websocket,
            _ => Protocol::Echo,
        };
        let workload = Workload::new(protocol, payload, pipeline).at(host, "/");
        match protocol {
            Protocol::Http => workload.expecting(HELLO),
            _ => workload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn a_suite_compares_what_it_promises() {
        for suite in Suite::value_variants() {
            let servers = suite.servers();
            assert!(!suite.bounds().is_empty());
            for bound in suite.bounds() {
                assert!(servers.contains(&bound.other) && bound.other != suite.subject());
            }
            let mut shapes = suite.connections().split(',');
            assert!(shapes.all(|shape| shape.parse::<Shape>().is_ok()));
        }
    }
}
