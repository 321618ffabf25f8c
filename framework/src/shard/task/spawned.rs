//! Spawned tasks, as far as they concern waking.

use std::future::Future;
use std::pin::Pin;

use crate::config::SHARD_CONNECTIONS_MAX;
use crate::id::{Generation, Key, SlotIndex};

/// In the slot number of a key: it names a spawned task and no connection.
pub(crate) const SPAWNED: u32 = 1 << 20;
const _: () = assert!(
    SHARD_CONNECTIONS_MAX <= SPAWNED,
    "the number of a connection's slot has no bit that tells a spawned task"
);
/// Spawned tasks of a shard at most. No key: it is what their names have bits for.
const SPAWNED_MAX: usize = SPAWNED as usize;

pub(crate) type SpawnedTask = Pin<Box<dyn Future<Output = ()>>>;

/// The spawned tasks as far as they concern waking; their futures are in
/// [`TaskPoller`](crate::shard::task_poller::TaskPoller).
#[derive(Default)]
pub(crate) struct Spawned {
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    /// Not yet polled.
    born: Vec<(Key, SpawnedTask)>,
}

struct Entry {
    generation: Generation,
    /// It is on the list of those that are polled at the end of a turn.
    is_due: bool,
}

/// Where a spawned task stands among them; none if the key is a connection's.
pub(crate) fn spawned_index(key: Key) -> Option<usize> {
    (key.slot.0 & SPAWNED != 0).then_some((key.slot.0 & !SPAWNED) as usize)
}

impl Spawned {
    /// Takes a task in, under the key that this gives; the task itself if there are too many.
    pub(crate) fn add(&mut self, task: SpawnedTask) -> Result<Key, SpawnedTask> {
        let index = match self.vacant.pop() {
            Some(index) => index as usize,
            None if self.entries.len() == SPAWNED_MAX => return Err(task),
            None => {
                self.entries.push(Entry {
                    generation: Generation::FIRST,
                    is_due: false,
                });
                self.entries.len() - 1
            }
        };
        let entry = &mut self.entries[index];
        entry.is_due = true;
        let key = Key {
            slot: SlotIndex(SPAWNED | index as u32),
            generation: entry.generation,
        };
        self.born.push((key, task));
        Ok(key)
    }

    /// Those that were never polled.
    pub(crate) fn take_born(&mut self) -> Vec<(Key, SpawnedTask)> {
        std::mem::take(&mut self.born)
    }

    /// The task is to be polled. True: it was not due already.
    pub(crate) fn wake(&mut self, key: Key) -> bool {
        self.live(key)
            .is_some_and(|entry| !std::mem::replace(&mut entry.is_due, true))
    }

    /// The task is about to be polled. False if there is no such task any more.
    pub(crate) fn begin_poll(&mut self, key: Key) -> bool {
        self.live(key).map(|entry| entry.is_due = false).is_some()
    }

    fn live(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries
            .get_mut(spawned_index(key)?)
            .filter(|entry| entry.generation == key.generation)
    }

    /// The task is over.
    pub(crate) fn end(&mut self, key: Key) {
        let (Some(entry), Some(index)) = (self.live(key), spawned_index(key)) else {
            return;
        };
        entry.generation = entry.generation.next();
        self.vacant.push(index as u32);
    }
}
