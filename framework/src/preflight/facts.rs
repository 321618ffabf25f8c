//! What the machine says about itself. Nothing here decides anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::port;
use crate::config::Config;
use crate::ring::{self, ProbeError};

/// Facts of this machine and this process. A fact that could not be learned is `None`, and nothing is made of it.
#[derive(Debug)]
pub(super) struct Facts {
    /// As uname(2) gives it, "6.18.44-generic".
    pub(super) release: String,
    /// What became of setting up a ring like a shard's.
    pub(super) ring: Result<(), ProbeError>,
    /// sysctl kernel.io_uring_disabled; `None` before Linux 6.6.
    pub(super) io_uring_disabled: Option<u32>,
    /// Soft RLIMIT_MEMLOCK in bytes; `u64::MAX` when there is none.
    pub(super) memlock: u64,
    /// Soft RLIMIT_NOFILE; `u64::MAX` when there is none.
    pub(super) nofile: u64,
    /// Cores this process may run on, by number.
    pub(super) cores: Vec<usize>,
    /// What became of listening on the address, alone.
    pub(super) port: io::Result<()>,
    /// Bytes the kernel could still give to programs.
    pub(super) memory_available: Option<u64>,
    /// Smallest memory.max of this process's control groups, in bytes.
    pub(super) memory_max: Option<u64>,
    /// sysctl net.core.somaxconn.
    pub(super) somaxconn: Option<u32>,
    /// sysctl net.core.rmem_max, in bytes.
    pub(super) rmem_max: Option<u32>,
    /// sysctl net.core.wmem_max, in bytes.
    pub(super) wmem_max: Option<u32>,
}

impl Facts {
    pub(super) fn gather(config: &Config) -> Self {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        Self {
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            ring: ring::probe(),
            io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
            memlock: soft_limit(Resource::Memlock),
            nofile: soft_limit(Resource::Nofile),
            cores: cores.into_iter().map(|core| core.id).collect(),
            port: port::probe(config.server.listen),
            memory_available: fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text)),
            memory_max: memory_max(),
            somaxconn: number("/proc/sys/net/core/somaxconn"),
            rmem_max: number("/proc/sys/net/core/rmem_max"),
            wmem_max: number("/proc/sys/net/core/wmem_max"),
        }
    }
}

/// Raise the soft limits that the server needs to the hard ones, as any process may. The only place that sets a limit.
pub(super) fn raise_limits() {
    for resource in [Resource::Memlock, Resource::Nofile] {
        let Rlimit { current, maximum } = getrlimit(resource);
        if current != maximum {
            // Where this is refused the facts tell the limit that remains, and the check judges it.
            let _ = setrlimit(resource, Rlimit { current: maximum, maximum });
        }
    }
}

fn soft_limit(resource: Resource) -> u64 {
    getrlimit(resource).current.unwrap_or(u64::MAX)
}

fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The smallest `memory.max` from this process's control group (cgroups(7), version 2) up to the root's.
fn memory_max() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = PathBuf::from(membership.lines().find_map(|line| line.strip_prefix("0::/"))?);
    group.ancestors().filter_map(|group| number(Path::new("/sys/fs/cgroup").join(group).join("memory.max"))).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;

    #[test]
    fn available_memory_is_read_in_bytes() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2_097_152));
        assert_eq!(available("MemAvailable: many kB\n"), None);
        assert_eq!(available(""), None);
    }

    #[test]
    fn this_machine_gives_its_facts() {
        let server = Server { listen: ([127, 0, 0, 1], 0).into(), ..Server::default() };
        let facts = Facts::gather(&Config { server, ..Config::default() });
        assert!(!facts.release.is_empty() && !facts.cores.is_empty() && facts.nofile > 0);
        assert!(facts.memory_available.is_some() && facts.port.is_ok());
    }
}
