//! The connection table: one slot per direct descriptor, under the descriptor's number.

use std::net::SocketAddr;

use crate::id::{Generation, Key, SlotIndex};
use crate::ring::prefetch;
use crate::shard::conns::slot::{Origin, Peer, Phase, Slot};
use crate::time::Tick;

/// The slots of a shard.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
}

impl Table {
    /// Room for so many; a slot's memory is touched only once the slot is used.
    pub(crate) fn with_capacity(slots: u32) -> Self {
        Self {
            slots: Vec::with_capacity(slots as usize),
        }
    }

    /// Begins a life of `index`, which the kernel has just allocated.
    pub(crate) fn occupy(
        &mut self,
        index: SlotIndex,
        peer: SocketAddr,
        origin: Origin,
        now: Tick,
    ) -> Key {
        while self.slots.len() <= index.0 as usize {
            self.slots.push(Slot::VACANT);
        }
        let slot = &mut self.slots[index.0 as usize];
        debug_assert_eq!(
            slot.phase,
            Phase::Free,
            "the kernel allocates free descriptors only"
        );
        *slot = Slot {
            peer: Peer::of(peer),
            opened: now,
            origin,
            generation: slot.generation,
            phase: match origin {
                Origin::Accepted => Phase::Serving,
                Origin::Overflow => Phase::Held,
                Origin::Outbound => Phase::Connecting,
            },
            ..Slot::VACANT
        };
        Key {
            slot: index,
            generation: slot.generation,
        }
    }

    /// Ends the life of `index`: whoever still names it by its generation finds nothing. True: its
    /// lives are counted from the first again.
    pub(crate) fn vacate(&mut self, index: SlotIndex) -> bool {
        let slot = &mut self.slots[index.0 as usize];
        let generation = slot.generation.next();
        *slot = Slot {
            generation,
            ..Slot::VACANT
        };
        generation == Generation::FIRST
    }

    /// The slot, if it still lives the life that `key` names.
    pub(crate) fn get(&self, key: Key) -> Option<&Slot> {
        self.slots
            .get(key.slot.0 as usize)
            .filter(|slot| slot.generation == key.generation && slot.phase != Phase::Free)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots
            .get_mut(key.slot.0 as usize)
            .filter(|slot| slot.generation == key.generation && slot.phase != Phase::Free)
    }

    /// Has the processor fetch the slot of `key`, which is looked at soon.
    pub(crate) fn prefetch(&self, key: Key) {
        if let Some(slot) = self.slots.get(key.slot.0 as usize) {
            prefetch(slot);
        }
    }

    pub(crate) fn prefetch_slot(&self, index: SlotIndex) {
        self.slots
            .get(index.0 as usize)
            .into_iter()
            .for_each(prefetch);
    }

    /// The connection in `index`, if there is one.
    pub(crate) fn occupant(&self, index: SlotIndex) -> Option<Key> {
        let slot = self.slots.get(index.0 as usize)?;
        (slot.phase != Phase::Free).then_some(Key {
            slot: index,
            generation: slot.generation,
        })
    }

    /// Every connection.
    pub(crate) fn occupants(&self) -> Vec<Key> {
        (0..self.slots.len() as u32)
            .filter_map(|index| self.occupant(SlotIndex(index)))
            .collect()
    }

    /// Each slot there is, free or not.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Slots there are, free or not.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_earlier_life_finds_nothing() {
        let mut table = Table::with_capacity(2);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let first = table.occupy(SlotIndex(1), peer, Origin::Accepted, Tick(0));
        assert!(table.get(first).is_some());
        table.vacate(first.slot);
        assert!(table.get(first).is_none());
        let second = table.occupy(SlotIndex(1), peer, Origin::Accepted, Tick(0));
        assert!(table.get(first).is_none() && table.get_mut(second).is_some());
        assert_eq!(table.occupants(), [second]);
    }
}
