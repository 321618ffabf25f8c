//! Tells a shard that messages wait for it, and wakes it only where it rests.
//!
//! Whoever has pushed messages rings; the shard looks in every turn, at one flag. A shard that has
//! never been sent a message pays nothing else: it is taken for resting, and the first to ring
//! wakes it. From then on it says before each wait that it rests, and looks once more.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ring::WakeFd;

/// One shard's bell. Each source has a flag of its own, so that no two write the same.
#[derive(Debug)]
pub(crate) struct Bell {
    /// By source: it has news for the shard.
    from: Box<[AtomicBool]>,
    /// One of them has. Each side writes one of this and the next and then reads the other
    /// (sequentially consistent), so that one of the two sees what the other wrote.
    any: AtomicBool,
    /// The shard waits, or is about to, and nobody has woken it yet.
    is_resting: AtomicBool,
    wake: WakeFd,
}

impl Bell {
    pub(crate) fn new(sources: usize, wake: WakeFd) -> Self {
        Self {
            from: (0..sources).map(|_| AtomicBool::new(false)).collect(),
            any: AtomicBool::new(false),
            is_resting: AtomicBool::new(true),
            wake,
        }
    }

    /// `source` has news, all of which was written before; a shard that rests finds it when it
    /// goes on.
    pub(crate) fn ring_quietly(&self, source: usize) {
        self.from[source].store(true, Ordering::Release);
        self.any.store(true, Ordering::SeqCst);
    }

    /// `source` has news, all of which was written before.
    pub(crate) fn ring(&self, source: usize) {
        self.ring_quietly(source);
        if !self.is_resting.load(Ordering::SeqCst) {
            return;
        }
        // Of several who find it at rest one wakes it.
        if self.is_resting.swap(false, Ordering::SeqCst)
            && let Err(error) = self.wake.signal()
        {
            tracing::error!(%error, "a shard cannot be woken");
        }
    }

    /// The shard's: whether there is news.
    fn has_rung(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The shard's: whether there is news since it last asked. If so it asks for each source next.
    pub(crate) fn answer(&self) -> bool {
        self.has_rung() && self.any.swap(false, Ordering::SeqCst)
    }

    /// The shard's: whether there is news of `source`, all of which can be read now.
    pub(crate) fn take(&self, source: usize) -> bool {
        let flag = &self.from[source];
        flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::AcqRel)
    }

    /// The shard's: it has not read all the news of `source`.
    pub(crate) fn put_back(&self, source: usize) {
        self.from[source].store(true, Ordering::Relaxed);
    }

    /// The shard's: it has not asked for all sources, and does so in the next turn.
    pub(crate) fn again(&self) {
        self.any.store(true, Ordering::Relaxed);
    }

    /// The shard's: it is about to wait, and whoever rings wakes it. False: there is news.
    fn rest(&self) -> bool {
        self.is_resting.store(true, Ordering::SeqCst);
        !self.any.load(Ordering::SeqCst)
    }

    /// The shard's: it waits no more.
    fn resume(&self) {
        self.is_resting.store(false, Ordering::Relaxed);
    }
}

/// The bells of a server, as one of its shards has them.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    bells: Arc<[Bell]>,
    /// The shard's own place among them.
    own: usize,
    /// By target: it is to be rung at the end of the turn; and whether any is.
    is_due: Box<[Cell<bool>]>,
    is_any_due: Cell<bool>,
    /// The shard has been sent something: it says when it rests.
    is_heard: Cell<bool>,
}

impl Bells {
    pub(crate) fn of(bells: Arc<[Bell]>, own: usize) -> Self {
        Self {
            is_due: bells.iter().map(|_| Cell::new(false)).collect(),
            bells,
            own,
            is_any_due: Cell::new(false),
            is_heard: Cell::new(false),
        }
    }

    /// Rings the bell of `target` once the tasks of this turn were polled: one ring for all that
    /// they send.
    pub(crate) fn ring_later(&self, target: usize) {
        self.is_due[target].set(true);
        self.is_any_due.set(true);
    }

    /// Rings those that are due.
    pub(crate) fn ring(&self) {
        if !self.is_any_due.replace(false) {
            return;
        }
        for (bell, is_due) in self.bells.iter().zip(&self.is_due) {
            if is_due.replace(false) {
                bell.ring(self.own);
            }
        }
    }

    /// The shard's own; none where nobody sends messages.
    pub(crate) fn own(&self) -> Option<&Bell> {
        self.bells.get(self.own)
    }

    /// Whether there is news since the last look.
    pub(crate) fn answer(&self) -> bool {
        let answers = self.own().is_some_and(Bell::answer);
        if answers {
            self.is_heard.set(true);
        }
        answers
    }

    /// The shard is about to wait. False: there is news, so it must not.
    pub(crate) fn rest(&self) -> bool {
        match self.own() {
            Some(bell) if self.is_heard.get() => bell.rest(),
            _ => true,
        }
    }

    /// The shard waits no more.
    pub(crate) fn resume(&self) {
        if let Some(bell) = self.own()
            && self.is_heard.get()
        {
            bell.resume();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pair() -> (Bells, Bells) {
        let bells = (0..2).map(|_| Bell::new(2, WakeFd::new().unwrap()));
        let bells: Arc<[Bell]> = bells.collect();
        (Bells::of(Arc::clone(&bells), 0), Bells::of(bells, 1))
    }

    fn was_signalled(bells: &Bells) -> bool {
        let wake = &bells.own().unwrap().wake;
        let signalled = !wake.park();
        wake.unpark();
        wake.begin_turn();
        signalled
    }

    #[test]
    fn a_shard_is_woken_once_and_only_where_it_rests() {
        let (one, two) = pair();
        one.ring_later(1);
        one.ring_later(1);
        assert!(!two.own().unwrap().has_rung(), "not before the turn's end");
        one.ring();
        assert!(two.own().unwrap().has_rung() && was_signalled(&two));
        assert!(two.answer() && !two.answer());
        assert!(two.own().unwrap().take(0) && !two.own().unwrap().take(0));
        assert!(!two.own().unwrap().take(1), "the other source has none");

        assert!(two.rest());
        two.resume();
        one.ring_later(1);
        one.ring();
        assert!(!was_signalled(&two), "it runs, and looks by itself");
        assert!(!two.rest(), "there is news");
        assert!(two.answer());
        assert!(two.rest());
        one.ring_later(1);
        one.ring();
        assert!(was_signalled(&two));
        one.ring_later(1);
        one.ring();
        assert!(!was_signalled(&two), "it was woken already");
    }

    #[test]
    fn where_nobody_sends_there_is_no_bell() {
        let none = Bells::default();
        assert!(none.rest() && !none.answer());
        none.resume();
        none.ring();
    }
}
