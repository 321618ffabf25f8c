//! What a shard does when it runs short of receive buffers, of bytes that it may hold for its
//! connections, or of memory.
//!
//! It escalates the longer the shortage lasts: the top holders are not read from, what they hold is
//! copied to the heap so that receive buffers come free, they are closed. A connection that holds
//! two buffers at most, as all do that take what they are sent, is no top holder: the shard reads
//! from it and writes to it on every level.

use std::collections::HashSet;
use std::time::Duration;

use crate::id::Key;
use crate::shard::policy::bounds::Bounds;
use crate::shard::policy::paced_queue::PacedQueue;
use crate::time::{TICK, Tick, Ticks};

/// Between two looks at who holds what, unless much has come meanwhile: a tick, the least that
/// there is.
const LOOK_INTERVAL: u32 = 1;
/// For how many ticks buffers must have been low: the low of a burst passes by itself. No key:
/// nobody is closed for it.
const BUFFERS_LOW_MIN: u32 = 1;
/// Buffers that any connection may hold, one received and one to be sent, whatever the shard is
/// short of. No key: with fewer none is served.
pub(crate) const OWN_BUFFERS: u64 = 2;
/// The shard looks before its time once it holds so much more, as a part of both bounds.
const GROWN_PART: u64 = 16;
/// The part of a bound that must be free again for its shortage to be over.
const RELIEVED_PART: u64 = 8;
/// A shard that holds less than this part of its bounds has no part in a shortage of memory.
const INVOLVED_PART: u64 = 4;
/// The part of what the top holders hold that is to come free by the connections closed at one
/// look. No key, as with the other fractions here: an eighth ends the shortage, by its own measure,
/// and how many are closed and when is in the settings.
pub(crate) const CLOSED_PART: u64 = 8;
/// Receive buffers that come free by copies at one look, and what the connection holds with which
/// that is reached: the shard's others wait meanwhile. No key, as above.
pub(crate) const COPIED_OUT_MAX: u32 = 256;

/// What a shard remembers of its shortage.
#[derive(Debug)]
pub(crate) struct Overload {
    shortage: Shortage,
    since: Tick,
    /// When to look again who holds what; never without a shortage.
    pub(crate) due: Tick,
    /// What the heap held at the last look.
    looked_at: u64,
    /// The top holders: they are not read from.
    read_paused: HashSet<Key>,
    /// Connections whose receive waits for the end of the shortage, or for the next look.
    paused_receives: Vec<Key>,
    /// Those that are to be closed until the next look, which finds them anew.
    pub(crate) evicting: PacedQueue<Key>,
}

impl Overload {
    pub(crate) fn new() -> Self {
        Self {
            shortage: Shortage::None,
            since: Tick(0),
            due: Tick::NEVER,
            looked_at: 0,
            read_paused: HashSet::new(),
            paused_receives: Vec::new(),
            evicting: PacedQueue::new(),
        }
    }

    /// One look at what the shard holds.
    pub(crate) fn assess(&mut self, load: &Load, bounds: &Bounds, now: Tick) -> Assessment {
        let before = self.shortage;
        self.shortage = shortage(load, bounds.unread_max, bounds.unsent_max, before);
        match (before, self.shortage) {
            (Shortage::None, Shortage::None) => Assessment::Calm,
            (_, Shortage::None) => {
                self.due = Tick::NEVER;
                self.evicting = PacedQueue::new();
                self.read_paused.clear();
                Assessment::Over
            }
            (before, after) => {
                let is_new = before == Shortage::None || before.is_full() != after.is_full();
                if is_new {
                    self.since = now;
                    self.due = now;
                }
                let level = self.escalate(load, bounds, now);
                Assessment::Short { is_new, level }
            }
        }
    }

    /// The level to act on, if it is time to act.
    fn escalate(&mut self, load: &Load, bounds: &Bounds, now: Tick) -> Level {
        let much = (bounds.unread_max + bounds.unsent_max) / GROWN_PART;
        if now < self.due && load.heap <= self.looked_at + much {
            return Level::None;
        }
        self.due = Tick(now.0 + LOOK_INTERVAL);
        self.looked_at = load.heap;
        let lasted = now.0.saturating_sub(self.since.0);
        level(self.shortage, lasted, bounds.overload)
    }

    pub(crate) fn shortage(&self) -> Shortage {
        self.shortage
    }

    /// The top ones of `holders`, with the bytes of each, where each may hold `own`.
    pub(crate) fn top_holders(&self, holders: Vec<(Key, u64)>, own: u64) -> Vec<(Key, u64)> {
        top_holders(holders, own, self.shortage)
    }

