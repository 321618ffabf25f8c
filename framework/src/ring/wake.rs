//! What wakes a shard that waits: other threads, the control thread, and, while it is parked,
//! completions of its ring.
//!
//! Two descriptors, one for each wait. A shard that waits in its ring has the first watched there;
//! one that is parked waits for the second, which its ring signals too. The kernel passes no signal
//! on from the first to the second: it signals one eventfd from within the wake-up of another only
//! after an RCU grace period, and no second time. Measured on Linux 6.18: the first wake of a
//! parked shard came 14 to 29 ms late that way, and the others never. So whoever signals takes the
//! one that is waited for.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::sync::AtomicBool;

/// Anyone may signal; the shard awaits it. Clones are names of the same.
#[derive(Clone, Debug)]
pub(crate) struct WakeFd(Arc<Wake>);

#[derive(Debug)]
struct Wake {
    /// Two eventfd(2)s: what the ring watches, and what a parked shard waits for.
    in_ring: OwnedFd,
    while_parked: OwnedFd,
    /// Each side writes one of these and then reads the other (sequentially consistent), so that
    /// one of the two sees what the other wrote: a signal is seen before the shard parks, or goes
    /// to the descriptor of a parked one.
    is_parked: AtomicBool,
    /// Signalled since the last turn began.
    is_signalled: AtomicBool,
}

impl WakeFd {
    pub(crate) fn new() -> io::Result<Self> {
        let new =
            || Ok::<_, io::Error>(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (is_parked, is_signalled) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self(Arc::new(Wake {
            in_ring: new()?,
            while_parked: new()?,
            is_parked,
            is_signalled,
        })))
    }

    /// Wakes the shard. What it is to see was written before. The counters cannot overflow in
    /// practice (2^64 - 2), so this does not fail.
    pub(crate) fn signal(&self) -> io::Result<()> {
        let wake = &*self.0;
        wake.is_signalled.store(true, Ordering::SeqCst);
        let descriptor = if wake.is_parked.load(Ordering::SeqCst) {
            &wake.while_parked
        } else {
            &wake.in_ring
        };
        rustix::io::write(descriptor, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// The shard's: a turn begins, which sees all that was written before the signals so far.
    pub(crate) fn begin_turn(&self) {
        if self.0.is_signalled.load(Ordering::SeqCst) {
            self.0.is_signalled.swap(false, Ordering::SeqCst); // a signal of just now is read by this, not written over
        }
    }

    /// The shard's: signals go to the parked wait from now on. False when there was one since the
    /// turn began: then it must not park.
    pub(crate) fn park(&self) -> bool {
        self.0.is_parked.store(true, Ordering::SeqCst);
        !self.0.is_signalled.load(Ordering::SeqCst)
    }

    /// The shard's: signals go to its ring again.
    pub(crate) fn unpark(&self) {
        self.0.is_parked.store(false, Ordering::SeqCst);
    }

    /// The shard's: forgets the signals to the parked wait so far, of which there may be none.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match rustix::io::read(&self.0.while_parked, &mut [0; size_of::<u64>()]) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What its ring watches.
    pub(crate) fn in_ring(&self) -> RawFd {
        self.0.in_ring.as_raw_fd()
    }
}

/// What a parked shard waits for, and its ring signals meanwhile.
impl AsRawFd for WakeFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.while_parked.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn count(descriptor: &OwnedFd) -> u64 {
        let mut counter = [0; 8];
        rustix::io::read(descriptor, &mut counter).map_or(0, |_| u64::from_ne_bytes(counter))
    }

    #[test]
    fn a_signal_goes_where_the_shard_waits_and_one_since_its_turn_began_keeps_it_from_parking() {
        let wake = WakeFd::new().unwrap();
        let other = wake.clone();
        let counts = || (count(&wake.0.in_ring), count(&wake.0.while_parked));
        other.signal().unwrap();
        assert_eq!(counts(), (1, 0));
        assert!(!wake.park(), "it was signalled");
        wake.unpark();
        wake.begin_turn();
        assert!(wake.park());
        other.signal().unwrap();
        assert_eq!(counts(), (0, 1));
        wake.unpark();
        other.signal().unwrap();
        assert_eq!(counts(), (1, 0));
    }
}
