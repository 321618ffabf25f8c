//! Wakers that are numbers: what the standard library wants to be a pointer names the task that is
//! to be woken. Such a waker owns nothing, so holding, cloning and dropping one costs nothing, and
//! it may outlive the task that it names.

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::task::{RawWaker, RawWakerVTable, Waker};

thread_local! {
    /// Somebody has kept a waker of ours.
    static KEPT: Cell<bool> = const { Cell::new(false) };
}

/// What wakes the task of a name, on any thread: the shards know.
static WAKE: OnceLock<fn(usize)> = OnceLock::new();

/// Says what wakes the task of a name. The first one stays.
pub(crate) fn wake_by(wake: fn(usize)) {
    WAKE.get_or_init(|| wake);
}

/// The waker of the task of that name.
pub(crate) fn waker(name: usize) -> Waker {
    // SAFETY: the pointer is a number that nothing dereferences; each function of the table may be
    // called on any thread, any number of times.
    unsafe { Waker::new(ptr::without_provenance(name), &TABLE) }
}

/// The name of the task that `waker` wakes, if it is one of these.
pub(crate) fn name_of(waker: &Waker) -> Option<usize> {
    ptr::eq(waker.vtable(), &TABLE).then(|| waker.data().addr())
}

/// Whether a waker was ever cloned on this thread. What waits within a shard takes the name and
/// clones nothing, so a clone means that something else may end the wait: another thread, a
/// combinator, or what lives in the executor's own rings and only its turn can move.
pub(crate) fn are_kept() -> bool {
    KEPT.get()
}

/// A static, so that wakers of one name are equal: [`Waker::will_wake`] compares its address.
static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop);

fn clone(name: *const ()) -> RawWaker {
    let _thread_is_ending = KEPT.try_with(|kept| kept.set(true));
    RawWaker::new(name, &TABLE)
}

fn wake(name: *const ()) {
    if let Some(wake) = WAKE.get() {
        wake(name.addr());
    }
}

fn drop(_name: *const ()) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_may_be_cloned_without_end_and_outlive_its_task() {
        let waker = waker(usize::MAX);
        assert!(!are_kept());
        let clones: Vec<Waker> = (0..100_000).map(|_| waker.clone()).collect();
        assert!(are_kept());
        assert!(clones.iter().all(|clone| clone.will_wake(&waker)));
        clones.into_iter().for_each(Waker::wake);
    }

    #[test]
    fn a_waker_tells_its_name_and_others_have_none() {
        assert_eq!(name_of(&waker(7)), Some(7));
        assert_eq!(name_of(Waker::noop()), None);
    }
}
