//! TCP servers in which every core is an island.
//!
//! Each core has its own listener, its own executor, its own io_uring, its own buffers and its own
//! connection table; nothing is shared between them. An application implements [`Handler`] in
//! straight sequential code and is started by [`run`] with a TOML file that says buffers, timeouts
//! and limits.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use corelane::{AppSettings, Conn, Error, Handler, ShardContext};
//!
//! #[derive(Default, serde::Serialize, serde::Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct EchoSettings {}
//!
//! impl AppSettings for EchoSettings {
//!     const NAME: &'static str = "echo";
//!     const ABOUT: &'static str = "Sends back what it gets (RFC 862)";
//!     const LISTEN: &'static str = "127.0.0.1:7007";
//! }
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
//!         while let Some(bytes) = conn.read().await? {
//!             conn.write(bytes).await?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     corelane::run(|_shard: &ShardContext, _settings: &EchoSettings| Echo)
//! }
//! ```
//!
//! # The modules, from the bottom
//!
//! A file imports only from below (tests/tests/tidy.rs keeps that).
//!
//! 1. Ground: `error`, `close_reason`, `upstream_error`, `id`, `time`, `escape`, `panics`,
//!    `metrics`, `affinity`, `cgroup`, `meminfo`, `blocking` (threads for what blocks),
//!    `failpoint`, `step` (what parsers say), `codec` (framing), `proxy` (the PROXY protocol).
//! 2. `config`: settings, of files and arguments; `settings`: those of code; `arguments`: the
//!    command line; `log`; `tls`: what connections shake hands by.
//! 3. `ring`: the io_uring and its buffers, the only `unsafe` code.
//! 4. `net`: listening sockets and socket options; `runtime`: glommio, and what must be known of
//!    it.
//! 5. `shard`: one core. `shard::policy` judges, `shard::conns` has the connections, `shard::core`
//!    all that changes, `shard::event_loop` drives it.
//! 6. `conn`: a connection as its handler sees it; `upstream`: the connections that it opens.
//!    `http` (a feature of that name makes it public): HTTP/1.1 on a connection; `websocket` (a
//!    feature): what a connection goes over to from there; `hyper` (a feature): that library's HTTP/1.
//! 7. `handler`: all that an application author implements; `service`: less than that.
//! 8. `preflight`: whether this machine can carry out the settings.
//! 9. `server`: the builder and the control thread; `client`: shards without a listener; `app`:
//!    from `main` to the exit code; `testing`: a shard for tests of handlers, with the feature of
//!    that name.

mod affinity;
mod app;
mod arguments;
mod blocking;
mod cgroup;
mod client;
mod close_reason;
pub mod codec;
mod config;
mod conn;
mod error;
mod escape;
#[cfg(any(test, feature = "failpoints"))]
#[cfg_attr(
    not(feature = "failpoints"),
    expect(dead_code, reason = "its own tests need no server that has it")
)]
mod failpoint;
mod handler;
#[cfg(feature = "http")]
pub mod http;
#[cfg(not(feature = "http"))]
#[expect(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the admin server needs a part of it"
)]
mod http;
#[cfg(feature = "hyper")]
pub mod hyper;
mod id;
mod log;
mod meminfo;
mod metrics;
mod net;
mod panics;
mod preflight;
#[cfg(test)]
mod proptests;
mod proxy;
mod ring;
mod runtime;
mod server;
mod service;
mod settings;
mod shard;
mod start_error;
mod step;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;
mod tls;
mod upstream;
mod upstream_error;
#[cfg(feature = "websocket")]
pub mod websocket;

