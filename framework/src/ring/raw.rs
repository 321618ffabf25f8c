//! Calls and structures of io_uring that its crate does not have.

use std::os::fd::RawFd;

/// Registers the ring's descriptor with its thread; a kernel that refuses costs a look-up per
/// enter, nothing else.
pub(super) fn register_own_descriptor(descriptor: RawFd) -> Option<u32> {
    const REGISTER_RING_FDS: u32 = 20;
    let mut update = RingFdUpdate {
        offset: u32::MAX,
        reserved: 0,
        data: descriptor as u64,
    };
    // SAFETY: the kernel reads and writes one io_uring_rsrc_update, which lives through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            descriptor,
            REGISTER_RING_FDS,
            &raw mut update,
            1,
        )
    };
    (done == 1).then_some(update.offset)
}

/// `struct io_uring_rsrc_update` of linux/io_uring.h.
#[repr(C)]
struct RingFdUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// `struct io_uring_getevents_arg` of linux/io_uring.h.
#[repr(C)]
#[derive(Default)]
pub(super) struct EnterArgument {
    pub(super) signals: u64,
    pub(super) signals_size: u32,
    pub(super) min_wait_us: u32,
    pub(super) timespec: u64,
}

/// Flags of io_uring_enter(2).
pub(super) mod enter_flags {
    pub(crate) const GETEVENTS: u32 = 1;
    pub(crate) const EXT_ARG: u32 = 1 << 3;
    pub(crate) const REGISTERED_RING: u32 = 1 << 4;
}
