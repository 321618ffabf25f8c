//! The parts of a [`Core`](crate::shard::core::Core) beside its connections, as data.

pub(crate) mod acceptor;
pub(crate) mod attempts;
pub(crate) mod drain;
pub(crate) mod reclaim;
