//! Many peers from one thread: crowds that misbehave, and well-behaved connections whose latency is
//! measured meanwhile.
//!
//! Server and clients share the machine, so who loads must not take the core of who measures:
//! crowds run only while no one else wants to ([`yield_to_others`]), and on a core of their own
//! where there is one ([`stay_on_core`]).

mod crowd;
mod ends;
mod latency;
mod steady;
mod turns;

pub use crowd::{Crowd, Tally};
pub use ends::Together;
pub use latency::Latencies;
pub use steady::Steady;

use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socket2::{Domain, Protocol, Socket, Type};
use thread_priority::ThreadPriority;
use thread_priority::unix::{
    NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

use crate::{Launch, Server};

/// Lets the calling thread, and those that it starts, run only while no other wants to (SCHED_IDLE,
/// sched(7)): whoever wakes has the core at once. The lowest nice value would not do: a thread that
/// has it keeps the core until its slice is over, some milliseconds.
///
/// # Panics
/// When the kernel refuses, which it does not for less than one has.
pub fn yield_to_others() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).unwrap();
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

/// Starts `launch` with one shard on a core of its own. The calling thread, with those that it
/// starts, has another: as far as there are two.
///
/// # Panics
/// When it does not start, or the kernel lets nobody stay on a core.
#[must_use]
pub fn start_apart(launch: Launch) -> Server {
    let launch = launch.set("server.shards=1");
    let Some([shards, ours]) = two_cores() else {
        return launch.start();
    };
    let server = launch.set(&format!("server.cpus=[{shards}]")).start();
    stay_on_core(ours).unwrap();
    server
}

/// Two cores on which this process may run, if there are two.
fn two_cores() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(Some(getpid())).ok()?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    Some([cores.next()?, cores.next()?])
}

/// A connection begun: on loopback it stands when this returns, unless the server's queue is full.
/// Buffers of `buffer` bytes in the kernel, 0 for its own choice.
fn begin_connect(address: SocketAddr, buffer: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if buffer > 0 {
        socket.set_recv_buffer_size(buffer)?;
        socket.set_send_buffer_size(buffer)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}
