//! Connections that a shard opens: [`connector`] opens one, [`pool`] keeps those to an upstream for
//! the next request.

mod acquire;
mod attempt;
pub(crate) mod connector;
mod failure;
mod health;
mod inner;
mod permits;
pub(crate) mod pool;
