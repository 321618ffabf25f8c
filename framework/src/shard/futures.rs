//! What tasks of a shard wait for beside their connections.

pub(crate) mod draining;
pub(crate) mod notify;
pub(crate) mod on_executor;
pub(crate) mod sleep;
pub(crate) mod spawn;
pub(crate) mod timeout;
pub(crate) mod unblock;
