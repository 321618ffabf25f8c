//! Who may use a connection: as many as there may be connections; the others wait for their turn,
//! first come, first served.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metrics::UpstreamCounters;
use crate::shard::task::wake::Waiter;

/// A place that comes free is handed to the first who waits, so one that came later cannot take it
/// from him.
#[derive(Debug)]
pub(super) struct Permits {
    all: u32,
    /// Only while nobody waits is there any.
    free: u32,
    waiting_max: u32,
    /// By the ticket that each has drawn. Who is not among them any more has a place.
    waiting: BTreeMap<Ticket, Waiter>,
    last_ticket: u64,
    counters: Arc<UpstreamCounters>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Nobody else may wait.
#[derive(Debug)]
pub(super) struct Full;

impl Permits {
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

    /// Who waits already may go on waiting.
    pub(super) fn set_waiting_max(&mut self, waiting_max: u32) {
        self.waiting_max = waiting_max;
    }

    pub(super) fn in_use(&self) -> usize {
        (self.all - self.free) as usize
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn take(&mut self) -> bool {
        let taken = self.free > 0;
        self.free -= u32::from(taken);
        self.count();
        taken
    }

    pub(super) fn draw(&mut self, waiter: Waiter) -> Result<Ticket, Full> {
        if self.waiting.len() >= self.waiting_max as usize {
            return Err(Full);
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.insert(ticket, waiter);
        self.count();
        Ok(ticket)
    }

    /// Whoever has drawn `ticket` is to be woken as `waiter` from now on. Gives the waiter before.
    pub(super) fn wait_on(&mut self, ticket: Ticket, waiter: Waiter) -> Option<Waiter> {
        self.waiting.insert(ticket, waiter)
    }

    /// Gives up waiting. False: the place was handed over already.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        let left = self.waiting.remove(&ticket);
        self.count();
        left.is_some()
    }

    pub(super) fn count(&self) {
        self.counters.in_use.set(u64::from(self.all - self.free));
        self.counters.waiting.set(self.waiting.len() as u64);
    }

    pub(super) fn waits(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket)
    }

    /// Returns whom to wake: he has the place.
    pub(super) fn give_back(&mut self) -> Option<Waiter> {
        let next = self.waiting.pop_first();
        self.free += u32::from(next.is_none());
        self.count();
        next.map(|(_, waiter)| waiter)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn waiter() -> Waiter {
        Waiter::Other(Waker::noop().clone())
    }

    #[test]
    fn permits_and_the_queue_have_bounds() {
        let mut permits = Permits::new(2, 1, Arc::default());
        assert_eq!(
            [permits.take(), permits.take(), permits.take()],
            [true, true, false]
        );
        assert!(permits.draw(waiter()).is_ok() && permits.draw(waiter()).is_err());
        assert_eq!((permits.in_use(), permits.waiting()), (2, 1));
    }

    #[test]
    fn a_place_goes_to_the_first_who_waits_and_to_nobody_else() {
        let mut permits = Permits::new(1, 8, Arc::default());
        assert!(permits.take());
        let tickets = [0; 3].map(|_| permits.draw(waiter()).expect("there is room to wait"));
        assert!(permits.give_back().is_some());
        assert_eq!(
            tickets.map(|ticket| permits.waits(ticket)),
            [false, true, true]
        );
        assert!(!permits.take(), "it was handed over");
        assert!(permits.give_back().is_some() && permits.give_back().is_some());
        assert!(permits.give_back().is_none() && permits.take());
    }
}
