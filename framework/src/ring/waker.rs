//! Wakers that are numbers: what the standard library wants to be a pointer names the task that is to be woken. Such a waker owns nothing,
//! so holding, cloning and dropping one costs nothing, and it may outlive the task that it names.

use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::shard::wake_named;

/// The waker of the task of that name.
pub(crate) fn waker(name: usize) -> Waker {
    // SAFETY: the pointer is a number that nothing dereferences; each function of the table may be called on any thread, any number of times.
    unsafe { Waker::new(ptr::without_provenance(name), &TABLE) }
}

/// A static, so that wakers of one name are equal: [`Waker::will_wake`] compares its address.
static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop);

fn clone(name: *const ()) -> RawWaker {
    RawWaker::new(name, &TABLE)
}

fn wake(name: *const ()) {
    wake_named(name.addr());
}

fn drop(_name: *const ()) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_may_be_cloned_without_end_and_outlive_its_task() {
        let waker = waker(usize::MAX);
        let clones: Vec<Waker> = (0..100_000).map(|_| waker.clone()).collect();
        assert!(clones.iter().all(|clone| clone.will_wake(&waker)));
        clones.into_iter().for_each(Waker::wake);
    }
}
