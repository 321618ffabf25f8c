//! How a task comes to be polled: the list of those that are due, and wakers for whatever else a handler waits for.
//!
//! A connection's own events put its key on the list, with no waker in between. The waker that a handler's future sees is its key in a
//! number ([`crate::ring::waker`]); it works from any thread. From another one it takes the way over the shard's [`Inbox`], the only
//! lock of a shard, which no connection's data passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::table::{Phase, Slot, Waiting};
use super::{CURRENT, Shard, ShardId, State};
use crate::ring::{Generation, Key, SlotIndex, WakeFd, waker};

/// Bits of a waker's name: the generation in the low half, the slot above it, the shard on top.
const GENERATION_BITS: u32 = 32;
const SLOT_BITS: u32 = 20;
const _: () = assert!(usize::BITS == 64, "a waker's name takes a pointer of 64 bits");

/// The tasks of a shard that are due, and what they wait for otherwise.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// Connections whose tasks are polled at the end of the turn; each at most once, but for one that wakes itself.
    due: Vec<Key>,
    /// Tasks that wait for something other than their connection, so that the executor must be given its turn.
    foreign: u32,
    /// Wakers between a connection and its task, where a handler waits through a combinator that has its own. By slot.
    between: BTreeMap<SlotIndex, Waker>,
}

impl Wakes {
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    pub(super) fn has_foreign(&self) -> bool {
        self.foreign > 0
    }
}

impl State {
    /// The task of `key` is made and polled at the end of the turn.
    pub(super) fn start(&mut self, key: Key) {
        self.set_waiting(key, Waiting::Start);
        self.wakes.due.push(key);
    }

    /// The task of `key` is polled at the end of the turn.
    pub(super) fn wake(&mut self, key: Key) {
        let waits = |slot: &mut Slot| slot.phase == Phase::Serving && !matches!(slot.waiting, Waiting::Start | Waiting::Due);
        if self.table.get(key).is_some_and(waits) {
            self.set_waiting(key, Waiting::Due);
            self.wakes.due.push(key);
        }
    }

    /// Swaps the list of those that are due for an empty one.
    pub(super) fn take_due(&mut self, empty: &mut Vec<Key>) {
        debug_assert!(empty.is_empty(), "nobody who is due is forgotten");
        std::mem::swap(&mut self.wakes.due, empty);
    }

    /// The one place that changes what a task waits for. Returns what that was; none if there is no such connection.
    pub(super) fn set_waiting(&mut self, key: Key, waiting: Waiting) -> Option<Waiting> {
        let slot = self.table.get(key)?;
        let before = std::mem::replace(&mut slot.waiting, waiting);
        self.wakes.foreign += u32::from(waiting == Waiting::Foreign);
        self.wakes.foreign -= u32::from(before == Waiting::Foreign);
        Some(before)
    }

    /// Remembers `waker` unless it is the task's own, which is woken anyway.
    pub(super) fn keep_waker(&mut self, key: Key, waker: &Waker) {
        if !waker.will_wake(&waker_of(self.id, key)) {
            self.wakes.between.insert(key.slot, waker.clone());
        } else if !self.wakes.between.is_empty() {
            self.wakes.between.remove(&key.slot);
        }
    }

    /// The waker between the connection and its task, if any. To be woken, or dropped, with no borrow held.
    pub(super) fn take_waker(&mut self, key: Key) -> Option<Waker> {
        if self.wakes.between.is_empty() { None } else { self.wakes.between.remove(&key.slot) }
    }
}

/// The waker of the task of `key` on `shard`.
pub(super) fn waker_of(shard: ShardId, key: Key) -> Waker {
    waker(name(shard, key))
}

fn name(shard: ShardId, key: Key) -> usize {
    debug_assert!(key.slot.0 < 1 << SLOT_BITS && shard.0 < 1 << (64 - SLOT_BITS - GENERATION_BITS), "checked settings bound both");
    (shard.0 as usize) << (SLOT_BITS + GENERATION_BITS) | (key.slot.0 as usize) << GENERATION_BITS | key.generation.number() as usize
}

fn named(name: usize) -> (ShardId, Key) {
    let slot = SlotIndex((name >> GENERATION_BITS) as u32 & ((1 << SLOT_BITS) - 1));
    (ShardId((name >> (SLOT_BITS + GENERATION_BITS)) as u32), Key { slot, generation: Generation::of(name as u32) })
}

/// Wakes the task of that name, from any thread; nothing happens when there is none any more.
pub(crate) fn wake_named(name: usize) {
    let (id, key) = named(name);
    let here = CURRENT.try_with(|current| {
        let shard = current.get().filter(|shard| shard.id == id)?;
        shard.wake_here(key);
        Some(())
    });
    if !matches!(here, Ok(Some(()))) {
        wake_elsewhere(id, name);
    }
}

impl Shard {
    /// Wakes a task of this thread's shard, and the pump that polls it.
    fn wake_here(&self, key: Key) {
        self.state().wake(key);
        if let Some(pump) = self.parked.take() {
            pump.wake();
        }
    }
}

/// Names of tasks that other threads woke since the shard last looked. A set, so that it holds no more than there are tasks.
#[derive(Debug, Default)]
struct Inbox {
    /// Whether there are names: read every turn, without the lock.
    full: AtomicBool,
    names: Mutex<BTreeSet<usize>>,
}

/// The shards of this process that can be woken from elsewhere.
static SHARDS: Mutex<BTreeMap<u32, (Arc<Inbox>, WakeFd)>> = Mutex::new(BTreeMap::new());

/// What is behind these locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake_elsewhere(id: ShardId, name: usize) {
    let shards = lock(&SHARDS);
    let Some((inbox, wake)) = shards.get(&id.0) else { return };
    lock(&inbox.names).insert(name);
    inbox.full.store(true, Ordering::Release);
    if let Err(error) = wake.signal() {
        tracing::error!(shard = id.0, %error, "the shard cannot be woken");
    }
}

/// A shard's entry among those that can be woken from elsewhere, for as long as it lives.
pub(super) struct Registered {
    id: ShardId,
    inbox: Arc<Inbox>,
}

impl Registered {
    pub(super) fn new(id: ShardId, wake: WakeFd) -> Self {
        let inbox = Arc::<Inbox>::default();
        lock(&SHARDS).insert(id.0, (Arc::clone(&inbox), wake));
        Self { id, inbox }
    }

    /// Wakes whom other threads have asked to.
    pub(super) fn collect(&self, state: &mut State) {
        if !self.inbox.full.load(Ordering::Acquire) {
            return;
        }
        self.inbox.full.store(false, Ordering::Release);
        for woken in std::mem::take(&mut *lock(&self.inbox.names)) {
            state.wake(named(woken).1);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&SHARDS).remove(&self.id.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_shard_and_task() {
        for (shard, slot, generation) in [(0, 0, 1), (1023, (1 << SLOT_BITS) - 1, u32::MAX), (7, 1, 2)] {
            let key = Key { slot: SlotIndex(slot), generation: Generation::of(generation) };
            assert_eq!(named(name(ShardId(shard), key)), (ShardId(shard), key));
        }
    }
}
