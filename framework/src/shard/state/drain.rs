//! How far a shard's drain has come, and who waits for it.

use std::collections::BTreeMap;

use crate::shard::task::wake::Waiter;
use crate::time::Tick;

/// The drain of a shard.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    pub(crate) stage: DrainStage,
    /// It has just begun.
    pub(crate) is_news: bool,
    /// As many as there are futures that wait.
    waiters: BTreeMap<u64, Waiter>,
    serial: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DrainStage {
    #[default]
    Off,
    /// Connections end by themselves until this tick. Outbound ones are closed once nobody is left
    /// whom they serve, on any shard.
    Polite { until: Tick, outbound_closed: bool },
    /// Everything is being cut, and given up at this tick.
    Cut { until: Tick },
}

impl Drain {
    /// When the drain must be looked at again.
    pub(crate) fn due(&self, now: Tick) -> Tick {
        match self.stage {
            DrainStage::Off => Tick::NEVER,
            // The listener's queue has no completion that tells of it.
            DrainStage::Polite { .. } | DrainStage::Cut { .. } => Tick(now.0 + 1),
        }
    }

    /// The number of a future that waits.
    pub(crate) fn entry(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Gives the waiter that was there before.
    pub(crate) fn wait(&mut self, entry: u64, waiter: Waiter) -> Option<Waiter> {
        self.waiters.insert(entry, waiter)
    }

    pub(crate) fn stop_waiting(&mut self, entry: u64) -> Option<Waiter> {
        self.waiters.remove(&entry)
    }

    pub(crate) fn take_waiters(&mut self) -> impl Iterator<Item = Waiter> + use<> {
        std::mem::take(&mut self.waiters).into_values()
    }
}
