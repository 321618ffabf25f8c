//! Tells a shard that messages wait for it, and wakes it only where it rests.
//!
//! Whoever has pushed messages rings; the shard looks in every turn, at one flag. A shard that has
//! never been sent a message pays nothing else: it is taken for resting, and the first to ring
//! wakes it. From then on it says before each wait that it rests, and looks once more.
//!
//! Beside that the shards of a server tell each other when they have nobody left to serve, so that none
//! ends before the others.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ring::WakeFd;
use crate::sync::AtomicBool;

/// One shard's bell. Each source has a flag of its own, so that no two write the same.
#[derive(Debug)]
pub(crate) struct Bell {
    /// By source: it has news for the shard.
    from: Box<[AtomicBool]>,
    /// One of them has. Each side writes one of this and the next and then reads the other
    /// (sequentially consistent), so that one of the two sees what the other wrote. It is swapped,
    /// never stored: who reads what one source wrote last sees all that the others did before.
    any: AtomicBool,
    /// The shard waits, or is about to, and nobody has woken it yet.
    is_resting: AtomicBool,
    /// The shard drains, and has nobody left to serve, or has ended.
    has_served: AtomicBool,
    wake: WakeFd,
}

impl Bell {
    pub(crate) fn new(sources: usize, wake: WakeFd) -> Self {
        Self {
            from: (0..sources).map(|_| AtomicBool::new(false)).collect(),
            any: AtomicBool::new(false),
            is_resting: AtomicBool::new(true),
            has_served: AtomicBool::new(false),
            wake,
        }
    }

    /// `source` has news, all of which was written before; a shard that rests finds it when it
    /// goes on.
    pub(crate) fn ring_quietly(&self, source: usize) {
        self.from[source].store(true, Ordering::Release);
        self.any.swap(true, Ordering::SeqCst);
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

    /// The shard's, and whoever sees its end: what others serve is all that it goes on for. True if
    /// that was not known.
    pub(crate) fn finish_serving(&self) -> bool {
        !self.has_served.swap(true, Ordering::SeqCst)
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
        // Not a store: that would hide what the source has written with a ring of just now.
        self.from[source].swap(true, Ordering::Relaxed);
    }

    /// The shard's: it has not asked for all sources, and does so in the next turn.
    pub(crate) fn again(&self) {
        self.any.swap(true, Ordering::Relaxed);
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

    /// The shard drains and has nobody left to serve. Whether that is so of all: until then one may
    /// be asked for what another serves. The last one wakes the others.
    pub(crate) fn finish_serving(&self) -> bool {
        let is_news = self.own().is_some_and(Bell::finish_serving);
        let mut bells = self.bells.iter();
        let is_over = bells.all(|bell| bell.has_served.load(Ordering::SeqCst));
        if is_news && is_over {
            self.bells.iter().for_each(|bell| bell.ring(self.own));
        }
        is_over
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

#[cfg(all(corelane_loom, test))]
pub(crate) mod model {
    use loom::sync::atomic::AtomicU32;
    use loom::thread;

    use super::*;

    /// Shard 0 of a server as its bell sees it: turns, with rests between them.
    pub(crate) struct Rester {
        bells: Bells,
        sources: usize,
    }

    impl Rester {
        pub(crate) fn new(sources: usize) -> Self {
            let wake = WakeFd::new().expect("an eventfd");
            let bells = Bells::of(Arc::new([Bell::new(sources, wake)]), 0);
            Self { bells, sources }
        }

        pub(crate) fn bells(&self) -> Arc<[Bell]> {
            Arc::clone(&self.bells.bells)
        }

        fn own(&self) -> &Bell {
            &self.bells.bells[0]
        }

        /// A turn up to its tasks; `receive` is given the sources that have news.
        pub(crate) fn begin_turn(&self, receive: impl FnMut(usize)) {
            self.own().wake.unpark();
            self.own().wake.begin_turn();
            self.bells.resume();
            if self.bells.answer() {
                let sources = (0..self.sources).filter(|source| self.own().take(*source));
                sources.for_each(receive);
            }
        }

        /// The end of a turn. False: the next begins at once.
        pub(crate) fn rests(&self) -> bool {
            self.own().wake.park() && self.bells.rest()
        }

        /// Whether it rests no more.
        pub(crate) fn is_woken(&self) -> bool {
            !self.own().wake.park()
        }
    }

    const SOURCES: usize = 2;

    /// Each source sends one message. `leaves_first`: the shard leaves the first news for its next
    /// turn, as at the bound of one.
    fn send_to_a_shard_that_rests(leaves_first: bool) {
        let shard = Rester::new(SOURCES);
        let lanes: Arc<[AtomicU32]> = (0..SOURCES).map(|_| AtomicU32::new(0)).collect();
        let send = |source: usize| {
            let (lanes, bells) = (Arc::clone(&lanes), shard.bells());
            thread::spawn(move || {
                lanes[source].store(1, Ordering::Release);
                bells[0].ring(source);
            })
        };
        let senders: Vec<_> = (0..SOURCES).map(send).collect();
        let seen: [Cell<u32>; SOURCES] = Default::default();
        let leaves_next = Cell::new(leaves_first);
        let receive = |source: usize| {
            if leaves_next.replace(false) {
                shard.own().put_back(source);
                shard.own().again();
            } else {
                seen[source].set(lanes[source].load(Ordering::Acquire));
            }
        };
        while !shard.rests() {
            shard.begin_turn(receive);
        }
        for sender in senders {
            sender.join().expect("it does not panic");
        }
        // As it would be woken: what comes of the first turn's bound included.
        while seen.iter().any(|seen| seen.get() == 0) {
            let goes_on = shard.is_woken() || !shard.bells.rest();
            assert!(goes_on, "it rests, and a message lies there");
            shard.begin_turn(receive);
        }
    }

    /// All orders with so many switches at most between threads that could go on: those of three
    /// threads without a bound take hours.
    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }

    #[test]
    fn loom_no_message_is_unseen_while_its_shard_rests() {
        check(|| send_to_a_shard_that_rests(false));
    }

    #[test]
    fn loom_nor_is_one_that_a_turn_has_left() {
        check(|| send_to_a_shard_that_rests(true));
    }
}
