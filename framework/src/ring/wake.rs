//! The descriptor that wakes a parked shard: by completions of its ring, and by the control thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd(2). Anyone may signal it; the shard awaits it.
#[derive(Debug)]
pub(crate) struct WakeFd(OwnedFd);

impl WakeFd {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC)?))
    }

    /// A second descriptor of the same eventfd.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Wakes the shard. The counter cannot overflow in practice (2^64 - 2), so this does not block.
    pub(crate) fn signal(&self) -> io::Result<()> {
        rustix::io::write(&self.0, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsRawFd for WakeFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// `descriptor` as any type that takes over a descriptor; glommio's files have no safe constructor from one.
pub(crate) fn file_from<T: FromRawFd>(descriptor: OwnedFd) -> T {
    // SAFETY: the descriptor is open and owned, and ownership passes to `T`, which is all that FromRawFd asks for.
    unsafe { T::from_raw_fd(descriptor.into_raw_fd()) }
}
