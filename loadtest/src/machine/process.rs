//! Processes of this machine, as /proc shows them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};
use procfs::{ProcError, ProcResult, net, ticks_per_second};

const NS_PER_S: u64 = 1_000_000_000;
/// utime and stime are cut to whole ticks, each at either end.
const TICKS_WRONG_BY: u64 = 2;

/// A process at an instant.
#[derive(Debug)]
pub struct Sample {
    /// When it was taken.
    pub at: Instant,
    /// Of the threads that are there, exactly, if the kernel tells; of all that ever were, in whole
    /// ticks.
    threads_ns: Option<u64>,
    ever_ns: u64,
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
            threads_ns: threads_ns(&process)?,
            ever_ns: ever_ns(&process)?,
            resident_bytes: resident(&process)?,
        })
    }

    /// A thread that ended in between, as the kernel's own workers do, takes its exact share with
    /// it. Where more is missing than ticks can be wrong by, as of a server with a thread for each
    /// connection, ticks tell the better.
    pub fn cpu_ns_since(&self, earlier: &Self) -> u64 {
        let whole = self.ever_ns.saturating_sub(earlier.ever_ns);
        let both = self.threads_ns.zip(earlier.threads_ns);
        let exact = both.map(|(after, before)| after.saturating_sub(before));
        let is_all = |exact: &u64| whole <= exact + TICKS_WRONG_BY * tick_ns();
        exact.filter(is_all).unwrap_or(whole)
    }
}

fn process(pid: u32) -> ProcResult<Process> {
    let pid = i32::try_from(pid).map_err(|_| ProcError::NotFound(None))?;
    Process::new(pid)
}

/// Processor time so far of the threads that a process has, in nanoseconds, the kernel's work on
/// their behalf included; none without CONFIG_SCHED_INFO. One that has just ended counts no more.
fn threads_ns(process: &Process) -> ProcResult<Option<u64>> {
    let schedstats = process.tasks()?.map(|task| task?.schedstat());
    let used = schedstats
        .flatten()
        .map(|schedstat| schedstat.sum_exec_runtime);
    Ok(used.reduce(|sum, more| sum + more))
}

/// The same with the threads that have ended.
fn ever_ns(process: &Process) -> ProcResult<u64> {
    let stat = process.stat()?;
    Ok((stat.utime + stat.stime) * tick_ns())
}

fn tick_ns() -> u64 {
    NS_PER_S / ticks_per_second()
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

/// The processes that listen on the port of `target`, each of several that share it; none if they
/// are not on this machine or not ours to look at.
pub fn listeners(target: SocketAddr) -> Vec<u32> {
    if !target.ip().is_loopback() {
        return Vec::new();
    }
    let sockets = [net::tcp(), net::tcp6()].into_iter().flatten().flatten();
    let listeners = sockets.filter(|socket| {
        socket.state == TcpState::Listen && socket.local_address.port() == target.port()
    });
    let inodes: Vec<u64> = listeners.map(|socket| socket.inode).collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let processes = all_processes().into_iter().flatten().flatten();
    let listening = processes.filter(|process| holds_any(process, &inodes));
    let mut pids: Vec<u32> = listening
        .filter_map(|process| process.pid().try_into().ok())
        .collect();
    pids.sort_unstable();
    pids
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
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};
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
        // Bounded: this loop is what it waits for.
        while threads_ns(&process).unwrap() == Some(0) {}
        ever_ns(&process).unwrap();
    }

    #[test]
    fn what_threads_have_used_that_are_gone_counts() {
        const EACH: u64 = 50_000_000;
        const THREADS: u64 = 5;
        let used = || {
            let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            used.tv_sec as u64 * NS_PER_S + used.tv_nsec as u64
        };
        let before = Sample::take(std::process::id()).unwrap();
        for _ in 0..THREADS {
            let thread = thread::spawn(move || while used() < EACH {});
            thread.join().unwrap();
        }
        let after = Sample::take(std::process::id()).unwrap();
        let (counted, all) = (after.cpu_ns_since(&before), THREADS * EACH);
        assert!(counted >= all - TICKS_WRONG_BY * tick_ns(), "{counted} ns");
    }

    #[test]
    fn whoever_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(listeners(address), [std::process::id()]);
    }

    #[test]
    fn each_process_that_shares_a_listener_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
        let mut child = Command::new("sleep")
            .arg("600")
            .stdin(shared)
            .spawn()
            .unwrap();
        let found = listeners(listener.local_addr().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        let mut both = [std::process::id(), child.id()];
        both.sort_unstable();
        assert_eq!(found, both);
    }

    #[test]
    fn only_listeners_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listeners(stream.local_addr().unwrap()).is_empty());
    }
}
