//! Names: of shards, of connections, and of what a shard's tables hold.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

/// A shard's number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A connection's name. No other of the process ever has it, whatever its server; it may be kept
/// and sent anywhere, and of a connection that is gone it names nothing.
///
/// Its `Display` is `shard.slot.generation`, as in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    server: ServerNumber,
    shard: ShardId,
    slot: u32,
    /// Which life of the slot, and above that how often the lives were counted through.
    generation: u64,
}

/// A server's number among all that the process ever had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ServerNumber(u32);

impl ServerNumber {
    /// The next: four billion servers of one process are not thought of.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl ConnId {
    /// `lap` says how often the lives of its slot were counted through before.
    pub(crate) fn new(server: ServerNumber, shard: ShardId, key: Key, lap: u32) -> Self {
        Self {
            server,
            shard,
            slot: key.slot.0,
            generation: u64::from(lap) << 32 | u64::from(key.generation.number()),
        }
    }

    /// Of a server of that number, as its `Display` writes it.
    pub(crate) fn parse(server: ServerNumber, text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let [shard, slot] = [parts.next()?, parts.next()?].map(|part| part.parse().ok());
        let generation = parts.next()?.parse().ok()?;
        let id = Self {
            server,
            shard: ShardId(shard?),
            slot: slot?,
            generation,
        };
        // Only as it is written: no signs, no leading zeros.
        (parts.next().is_none() && id.to_string() == text).then_some(id)
    }

    /// The shard that it lives on.
    pub fn shard(self) -> ShardId {
        self.shard
    }

    pub(crate) fn server(self) -> ServerNumber {
        self.server
    }

    /// Its key on its shard, and the lap that this is of.
    pub(crate) fn place(self) -> (Key, u32) {
        let key = Key {
            slot: SlotIndex(self.slot),
            generation: Generation::of(self.generation as u32),
        };
        (key, (self.generation >> 32) as u32)
    }

    /// What [`Self::of_word`] makes a name for the log of again.
    pub(crate) fn word(key: Key) -> u64 {
        u64::from(key.slot.0) << 32 | u64::from(key.generation.number())
    }

    /// As [`Metrics::serving`](crate::metrics::Metrics) has it; none for 0, which says that nobody was served yet.
    pub(crate) fn of_word(shard: ShardId, word: u64) -> Option<Self> {
        (word != 0).then_some(Self {
            server: ServerNumber::default(),
            shard,
            slot: (word >> 32) as u32,
            generation: u64::from(word as u32),
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

/// A listener's place among those of the server, in the order of the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenerIndex(pub(crate) u8);

impl ListenerIndex {
    pub(crate) fn place(self) -> usize {
        self.0.into()
    }
}

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
