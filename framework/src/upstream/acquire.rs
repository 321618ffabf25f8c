//! Waiting for a permit.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::shard::futures::sleep::{Sleep, sleep};
use crate::shard::handle::{Shard, wake_waiter};
use crate::shard::task::wake::Waiter;
use crate::upstream::inner::Inner;
use crate::upstream::permits::{Full, Ticket};
use crate::upstream_error::UpstreamFailure;

/// A wait that ends so much later than it was to was not at fault: the shard was stopped or
/// starved, and with it those who have a place.
const LATE: Duration = Duration::from_millis(250);

/// One place in use, given back on drop.
pub(super) struct Permit(Rc<Inner>);

impl Drop for Permit {
    fn drop(&mut self) {
        let next = self.0.permits.borrow_mut().give_back();
        if let Some(waiter) = next {
            wake_waiter(waiter);
        }
    }
}

/// The future of a place.
pub(super) struct Acquire<'a> {
    pool: &'a Rc<Inner>,
    queued: Option<Queued>,
}

struct Queued {
    ticket: Ticket,
    timeout: Sleep,
    /// It was given its time once more, after a pause of the shard.
    prolonged: bool,
}

impl<'a> Acquire<'a> {
    pub(super) fn new(pool: &'a Rc<Inner>) -> Self {
        Self { pool, queued: None }
    }

    /// The place that was handed over meanwhile.
    fn admitted(&mut self, ticket: Ticket) -> Option<Permit> {
        if self.pool.permits.borrow().waits(ticket) {
            return None;
        }
        self.queued = None;
        Some(Permit(Rc::clone(self.pool)))
    }

    fn queue(&mut self, waiter: Waiter) -> Result<(), UpstreamFailure> {
        let ticket = self.pool.permits.borrow_mut().draw(waiter);
        let upstream = self.pool.upstream();
        let waiting_max = upstream.waiting_max;
        let ticket = ticket.map_err(|Full| UpstreamFailure::Full { waiting_max })?;
        self.queued = Some(Queued {
            ticket,
            timeout: sleep(upstream.connect_timeout),
            prolonged: false,
        });
        Ok(())
    }

    /// Whether it has waited for long enough.
    fn times_out(&mut self, context: &mut Context<'_>) -> bool {
        let Some(queued) = &mut self.queued else {
            return false;
        };
        let mut over = Pin::new(&mut queued.timeout).poll(context).is_ready();
        if over && !queued.prolonged && queued.timeout.overdue() > LATE {
            queued.timeout = sleep(self.pool.upstream().connect_timeout);
            queued.prolonged = true;
            over = Pin::new(&mut queued.timeout).poll(context).is_ready();
        }
        over
    }
}

impl Future for Acquire<'_> {
    type Output = Result<Permit, UpstreamFailure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waiter = || Shard::with(|shard| Waiter::of(context.waker(), shard.number()));
        match self.queued.as_ref().map(|queued| queued.ticket) {
            None => {
                if self.pool.permits.borrow_mut().take() {
                    return Poll::Ready(Ok(Permit(Rc::clone(self.pool))));
                }
                self.queue(waiter())?;
            }
            Some(ticket) => {
                if let Some(place) = self.admitted(ticket) {
                    return Poll::Ready(Ok(place));
                }
                let replaced = self.pool.permits.borrow_mut().wait_on(ticket, waiter());
                drop(replaced); // with no borrow held: it may be anybody's waker
            }
        }
        if self.times_out(context) {
            let waited = self.pool.upstream().connect_timeout;
            Poll::Ready(Err(UpstreamFailure::Busy(waited)))
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(queued) = self.queued.take() else {
            return;
        };
        let left = self.pool.permits.borrow_mut().leave(queued.ticket);
        if !left {
            drop(Permit(Rc::clone(self.pool))); // it was handed over already: the next in the queue gets it
        }
    }
}
