//! What tasks of a shard wait for beside their connections: the time ([`sleep`], again and again
//! [`every`], and [`timeout`] for any future), other tasks ([`notify`], [`spawn`]), the drain
//! ([`draining`]), other threads ([`unblock`]), glommio ([`on_executor`]).

pub(crate) mod draining;
pub(crate) mod every;
pub(crate) mod notify;
pub(crate) mod on_executor;
pub(crate) mod sleep;
pub(crate) mod spawn;
pub(crate) mod timeout;
pub(crate) mod unblock;
