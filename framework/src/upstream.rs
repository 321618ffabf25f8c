//! Connections that a shard opens: [`connector`] opens one, [`pool`] keeps those to an upstream for
//! the next request.
//!
//! The parts of a pool: `inner` (what they share), `permits` and `acquire` (who may use a
//! connection, and the wait for that), `health` and `attempt` (whether one may be opened, and the
//! opening), `failure` (an error as a failure of the upstream), `pool_tls` (by what its connections
//! shake hands).

mod acquire;
mod attempt;
pub(crate) mod connector;
mod failure;
mod health;
mod inner;
mod permits;
pub(crate) mod pool;
#[cfg(not(feature = "tls"))]
mod pool_no_tls;
#[cfg(feature = "tls")]
mod pool_tls;
#[cfg(feature = "tls")]
pub(crate) mod tls_connector;
