//! The parts of a [`Core`](crate::shard::core::Core) beside its connections, as data: [`acceptor`]
//! (the listener and its accepts), [`attempts`] (connects in flight and waiting), [`drain`] and
//! [`reclaim`] (silent peers, and who waits for their places).

pub(crate) mod acceptor;
pub(crate) mod attempts;
pub(crate) mod drain;
pub(crate) mod reclaim;