    /// From now on these are not read from, and no others. Gives those that were read from.
    pub(crate) fn set_read_paused(&mut self, keys: &[(Key, u64)]) -> Vec<Key> {
        let before = std::mem::take(&mut self.read_paused);
        self.read_paused.extend(keys.iter().map(|(key, _)| *key));
        let is_new = |key: &Key| !before.contains(key);
        keys.iter().map(|(key, _)| *key).filter(is_new).collect()
    }

    pub(crate) fn is_read_paused(&self, key: Key) -> bool {
        self.read_paused.contains(&key)
    }

    /// Its receive waits for the end of the shortage, or for the next look.
    pub(crate) fn pause_receive(&mut self, key: Key) {
        self.paused_receives.push(key);
    }

    pub(crate) fn take_paused_receives(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.paused_receives)
    }

    /// These are to be closed until the next look.
    pub(crate) fn evict(&mut self, keys: Vec<Key>, clock: Duration) {
        self.evicting = PacedQueue::new();
        self.evicting.add(keys, clock, TICK * LOOK_INTERVAL);
    }

    /// Whether there is a shortage of any kind.
    pub(crate) fn is_on(&self) -> bool {
        self.shortage != Shortage::None
    }

    /// Whether there is no room for more bytes.
    pub(crate) fn is_full(&self) -> bool {
        self.shortage.is_full()
    }

    /// Whether new connections would make it worse.
    pub(crate) fn pauses_accepts(&self) -> bool {
        self.shortage == Shortage::Memory
    }
}

/// What a shard holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Bytes received and not read, and bytes written and not taken by the kernel.
    pub(crate) unread: u64,
    pub(crate) unsent: u64,
    /// Bytes of heap buffers, for whomever: those two, and what handlers keep.
    pub(crate) heap: u64,
    /// What every connection may hold of its own, together.
    pub(crate) own: u64,
    pub(crate) buffers_low: bool,
    pub(crate) memory_short: bool,
}

/// What one look at the shortage asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assessment {
    Calm,
    /// The shortage has ended.
    Over,
    Short {
        /// It has begun, or is of another kind than it was.
        is_new: bool,
        /// What to do about it now.
        level: Level,
    },
}

/// What the shard does; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    None,
    PauseReads,
    CopyOut,
    Close,
}

/// What a shard is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    None,
    /// Few receive buffers are free. What is received is copied out meanwhile, so nobody needs to
    /// be closed.
    Buffers,
    /// `limits.unread_per_shard_max` is reached.
    Unread,
    /// `limits.unsent_per_shard_max` is reached.
    Unsent,
    /// Handlers hold more than both together.
    Handlers,
    /// The process's memory nears its end, and the shard has a part in it.
    Memory,
}

impl Shortage {
    /// Whether there is no room for more bytes.
    fn is_full(self) -> bool {
        !matches!(self, Self::None | Self::Buffers)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Buffers => "buffers",
            Self::Unread => "unread",
            Self::Unsent => "unsent",
            Self::Handlers => "held",
            Self::Memory => "memory",
        }
    }
}

/// The judgement. A bound that was reached counts until an eighth of it is free again.
fn shortage(load: &Load, unread_max: u64, unsent_max: u64, before: Shortage) -> Shortage {
    let reached = |bytes: u64, most: u64| {
        let spared = if before.is_full() {
            most / RELIEVED_PART
        } else {
            0
        };
        bytes >= most - spared
    };
    let all = unread_max + unsent_max;
    if reached(load.unread, unread_max) {
        Shortage::Unread
    } else if reached(load.unsent, unsent_max) {
        Shortage::Unsent
    } else if reached(load.heap, all + load.own) {
        Shortage::Handlers
    } else if load.memory_short && load.heap >= all / INVOLVED_PART {
        Shortage::Memory
    } else if load.buffers_low {
        Shortage::Buffers
    } else {
        Shortage::None
    }
}

/// To which level a shortage leads that has lasted for so many ticks.
fn level(shortage: Shortage, lasted: u32, patience: Ticks) -> Level {
    match shortage {
        Shortage::None => Level::None,
        Shortage::Buffers if lasted < BUFFERS_LOW_MIN => Level::None,
        Shortage::Buffers if lasted == BUFFERS_LOW_MIN => Level::PauseReads,
        Shortage::Buffers => Level::CopyOut,
        _ if Tick(lasted) >= Tick(0).after(patience) => Level::Close,
        _ if lasted > 0 => Level::CopyOut,
        _ => Level::PauseReads,
    }
}

