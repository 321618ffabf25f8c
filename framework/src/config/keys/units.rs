//! Units and bounds that several keys share.

use std::time::Duration;

pub(super) const KIB: u32 = 1024;
pub(super) const MIB: u32 = 1024 * KIB;

/// The kernel's bound on one ring's file table (IORING_MAX_FIXED_FILES), and so on one shard's
/// connections.
pub(crate) const SHARD_CONNECTIONS_MAX: u32 = 1 << 20;

pub(super) const fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

pub(super) const fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(super) const fn hours(number: u64) -> Duration {
    secs(3600 * number)
}

pub(super) const fn days(number: u64) -> Duration {
    hours(24 * number)
}
