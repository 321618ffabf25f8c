//! Peers that never spoke, and the clients for whom they make room.

use std::collections::VecDeque;

use crate::id::Key;
use crate::shard::conns::Conns;
use crate::time::Tick;

/// The list of silent peers keeps keys of some that are not, or not any more: no more than there
/// are connections, and this many. No key: it decides only how often the list is cleared.
const STALE_MAX: usize = 64;

/// Peers that never spoke, who make room for others.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// In the order in which they came, with some that have spoken or left.
    pub(crate) silent: VecDeque<Key>,
    /// Being closed to make room.
    pub(crate) leaving: Vec<Key>,
}

impl Reclaim {
    /// The peer that has been silent for longest, and since when.
    pub(crate) fn oldest(&mut self, conns: &mut Conns) -> Option<(Key, Tick)> {
        while let Some(key) = self.silent.front().copied() {
            if let Some(since) = silent_since(conns, key) {
                return Some((key, since));
            }
            self.silent.pop_front();
        }
        None
    }

    pub(crate) fn remember(&mut self, key: Key, conns: &mut Conns) {
        if self.silent.len() >= 2 * conns.shared.places.open() as usize + STALE_MAX {
            self.silent
                .retain(|key| silent_since(conns, *key).is_some());
        }
        self.silent.push_back(key);
    }
}

fn silent_since(conns: &mut Conns, key: Key) -> Option<Tick> {
    conns.get(key)?.silent_since()
}
