//! The reference for state that is shared: two threads, and counts behind locks.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use fastrand::Rng;
use push::pin;

use crate::shared::{KEYS, increment};

/// So many locks, each with the counts of as great a part of the keys.
const STRIPES: u64 = 64;

/// Counts by key.
pub(crate) struct Locks {
    stripes: Vec<Stripe>,
}

/// On cache lines of its own, and those that are fetched along with them.
#[repr(align(128))]
struct Stripe(Mutex<HashMap<u64, u64>>);

impl Stripe {
    /// A count is whole at any time.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locks {
    pub(crate) fn new() -> Self {
        let stripe = |_| Stripe(Mutex::default());
        Self {
            stripes: (0..STRIPES).map(stripe).collect(),
        }
    }

    /// How many increments were made: so many by each of two threads.
    pub(crate) fn turn(&self, increments: u64, cores: [usize; 2]) -> u64 {
        thread::scope(|scope| {
            for (seed, core) in cores.into_iter().enumerate() {
                scope.spawn(move || {
                    pin(core);
                    let mut rng = Rng::with_seed(seed as u64);
                    for _ in 0..increments {
                        black_box(self.increment(rng.u64(..KEYS)));
                    }
                });
            }
        });
        increments * cores.len() as u64
    }

    fn increment(&self, key: u64) -> u64 {
        let stripe = &self.stripes[(key % STRIPES) as usize];
        increment(&mut stripe.lock(), key)
    }

    /// The sum of all counts.
    pub(crate) fn counted(&self) -> u64 {
        let sum = |stripe: &Stripe| stripe.lock().values().sum::<u64>();
        self.stripes.iter().map(sum).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_increment_of_both_threads_is_counted() {
        let locks = Locks::new();
        assert_eq!(locks.turn(1000, [0, 0]), 2000);
        assert_eq!(locks.counted(), 2000);
    }
}
