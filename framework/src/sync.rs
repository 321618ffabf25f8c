//! The atomics that shards and threads wake each other by. With `--cfg corelane_loom` (`make loom`) they are
//! loom's, which plays every order in which the threads of a model can meet.

#[cfg(not(all(corelane_loom, test)))]
pub(crate) use std::sync::atomic::{AtomicBool, fence};

#[cfg(all(corelane_loom, test))]
pub(crate) use loom::sync::atomic::fence;
#[cfg(all(corelane_loom, test))]
pub(crate) use modelled::AtomicBool;

#[cfg(all(corelane_loom, test))]
mod modelled {
    use std::sync::atomic::Ordering;

    use loom::sync::atomic::fence;

    /// Loom takes a sequentially consistent access for acquire and release. The fence before each
    /// that reads makes up for it; that it does so for a weaker store before it, no model sees.
    #[derive(Debug)]
    pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

    impl AtomicBool {
        pub(crate) fn new(value: bool) -> Self {
            Self(loom::sync::atomic::AtomicBool::new(value))
        }

        pub(crate) fn store(&self, value: bool, ordering: Ordering) {
            self.0.store(value, ordering);
        }

        pub(crate) fn load(&self, ordering: Ordering) -> bool {
            before_read(ordering);
            self.0.load(ordering)
        }

        pub(crate) fn swap(&self, value: bool, ordering: Ordering) -> bool {
            before_read(ordering);
            self.0.swap(value, ordering)
        }
    }

    fn before_read(ordering: Ordering) {
        if ordering == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
    }
}
