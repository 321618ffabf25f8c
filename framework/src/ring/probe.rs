//! What the running kernel's io_uring can do, asked before anything depends on it.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, Probe, opcode, types};
use rustix::net::{AddressFamily, SocketType, socket};

use crate::ring::buffers::BufferPool;
use crate::ring::uring::{BUFFER_GROUP, SOCKET_SIOCOUTQ, setup};

/// Why this kernel cannot run a shard.
#[derive(Debug)]
pub(crate) enum ProbeError {
    /// io_uring_setup(2) failed.
    SetupRefused(io::Error),
    /// An `IORING_FEAT_*` flag is missing.
    MissingFeature {
        /// The flag.
        name: &'static str,
        /// The Linux version that brought it.
        since: &'static str,
    },
    /// An operation is missing.
    MissingOperation {
        /// The operation.
        name: &'static str,
        /// The Linux version that brought it.
        since: &'static str,
    },
    /// A ring of provided buffers could not be registered.
    BufferRingRefused(io::Error),
    /// A table of direct descriptors could not be registered.
    FileTableRefused(io::Error),
}

/// Sets up a small ring as a shard's would be and asks it for each feature. Leaves nothing behind.
pub(crate) fn probe() -> Result<(), ProbeError> {
    let io = setup(8, 64).map_err(ProbeError::SetupRefused)?;
    features(&io)?;
    operations(&io)?;
    io.submitter()
        .register_files_sparse(8)
        .map_err(ProbeError::FileTableRefused)?;
    let pool = BufferPool::new(4096, 8).map_err(ProbeError::BufferRingRefused)?;
    // SAFETY: the pool's entries are page-aligned and outlive the ring, which is dropped first,
    // below.
    unsafe {
        io.submitter().register_buf_ring_with_flags(
            pool.entries_addr(),
            pool.count_u16(),
            BUFFER_GROUP,
            0,
        )
    }
    .map_err(ProbeError::BufferRingRefused)?;
    drop(io);
    Ok(())
}

/// Whether this kernel tells of a socket in a ring how much of what it was sent is not
/// acknowledged. None needs it but one setting.
pub(crate) fn tells_unacknowledged() -> io::Result<bool> {
    let mut io = setup(8, 64)?;
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let entry = opcode::UringCmd16::new(types::Fd(socket.as_raw_fd()), SOCKET_SIOCOUTQ).build();
    // SAFETY: the entry names no memory, and the socket outlives its completion, which is waited
    // for.
    unsafe { io.submission().push(&entry) }.map_err(io::Error::other)?;
    io.submit_and_wait(1)?;
    Ok(io
        .completion()
        .next()
        .is_some_and(|completion| completion.result() >= 0))
}

fn features(io: &IoUring) -> Result<(), ProbeError> {
    let parameters = io.params();
    let needed = [
        (parameters.is_feature_nodrop(), "IORING_FEAT_NODROP", "5.5"),
        (
            parameters.is_feature_submit_stable(),
            "IORING_FEAT_SUBMIT_STABLE",
            "5.5",
        ),
        (
            parameters.is_feature_fast_poll(),
            "IORING_FEAT_FAST_POLL",
            "5.7",
        ),
        (
            parameters.is_feature_ext_arg(),
            "IORING_FEAT_EXT_ARG",
            "5.11",
        ),
    ];
    match needed.into_iter().find(|(present, ..)| !present) {
        Some((_, name, since)) => Err(ProbeError::MissingFeature { name, since }),
        None => Ok(()),
    }
}

fn operations(io: &IoUring) -> Result<(), ProbeError> {
    let mut probe = Probe::new();
    io.submitter()
        .register_probe(&mut probe)
        .map_err(ProbeError::SetupRefused)?;
    let needed = [
        (opcode::Accept::CODE, "IORING_OP_ACCEPT", "5.5"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD", "5.1"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT", "5.5"),
        (opcode::FilesUpdate::CODE, "IORING_OP_FILES_UPDATE", "5.6"),
        (opcode::RecvMulti::CODE, "IORING_OP_RECV", "5.6"),
        (opcode::Send::CODE, "IORING_OP_SEND", "5.6"),
        (opcode::SendMsg::CODE, "IORING_OP_SENDMSG", "5.3"),
        (opcode::Shutdown::CODE, "IORING_OP_SHUTDOWN", "5.11"),
        (opcode::Close::CODE, "IORING_OP_CLOSE", "5.6"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL", "5.5"),
        (opcode::Timeout::CODE, "IORING_OP_TIMEOUT", "5.4"),
        // Multishot receive has no bit of its own; the zero-copy send came in the same version.
        (opcode::SendZc::CODE, "multishot IORING_OP_RECV", "6.0"),
    ];
    match needed
        .into_iter()
        .find(|(code, ..)| !probe.is_supported(*code))
    {
        Some((_, name, since)) => Err(ProbeError::MissingOperation { name, since }),
        None => Ok(()),
    }
}
