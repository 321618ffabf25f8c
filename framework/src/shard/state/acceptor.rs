//! A shard's listener with its accepts in flight.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::Config;
use crate::shard::policy::backoff::BackOff;
use crate::time::Tick;

/// None of it knows a connection.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// None once it is closed.
    pub(crate) listener: Option<OwnedFd>,
    /// Peer-address memory of the ring that no accept in flight uses.
    pub(crate) free_peer_slots: Vec<u32>,
    pub(crate) in_flight_max: u32,
    pub(crate) back_off: BackOff,
    /// The drain has taken the posted accepts back.
    pub(crate) recalled: bool,
    /// How often the drain may still look into the queue; none: until it is empty.
    pub(crate) looks_left: Option<u32>,
}

impl Acceptor {
    /// Without a listener: a shard that accepts nothing.
    pub(crate) fn new(listener: Option<OwnedFd>, config: &Config) -> Self {
        let (in_flight_max, timeouts) = (config.limits.accepts_in_flight_max, &config.timeouts);
        let free_peer_slots = (0..in_flight_max).rev().collect();
        let back_off = BackOff::new(timeouts.accept_pause_min, timeouts.accept_pause_max);
        Self {
            listener,
            free_peer_slots,
            in_flight_max,
            back_off,
            recalled: false,
            looks_left: None,
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight_max - self.free_peer_slots.len() as u32
    }

    /// Whether a client waits in the kernel's queue.
    pub(crate) fn has_queued(&self) -> bool {
        let Some(listener) = &self.listener else {
            return false;
        };
        let mut set = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        // An error is taken for "none": the listener is about to be closed anyway.
        poll(&mut set, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Whether the drain may look into the queue once more.
    pub(crate) fn take_look(&mut self) -> bool {
        let Some(left) = &mut self.looks_left else {
            return true;
        };
        let may_look = *left > 0;
        *left = left.saturating_sub(1);
        may_look
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.listener.is_none() && self.in_flight() == 0
    }

    /// When accepting goes on after a pause; never if there is none.
    pub(crate) fn resumes(&self, now: Tick) -> Tick {
        self.back_off.resumes(now)
    }
}
