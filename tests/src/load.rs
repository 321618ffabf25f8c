//! Many peers from one thread: crowds that misbehave, and well-behaved connections whose latency is measured meanwhile.
//!
//! Server and clients share the machine, so who loads must not take the core of who measures: crowds run at the lowest priority
//! ([`yield_to_others`]), and on a core of their own where there is one ([`stay_on_core`]).

mod crowd;
mod latency;
mod steady;
mod turns;

pub use crowd::{Crowd, Tally};
pub use latency::Latencies;
pub use steady::Steady;

use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::{Domain, Protocol, Socket, Type};

/// The lowest priority there is (setpriority(2)): a thread that has it runs when no other wants to.
const PRIORITY_LOWEST: i32 = 19;

/// Gives the calling thread, and those that it starts, the lowest priority.
///
/// # Panics
/// When the kernel refuses, which it does not for less than one has.
pub fn yield_to_others() {
    setpriority_process(None, PRIORITY_LOWEST).unwrap();
}

/// Keeps the calling thread, and those that it starts, on core `number`.
///
/// # Errors
/// When this process may not run there.
pub fn stay_on_core(number: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(number);
    Ok(sched_setaffinity(None, &cores)?)
}

/// A connection begun: on loopback it stands when this returns, unless the server's queue is full. Buffers of `buffer` bytes in the
/// kernel, 0 for its own choice.
fn begin_connect(address: SocketAddr, buffer: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if buffer > 0 {
        socket.set_recv_buffer_size(buffer)?;
        socket.set_send_buffer_size(buffer)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket.into()),
    }
}
