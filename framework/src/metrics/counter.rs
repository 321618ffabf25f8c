//! A number of one writer.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and others may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// For the one writer only: a plain load and store.
    pub(crate) fn add(&self, amount: u64) {
        self.set(self.get() + amount);
    }

    /// As [`Self::add`]; of what was added before.
    pub(crate) fn subtract(&self, amount: u64) {
        self.set(self.get().saturating_sub(amount));
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
