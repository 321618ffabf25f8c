//! How a task comes to be polled: the list of those that are due, and wakers for whatever else a handler waits for.
//!
//! A connection's own events put its key on the list, with no waker in between. The waker that a handler's future sees is its key in a
//! number ([`crate::ring::waker`]); it works from any thread. From another one it takes the way over the shard's [`Inbox`], the only
//! lock of a shard, which no connection's data passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::spawn::spawned_index;
use super::table::{Phase, Talk, Waiting};
use super::{CURRENT, Shard, State};
use crate::ring::{Generation, Key, SlotIndex, WakeFd, name_of, waker};

/// Bits of a waker's name: the generation in the low half, the slot above it with the bit that tells spawned tasks, the shard on top.
const GENERATION_BITS: u32 = 32;
const SLOT_BITS: u32 = 21;
const SHARDS_MAX: u32 = 1 << (64 - SLOT_BITS - GENERATION_BITS);
const _: () = assert!(usize::BITS == 64, "a waker's name takes a pointer of 64 bits");

/// The tasks of a shard that are due, and what they wait for otherwise.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// Connections whose tasks are polled at the end of the turn; each at most once, but for one that wakes itself.
    due: Vec<Key>,
    /// Those of the next turn: they are due, and have had their share of this one.
    yielded: Vec<Key>,
    /// Tasks that wait for something other than their connection, so that the executor must be given its turn.
    foreign: u32,
    /// Wakers between a connection and its task, where a handler waits through a combinator that has its own. By slot.
    between: BTreeMap<SlotIndex, Waker>,
    /// Wakers that are not ours, to be woken with no borrow held.
    outside: Vec<Waker>,
    /// Wakers that nobody needs, to be dropped with no borrow held.
    replaced: Vec<Waker>,
}

/// Whom an event wakes.
#[derive(Debug)]
pub(crate) enum Sleeper {
    /// A task of this shard: no waker is kept.
    Task(Key),
    Other(Waker),
}

impl Wakes {
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.yielded.is_empty() && self.outside.is_empty()
    }

    /// The task of `key` is polled at the end of the turn; the caller sees that it is on the list once.
    pub(super) fn push(&mut self, key: Key) {
        self.due.push(key);
    }

    /// The task of `key` is polled at the end of the next turn; it is on no list.
    pub(super) fn push_yielded(&mut self, key: Key) {
        self.yielded.push(key);
    }

    /// A turn ends: those who left the one before to others are due.
    pub(super) fn begin_run(&mut self) {
        self.due.append(&mut self.yielded);
    }

    /// Drops a waker when no borrow is held.
    pub(super) fn drop_later(&mut self, waker: Waker) {
        self.replaced.push(waker);
    }

    pub(super) fn waits_changed(&mut self, before: Waiting, after: Waiting) {
        self.foreign += u32::from(after == Waiting::Foreign);
        self.foreign -= u32::from(before == Waiting::Foreign);
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

    /// The task of `key` is polled at the end of the turn; if `key` is a connection that a task of ours opened, that task is.
    pub(super) fn wake(&mut self, key: Key) {
        if spawned_index(key).is_some() {
            return self.wake_spawned(key);
        }
        let Some(slot) = self.table.get(key) else { return };
        if slot.phase != Phase::Serving || matches!(slot.waiting, Waiting::Start | Waiting::Due) {
            return;
        }
        if slot.talk == Talk::Dialed {
            return self.wake_owner(key);
        }
        self.set_waiting(key, Waiting::Due);
        self.wakes.due.push(key);
    }

    /// Wakes the task that waits for a connection which it opened itself.
    fn wake_owner(&mut self, key: Key) {
        self.set_waiting(key, Waiting::Nothing);
        if let Some(task) = self.table.get(key).and_then(|slot| slot.waiter.take()) {
            self.wake(task);
        } else if let Some(waker) = self.wakes.between.remove(&key.slot) {
            self.wakes.outside.push(waker);
        }
    }

    /// What to keep of `waker` for [`Self::rouse`].
    pub(crate) fn sleeper(&self, waker: &Waker) -> Sleeper {
        match name_of(waker).map(named) {
            Some((number, task)) if number == self.number => Sleeper::Task(task),
            _ => Sleeper::Other(waker.clone()),
        }
    }

    pub(super) fn rouse(&mut self, sleeper: Sleeper) {
        match sleeper {
            Sleeper::Task(task) => self.wake(task),
            Sleeper::Other(waker) => self.wakes.outside.push(waker),
        }
    }

    /// Swaps the list of those that are due for an empty one.
    pub(super) fn take_due(&mut self, empty: &mut Vec<Key>) {
        debug_assert!(empty.is_empty(), "nobody who is due is forgotten");
        std::mem::swap(&mut self.wakes.due, empty);
    }

    /// Wakers that are not ours, to be woken, and those to be dropped; both with no borrow held.
    pub(super) fn take_outside(&mut self) -> (Vec<Waker>, Vec<Waker>) {
        (std::mem::take(&mut self.wakes.outside), std::mem::take(&mut self.wakes.replaced))
    }

    /// The one place that changes what a task waits for. Returns what that was; none if there is no such connection.
    pub(super) fn set_waiting(&mut self, key: Key, waiting: Waiting) -> Option<Waiting> {
        let slot = self.table.get(key)?;
        let before = std::mem::replace(&mut slot.waiting, waiting);
        self.wakes.waits_changed(before, waiting);
        if matches!(waiting, Waiting::Space | Waiting::Flushed | Waiting::Elsewhere | Waiting::Foreign) {
            self.excuse(key);
        }
        Some(before)
    }

    /// Remembers whom the connection of `key` wakes, unless it is its own task, which is woken anyway.
    pub(super) fn keep_waker(&mut self, key: Key, waker: &Waker) {
        let task = match self.sleeper(waker) {
            Sleeper::Task(task) => Some(task),
            Sleeper::Other(waker) => return self.wakes.replaced.extend(self.wakes.between.insert(key.slot, waker)),
        };
        if !self.wakes.between.is_empty() {
            self.wakes.replaced.extend(self.wakes.between.remove(&key.slot));
        }
        if let Some(slot) = self.table.get(key)
            && slot.talk == Talk::Dialed
        {
            slot.waiter = task;
        }
    }

    /// The waker between the connection and its task, if any. To be woken, or dropped, with no borrow held.
    pub(super) fn take_waker(&mut self, key: Key) -> Option<Waker> {
        if self.wakes.between.is_empty() { None } else { self.wakes.between.remove(&key.slot) }
    }
}

