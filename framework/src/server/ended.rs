//! How a server has ended.

use crate::id::ShardId;
use crate::metrics::Snapshot;

/// How a server has ended, and what it counted by then.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ended {
    /// `Ok`: it was drained, as it was asked to.
    pub outcome: Result<(), ServerError>,
    /// The counters of all shards together.
    pub stats: Snapshot,
}

/// Why a server ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A shard could not be made, or its factory failed; no shard has served anybody.
    #[error("shard {shard} does not start: {why}")]
    ShardNotStarted {
        /// Which one.
        shard: ShardId,
        /// What it said.
        why: String,
    },
    /// A shard has died while it served; the others were drained.
    #[error("shard {shard} died: {why}")]
    ShardDied {
        /// Which one.
        shard: ShardId,
        /// What it said.
        why: String,
    },
    /// Shards did not become ready, or did not end, within their time. They are left behind.
    #[error("{shards} shards do not answer")]
    NoAnswer {
        /// How many.
        shards: usize,
    },
    /// A second signal has ended the drain.
    #[error("a second signal has ended the drain")]
    Interrupted,
    /// The control thread has panicked.
    #[error("the control thread panicked")]
    ControlPanicked,
}
