//! Who may use a connection: as many as there may be connections; the others wait for their turn,
//! first come, first served.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Inner, UpstreamFailure};
use crate::metrics::UpstreamCounters;
use crate::shard::{Shard, Sleep, Sleeper, rouse, sleep};

/// A wait that ends so much later than it was to was not at fault: the shard was stopped or
/// starved, and with it those who have a place.
const LATE: Duration = Duration::from_millis(250);

/// A place that comes free is handed to the first who waits, so one that came later cannot take it
/// from him.
#[derive(Debug)]
pub(super) struct Places {
    all: u32,
    /// Only while nobody waits is there any.
    free: u32,
    waiting_max: u32,
    /// By the ticket that each has drawn. Who is not among them any more has a place.
    waiting: BTreeMap<Ticket, Sleeper>,
    last_ticket: u64,
    counters: Arc<UpstreamCounters>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket(u64);

/// Nobody else may wait.
#[derive(Debug)]
struct Full;

impl Places {
    pub(super) fn new(all: u32, waiting_max: u32, counters: Arc<UpstreamCounters>) -> Self {
        Self {
            all,
            free: all,
            waiting_max,
            waiting: BTreeMap::new(),
            last_ticket: 0,
            counters,
        }
    }

    pub(super) fn in_use(&self) -> usize {
        (self.all - self.free) as usize
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn take(&mut self) -> bool {
        let taken = self.free > 0;
        self.free -= u32::from(taken);
        self.count();
        taken
    }

    fn draw(&mut self, sleeper: Sleeper) -> Result<Ticket, Full> {
        if self.waiting.len() >= self.waiting_max as usize {
            return Err(Full);
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.insert(ticket, sleeper);
        self.count();
        Ok(ticket)
    }

    /// Gives up waiting. False: the place was handed over already.
    fn leave(&mut self, ticket: Ticket) -> bool {
        let left = self.waiting.remove(&ticket);
        self.count();
        left.is_some()
    }

    fn count(&self) {
        self.counters.in_use.set(u64::from(self.all - self.free));
        self.counters.waiting.set(self.waiting.len() as u64);
    }

    fn waits(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket)
    }

    /// Returns whom to wake: he has the place.
    fn give_back(&mut self) -> Option<Sleeper> {
        let next = self.waiting.pop_first();
        self.free += u32::from(next.is_none());
        self.count();
        next.map(|(_, sleeper)| sleeper)
    }
}

/// One place in use, given back on drop.
pub(super) struct Place(Rc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        let next = self.0.places.borrow_mut().give_back();
        next.into_iter().for_each(rouse);
    }
}

/// The future of a place.
pub(super) struct Admission<'a> {
    pool: &'a Rc<Inner>,
    queued: Option<Queued>,
}

struct Queued {
    ticket: Ticket,
    timeout: Sleep,
    /// It was given its time once more, after a pause of the shard.
    prolonged: bool,
}

impl<'a> Admission<'a> {
    pub(super) fn new(pool: &'a Rc<Inner>) -> Self {
        Self { pool, queued: None }
    }

    /// The place that was handed over meanwhile.
    fn admitted(&mut self, ticket: Ticket) -> Option<Place> {
        if self.pool.places.borrow().waits(ticket) {
            return None;
        }
        self.queued = None;
        Some(Place(Rc::clone(self.pool)))
    }

    fn queue(&mut self, sleeper: Sleeper) -> Result<(), UpstreamFailure> {
        let ticket = self.pool.places.borrow_mut().draw(sleeper);
        let waiting_max = self.pool.upstream.waiting_max;
        let ticket = ticket.map_err(|Full| UpstreamFailure::Full { waiting_max })?;
        self.queued = Some(Queued {
            ticket,
            timeout: sleep(self.pool.upstream.connect_timeout),
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
            (queued.timeout, queued.prolonged) = (sleep(self.pool.upstream.connect_timeout), true);
            over = Pin::new(&mut queued.timeout).poll(context).is_ready();
        }
        over
    }
}

impl Future for Admission<'_> {
    type Output = Result<Place, UpstreamFailure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let sleeper = || Shard::with(|shard| shard.state().sleeper(context.waker()));
        match self.queued.as_ref().map(|queued| queued.ticket) {
            None => {
                if self.pool.places.borrow_mut().take() {
                    return Poll::Ready(Ok(Place(Rc::clone(self.pool))));
                }
                self.queue(sleeper())?;
            }
            Some(ticket) => {
                if let Some(place) = self.admitted(ticket) {
                    return Poll::Ready(Ok(place));
                }
                let replaced = self
                    .pool
                    .places
                    .borrow_mut()
                    .waiting
                    .insert(ticket, sleeper());
                drop(replaced); // with no borrow held: it may be anybody's waker
            }
        }
        if self.times_out(context) {
            Poll::Ready(Err(UpstreamFailure::Busy(
                self.pool.upstream.connect_timeout,
            )))
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let Some(queued) = self.queued.take() else {
            return;
        };
        let left = self.pool.places.borrow_mut().leave(queued.ticket);
        if !left {
            drop(Place(Rc::clone(self.pool))); // it was handed over already: the next in the queue gets it
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn sleeper() -> Sleeper {
        Sleeper::Other(Waker::noop().clone())
    }

    #[test]
    fn places_and_the_queue_have_bounds() {
        let mut places = Places::new(2, 1, Arc::default());
        assert_eq!(
            [places.take(), places.take(), places.take()],
            [true, true, false]
        );
        assert!(places.draw(sleeper()).is_ok() && places.draw(sleeper()).is_err());
        assert_eq!((places.in_use(), places.waiting()), (2, 1));
    }

    #[test]
    fn a_place_goes_to_the_first_who_waits_and_to_nobody_else() {
        let mut places = Places::new(1, 8, Arc::default());
        assert!(places.take());
        let tickets = [0; 3].map(|_| places.draw(sleeper()).expect("there is room to wait"));
        assert!(places.give_back().is_some());
        assert_eq!(
            tickets.map(|ticket| places.waits(ticket)),
            [false, true, true]
        );
        assert!(!places.take(), "it was handed over");
        assert!(places.give_back().is_some() && places.give_back().is_some());
        assert!(places.give_back().is_none() && places.take());
    }
}