/// The waker of the task of `key` on `shard`.
pub(super) fn waker_of(shard: ShardNumber, key: Key) -> Waker {
    waker(name(shard, key))
}

fn name(shard: ShardNumber, key: Key) -> usize {
    debug_assert!(key.slot.0 < 1 << SLOT_BITS && shard.0 < SHARDS_MAX, "checked settings bound the one, the registry the other");
    (shard.0 as usize) << (SLOT_BITS + GENERATION_BITS) | (key.slot.0 as usize) << GENERATION_BITS | key.generation.number() as usize
}

fn named(name: usize) -> (ShardNumber, Key) {
    let slot = SlotIndex((name >> GENERATION_BITS) as u32 & ((1 << SLOT_BITS) - 1));
    (ShardNumber((name >> (SLOT_BITS + GENERATION_BITS)) as u32), Key { slot, generation: Generation::of(name as u32) })
}

/// A shard's number among all that live in the process, whatever they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShardNumber(u32);

/// Wakes the task of that name, from any thread; nothing happens when there is none any more.
pub(crate) fn wake_named(name: usize) {
    let (number, key) = named(name);
    let here = CURRENT.try_with(|current| {
        let shard = current.get().filter(|shard| shard.registered.number == number)?;
        shard.wake_here(key);
        Some(())
    });
    if !matches!(here, Ok(Some(()))) {
        wake_elsewhere(number, name);
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

/// Wakes whoever that is, on this thread's shard.
pub(crate) fn rouse(sleeper: Sleeper) {
    Shard::try_with(|shard| {
        shard.state().rouse(sleeper);
        shard.parked.take().into_iter().for_each(Waker::wake);
    });
}

/// Names of tasks that other threads woke since the shard last looked. A set, so that it holds no more than there are tasks.
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

fn wake_elsewhere(number: ShardNumber, name: usize) {
    let shards = lock(&SHARDS);
    let Some((inbox, wake)) = shards.get(&number) else { return };
    lock(&inbox.names).insert(name);
    inbox.full.store(true, Ordering::Release);
    if let Err(error) = wake.signal() {
        tracing::error!(%error, "a shard cannot be woken");
    }
}

/// A shard's entry among those that can be woken from elsewhere, for as long as it lives.
pub(super) struct Registered {
    pub(super) number: ShardNumber,
    inbox: Arc<Inbox>,
}

impl Registered {
    /// None when the process has more shards than a waker's name can tell apart.
    pub(super) fn new(wake: WakeFd) -> Option<Self> {
        let inbox = Arc::<Inbox>::default();
        let mut shards = lock(&SHARDS);
        let number = (0..SHARDS_MAX).map(ShardNumber).find(|number| !shards.contains_key(number))?;
        shards.insert(number, (Arc::clone(&inbox), wake));
        Some(Self { number, inbox })
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
        lock(&SHARDS).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_shard_and_task() {
        for (shard, slot, generation) in
            [(0, 0, 1), (1023, (1 << SLOT_BITS) - 1, u32::MAX), (3, super::super::spawn::SPAWNED, 9), (7, 1, 2)]
        {
            let key = Key { slot: SlotIndex(slot), generation: Generation::of(generation) };
            assert_eq!(named(name(ShardNumber(shard), key)), (ShardNumber(shard), key));
        }
    }
}
