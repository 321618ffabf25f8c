//! The one socket option that the libraries do not wrap.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// IP_BIND_ADDRESS_NO_PORT (ip(7)): a bind to port 0 chooses no port yet. The connect does, and
/// then a port needs to be free towards the target only, not towards everybody.
pub(crate) fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one int, which lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
