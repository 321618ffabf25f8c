//! `[topic]`.

use crate::config::declare::section;
use crate::config::numbers::Whole;

use super::units::SHARD_CONNECTIONS_MAX;

section! {
    /// What is published to many connections.
    struct Topic {
        /// Deliveries of publications that a shard makes in a turn, so that other connections have
        /// their share: each is queued on one connection. What is left is delivered in the next
        /// turns.
        documented deliveries_per_turn_max: u32 = Whole::of("deliveries", 1, 65_536), 512, live;

        /// Topics of one shard that have subscribers or retained values. At this bound a new topic
        /// takes the place of one without subscribers, the one that is unused for longest.
        documented topics_per_shard_max: u32 =
            Whole::of("topics", 1, SHARD_CONNECTIONS_MAX), SHARD_CONNECTIONS_MAX;

        /// Topics that one connection may be subscribed to.
        documented subscriptions_per_connection_max: u32 = Whole::of("topics", 1, 65_536), 1024;
    }
}
