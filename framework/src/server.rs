//! A server around its shards: [`builder`] for programs that embed one, [`control`] its thread with
//! signals, readiness, statistics and the watchdog, [`shards`] what it has of each shard.

pub(crate) mod builder;
pub(crate) mod control;
pub(crate) mod ended;
pub(crate) mod event;
pub(crate) mod handle;
pub(crate) mod listeners;
mod memory;
pub(crate) mod progress;
mod readiness;
mod report;
mod shards;
pub(crate) mod signals;
mod timeout_summary;
mod watchdog;
