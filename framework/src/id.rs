//! Names: of shards, of connections, and of what a shard's tables hold.

use std::fmt;
use std::num::NonZeroU32;

/// A shard's number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A connection's name, unique in its process until its slot has been used 2^32 times:
/// `shard.slot.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    shard: ShardId,
    slot: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(shard: ShardId, key: Key) -> Self {
        Self {
            shard,
            slot: key.slot.0,
            generation: key.generation.number(),
        }
    }

    /// What [`Self::of_word`] makes a name of again.
    pub(crate) fn word(key: Key) -> u64 {
        u64::from(key.slot.0) << 32 | u64::from(key.generation.number())
    }

    /// As [`Metrics::serving`](crate::metrics::Metrics) has it; none for 0, which says that nobody was served yet.
    pub(crate) fn of_word(shard: ShardId, word: u64) -> Option<Self> {
        (word != 0).then_some(Self {
            shard,
            slot: (word >> 32) as u32,
            generation: word as u32,
        })
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}.{}.{}",
            self.shard, self.slot, self.generation
        )
    }
}

/// A direct descriptor's number, which is also the number of its connection's slot. At most 24
/// bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SlotIndex(pub(crate) u32);

/// One life of one slot: what an operation, a task or a handle names a connection by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) slot: SlotIndex,
    pub(crate) generation: Generation,
}

/// Which life of a slot. Not zero, so that an `Option` around a key costs an idle connection
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Generation(NonZeroU32);

impl Generation {
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);

    pub(crate) fn number(self) -> u32 {
        self.0.get()
    }

    pub(crate) fn next(self) -> Self {
        self.0.checked_add(1).map_or(Self::FIRST, Self)
    }

    pub(crate) fn of(number: u32) -> Self {
        NonZeroU32::new(number).map_or(Self::FIRST, Self)
    }
}

impl Key {
    /// For operations that belong to a place of an array and not to a connection.
    pub(crate) fn of_place(place: u32) -> Self {
        Self {
            slot: SlotIndex(place),
            generation: Generation::FIRST,
        }
    }
}
