//! A shard's listeners with their accepts in flight.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::Config;
use crate::id::ListenerIndex;
use crate::shard::policy::backoff::BackOff;
use crate::time::Tick;

/// What is accepted from, in the order of the settings.
#[derive(Debug)]
pub(crate) struct ListenSocket {
    /// None: a test says who has come.
    pub(crate) socket: Option<OwnedFd>,
    /// The service manager has it too.
    pub(crate) is_kept: bool,
}

#[cfg(test)]
impl ListenSocket {
    /// One that is this process's alone.
    pub(crate) fn of(socket: impl Into<OwnedFd>) -> Self {
        Self {
            socket: Some(socket.into()),
            is_kept: false,
        }
    }
}

/// None of it knows a connection.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// One for each listener.
    pub(crate) queues: Vec<AcceptQueue>,
    pub(crate) back_off: BackOff,
    /// The listener that is asked first when accepts are posted next.
    pub(crate) first: usize,
}

/// One listener with its accepts in flight.
#[derive(Debug)]
pub(crate) struct AcceptQueue {
    /// None once it is closed.
    pub(crate) listener: Option<OwnedFd>,
    /// Peer-address memory of the ring that is this listener's, and the part of it that no accept in
    /// flight uses.
    pub(crate) peer_slots: Vec<u32>,
    pub(crate) free_peer_slots: Vec<u32>,
    /// The drain has taken the posted accepts back.
    pub(crate) recalled: bool,
    /// How often the drain may still look into the queue; none: until it is empty.
    pub(crate) looks_left: Option<u32>,
    /// Another process has it too, whatever becomes of this one.
    pub(crate) is_kept: bool,
}

impl Acceptor {
    /// Without a listener: a shard that accepts nothing. Each has its share of the accepts in flight,
    /// so that none keeps another from being posted.
    pub(crate) fn new(listeners: Vec<ListenSocket>, config: &Config) -> Self {
        let (in_flight_max, timeouts) = (config.limits.accepts_in_flight_max, &config.timeouts);
        let (count, back_off) = (
            listeners.len(),
            BackOff::new(timeouts.accept_pause_min, timeouts.accept_pause_max),
        );
        let queues = (0..).zip(listeners).map(|(first, listener)| {
            let peer_slots: Vec<u32> = (first..in_flight_max).step_by(count).collect();
            AcceptQueue {
                listener: listener.socket,
                free_peer_slots: peer_slots.iter().rev().copied().collect(),
                peer_slots,
                recalled: false,
                looks_left: None,
                is_kept: listener.is_kept,
            }
        });
        Self {
            queues: queues.collect(),
            back_off,
            first: 0,
        }
    }

    /// Whose accept `place` is.
    pub(crate) fn listener_of(&self, place: u32) -> ListenerIndex {
        let listener = place as usize % self.queues.len().max(1);
        ListenerIndex(listener as u8)
    }

    /// Of all listeners together.
    pub(crate) fn in_flight(&self) -> u32 {
        self.queues.iter().map(AcceptQueue::in_flight).sum()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queues.iter().all(AcceptQueue::is_closed)
    }

    /// When accepting goes on after a pause; never if there is none.
    pub(crate) fn resumes(&self, now: Tick) -> Tick {
        self.back_off.resumes(now)
    }
}

impl AcceptQueue {
    pub(crate) fn in_flight(&self) -> u32 {
        (self.peer_slots.len() - self.free_peer_slots.len()) as u32
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

    fn is_closed(&self) -> bool {
        self.listener.is_none() && self.in_flight() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_has_a_share_of_the_accepts() {
        let listener = || ListenSocket {
            socket: None,
            is_kept: false,
        };
        let mut config = Config::default();
        config.limits.accepts_in_flight_max = 8;
        let acceptor = Acceptor::new(vec![listener(), listener(), listener()], &config);
        let shares = acceptor.queues.iter().map(|queue| queue.peer_slots.len());
        assert_eq!(shares.collect::<Vec<_>>(), [3, 3, 2]);
        for (listener, queue) in (0..).zip(&acceptor.queues) {
            let mut places = queue.peer_slots.iter();
            assert!(places.all(|place| acceptor.listener_of(*place) == ListenerIndex(listener)));
        }
    }
}
