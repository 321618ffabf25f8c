//! Accepting: as many single accepts in flight as there are free slots, up to a bound.
//!
//! An accept is posted only when a slot is free, so the connection limit is exact, and whoever
//! comes above it waits in the kernel's queue, unless [`admission`](crate::shard::admission) has a
//! spare place for it. The direct descriptor that the kernel allocates is the slot's number. No
//! turn accepts more than `limits.accepts_in_flight_max`: the others of the shard are served in
//! between.

use std::os::fd::AsRawFd;

use crate::id::{Key, SlotIndex};
use crate::ring::{Completion, Operation, Token};
use crate::shard::commands::Queue;
use crate::shard::core::Core;
use crate::shard::policy::backoff::{AcceptVerdict, classify};
use crate::shard::policy::log_limit::LogKind;

/// Looks of a drain into a queue that another process serves too. Many, for each time that it is
/// found empty nobody is overlooked; a turn each, so they are over in milliseconds.
const LOOKS_MAX: u32 = 64;

impl Core {
    /// Posts accepts for the slots that are free.
    pub(crate) fn post_accepts(&mut self) {
        self.admission.clear_refill_time(); // set again below if only tokens are missing
        if self.acceptor.recalled
            || !self.acceptor.back_off.is_over(self.conns.shared.now)
            || self.conns.shared.overload.pauses_accepts()
        {
            return;
        }
        let Some(listener) = self.acceptor.listener.as_ref().map(AsRawFd::as_raw_fd) else {
            return;
        };
        let allowed = self
            .accepts_allowed(self.acceptor.in_flight())
            .min(self.acceptor.back_off.accepts_max());
        let acceptor = &mut self.acceptor;
        while acceptor.in_flight() < allowed
            && let Some(place) = acceptor.free_peer_slots.pop()
        {
            self.conns.shared.ring.accept(listener, place);
        }
    }

    pub(crate) fn accepted(&mut self, completion: Completion) {
        let place = completion.token.key.slot.0;
        self.acceptor.free_peer_slots.push(place);
        match u32::try_from(completion.result) {
            Ok(descriptor) => {
                let peer = self.conns.shared.ring.accepted_peer(place);
                self.acceptor.back_off.end();
                self.admit(SlotIndex(descriptor), peer);
            }
            Err(_negative) => self.accept_failed(-completion.result),
        }
    }

    fn accept_failed(&mut self, errno: i32) {
        match classify(errno, self.acceptor.recalled) {
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

    /// The drain's part: serves what the kernel's queue holds, then closes the listener. Called
    /// once a turn until that is done.
    ///
    /// A queue that another process serves too is looked into all the same: an accept that is
    /// cancelled may have taken the wake-up of a client that is still there, and nobody else hears
    /// of it before the next one comes. Not for ever: where there is somebody at each look, others
    /// come and wake the other process.
    pub(crate) fn drain_listener(&mut self, give_up: bool) {
        if self.acceptor.listener.is_none() {
            return;
        }
        let may_look = self.acceptor.take_look();
        let queued = !give_up && may_look && self.acceptor.has_queued();
        if !queued && !self.acceptor.recalled {
            self.acceptor.recalled = true;
            self.recall_accepts();
        } else if queued && self.acceptor.in_flight() == 0 {
            self.acceptor.recalled = false; // a client slipped in between the look and the recall
            self.post_accepts();
        } else if !queued && self.acceptor.in_flight() == 0 {
            self.acceptor.listener = None;
        }
    }

    /// Cancels the accepts in flight. One that has a connection by then completes with it, and it
    /// is served.
    fn recall_accepts(&mut self) {
        for place in 0..self.acceptor.in_flight_max {
            if !self.acceptor.free_peer_slots.contains(&place) {
                self.conns
                    .shared
                    .ring
                    .cancel(Token::new(Operation::Accept, Key::of_place(place)));
            }
        }
    }

    /// The drain begins.
    pub(crate) fn leave_listener(&mut self, queue: Queue) {
        match queue {
            Queue::Serve => self.close_queue(),
            Queue::Leave => self.acceptor.looks_left = Some(LOOKS_MAX),
        }
    }

    /// Shrinks the kernel's queue, so that new clients turn to another server while this one
    /// drains.
    fn close_queue(&mut self) {
        if let Some(listener) = &self.acceptor.listener
            && let Err(error) = rustix::net::listen(listener, 0)
        {
            tracing::warn!(%error, "the accept queue could not be shrunk");
        }
    }
}
