//! The socket options that the libraries do not wrap.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// IP_BIND_ADDRESS_NO_PORT (ip(7)): a bind to port 0 chooses no port yet. The connect does, and
/// then a port needs to be free towards the target only, not towards everybody.
pub(crate) fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &on)
}

/// SO_ATTACH_REUSEPORT_CBPF (socket(7)): `program` chooses among the listeners that share the port
/// of `socket`.
pub(crate) fn attach_reuseport_program(
    socket: BorrowedFd<'_>,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel copies the instructions during the call, and writes none.
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    let option = libc::SO_ATTACH_REUSEPORT_CBPF;
    set(socket, libc::SOL_SOCKET, option, &program)
}

/// SO_DETACH_REUSEPORT_BPF: none chooses any more.
pub(crate) fn detach_reuseport_program(socket: BorrowedFd<'_>) -> io::Result<()> {
    let unused: libc::c_int = 0;
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_DETACH_REUSEPORT_BPF,
        &unused,
    )
}

fn set<T>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads one value of the option's own type, and what a program's value points
    // to, which its caller holds; all of it lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
