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

/// The receipts of a shard whose answers have not all come, or that were not looked at.
#[derive(Debug)]
pub(super) struct Receipts<T> {
    entries: Vec<Entry<T>>,
    vacant: Vec<u32>,
    /// Those whose answers have not all come.
    open: usize,
}

#[derive(Debug)]
struct Entry<T> {
    /// Shards that have not answered.
    awaited: usize,
    outcome: Option<T>,
    waiter: Option<Waiter>,
    /// There is a [`Receipt`] of it.
    is_kept: bool,
}

impl<T> Default for Receipts<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            vacant: Vec::new(),
            open: 0,
        }
    }
}

impl<T: Outcome> Receipts<T> {
    /// One that so many shards answer; none when `open_max` are open already.
    pub(super) fn open(&mut self, answers: usize, open_max: usize) -> Option<u32> {
        if self.open >= open_max {
            return None;
        }
        self.open += 1;
        let entry = Entry {
            awaited: answers,
            outcome: None,
            waiter: None,
            is_kept: true,
        };
        Some(match self.vacant.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0 && self.vacant.len() == self.entries.len()
    }

    /// One shard's answer to `number` has come. Gives who waits for it, if it is the last.
    pub(super) fn answer(&mut self, number: u32, outcome: T) -> Option<Waiter> {
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
