//! `[mailbox]`.

use crate::config::declare::section;
use crate::config::numbers::Whole;

section! {
    /// Messages between shards, and from other threads of the program to shards.
    struct Mailbox {
        /// Messages that one shard may have sent to another and that are not received yet; so many
        /// again of all threads that are no shards. One more is refused, or waits.
        documented capacity: u32 = Whole::of("messages", 2, 65_536), 1024;

        /// Messages that a shard receives in a turn. More wait for the next one, so that
        /// connections have their share.
        documented messages_per_turn_max: u32 = Whole::of("messages", 1, 65_536), 1024, live;
    }
}