/// The top holders, the largest first. Where there is no room they are all who hold more than their
/// own; where only buffers are low, those without whom the others hold half of what all hold.
fn top_holders(mut holders: Vec<(Key, u64)>, own: u64, shortage: Shortage) -> Vec<(Key, u64)> {
    let mut rest: u64 = holders.iter().map(|(_, bytes)| bytes).sum();
    let enough = if shortage.is_full() { 0 } else { rest / 2 };
    holders.retain(|(_, bytes)| *bytes > own);
    holders.sort_unstable_by_key(|(key, bytes)| (std::cmp::Reverse(*bytes), key.slot));
    let mut count = 0;
    while rest > enough && count < holders.len() {
        rest -= holders[count].1;
        count += 1;
    }
    holders.truncate(count);
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Ticks = Ticks::seconds(1);

    fn judged(load: Load, before: Shortage) -> Shortage {
        shortage(&load, 1000, 2000, before)
    }

    #[test]
    fn a_shortage_has_its_name() {
        let none = Load {
            unread: 999,
            unsent: 1999,
            heap: 3099,
            own: 100,
            ..Load::default()
        };
        let named = |change: fn(&mut Load)| {
            let mut load = none;
            change(&mut load);
            judged(load, Shortage::None)
        };
        assert_eq!(named(|_| ()), Shortage::None);
        assert_eq!(named(|load| load.unread = 1000), Shortage::Unread);
        assert_eq!(named(|load| load.unsent = 2000), Shortage::Unsent);
        assert_eq!(
            named(|load| load.heap = 3100),
            Shortage::Handlers,
            "both bounds, and what each connection may hold"
        );
        assert_eq!(named(|load| load.buffers_low = true), Shortage::Buffers);
        assert_eq!(named(|load| load.memory_short = true), Shortage::Memory);
        let innocent = Load {
            memory_short: true,
            heap: 749,
            ..Load::default()
        };
        assert_eq!(
            judged(innocent, Shortage::None),
            Shortage::None,
            "somebody else has the memory"
        );
    }

    #[test]
    fn a_shortage_ends_an_eighth_below_its_bound() {
        let unread = |unread| Load {
            unread,
            ..Load::default()
        };
        let judged = |bytes| judged(unread(bytes), Shortage::Unread);
        assert_eq!(
            [999, 875, 874].map(judged),
            [Shortage::Unread, Shortage::Unread, Shortage::None]
        );
    }

    #[test]
    fn levels_escalate_in_their_order() {
        let escalated: Vec<Level> = (0..10)
            .map(|lasted| level(Shortage::Unread, lasted, PATIENCE))
            .collect();
        assert_eq!(
            (escalated[0], escalated[1], escalated[7], escalated[8]),
            (
                Level::PauseReads,
                Level::CopyOut,
                Level::CopyOut,
                Level::Close
            )
        );
        assert!(escalated.is_sorted());
        assert_eq!(
            level(Shortage::Handlers, u32::MAX - 1, Ticks::FOREVER),
            Level::CopyOut,
            "\"off\" closes nobody"
        );
        let buffers: Vec<Level> = [0, 1, 2, 1000]
            .map(|lasted| level(Shortage::Buffers, lasted, PATIENCE))
            .into();
        assert_eq!(
            buffers,
            [
                Level::None,
                Level::PauseReads,
                Level::CopyOut,
                Level::CopyOut
            ],
            "copies are enough"
        );
    }

    #[test]
    fn top_holders_hold_more_than_their_own_and_come_in_their_order() {
        let holder = |slot, bytes| (Key::of_place(slot), bytes);
        let found = |holders: &[(Key, u64)], shortage| -> Vec<u32> {
            top_holders(holders.to_vec(), 8, shortage)
                .iter()
                .map(|(key, _)| key.slot.0)
                .collect()
        };
        let some = [holder(1, 10), holder(2, 500), holder(3, 20), holder(4, 8)];
        assert_eq!(
            found(&some, Shortage::Buffers),
            [2],
            "without it the others hold less than half"
        );
        assert_eq!(
            found(&some, Shortage::Unread),
            [2, 3, 1],
            "there is no room for any but the fourth, which holds its own"
        );
        let equal = [
            holder(4, 100),
            holder(3, 100),
            holder(2, 100),
            holder(1, 100),
        ];
        assert_eq!(found(&equal, Shortage::Buffers), [1, 2]);
        assert!(found(&[holder(1, 8), holder(2, 8)], Shortage::Memory).is_empty());
    }
}
