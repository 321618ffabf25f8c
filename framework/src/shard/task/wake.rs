//! The names of tasks: as numbers in wakers, and in the inboxes through which other threads wake
//! them.
//!
//! A connection's own events put its key on the run queue, with no waker in between. The waker that
//! a handler's future sees is its key in a number ([`crate::ring::waker`]); it works from any
//! thread. From another one it takes two locks, that of the process's list of [`SHARDS`] and that
//! of the shard's [`Inbox`]; no connection's data passes either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::id::{Generation, Key, SlotIndex};
use crate::ring::{WakeFd, name_of, waker};

/// Bits of a waker's name: the generation in the low half, the slot above it with the bit that
/// tells spawned tasks, the shard on top.
const GENERATION_BITS: u32 = 32;
const SLOT_BITS: u32 = 21;
const SHARDS_MAX: u32 = 1 << (64 - SLOT_BITS - GENERATION_BITS);
const _: () = assert!(
    usize::BITS == 64,
    "a waker's name takes a pointer of 64 bits"
);

/// Whom an event wakes.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A task of this shard: no waker is kept.
    Task(Key),
    Other(Waker),
}

impl Waiter {
    /// Who is to be woken for `waker`, on the shard of that number.
    pub(crate) fn of(waker: &Waker, shard: ShardNumber) -> Self {
        match name_of(waker).map(named) {
            Some((number, task)) if number == shard => Self::Task(task),
            _ => Self::Other(waker.clone()),
        }
    }
}

/// The waker of the task of `key` on `shard`.
pub(crate) fn waker_of(shard: ShardNumber, key: Key) -> Waker {
    waker(name(shard, key))
}

fn name(shard: ShardNumber, key: Key) -> usize {
    debug_assert!(
        key.slot.0 < 1 << SLOT_BITS && shard.0 < SHARDS_MAX,
        "checked settings bound the one, the registry the other"
    );
    (shard.0 as usize) << (SLOT_BITS + GENERATION_BITS)
        | (key.slot.0 as usize) << GENERATION_BITS
        | key.generation.number() as usize
}

pub(crate) fn named(name: usize) -> (ShardNumber, Key) {
    let slot = SlotIndex((name >> GENERATION_BITS) as u32 & ((1 << SLOT_BITS) - 1));
    (
        ShardNumber((name >> (SLOT_BITS + GENERATION_BITS)) as u32),
        Key {
            slot,
            generation: Generation::of(name as u32),
        },
    )
}

/// A shard's number among all that live in the process, whatever they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShardNumber(u32);

/// Names of tasks that other threads woke since the shard last looked. A set, so that it holds no
/// more than there are tasks.
#[derive(Debug, Default)]
struct Inbox {
    /// Whether there are names: read every turn, without the lock.
    full: AtomicBool,
    names: Mutex<BTreeSet<usize>>,
}

/// The shards of this process that can be woken from elsewhere.
static SHARDS: Mutex<BTreeMap<ShardNumber, (Arc<Inbox>, WakeFd)>> = Mutex::new(BTreeMap::new());

/// What is behind these locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wake_elsewhere(number: ShardNumber, name: usize) {
    let shards = lock(&SHARDS);
    let Some((inbox, wake)) = shards.get(&number) else {
        return;
    };
    lock(&inbox.names).insert(name);
    // Whoever found it empty has signalled, or is about to.
    if inbox.full.swap(true, Ordering::AcqRel) {
        return;
    }
    if let Err(error) = wake.signal() {
        tracing::error!(%error, "a shard cannot be woken");
    }
}

/// A shard's entry among those that can be woken from elsewhere, for as long as it lives.
pub(crate) struct Registered {
    pub(crate) number: ShardNumber,
    inbox: Arc<Inbox>,
}

impl Registered {
    /// None when the process has more shards than a waker's name can tell apart.
    pub(crate) fn new(wake: WakeFd) -> Option<Self> {
        let inbox = Arc::<Inbox>::default();
        let mut shards = lock(&SHARDS);
        let number = (0..SHARDS_MAX)
            .map(ShardNumber)
            .find(|number| !shards.contains_key(number))?;
        shards.insert(number, (Arc::clone(&inbox), wake));
        Some(Self { number, inbox })
    }

    /// The tasks that other threads have woken.
    pub(crate) fn collect(&self) -> Vec<Key> {
        if !self.inbox.full.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.inbox.full.store(false, Ordering::Release);
        let names = std::mem::take(&mut *lock(&self.inbox.names));
        names.into_iter().map(|name| named(name).1).collect()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&SHARDS).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_shard_and_task() {
        for (shard, slot, generation) in [
            (0, 0, 1),
            (1023, (1 << SLOT_BITS) - 1, u32::MAX),
            (3, crate::shard::task::spawned::SPAWNED, 9),
            (7, 1, 2),
        ] {
            let key = Key {
                slot: SlotIndex(slot),
                generation: Generation::of(generation),
            };
            assert_eq!(
                named(name(ShardNumber(shard), key)),
                (ShardNumber(shard), key)
            );
        }
    }
}
