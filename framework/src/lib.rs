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
//! use corelane::{Conn, Error, Handler, Settings, ShardContext};
//!
//! #[derive(Default, serde::Serialize, serde::Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct EchoSettings {}
//!
//! impl Settings for EchoSettings {
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
//! # The modules, in the order in which a connection meets them
//!
//! 1. `app`, `arguments`, `config`, `preflight`: from `main` to a plan that the machine can carry
//!    out.
//! 2. `server`, `listen`, `watchdog`, `readiness`, `memory`, `report`, `silence`, `log`: the
//!    control thread; `escape`: what peers say, fit for the log. `cgroup`: what bounds the memory.
//! 3. `shard`: one core. `shard::accept` takes a connection in, `shard::connection` is its life,
//!    `shard::serve` its handler's task, `shard::deadline`, `shard::pressure` and `shard::drain`
//!    its ends, `shard::turn` the loop that drives them all.
//! 4. `handler`, `conn`, `chunk`, `error`: what a handler sees; `connector` and `pool`: the
//!    connections that it opens. `unblock`: threads for what blocks.
//! 5. `ring`: the io_uring and its buffers, the only `unsafe` code.
//! 6. `runtime`: glommio, and what must be known of it; `affinity`: on which cores a thread runs.

mod affinity;
mod app;
mod arguments;
mod cgroup;
mod chunk;
mod client;
mod config;
mod conn;
mod connector;
mod error;
mod escape;
#[cfg(any(test, feature = "failpoints"))]
#[cfg_attr(
    not(feature = "failpoints"),
    expect(dead_code, reason = "its own tests need no server that has it")
)]
mod failpoint;
mod handler;
mod listen;
mod log;
mod memory;
mod metrics;
mod pool;
mod preflight;
#[cfg(test)]
mod proptests;
mod readiness;
mod report;
mod ring;
mod runtime;
mod server;
mod shard;
mod signals;
mod silence;
mod timeout;
mod unblock;
mod watchdog;

/// What the fuzzers in fuzz/ call, each with any bytes: it panics where a promise is broken.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    /// Files of settings and arguments.
    pub fn settings(bytes: &[u8]) {
        crate::config::properties::hold_for(bytes);
    }

    /// Lines, exact lengths and frames.
    pub fn frames(bytes: &[u8]) {
        crate::shard::framing::hold_for(bytes);
    }
}

pub use app::run;
pub use chunk::Chunk;
pub use client::Client;
pub use config::Settings;
pub use conn::{
    Conn, EndOfInput, Flush, Frame, Output, Read, ReadFrame, ReadHalf, ReadLine, Step, Write,
    WriteHalf, copy_bidirectional,
};
pub use connector::{Connect, Connector};
pub use error::{CloseReason, Error};
pub use escape::Escaped;
pub use handler::{FromFn, Handler, IntoHandler, ShardContext, from_fn};
pub use pool::{Pool, Pooled, UpstreamError, UpstreamFailure};
pub use shard::{
    ConnId, Draining, Notified, Notify, OnExecutor, ShardId, Sleep, draining, on_executor, sleep,
    sleep_until, spawn,
};
pub use timeout::{Elapsed, Timeout, timeout};
pub use unblock::{Unblock, unblock};
