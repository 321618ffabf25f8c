//! Tasks that belong to no connection: what a handler or a client program starts on its shard.

use std::future::Future;
use std::pin::Pin;

use super::table::Waiting;
use super::{Shard, State};
use crate::error::Error;
use crate::ring::{Generation, Key, SlotIndex};

/// In the slot number of a key: it names a spawned task and no connection.
pub(super) const SPAWNED: u32 = 1 << 20;
/// Spawned tasks of a shard at most. No key: it is what their names have bits for.
const SPAWNED_MAX: usize = SPAWNED as usize;

pub(super) type SpawnedTask = Pin<Box<dyn Future<Output = ()>>>;

/// Starts `task` on this thread's shard, beside the connections' handlers. It is first polled at the end of the turn.
///
/// It ends with the shard at the latest: then it is dropped where it waits. A panic in it ends it and nothing else.
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
    if refused.is_none() { Ok(()) } else { Err(Error::TooManyTasks) } // and it is dropped with no borrow held
}

/// The spawned tasks as far as they concern waking; their futures are in [`Tasks`](super::serve::Tasks).
#[derive(Default)]
pub(super) struct SpawnTable {
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    /// Not yet polled.
    born: Vec<(Key, SpawnedTask)>,
}

struct Entry {
    generation: Generation,
    /// None: there is no such task.
    waiting: Option<Waiting>,
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
                table.entries.push(Entry { generation: Generation::FIRST, waiting: None });
                table.entries.len() - 1
            }
        };
        let entry = &mut table.entries[index];
        entry.waiting = Some(Waiting::Due);
        let key = Key { slot: SlotIndex(SPAWNED | index as u32), generation: entry.generation };
        table.born.push((key, task));
        self.wakes.push(key);
        None
    }

    pub(super) fn take_born(&mut self) -> Vec<(Key, SpawnedTask)> {
        std::mem::take(&mut self.spawned.born)
    }

    pub(super) fn wake_spawned(&mut self, key: Key) {
        if !self.spawned_is_due(key) && self.set_spawned_waiting(key, Waiting::Due).is_some() {
            self.wakes.push(key);
        }
    }

    pub(super) fn spawned_is_due(&mut self, key: Key) -> bool {
        self.spawned_waiting(key).is_some_and(|waiting| *waiting == Waiting::Due)
    }

    fn spawned_waiting(&mut self, key: Key) -> Option<&mut Waiting> {
        let entry = self.spawned.entries.get_mut(spawned_index(key)?)?;
        entry.waiting.as_mut().filter(|_| entry.generation == key.generation)
    }

    /// Returns what it waited for before; none if there is no such task.
    pub(super) fn set_spawned_waiting(&mut self, key: Key, waiting: Waiting) -> Option<Waiting> {
        let before = std::mem::replace(self.spawned_waiting(key)?, waiting);
        self.wakes.waits_changed(before, waiting);
        Some(before)
    }

    /// The task is over.
    pub(super) fn end_spawned(&mut self, key: Key) {
        if self.set_spawned_waiting(key, Waiting::Nothing).is_none() {
            return;
        }
        let Some(index) = spawned_index(key) else { return };
        let entry = &mut self.spawned.entries[index];
        (entry.waiting, entry.generation) = (None, entry.generation.next());
        self.spawned.vacant.push(index as u32);
    }
}
