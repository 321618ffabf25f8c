//! As receipts, for threads that are no shards.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::shard::mail::outcome::Outcome;

/// What the shards that have an order and the thread that has sent it share.
#[derive(Debug)]
struct Ticket<T> {
    state: Mutex<State<T>>,
    is_answered: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Shards that have not answered.
    awaited: usize,
    outcome: T,
    waker: Option<Waker>,
}

impl<T> Ticket<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard's part of a ticket, which goes with the order. Dropped unanswered, because the shard has
/// ended, it says so.
#[derive(Debug)]
pub(super) struct Reply<T: Outcome> {
    ticket: Arc<Ticket<T>>,
    outcome: T,
}

impl<T: Outcome> Reply<T> {
    pub(super) fn answer(mut self, outcome: T) {
        self.outcome = outcome;
    }
}

impl<T: Outcome> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut state = self.ticket.lock();
        state.awaited -= 1;
        state.outcome = self.outcome.and(state.outcome);
        if state.awaited == 0 {
            let waker = state.waker.take();
            drop(state);
            self.ticket.is_answered.notify_all();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// What becomes of what a thread has sent: a future of it, for any executor, or to be waited for.
/// It is on its way in any case.
#[derive(Debug)]
pub struct ThreadReceipt<T: Outcome>(Arc<Ticket<T>>);

impl<T: Outcome> ThreadReceipt<T> {
    /// A receipt, and the replies of so many shards.
    pub(super) fn new(shards: usize) -> (Self, Vec<Reply<T>>) {
        let ticket = Arc::new(Ticket {
            state: Mutex::new(State {
                awaited: shards,
                outcome: T::OF_NOBODY,
                waker: None,
            }),
            is_answered: Condvar::new(),
        });
        let reply = || Reply {
            ticket: Arc::clone(&ticket),
            outcome: T::OF_NOBODY,
        };
        let replies = (0..shards).map(|_| reply()).collect();
        (Self(ticket), replies)
    }

    /// Waits for it on this thread, for `within` at most; `None`: it is not known by then. Not on a
    /// shard's thread, which it would bring to a stand.
    pub fn wait(&self, within: Duration) -> Option<T> {
        let until = Instant::now().checked_add(within);
        let mut state = self.0.lock();
        while state.awaited > 0 {
            let left = until.map_or(Duration::MAX, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return None;
            }
            let waited = self.0.is_answered.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state.outcome)
    }
}

impl<T: Outcome> Future for ThreadReceipt<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock();
        if state.awaited == 0 {
            return Poll::Ready(state.outcome);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
