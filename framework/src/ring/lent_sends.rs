//! Buffers that the kernel reads from: each send keeps its own until it has completed, whatever
//! becomes of the bufs that it was made of.

use std::collections::HashMap;

use crate::id::SlotIndex;
use crate::ring::buffers::{BufRef, BufferPool, LentBuffer};

/// What a slot takes here.
pub(crate) const LENT_BYTES: usize = size_of::<Option<LentBuffer>>();

/// The sends in flight, at most one per slot.
#[derive(Debug, Default)]
pub(super) struct LentSends {
    /// The first buffer of each slot's send.
    first: Vec<Option<LentBuffer>>,
    /// The others, of gathered sends.
    others: HashMap<SlotIndex, Vec<LentBuffer>>,
}

impl LentSends {
    /// A send of `bufs` from `slot` begins.
    ///
    /// # Panics
    ///
    /// When one of the slot is in flight already.
    pub(super) fn lend<'a>(
        &mut self,
        pool: &BufferPool,
        slot: SlotIndex,
        mut bufs: impl Iterator<Item = &'a BufRef>,
    ) {
        let index = slot.0 as usize;
        if self.first.len() <= index {
            self.first.resize_with(index + 1, || None);
        }
        assert!(self.first[index].is_none(), "a slot has one send at a time");
        self.first[index] = bufs.next().map(|buf| pool.lend(buf));
        let others: Vec<LentBuffer> = bufs.map(|buf| pool.lend(buf)).collect();
        if !others.is_empty() {
            self.others.insert(slot, others);
        }
    }

    /// The send of `slot` has completed.
    pub(super) fn take_back(&mut self, pool: &BufferPool, slot: SlotIndex) {
        let first = self.first.get_mut(slot.0 as usize).and_then(Option::take);
        if let Some(first) = first {
            pool.take_back(first);
        }
        if !self.others.is_empty()
            && let Some(others) = self.others.remove(&slot)
        {
            others.into_iter().for_each(|lent| pool.take_back(lent));
        }
    }
}
