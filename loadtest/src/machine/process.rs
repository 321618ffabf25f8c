//! Processes of this machine, as /proc shows them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};
use procfs::{ProcError, ProcResult, net, ticks_per_second};

const NS_PER_S: u64 = 1_000_000_000;

/// A process at an instant.
#[derive(Debug)]
pub struct Sample {
    /// When it was taken.
    pub at: Instant,
    cpu_ns: u64,
    /// Memory that is present.
    pub resident_bytes: u64,
}

impl Sample {
    /// Process `pid` now.
    ///
    /// # Errors
    /// When there is none, or not ours to look at.
    pub fn take(pid: u32) -> io::Result<Self> {
        Self::of(pid).map_err(io::Error::other)
    }

    fn of(pid: u32) -> ProcResult<Self> {
        let process = process(pid)?;
        Ok(Self {
            at: Instant::now(),
            cpu_ns: cpu_ns(&process)?,
            resident_bytes: resident(&process)?,
        })
    }

    /// A thread that ended in between, as the kernel's own workers do, takes its share with it.
    pub fn cpu_ns_since(&self, earlier: &Self) -> u64 {
        self.cpu_ns.saturating_sub(earlier.cpu_ns)
    }
}

fn process(pid: u32) -> ProcResult<Process> {
    let pid = i32::try_from(pid).map_err(|_| ProcError::NotFound(None))?;
    Process::new(pid)
}

/// Processor time of all threads of a process so far, in nanoseconds, the kernel's work on their
/// behalf included.
fn cpu_ns(process: &Process) -> ProcResult<u64> {
    let mut sum = 0;
    for task in process.tasks()? {
        match task.and_then(|task| task.schedstat()) {
            Ok(schedstat) => sum += schedstat.sum_exec_runtime,
            // No CONFIG_SCHED_INFO, or the thread has just ended: whole ticks, but all of them.
            Err(_) => return cpu_ns_in_ticks(process),
        }
    }
    Ok(sum)
}

fn cpu_ns_in_ticks(process: &Process) -> ProcResult<u64> {
    let stat = process.stat()?;
    Ok((stat.utime + stat.stime) * (NS_PER_S / ticks_per_second()))
}

fn resident(process: &Process) -> ProcResult<u64> {
    let kib = process.status()?.vmrss;
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| ProcError::Other("the process has no memory of its own".to_owned()))
}

/// Memory of process `pid` that is present; none if it is gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    resident(&process(pid).ok()?).ok()
}

/// Name of the program that process `pid` runs; none if it is gone.
pub fn name(pid: u32) -> Option<String> {
    Some(process(pid).ok()?.stat().ok()?.comm)
}

/// Processor time so far of each shard of a Corelane process, in nanoseconds: of the threads
/// "shard-N", for a shard's helpers have its name too. Empty for other programs, and without
/// CONFIG_SCHED_INFO.
pub fn shards_cpu_ns(pid: u32) -> BTreeMap<u32, u64> {
    let mut shards = BTreeMap::new();
    let tasks = process(pid).and_then(|process| process.tasks());
    for task in tasks.into_iter().flatten().flatten() {
        if let (Ok(stat), Ok(schedstat)) = (task.stat(), task.schedstat())
            && let Some(shard) = shard_number(&stat.comm)
        {
            *shards.entry(shard).or_default() += schedstat.sum_exec_runtime;
        }
    }
    shards
}

fn shard_number(comm: &str) -> Option<u32> {
    comm.strip_prefix("shard-")?.parse().ok()
}

/// The process that listens on the port of `target`; none if it is not on this machine or not ours
/// to look at.
pub fn listener(target: SocketAddr) -> Option<u32> {
    if !target.ip().is_loopback() {
        return None;
    }
    let sockets = [net::tcp(), net::tcp6()].into_iter().flatten().flatten();
    let listeners = sockets.filter(|socket| {
        socket.state == TcpState::Listen && socket.local_address.port() == target.port()
    });
    let inodes: Vec<u64> = listeners.map(|socket| socket.inode).collect();
    let mut processes = all_processes().ok()?.flatten();
    let process = processes.find(|process| holds_any(process, &inodes))?;
    u32::try_from(process.pid()).ok()
}

fn holds_any(process: &Process, inodes: &[u64]) -> bool {
    let mut descriptors = process.fd().into_iter().flatten().flatten();
    descriptors.any(|descriptor| match descriptor.target {
        FDTarget::Socket(inode) => inodes.contains(&inode),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn shards_are_told_by_the_names_of_their_threads() {
        assert_eq!(shard_number("shard-63"), Some(63));
        for other in ["shard-", "shard-x", "log", ""] {
            assert_eq!(shard_number(other), None, "{other:?}");
        }
        let (begins, begun) = channel();
        let (quit, quits) = channel::<()>();
        let thread = thread::Builder::new()
            .name("shard-4242".to_owned())
            .spawn(move || {
                begins.send(()).unwrap(); // a thread names itself, so that it has its name by now
                quits.recv()
            });
        begun.recv().unwrap();
        let found = shards_cpu_ns(std::process::id());
        drop(quit);
        thread.unwrap().join().unwrap().unwrap_err();
        assert!(found.contains_key(&4242), "{found:?}");
    }

    #[test]
    fn this_process_has_memory_and_has_used_the_processor() {
        let process = process(std::process::id()).unwrap();
        assert!(resident(&process).unwrap() > 100_000);
        while cpu_ns(&process).unwrap() == 0 {} // bounded: this loop is what it waits for
        cpu_ns_in_ticks(&process).unwrap();
    }

    #[test]
    fn whoever_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(super::listener(address), Some(std::process::id()));
    }

    #[test]
    fn only_listeners_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(super::listener(stream.local_addr().unwrap()), None);
    }
}
