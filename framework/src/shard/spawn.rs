//! Tasks that belong to no connection: what a handler or a client program starts on its shard.

use std::future::Future;
use std::pin::Pin;

use super::{Shard, State};
use crate::error::Error;
use crate::ring::{Generation, Key, SlotIndex};

/// In the slot number of a key: it names a spawned task and no connection.
pub(super) const SPAWNED: u32 = 1 << 20;
/// Spawned tasks of a shard at most. No key: it is what their names have bits for.
const SPAWNED_MAX: usize = SPAWNED as usize;

pub(super) type SpawnedTask = Pin<Box<dyn Future<Output = ()>>>;

/// Starts `task` on this thread's shard, beside the connections' handlers. It is first polled at
/// the end of the turn.
///
/// It ends with the shard at the latest: then it is dropped where it waits. A panic in it ends it
/// and nothing else.
///
/// # Errors
///
/// [`Error::TooManyTasks`] when the shard has a million of them.
///
/// # Panics
///
/// On a thread that is not a shard's.
pub fn spawn(task: impl Future<Output = ()> + 'static) -> Result<(), Error> {
    let task: SpawnedTask = Box::pin(task);
    let refused = Shard::with(|shard| shard.state().spawn(task));
    if refused.is_none() {
        Ok(())
    } else {
        Err(Error::TooManyTasks)
    } // and it is dropped with no borrow held
}

/// The spawned tasks as far as they concern waking; their futures are in
/// [`Tasks`](super::serve::Tasks).
#[derive(Default)]
pub(super) struct SpawnTable {
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
pub(super) fn spawned_index(key: Key) -> Option<usize> {
    (key.slot.0 & SPAWNED != 0).then_some((key.slot.0 & !SPAWNED) as usize)
}

impl State {
    /// Gives the task back if there are too many.
    fn spawn(&mut self, task: SpawnedTask) -> Option<SpawnedTask> {
        let table = &mut self.spawned;
        let index = match table.vacant.pop() {
            Some(index) => index as usize,
            None if table.entries.len() == SPAWNED_MAX => return Some(task),
            None => {
                table.entries.push(Entry {
                    generation: Generation::FIRST,
                    is_due: false,
                });
                table.entries.len() - 1
            }
        };
        let entry = &mut table.entries[index];
        entry.is_due = true;
        let key = Key {
            slot: SlotIndex(SPAWNED | index as u32),
            generation: entry.generation,
        };
        table.born.push((key, task));
        self.wakes.push(key);
        None
    }

    pub(super) fn take_born(&mut self) -> Vec<(Key, SpawnedTask)> {
        std::mem::take(&mut self.spawned.born)
    }

    pub(super) fn wake_spawned(&mut self, key: Key) {
        if self
            .live_spawned(key)
            .is_some_and(|entry| !std::mem::replace(&mut entry.is_due, true))
        {
            self.wakes.push(key);
        }
    }

    /// The task is about to be polled. False if there is no such task any more.
    pub(super) fn begin_spawned(&mut self, key: Key) -> bool {
        self.live_spawned(key)
            .map(|entry| entry.is_due = false)
            .is_some()
    }

    fn live_spawned(&mut self, key: Key) -> Option<&mut Entry> {
        self.spawned
            .entries
            .get_mut(spawned_index(key)?)
            .filter(|entry| entry.generation == key.generation)
    }

    /// The task is over.
    pub(super) fn end_spawned(&mut self, key: Key) {
        let (Some(entry), Some(index)) = (self.live_spawned(key), spawned_index(key)) else {
            return;
        };
        entry.generation = entry.generation.next();
        self.spawned.vacant.push(index as u32);
    }
}
