//! How whoever waits for room in a lane is told that there is some.

use std::sync::atomic::Ordering;

use crate::sync::{AtomicBool, fence};

/// Whether a lane's source waits for room in it.
pub(super) struct RoomWanted(AtomicBool);

impl RoomWanted {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The source's: it waits. It looks once more behind this.
    pub(super) fn want(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst); // before the look; the target makes room and then looks at this
    }

    /// The target's, once it has made room: whether the source waits for that.
    pub(super) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

#[cfg(all(corelane_loom, test))]
mod model {
    use std::cell::Cell;
    use std::sync::Arc;

    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;
    use crate::shard::task::bell::model::Rester;

    const CAPACITY: usize = 1;

    /// A lane as its two sides see it: what was pushed and what was taken, as rtrb counts them.
    struct Lane {
        pushed: AtomicUsize,
        taken: AtomicUsize,
        wanted: RoomWanted,
    }

    impl Lane {
        fn full() -> Self {
            Self {
                pushed: AtomicUsize::new(CAPACITY),
                taken: AtomicUsize::new(0),
                wanted: RoomWanted::new(),
            }
        }

        fn has_room(&self) -> bool {
            self.pushed.load(Ordering::Relaxed) - self.taken.load(Ordering::Acquire) < CAPACITY
        }

        fn has_or_wants_room(&self) -> bool {
            if self.has_room() {
                return true;
            }
            self.wanted.want();
            self.has_room()
        }
    }

    #[test]
    fn loom_a_send_that_waits_for_room_is_woken() {
        loom::model(|| {
            let (source, lane) = (Rester::new(2), Arc::new(Lane::full()));
            let (of_target, bells) = (Arc::clone(&lane), source.bells());
            let target = thread::spawn(move || {
                of_target.taken.store(1, Ordering::Release);
                if of_target.wanted.take() {
                    bells[0].ring(1);
                }
            });
            let has_sent = Cell::new(false);
            let try_send = || has_sent.set(has_sent.get() || lane.has_or_wants_room());
            try_send();
            while !source.rests() {
                source.begin_turn(|_target| try_send());
            }
            target.join().expect("it does not panic");
            if !has_sent.get() {
                assert!(source.is_woken(), "the send waits for ever");
                source.begin_turn(|_target| try_send());
                assert!(has_sent.get(), "woken for nothing");
            }
        });
    }
}
