//! How a task comes to be polled: the list of those that are due, and wakers for whatever else a
//! handler waits for.
//!
//! A connection's own events put its key on the list, with no waker in between. The waker that a
//! handler's future sees is its key in a number ([`crate::ring::waker`]); it works from any thread.
//! From another one it takes the way over the shard's [`Inbox`], the only lock of a shard, which no
//! connection's data passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::interest::{RunState, Wakers};
use super::spawn::spawned_index;
use super::table::{Phase, Talk};
use super::{CURRENT, Shard, State};
use crate::ring::{Generation, Key, SlotIndex, WakeFd, name_of, waker};

/// Bits of a waker's name: the generation in the low half, the slot above it with the bit that
/// tells spawned tasks, the shard on top.
const GENERATION_BITS: u32 = 32;
const SLOT_BITS: u32 = 21;
const SHARDS_MAX: u32 = 1 << (64 - SLOT_BITS - GENERATION_BITS);
const _: () = assert!(
    usize::BITS == 64,
    "a waker's name takes a pointer of 64 bits"
);

/// The tasks of a shard that are due, and wakers on their way.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// Connections whose tasks are polled at the end of the turn; each at most once, but for one
    /// that wakes itself.
    due: Vec<Key>,
    /// Those of the next turn: they are due, and have had their share of this one.
    yielded: Vec<Key>,
    /// Wakers that are woken in the next turn, for the same reason.
    yielded_outside: Vec<Waker>,
    /// Futures that wait for what lives on the executor, which must be given its turn.
    on_executor: u32,
    pub(super) wakers: Wakers,
    /// Wakers that are not ours, to be woken with no borrow held.
    pub(super) outside: Vec<Waker>,
    /// Wakers that nobody needs, to be dropped with no borrow held.
    pub(super) replaced: Vec<Waker>,
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
        let (due, yielded) = (
            self.due.is_empty() && self.outside.is_empty(),
            self.yielded.is_empty() && self.yielded_outside.is_empty(),
        );
        due && yielded
    }

    /// The task of `key` is polled at the end of the turn; the caller sees that it is on the list
    /// once.
    pub(super) fn push(&mut self, key: Key) {
        self.due.push(key);
    }

    /// The task of `key` is polled at the end of the next turn; it is on no list.
    pub(super) fn push_yielded(&mut self, key: Key) {
        self.yielded.push(key);
    }

    pub(super) fn push_yielded_outside(&mut self, waker: Waker) {
        self.yielded_outside.push(waker);
    }

    /// A turn ends: those who left the one before to others are due.
    pub(super) fn begin_run(&mut self) {
        self.due.append(&mut self.yielded);
        self.outside.append(&mut self.yielded_outside);
    }

    /// Drops a waker when no borrow is held.
    pub(super) fn drop_later(&mut self, waker: Waker) {
        self.replaced.push(waker);
    }

    /// A future begins to wait for what lives on the executor, or has ended.
    pub(super) fn on_executor(&mut self, waits: bool) {
        self.on_executor = if waits {
            self.on_executor + 1
        } else {
            self.on_executor.saturating_sub(1)
        };
    }

    pub(super) fn wait_on_executor(&self) -> bool {
        self.on_executor > 0
    }
}

impl State {
    /// The task of `key` is made and polled at the end of the turn.
    pub(super) fn start(&mut self, key: Key) {
        self.set_run(key, RunState::Start);
        self.wakes.due.push(key);
    }

    /// The task of `key` is polled at the end of the turn: an accepted connection's, or a spawned
    /// one.
    pub(super) fn wake(&mut self, key: Key) {
        if spawned_index(key).is_some() {
            return self.wake_spawned(key);
        }
        let Some(slot) = self.table.get(key) else {
            return;
        };
        if slot.phase != Phase::Serving
            || slot.talk == Talk::Dialed
            || slot.waits.run() != RunState::Idle
        {
            return;
        }
        slot.waits.set_run(RunState::Due);
        self.wakes.due.push(key);
    }

    pub(super) fn set_run(&mut self, key: Key, run: RunState) {
        if let Some(slot) = self.table.get(key) {
            slot.waits.set_run(run);
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
        (
            std::mem::take(&mut self.wakes.outside),
            std::mem::take(&mut self.wakes.replaced),
        )
    }
}

/// The waker of the task of `key` on `shard`.
pub(super) fn waker_of(shard: ShardNumber, key: Key) -> Waker {
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

fn named(name: usize) -> (ShardNumber, Key) {
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
pub(super) struct ShardNumber(u32);

/// Wakes the task of that name, from any thread; nothing happens when there is none any more.
pub(crate) fn wake_named(name: usize) {
    let (number, key) = named(name);
    let here = CURRENT.try_with(|current| {
        let shard = current
            .get()
            .filter(|shard| shard.registered.number == number)?;
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

fn wake_elsewhere(number: ShardNumber, name: usize) {
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
pub(super) struct Registered {
    pub(super) number: ShardNumber,
    inbox: Arc<Inbox>,
}

impl Registered {
    /// None when the process has more shards than a waker's name can tell apart.
    pub(super) fn new(wake: WakeFd) -> Option<Self> {
        let inbox = Arc::<Inbox>::default();
        let mut shards = lock(&SHARDS);
        let number = (0..SHARDS_MAX)
            .map(ShardNumber)
            .find(|number| !shards.contains_key(number))?;
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
        for (shard, slot, generation) in [
            (0, 0, 1),
            (1023, (1 << SLOT_BITS) - 1, u32::MAX),
            (3, super::super::spawn::SPAWNED, 9),
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
