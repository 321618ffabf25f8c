//! The connections of a shard, each from top to bottom: [`lifecycle`] (beginning and end), [`recv`],
//! [`send`], [`wait`] (who waits for it), [`timeouts`] (its one deadline), [`idle_pool`] (outbound
//! ones that nobody uses).
//!
//! A [`Key`](crate::id::Key) is resolved once per event, by [`Conns::get`]: what follows works on
//! the [`ConnMut`]. [`slot`], [`table`], [`queue`] and [`deadline`] are what they are made of.

pub(crate) mod conn_mut;
pub(crate) mod deadline;
mod idle_pool;
pub(crate) mod interest;
mod lifecycle;
pub(crate) mod own_timeouts;
mod places;
pub(crate) mod queue;
mod recv;
mod send;
pub(crate) mod slot;
#[cfg(any(test, fuzzing))]
pub(crate) mod snapshot;
pub(crate) mod table;
#[cfg(test)]
mod table_model;
mod timeouts;
mod wait;

pub(crate) use conn_mut::{ConnMut, Conns, Shared};
pub(crate) use lifecycle::Closed;
pub use own_timeouts::ConnTimeouts;
pub(crate) use places::Places;
pub use recv::EndOfInput;
