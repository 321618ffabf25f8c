//! The socket ring: one io_uring per shard, the only place of the project that needs `unsafe`.
//!
//! [`uring`] submits and reaps; [`buffers`] are what the kernel receives into, in memory that
//! [`mapping`] gets, and [`lent_sends`] those that it sends from. [`token`] is what a submission
//! carries and a completion brings back, [`sockaddr`] has addresses as the kernel writes them,
//! [`sockopt`] socket options that `rustix` lacks, `prefetch` a hint to the processor. `wake`
//! and `waker` are how other threads reach a shard. `probe` asks whether the kernel has all that
//! is needed, [`locked`] says what of a ring counts as locked memory. With failpoints `faked` fails operations.
#![allow(unsafe_code)]

pub(crate) mod buffers;
#[cfg(feature = "failpoints")]
mod faked;
mod lent_sends;
mod locked;
mod mapping;
mod prefetch;
mod probe;
mod raw;
mod sockaddr;
mod sockopt;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub(crate) mod stand_in;
mod token;
mod uring;
mod wake;
mod waker;

pub(crate) use lent_sends::LENT_BYTES;
pub(crate) use locked::{queues_bytes, socket_ring_bytes};
pub(crate) use prefetch::prefetch;
pub(crate) use probe::{ProbeError, probe, tells_unacknowledged};
pub(crate) use sockopt::{
    attach_reuseport_program, bind_address_no_port, detach_reuseport_program,
};
pub(crate) use token::{Completion, Operation, Token};
pub(crate) use uring::{Cqe, Ring, SEND_VECTOR_MAX, Wait};
pub(crate) use wake::WakeFd;
pub(crate) use waker::{are_kept, name_of, wake_by, waker};
