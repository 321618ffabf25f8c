//! What becomes of what was sent, put together of what the shards say.

use crate::shard::conns::Delivery;
use crate::shard::conns::topics::Published;

/// What becomes of an order that may have gone to several shards.
pub trait Outcome: Copy + 'static {
    /// That of a shard that has ended.
    const OF_NOBODY: Self;

    /// This and that of another shard.
    fn and(self, other: Self) -> Self;
}

impl Outcome for Delivery {
    const OF_NOBODY: Self = Self::Gone;

    /// A connection is of one shard.
    fn and(self, _other: Self) -> Self {
        self
    }
}

impl Outcome for Published {
    const OF_NOBODY: Self = Self::NONE;

    fn and(mut self, other: Self) -> Self {
        self += other;
        self
    }
}
