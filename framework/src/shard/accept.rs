//! Accepting: as many single accepts in flight as there are free slots, up to a bound.
//!
//! An accept is posted only when a slot is free, so the connection limit is exact, and whoever comes above it waits in the kernel's
//! queue. The direct descriptor that the kernel allocates is the slot's number.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::State;
use super::deadline::{Tick, Ticks};
use crate::ring::{Completion, Key, Operation, SlotIndex, Token};

/// How long accepting pauses when the system is out of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What to do after an accept that failed (accept(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptVerdict {
    /// The peer left while it was queued, or the network told of an error that it had: the next one.
    Retry,
    /// Out of descriptors or memory: the queue is still full, and asking again at once would spin.
    BackOff,
    /// Our own drain took the accept back or closed the listener.
    Stop,
}

fn classify(errno: i32) -> AcceptVerdict {
    match errno {
        libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => AcceptVerdict::BackOff,
        libc::ECANCELED | libc::EINVAL | libc::EBADF => AcceptVerdict::Stop,
        // ECONNABORTED, EPROTO, EINTR, EAGAIN and the network errors that accept(2) passes on.
        _ => AcceptVerdict::Retry,
    }
}

/// A shard's listener with its accepts in flight.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// None once it is closed.
    listener: Option<TcpListener>,
    /// Addresses not used by an accept in flight.
    places: Vec<u32>,
    in_flight_max: u32,
    /// No accept is posted before this tick.
    paused_until: Tick,
    /// The drain has taken the posted accepts back.
    recalled: bool,
}

impl Acceptor {
    /// Without a listener: a shard that accepts nothing.
    pub(crate) fn new(listener: Option<TcpListener>, in_flight_max: u32) -> Self {
        let places = (0..in_flight_max).rev().collect();
        Self { listener, places, in_flight_max, paused_until: Tick(0), recalled: false }
    }

    fn in_flight(&self) -> u32 {
        self.in_flight_max - self.places.len() as u32
    }

    /// Whether a client waits in the kernel's queue.
    fn has_queued(&self) -> bool {
        let Some(listener) = &self.listener else { return false };
        let mut set = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        // An error is taken for "none": the listener is about to be closed anyway.
        poll(&mut set, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.listener.is_none() && self.in_flight() == 0
    }

    /// When accepting goes on after a pause; never if there is none.
    pub(super) fn resumes(&self, now: Tick) -> Tick {
        if self.paused_until > now { self.paused_until } else { Tick::NEVER }
    }
}

impl State {
    /// Posts accepts for the slots that are free.
    pub(super) fn post_accepts(&mut self) {
        let acceptor = &mut self.acceptor;
        if acceptor.recalled || self.now < acceptor.paused_until || self.pressure.pauses_accepts() {
            return;
        }
        let Some(listener) = acceptor.listener.as_ref().map(AsRawFd::as_raw_fd) else { return };
        while acceptor.in_flight() < self.table.accepted_free()
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
                self.open(SlotIndex(descriptor), peer);
            }
            Err(_negative) => self.accept_failed(-completion.result),
        }
    }

    fn accept_failed(&mut self, errno: i32) {
        match classify(errno) {
            AcceptVerdict::Retry => self.metrics.accepts_aborted.add(1),
            AcceptVerdict::BackOff => {
                if let Some(more) = self.refused_accepts.pass(self.now) {
                    tracing::warn!(shard = self.id.0, errno, more, "accepting pauses: out of descriptors or memory");
                }
                self.metrics.accepts_refused.add(1);
                self.acceptor.paused_until = self.now.after(Ticks::at_least(BACK_OFF));
            }
            AcceptVerdict::Stop => {}
        }
    }

    /// The drain's part: serves what the kernel's queue holds, then closes the listener. Called once a turn until that is done.
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

    /// Cancels the accepts in flight. One that has a connection by then completes with it, and it is served.
    fn recall_accepts(&mut self) {
        for place in 0..self.acceptor.in_flight_max {
            if !self.acceptor.places.contains(&place) {
                self.ring.cancel(Token::new(Operation::Accept, Key::of_place(place)));
            }
        }
    }

    /// Shrinks the kernel's queue, so that new clients turn to another server while this one drains.
    pub(super) fn close_queue(&mut self) {
        if let Some(listener) = &self.acceptor.listener
            && let Err(error) = rustix::net::listen(listener, 0)
        {
            tracing::warn!(%error, "the accept queue could not be shrunk");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_errors_have_their_verdicts() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(classify(errno), AcceptVerdict::BackOff);
        }
        for errno in [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::EAGAIN, libc::ENETDOWN, libc::EHOSTUNREACH] {
            assert_eq!(classify(errno), AcceptVerdict::Retry);
        }
        for errno in [libc::ECANCELED, libc::EINVAL] {
            assert_eq!(classify(errno), AcceptVerdict::Stop);
        }
    }
}
