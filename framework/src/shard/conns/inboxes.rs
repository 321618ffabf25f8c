//! What lies in the inboxes of connections, as data.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::id::SlotIndex;

/// The connections of a shard whose handlers take what others send, and those in a write. Empty
/// where there is none of either.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    pub(super) by_slot: BTreeMap<SlotIndex, Inbox>,
    /// Their handlers wait within a write: nothing may go in between.
    pub(super) writing: BTreeSet<SlotIndex>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) messages: VecDeque<Arc<[u8]>>,
    pub(super) bytes: u64,
    /// Its handler was told that the server drains.
    pub(super) knows_drain: bool,
}

impl Inboxes {
    /// Whether nothing lies in any.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_slot.is_empty() && self.writing.is_empty()
    }
}
