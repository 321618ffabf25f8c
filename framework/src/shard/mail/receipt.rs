//! What becomes of what a shard has sent, to connections and topics: told by the shards that have
//! got it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::shard::handle::{Shard, wake_waiter};
use crate::shard::mail::outcome::Outcome;
use crate::shard::task::wake::Waiter;

const WORD_BITS: usize = u64::BITS as usize;

/// The receipts of a shard whose answers have not all come, or that were not looked at.
#[derive(Debug)]
pub(super) struct Receipts<T> {
    entries: Vec<Entry<T>>,
    vacant: Vec<u32>,
    /// Those whose answers have not all come.
    open: usize,
    /// A bit for each shard that has not answered, [`Self::words`] words an entry.
    awaited: Vec<u64>,
    words: usize,
}

#[derive(Debug)]
struct Entry<T> {
    /// Shards that have not answered.
    awaited: u32,
    outcome: Option<T>,
    waiter: Option<Waiter>,
    /// There is a [`Receipt`] of it.
    is_kept: bool,
}

impl<T: Outcome> Receipts<T> {
    /// Of a server of so many shards.
    pub(super) fn new(shards: usize) -> Self {
        Self {
            entries: Vec::new(),
            vacant: Vec::new(),
            open: 0,
            awaited: Vec::new(),
            words: shards.div_ceil(WORD_BITS),
        }
    }

    /// One that each of these shards answers, at least one; none when `open_max` are open already.
    pub(super) fn open(
        &mut self,
        shards: impl Iterator<Item = usize>,
        open_max: usize,
    ) -> Option<u32> {
        if self.open >= open_max {
            return None;
        }
        self.open += 1;
        let entry = Entry {
            awaited: 0,
            outcome: None,
            waiter: None,
            is_kept: true,
        };
        let number = match self.vacant.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                self.awaited.resize(self.entries.len() * self.words, 0);
                self.entries.len() as u32 - 1
            }
        };
        for shard in shards {
            let (word, bit) = self.place(number, shard);
            self.awaited[word] |= bit;
            self.entries[number as usize].awaited += 1;
        }
        Some(number)
    }

    fn place(&self, number: u32, shard: usize) -> (usize, u64) {
        let word = number as usize * self.words + shard / WORD_BITS;
        (word, 1 << (shard % WORD_BITS))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0 && self.vacant.len() == self.entries.len()
    }

    /// `shard` has ended: what it has not answered it never will. Gives who waits for that.
    pub(super) fn abandon(&mut self, shard: usize) -> Vec<Waiter> {
        let numbers = 0..self.entries.len() as u32;
        let is_awaited = |number: &u32| {
            let (word, bit) = self.place(*number, shard);
            self.awaited[word] & bit != 0
        };
        let abandoned: Vec<u32> = numbers.filter(is_awaited).collect();
        let answered = abandoned.into_iter();
        answered
            .filter_map(|number| self.answer(number, shard, T::OF_NOBODY))
            .collect()
    }

    /// The answer of `shard` to `number` has come. Gives who waits for it, if it is the last.
    pub(super) fn answer(&mut self, number: u32, shard: usize, outcome: T) -> Option<Waiter> {
        let (word, bit) = self.place(number, shard);
        debug_assert_ne!(self.awaited[word] & bit, 0, "a shard answers once");
        self.awaited[word] &= !bit;
        let entry = &mut self.entries[number as usize];
        entry.outcome = Some(match entry.outcome {
            Some(before) => before.and(outcome),
            None => outcome,
        });
        entry.awaited -= 1;
        if entry.awaited > 0 {
            return None;
        }
        self.open -= 1;
        if !entry.is_kept {
            self.vacant.push(number);
        }
        self.entries[number as usize].waiter.take()
    }

    fn poll(&mut self, number: u32, waiter: Waiter) -> (Poll<T>, Option<Waiter>) {
        let entry = &mut self.entries[number as usize];
        match entry.outcome {
            Some(outcome) if entry.awaited == 0 => (Poll::Ready(outcome), Some(waiter)),
            _ => (Poll::Pending, entry.waiter.replace(waiter)),
        }
    }

    /// Nobody keeps `number` any more. Gives who waited.
    fn drop_receipt(&mut self, number: u32) -> Option<Waiter> {
        let entry = &mut self.entries[number as usize];
        entry.is_kept = false;
        let waiter = entry.waiter.take();
        if entry.awaited == 0 {
            self.vacant.push(number);
        }
        waiter
    }
}

/// What becomes of what was sent: a future of it. It is on its way whether this is awaited, kept or
/// dropped.
#[derive(Debug)]
pub struct Receipt<T: Outcome>(State<T>);

#[derive(Debug)]
enum State<T> {
    Known(T),
    Open {
        receipts: Rc<RefCell<Receipts<T>>>,
        number: u32,
    },
}

impl<T: Outcome> Receipt<T> {
    pub(super) fn known(outcome: T) -> Self {
        Self(State::Known(outcome))
    }

    pub(super) fn of(receipts: &Rc<RefCell<Receipts<T>>>, number: u32) -> Self {
        let receipts = Rc::clone(receipts);
        Self(State::Open { receipts, number })
    }
}

impl<T: Outcome> Future for Receipt<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &self.0 {
            State::Known(outcome) => Poll::Ready(*outcome),
            State::Open { receipts, number } => {
                let waiter = Shard::with(|shard| Waiter::of(context.waker(), shard.number()));
                let (poll, unneeded) = receipts.borrow_mut().poll(*number, waiter);
                drop(unneeded); // with no borrow held: it may be anybody's waker
                poll
            }
        }
    }
}

impl<T: Outcome> Drop for Receipt<T> {
    fn drop(&mut self) {
        if let State::Open { receipts, number } = &self.0 {
            let waiter = receipts.borrow_mut().drop_receipt(*number);
            drop(waiter); // with no borrow held, as above
        }
    }
}

/// Wakes who waits, if anybody does.
pub(super) fn wake(waiter: Option<Waiter>) {
    match waiter {
        Some(Waiter::Other(waker)) => waker.wake(),
        Some(task) => wake_waiter(task),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::conns::topics::Published;

    const ONE: Published = Published {
        delivered: 1,
        ..Published::NONE
    };

    #[test]
    fn what_a_shard_that_has_ended_was_asked_is_answered_without_it() {
        let mut receipts = Receipts::new(WORD_BITS + 2);
        let last = WORD_BITS + 1;
        let both = receipts
            .open([0, last].into_iter(), 10)
            .expect("there is room");
        let first = receipts.open([0].into_iter(), 10).expect("there is room");
        assert!(receipts.answer(both, 0, ONE).is_none());
        assert!(receipts.abandon(last).is_empty(), "nobody waits");
        assert_eq!(receipts.entries[both as usize].outcome, Some(ONE));
        assert_eq!(
            (receipts.entries[both as usize].awaited, receipts.open),
            (0, 1)
        );
        assert_eq!(receipts.entries[first as usize].awaited, 1);
        receipts.abandon(last);
        receipts.abandon(0);
        assert_eq!(receipts.open, 0);
    }
}
