//! Accepting: as many single accepts in flight as there are free slots, up to a bound.
//!
//! An accept is posted only when a slot is free, so the connection limit is exact, and whoever
//! comes above it waits in the kernel's queue, unless [`admission`](crate::shard::admission) has a
//! spare place for it. The direct descriptor that the kernel allocates is the slot's number. No
//! turn accepts more than `limits.accepts_in_flight_max`: the others of the shard are served in
//! between.
//!
//! Each listener has its share of these accepts. An accept of one may wait while another takes the
//! place that both were posted for: whoever comes by it then is held until there is a place.

use std::os::fd::AsRawFd;

use crate::id::{Key, SlotIndex};
use crate::ring::{Completion, Operation, Token};
use crate::shard::commands::Queue;
use crate::shard::core::Core;
use crate::shard::policy::admission::Admission;
use crate::shard::policy::backoff::{AcceptVerdict, classify};
use crate::shard::policy::log_limit::LogKind;
use crate::shard::state::acceptor::AcceptQueue;

/// Looks of a drain into a queue that another process serves too. Many, for each time that it is
/// found empty nobody is overlooked; a turn each, so they are over in milliseconds.
const LOOKS_MAX: u32 = 64;

impl Core {
    /// Posts accepts for the slots that are free: one of each listener in turn, as long as there is
    /// one that may have more.
    pub(crate) fn post_accepts(&mut self) {
        let gates = self.admissions.iter_mut();
        gates.for_each(Admission::clear_refill_time); // set again below if only tokens are missing
        if !self.acceptor.back_off.is_over(self.conns.shared.now)
            || self.conns.shared.overload.pauses_accepts()
        {
            return;
        }
        let count = self.acceptor.queues.len();
        let mut refused = 0; // of the listeners in a row
        while refused < count {
            let first = self.acceptor.first;
            refused = if self.post_accept(first) {
                0
            } else {
                refused + 1
            };
            self.acceptor.first = (first + 1) % count;
        }
    }

    /// Posts one, if that listener may have one more.
    fn post_accept(&mut self, listener: usize) -> bool {
        let queue = &self.acceptor.queues[listener];
        let Some(socket) = queue.listener.as_ref().map(AsRawFd::as_raw_fd) else {
            return false;
        };
        let in_flight = queue.in_flight();
        if queue.recalled || in_flight >= self.acceptor.back_off.accepts_max() {
            return false;
        }
        if in_flight >= self.accepts_allowed(listener) {
            return false;
        }
        let place = self.acceptor.queues[listener].free_peer_slots.pop();
        if let Some(place) = place {
            self.conns.shared.ring.accept(socket, place);
        }
        place.is_some()
    }

    pub(crate) fn accepted(&mut self, completion: Completion) {
        let place = completion.token.key.slot.0;
        let listener = self.acceptor.listener_of(place);
        let Some(queue) = self.acceptor.queues.get_mut(listener.place()) else {
            return; // no shard without a listener posts one
        };
        queue.free_peer_slots.push(place);
        let recalled = queue.recalled;
        match u32::try_from(completion.result) {
            Ok(descriptor) => {
                let peer = self.conns.shared.ring.accepted_peer(place);
                self.acceptor.back_off.end();
                self.admit(SlotIndex(descriptor), peer, listener);
            }
            Err(_negative) => self.accept_failed(-completion.result, recalled),
        }
    }

    fn accept_failed(&mut self, errno: i32, recalled: bool) {
        match classify(errno, recalled) {
            AcceptVerdict::Retry => {
                self.conns.shared.metrics.accepts_aborted.add(1);
                if self.acceptor.back_off.retried() {
                    self.pause_accepting(errno);
                }
            }
            AcceptVerdict::BackOff => {
                self.conns.shared.metrics.accepts_failed.add(1);
                self.pause_accepting(errno);
            }
            AcceptVerdict::Stop => {}
        }
    }

    fn pause_accepting(&mut self, errno: i32) {
        let Some(pause) = self.acceptor.back_off.begin(self.conns.shared.now) else {
            return;
        };
        if self.conns.shared.may_log(LogKind::AcceptsPaused) {
            let failed = self.conns.shared.metrics.accepts_failed.get();
            tracing::warn!(
                shard = self.conns.shared.id.0,
                errno,
                pause_ms = pause.as_millis() as u64,
                failed,
                "accepting pauses"
            );
        }
    }

    /// The drain's part: serves what the kernel's queues hold, then closes the listeners. Called
    /// once a turn until that is done.
    ///
    /// A queue that another process or shard serves too is looked into all the same: an accept that
    /// is cancelled may have taken the wake-up of a client that is still there, and nobody else hears
    /// of it before the next one comes. Not for ever: where there is somebody at each look, others
    /// come and wake the other process.
    pub(crate) fn drain_listeners(&mut self, give_up: bool) {
        for listener in 0..self.acceptor.queues.len() {
            self.drain_listener(listener, give_up);
        }
    }

    fn drain_listener(&mut self, listener: usize, give_up: bool) {
        let queue = &mut self.acceptor.queues[listener];
        if queue.listener.is_none() {
            return;
        }
        let may_look = queue.take_look();
        let queued = !give_up && may_look && queue.has_queued();
        let is_over = queue.in_flight() == 0;
        if !queued && !queue.recalled {
            queue.recalled = true;
            self.recall_accepts(listener);
        } else if queued && is_over {
            queue.recalled = false; // a client slipped in between the look and the recall
            self.post_accepts();
        } else if !queued && is_over {
            queue.listener = None;
        }
    }

    /// Cancels the accepts in flight. One that has a connection by then completes with it, and it
    /// is served.
    fn recall_accepts(&mut self, listener: usize) {
        let queue = &self.acceptor.queues[listener];
        for place in &queue.peer_slots {
            if !queue.free_peer_slots.contains(place) {
                self.conns
                    .shared
                    .ring
                    .cancel(Token::new(Operation::Accept, Key::of_place(*place)));
            }
        }
    }

    /// The drain begins.
    pub(crate) fn leave_listeners(&mut self, order: Queue) {
        for queue in &mut self.acceptor.queues {
            match order {
                Queue::Serve if !queue.is_kept => close_queue(queue),
                Queue::Serve | Queue::Leave => queue.looks_left = Some(LOOKS_MAX),
            }
        }
    }
}

/// Shrinks the kernel's queue, so that new clients turn to another server while this one drains.
fn close_queue(queue: &AcceptQueue) {
    if let Some(listener) = &queue.listener
        && let Err(error) = rustix::net::listen(listener, 0)
    {
        tracing::warn!(%error, "the accept queue could not be shrunk");
    }
}
