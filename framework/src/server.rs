//! The process: its control thread ([`control`]), signals, readiness, statistics, the watchdog. It
//! starts the shards, waits for a signal, drains, reports.

pub(crate) mod control;
mod memory;
mod readiness;
mod report;
pub(crate) mod signals;
mod timeout_summary;
mod watchdog;
