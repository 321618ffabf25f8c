//! When bytes came, as the kernel tells: SO_TIMESTAMPNS, socket(7).

use std::io::{self, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;

/// Asks the kernel for the times. It begins to tell them a moment later.
///
/// # Errors
///
/// The kernel's.
pub fn stamp_arrivals(stream: &TcpStream) -> io::Result<()> {
    Ok(setsockopt(stream, sockopt::ReceiveTimestampns, &true)?)
}

/// Waits until `bytes` are full or there are no more. How many there are, and when they came, in
/// nanoseconds since 1970.
///
/// # Errors
///
/// The kernel's.
pub fn receive(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
    let mut space = cmsg_space!(TimeSpec);
    let mut into = [IoSliceMut::new(bytes)];
    let received = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut into,
        Some(&mut space),
        MsgFlags::MSG_WAITALL,
    )?;
    Ok((received.bytes, received.cmsgs().find_map(nanoseconds)))
}

fn nanoseconds(message: ControlMessageOwned) -> Option<u64> {
    let ControlMessageOwned::ScmTimestampns(time) = message else {
        return None;
    };
    Some(Duration::from(time).as_nanos() as u64)
}
