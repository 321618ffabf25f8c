//! What wakes a shard that waits: other threads, the control thread, and, while it is parked, completions of its ring.
//!
//! Two descriptors, one for each wait. A shard that waits in its ring has the first watched there; one that is parked waits for the second,
//! which its ring signals too. The kernel passes no signal on from the first to the second: it signals one eventfd from within the wake-up
//! of another only after an RCU grace period, and no second time. Measured on Linux 6.18: the first wake of a parked shard came 14 to 29 ms
//! late that way, and the others never. So whoever signals takes the one that is waited for.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Two eventfd(2)s. Anyone may signal; the shard awaits it.
#[derive(Debug)]
pub(crate) struct WakeFd {
    ring: OwnedFd,
    parked: OwnedFd,
    flags: Arc<Flags>,
}

/// Each side writes one of them and then reads the other (sequentially consistent), so that one of the two sees what the other wrote: a signal
/// is seen before the shard parks, or goes to the descriptor of a parked one.
#[derive(Debug, Default)]
struct Flags {
    is_parked: AtomicBool,
    /// Signalled since the last turn began.
    is_signalled: AtomicBool,
}

impl WakeFd {
    pub(crate) fn new() -> io::Result<Self> {
        let new = || Ok::<_, io::Error>(eventfd(0, EventfdFlags::CLOEXEC)?);
        Ok(Self { ring: new()?, parked: new()?, flags: Arc::default() })
    }

    /// A second name of the same.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { ring: self.ring.try_clone()?, parked: self.parked.try_clone()?, flags: Arc::clone(&self.flags) })
    }

    /// Wakes the shard. What it is to see was written before. The counter cannot overflow in practice (2^64 - 2), so this does not block.
    pub(crate) fn signal(&self) -> io::Result<()> {
        self.flags.is_signalled.store(true, Ordering::SeqCst);
        let descriptor = if self.flags.is_parked.load(Ordering::SeqCst) { &self.parked } else { &self.ring };
        rustix::io::write(descriptor, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// The shard's: a turn begins, which sees all that was written before the signals so far.
    pub(crate) fn begin_turn(&self) {
        if self.flags.is_signalled.load(Ordering::SeqCst) {
            self.flags.is_signalled.store(false, Ordering::SeqCst);
        }
    }

    /// The shard's: signals go to the parked wait from now on. False when there was one since the turn began: then it must not park.
    pub(crate) fn park(&self) -> bool {
        self.flags.is_parked.store(true, Ordering::SeqCst);
        !self.flags.is_signalled.load(Ordering::SeqCst)
    }

    /// The shard's: signals go to its ring again.
    pub(crate) fn unpark(&self) {
        self.flags.is_parked.store(false, Ordering::SeqCst);
    }

    /// What its ring watches.
    pub(crate) fn in_ring(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// What its ring signals while it is parked.
    pub(crate) fn while_parked(&self) -> RawFd {
        self.parked.as_raw_fd()
    }

    /// What a parked shard waits for.
    pub(crate) fn into_parked(self) -> OwnedFd {
        self.parked
    }
}

/// `descriptor` as any type that takes over a descriptor; glommio's files have no safe constructor from one.
pub(crate) fn file_from<T: FromRawFd>(descriptor: OwnedFd) -> T {
    // SAFETY: the descriptor is open and owned, and ownership passes to `T`, which is all that FromRawFd asks for.
    unsafe { T::from_raw_fd(descriptor.into_raw_fd()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn count(descriptor: &OwnedFd) -> u64 {
        rustix::io::ioctl_fionbio(descriptor, true).unwrap();
        let mut counter = [0; 8];
        rustix::io::read(descriptor, &mut counter).map_or(0, |_| u64::from_ne_bytes(counter))
    }

    #[test]
    fn a_signal_goes_where_the_shard_waits_and_one_since_its_turn_began_keeps_it_from_parking() {
        let wake = WakeFd::new().unwrap();
        let other = wake.try_clone().unwrap();
        other.signal().unwrap();
        assert_eq!((count(&wake.ring), count(&wake.parked)), (1, 0));
        assert!(!wake.park(), "it was signalled");
        wake.unpark();
        wake.begin_turn();
        assert!(wake.park());
        other.signal().unwrap();
        assert_eq!((count(&wake.ring), count(&wake.parked)), (0, 1));
        wake.unpark();
        other.signal().unwrap();
        assert_eq!((count(&wake.ring), count(&wake.parked)), (1, 0));
    }
}
