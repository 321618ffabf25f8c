//! Who may run at the same time: tests that load the machine and tests that measure latencies run
//! alone, the others together. Cargo runs one test binary after the other, so this is per process.

use std::cell::Cell;
use std::sync::{Condvar, Mutex};

/// Turns that are held. Negative: one test runs alone.
static HELD: Mutex<i32> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// Turns this thread holds: it may start further servers whatever kind of turn it has.
    static OWN: Cell<u32> = const { Cell::new(0) };
}

/// The right to run, given back on drop. Stays on its thread.
#[derive(Debug)]
pub struct Turn {
    change: i32,
    // Given back on the thread that took it.
    _not_send: std::marker::PhantomData<*const ()>,
}

/// Waits until no other test runs.
///
/// # Panics
/// When this thread already has a turn that it shares with others.
#[must_use]
pub fn alone() -> Turn {
    take(-1, |held| held == 0)
}

/// Waits until no test runs alone.
#[must_use]
pub fn shared() -> Turn {
    take(1, |held| held >= 0)
}

fn take(change: i32, free: impl Fn(i32) -> bool) -> Turn {
    if OWN.get() > 0 {
        return Turn {
            change: 0,
            _not_send: std::marker::PhantomData,
        }
        .counted();
    }
    let held = HELD.lock().unwrap();
    let mut held = CHANGED.wait_while(held, |held| !free(*held)).unwrap();
    *held += change;
    Turn {
        change,
        _not_send: std::marker::PhantomData,
    }
    .counted()
}

impl Turn {
    fn counted(self) -> Self {
        OWN.set(OWN.get() + 1);
        self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        OWN.set(OWN.get() - 1);
        *HELD.lock().unwrap() -= self.change;
        CHANGED.notify_all();
    }
}
