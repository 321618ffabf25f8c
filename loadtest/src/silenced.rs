//! Speakers that have failed: nobody waits for what they were still to say.
//!
//! Shards share it: it is looked up when the load is over, and locked only where somebody has
//! failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Silenced {
    /// How many lines of each were heard.
    lines: Mutex<BTreeMap<u32, u64>>,
    count: AtomicU64,
}

impl Silenced {
    /// Connection `number` says no more than the `lines` that it has heard itself.
    pub(crate) fn add(&self, number: u32, lines: u64) {
        let mut all = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(number, lines);
        self.count.fetch_add(1, Ordering::Release);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// How many of its `due` lines connection `number` says.
    pub(crate) fn lines(&self, number: u32, due: u64) -> u64 {
        if self.count() == 0 {
            return due;
        }
        let all = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&number).map_or(due, |lines| due.min(*lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_failed_says_no_more() {
        let silenced = Silenced::default();
        assert_eq!((silenced.lines(3, 9), silenced.count()), (9, 0));
        silenced.add(3, 5);
        assert_eq!([silenced.lines(3, 9), silenced.lines(3, 4)], [5, 4]);
        assert_eq!((silenced.lines(2, 9), silenced.count()), (9, 1));
    }
}
