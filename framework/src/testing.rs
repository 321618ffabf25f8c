//! Tests of handlers without a socket: a shard of the calling test alone, whose peers are scripted
//! and whose time is virtual. With the feature `testing`.
//!
//! [`block_on`] runs a program on such a shard. In it [`serve`] accepts a connection for a handler,
//! as a server would, and gives its [`Peer`]; [`pair`] gives both ends to the program. A sleep or a
//! timeout takes no time: when nothing else can happen, the clock goes on to what is due next.
//!
//! ```
//! use std::time::Duration;
//!
//! use corelane::{CloseReason, Conn, Error, Handler, testing};
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
//! testing::block_on(async || {
//!     let mut peer = testing::serve(Echo);
//!     peer.send("hello");
//!     assert_eq!(peer.receive(5).await, b"hello");
//!     // It falls silent for good: `timeouts.idle`, five minutes by default.
//!     assert_eq!(peer.closed().await, CloseReason::IdleTimeout);
//!     assert!(testing::elapsed() >= Duration::from_secs(300));
//! });
//! ```
//!
//! The shard is a real one, and so are its tables, tasks, deadlines and limits; a model takes the
//! part of the kernel and the network, so that it works where io_uring is refused, as in many
//! containers. It has no connections to elsewhere ([`Connector`] is
//! refused), and whatever waits for another thread is not waited for.
//!
//! [`Connector`]: crate::Connector

mod accept;
mod bench;
#[cfg(test)]
mod http_answers;
#[cfg(any(test, fuzzing))]
pub(crate) mod http_properties;
mod kernel;
mod peer;
#[cfg(all(test, feature = "tls"))]
mod tls_limits_tests;
#[cfg(all(any(test, fuzzing), feature = "tls"))]
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the tests that use the rest are not here")
)]
pub(crate) mod tls_peer;
#[cfg(all(any(test, fuzzing), feature = "tls"))]
pub(crate) mod tls_properties;
#[cfg(all(test, feature = "tls"))]
mod tls_tests;
#[cfg(all(any(test, fuzzing), feature = "websocket"))]
pub(crate) mod websocket_properties;
mod wire;

pub use accept::{Accepted, pair, serve};
pub use bench::{block_on, block_on_with, elapsed};
pub use peer::Peer;