/// What the fuzzers in fuzz/ call, each with any bytes: it panics where a promise is broken.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    /// Files of settings and arguments.
    pub fn settings(bytes: &[u8]) {
        crate::config::properties::hold_for(bytes);
    }

    /// The stock codecs, in any pieces and back.
    pub fn codec(bytes: &[u8]) {
        crate::codec::properties::hold_for(bytes);
    }

    /// Lines, exact lengths and frames.
    pub fn frames(bytes: &[u8]) {
        crate::shard::sim::framing::hold_for(bytes);
    }

    /// Requests by HTTP, in any pieces.
    #[cfg(feature = "testing")]
    pub fn http(bytes: &[u8]) {
        crate::testing::http_properties::hold_for(bytes);
    }

    /// Frames of WebSocket, in any pieces.
    #[cfg(all(feature = "testing", feature = "websocket"))]
    pub fn websocket(bytes: &[u8]) {
        crate::testing::websocket_properties::hold_for(bytes);
    }

    /// Peers of a server with TLS by this certificate and its key (DER), and files of ticket keys.
    #[cfg(all(feature = "testing", feature = "tls"))]
    pub fn tls(bytes: &[u8], certificate: &[u8], key: &[u8]) {
        let certified = crate::testing::tls_peer::Certified::of(certificate, key);
        crate::testing::tls_properties::hold_for(bytes, &certified);
    }

    /// PROXY headers.
    pub fn proxy(bytes: &[u8]) {
        crate::proxy::properties::hold_for(bytes);
    }
}

pub use app::run;
pub use client::Client;
pub use close_reason::CloseReason;
pub use config::{AppSettings, Endpoint, SettingChange};
pub use conn::chunk::Chunk;
pub use conn::connection::Conn;
pub use conn::copy::copy_bidirectional;
pub use conn::frame::{Frame, ReadFrame, ReadLine};
pub use conn::framed::{FrameReader, FrameWriter, Framed, NextFrame, SendFrame};
pub use conn::handle::{Flush, Read, Write};
pub use conn::next::{Event, Next};
pub use conn::output::Output;
pub use conn::split::{ReadHalf, WriteHalf};
#[cfg(feature = "tls")]
pub use conn::tls_info::{TlsInfo, TlsVersion};
pub use error::Error;
pub use escape::Escaped;
pub use handler::{
    ConnInfo, Fallible, FromFn, Handler, IntoHandler, Nothing, Plain, Reloaded, ShardContext,
    from_fn,
};
pub use id::{ConnId, ShardId};
pub use metrics::Snapshot;
pub use metrics::custom::{Counter, Gauge, Histogram};
#[cfg(feature = "tls")]
pub use metrics::tls::{HandshakeFailure, TlsSnapshot};
pub use net::listener::ListenerAddr;
pub use proxy::{Proxied, ProxySsl, ProxyVersion};
pub use server::builder::{Bound, Server, ServerBuilder};
pub use server::ended::{Ended, ServerError};
pub use server::handle::ServerHandle;
pub use server::reload::ReloadError;
pub use service::{FromService, Service, from_service};
pub use settings::{SettingValue, Settings};
pub use shard::conns::topics::{Behind, Published, SubscribeError};
pub use shard::conns::{ConnTimeouts, Delivery, EndOfInput};
pub use shard::futures::draining::{Draining, draining};
pub use shard::futures::every::{Every, NextTick, every};
pub use shard::futures::notify::{Notified, Notify};
pub use shard::futures::on_executor::{OnExecutor, on_executor};
pub use shard::futures::sleep::{Sleep, sleep, sleep_until};
pub use shard::futures::spawn::{JoinHandle, spawn};
pub use shard::futures::timeout::{Elapsed, Timeout, timeout};
pub use shard::futures::unblock::{Unblock, unblock};
pub use shard::mail::peers::{Full, Peer, Peers, SendError};
pub use shard::mail::receipt::Receipt;
pub use shard::mail::sender::Sender;
pub use shard::mail::ticket::ThreadReceipt;
pub use shard::mail::topic::Topic;
pub use start_error::{Problem, ProblemKind, StartError};
pub use step::Step;
#[cfg(feature = "tls")]
pub use tls::client::{ClientTls, ClientTlsBuilder, ClientTlsError};
pub use upstream::connector::{Connect, Connector};
pub use upstream::pool::{Pool, Pooled};
#[cfg(feature = "tls")]
pub use upstream::tls_connector::TlsConnector;
pub use upstream_error::{UpstreamError, UpstreamFailure};
