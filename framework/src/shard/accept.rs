//! Accepting: as many single accepts in flight as there are free slots, up to a bound.
//!
//! An accept is posted only when a slot is free, so the connection limit is exact, and whoever
//! comes above it waits in the kernel's queue, unless [`super::admission`] has a spare place for
//! it. The direct descriptor that the kernel allocates is the slot's number. No turn accepts more
//! than `limits.accepts_in_flight_max`: the others of the shard are served in between.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::backoff::{AcceptVerdict, BackOff, classify};
use super::deadline::Tick;
use super::{State, Subject};
use crate::config::Config;
use crate::ring::{Completion, Key, Operation, SlotIndex, Token};

/// A shard's listener with its accepts in flight.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// None once it is closed.
    listener: Option<TcpListener>,
    /// Addresses not used by an accept in flight.
    places: Vec<u32>,
    in_flight_max: u32,
    back_off: BackOff,
    /// The drain has taken the posted accepts back.
    recalled: bool,
}

impl Acceptor {
    /// Without a listener: a shard that accepts nothing.
    pub(crate) fn new(listener: Option<TcpListener>, config: &Config) -> Self {
        let (in_flight_max, timeouts) = (config.limits.accepts_in_flight_max, &config.timeouts);
        let places = (0..in_flight_max).rev().collect();
        let back_off = BackOff::new(timeouts.accept_pause_min, timeouts.accept_pause_max);
        Self {
            listener,
            places,
            in_flight_max,
            back_off,
            recalled: false,
        }
    }

    fn in_flight(&self) -> u32 {
        self.in_flight_max - self.places.len() as u32
    }

    /// Whether a client waits in the kernel's queue.
    fn has_queued(&self) -> bool {
        let Some(listener) = &self.listener else {
            return false;
        };
        let mut set = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        // An error is taken for "none": the listener is about to be closed anyway.
        poll(&mut set, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.listener.is_none() && self.in_flight() == 0
    }

    /// When accepting goes on after a pause; never if there is none.
    pub(super) fn resumes(&self, now: Tick) -> Tick {
        self.back_off.resumes(now)
    }
}

impl State {
    /// Posts accepts for the slots that are free.
    pub(super) fn post_accepts(&mut self) {
        self.admission.waits_no_more();
        if self.acceptor.recalled
            || !self.acceptor.back_off.is_over(self.now)
            || self.pressure.pauses_accepts()
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
            && let Some(place) = acceptor.places.pop()
        {
            self.ring.accept(listener, place);
        }
    }

    pub(super) fn accepted(&mut self, completion: Completion) {
        let place = completion.token.key.slot.0;
        self.acceptor.places.push(place);
        match u32::try_from(completion.result) {
            Ok(descriptor) => {
                let peer = self.ring.accepted_peer(place);
                self.acceptor.back_off.end();
                self.admit(SlotIndex(descriptor), peer);
            }
            Err(_negative) => self.accept_failed(-completion.result),
        }
    }

    fn accept_failed(&mut self, errno: i32) {
        match classify(errno, self.acceptor.recalled) {
            AcceptVerdict::Retry => {
                self.metrics.accepts_aborted.add(1);
                if self.acceptor.back_off.retried() {
                    self.pause_accepting(errno);
                }
            }
            AcceptVerdict::BackOff => {
                self.metrics.accepts_failed.add(1);
                self.pause_accepting(errno);
            }
            AcceptVerdict::Stop => {}
        }
    }

    fn pause_accepting(&mut self, errno: i32) {
        let Some(pause) = self.acceptor.back_off.begin(self.now) else {
            return;
        };
        if self.may_log(Subject::AcceptsPaused) {
            let failed = self.metrics.accepts_failed.get();
            tracing::warn!(
                shard = self.id.0,
                errno,
                pause_ms = pause.as_millis() as u64,
                failed,
                "accepting pauses"
            );
        }
    }

    /// The drain's part: serves what the kernel's queue holds, then closes the listener. Called
    /// once a turn until that is done.
    pub(super) fn drain_listener(&mut self, give_up: bool) {
        if self.acceptor.listener.is_none() {
            return;
        }
        let queued = !give_up && self.acceptor.has_queued();
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
            if !self.acceptor.places.contains(&place) {
                self.ring
                    .cancel(Token::new(Operation::Accept, Key::of_place(place)));
            }
        }
    }

    /// Shrinks the kernel's queue, so that new clients turn to another server while this one
    /// drains.
    pub(super) fn close_queue(&mut self) {
        if let Some(listener) = &self.acceptor.listener
            && let Err(error) = rustix::net::listen(listener, 0)
        {
            tracing::warn!(%error, "the accept queue could not be shrunk");
        }
    }
}
