//! What the machine says about itself. Nothing here decides anything.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::cgroup;
use crate::config::{Config, Endpoint, ListenerSettings};
use crate::handler::AppBytes;
use crate::meminfo::Meminfo;
use crate::net::inherited::{Inherited, Passed};
use crate::preflight::inherited::{self, Moved};
use crate::preflight::{admin, port};
use crate::ring;
use crate::ring::ProbeError;
use crate::tls::{self, Examined, FileProblem};

/// Facts of this machine and this process. A fact that could not be learned is `None`, and nothing
/// is made of it.
#[derive(Debug)]
pub(super) struct Facts {
    /// As uname(2) gives it, "6.18.44-generic".
    pub(super) release: String,
    /// What became of setting up a ring like a shard's.
    pub(super) ring: Result<(), ProbeError>,
    /// Whether the ring tells what peers have not acknowledged; `None` where no setting needs it,
    /// or the ring itself is refused.
    pub(super) tells_unacknowledged: Option<bool>,
    /// sysctl kernel.io_uring_disabled; `None` before Linux 6.6.
    pub(super) io_uring_disabled: Option<u32>,
    /// Soft RLIMIT_MEMLOCK in bytes; `u64::MAX` when there is none.
    pub(super) memlock: u64,
    /// Whether that limit is not asked: CAP_IPC_LOCK in the first user namespace.
    pub(super) memlock_is_free: bool,
    /// The process before has its part of it until it ends.
    pub(super) before: Option<Before>,
    /// Soft RLIMIT_NOFILE; `u64::MAX` when there is none.
    pub(super) nofile: u64,
    /// Cores this process may run on, by number.
    pub(super) cores: Vec<usize>,
    /// Listeners whose address cannot be listened on alone, and why.
    pub(super) unable: Vec<(ListenerSettings, io::Error)>,
    /// Where the admin server cannot listen: key, address and why.
    pub(super) admin: Vec<(&'static str, Endpoint, io::Error)>,
    /// The most sockets that are open already of one listener.
    pub(super) inherited: usize,
    /// Those of the process before that the settings want elsewhere, or not at all.
    pub(super) moved: Vec<Moved>,
    /// Files of TLS that cannot be used, and what should be known of those that can.
    pub(super) tls: (Vec<FileProblem>, Vec<String>),
    /// Bytes of the machine.
    pub(super) memory_total: Option<u64>,
    /// Bytes the kernel could still give to programs.
    pub(super) memory_available: Option<u64>,
    /// Smallest bound of this process's control groups, in bytes.
    pub(super) memory_max: Option<u64>,
    /// Bytes of buffers that the kernel allows all TCP sockets of the machine together.
    pub(super) tcp_memory_max: Option<u64>,
    /// Bytes of a connection's task in this program, and of a place of a mailbox.
    pub(super) task_bytes: u64,
    pub(super) parcel_bytes: u64,
    /// sysctl net.core.somaxconn.
    pub(super) somaxconn: Option<u32>,
    /// sysctl net.core.rmem_max, in bytes.
    pub(super) rmem_max: Option<u32>,
    /// sysctl net.core.wmem_max, in bytes.
    pub(super) wmem_max: Option<u32>,
}

/// What the process before has started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// None: it does not show.
    pub(super) shards: Option<u64>,
    pub(super) admins: u64,
}

/// As many as sockets of a port came from there; of a Unix socket one comes, however many there are.
fn shards_before(passed: &[Passed]) -> Option<u64> {
    let is_port = |passed: &&Passed| matches!(passed.endpoint(), Some(Endpoint::Tcp(_)));
    let ports = passed.iter().filter(is_port);
    ports.map(|passed| passed.sockets.len() as u64).max()
}

impl Facts {
    /// The addresses of what is `inherited` are in use, and ours.
    pub(super) fn gather(config: &Config, app_bytes: AppBytes, inherited: &Inherited) -> Self {
        let listeners = config.listeners();
        let passed = inherited.listeners.iter();
        let sockets = passed.map(|passed| passed.sockets.len());
        let most = sockets.max().unwrap_or_default();
        Self {
            unable: unable(&listeners, inherited),
            admin: admin::probe(config, &inherited.admin),
            before: inherited.of_parent.then(|| Before {
                shards: shards_before(&inherited.listeners),
                admins: inherited.admin.iter().flatten().count() as u64,
            }),
            inherited: most,
            moved: inherited::moved(&listeners, &inherited.listeners),
            ..Self::without_ports(config, app_bytes)
        }
    }

    /// Without a port opened: each is taken for free.
    pub(super) fn without_ports(config: &Config, app_bytes: AppBytes) -> Self {
        let tells_unacknowledged = config
            .limits
            .send_rate_min
            .and_then(|_| ring::tells_unacknowledged().ok());
        Self {
            ring: ring::probe(),
            tells_unacknowledged,
            tls: judged(tls::examine(config)),
            ..Self::without_probes(app_bytes)
        }
    }

    /// Without a ring set up or a port opened to see whether that can be: both are taken for fine.
    pub(super) fn without_probes(app_bytes: AppBytes) -> Self {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let meminfo = Meminfo::current();
        Self {
            release: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            ring: Ok(()),
            tells_unacknowledged: None,
            io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
            memlock: soft_limit(Resource::Memlock),
            memlock_is_free: is_capable(CapabilitySet::IPC_LOCK),
            before: None,
            nofile: soft_limit(Resource::Nofile),
            cores: cores.into_iter().map(|core| core.id).collect(),
            unable: Vec::new(),
            admin: Vec::new(),
            inherited: 0,
            moved: Vec::new(),
            tls: (Vec::new(), Vec::new()),
            memory_total: meminfo.total,
            memory_available: meminfo.available,
            memory_max: cgroup::memory_groups()
                .iter()
                .filter_map(cgroup::Group::memory_max)
                .min(),
            tcp_memory_max: tcp_memory_max(),
            task_bytes: app_bytes.task as u64,
            parcel_bytes: app_bytes.parcel as u64,
            somaxconn: number("/proc/sys/net/core/somaxconn"),
            rmem_max: number("/proc/sys/net/core/rmem_max"),
            wmem_max: number("/proc/sys/net/core/wmem_max"),
        }
    }
}

/// Tries each listener that is not `inherited`.
fn unable(
    listeners: &[ListenerSettings],
    inherited: &Inherited,
) -> Vec<(ListenerSettings, io::Error)> {
    let to_open = listeners
        .iter()
        .filter(|listener| inherited.of(listener.name()).is_none());
    let failed =
        to_open.filter_map(|listener| Some((listener.clone(), port::probe(listener).err()?)));
    failed.collect()
}

/// Raise the soft limits that the server needs to the hard ones, as any process may. The only place
/// that sets a limit.
pub(super) fn raise_limits() {
    for resource in [Resource::Memlock, Resource::Nofile] {
        let Rlimit { current, maximum } = getrlimit(resource);
        if current != maximum {
            // Where this is refused the facts tell the limit that remains, and the check judges it.
            let _ = setrlimit(
                resource,
                Rlimit {
                    current: maximum,
                    maximum,
                },
            );
        }
    }
}

fn soft_limit(resource: Resource) -> u64 {
    getrlimit(resource).current.unwrap_or(u64::MAX)
}

pub(super) fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// As the kernel's `capable()`: root of another user namespace is nobody there.
pub(super) fn is_capable(of: CapabilitySet) -> bool {
    // user_namespaces(7): the first one maps every user to itself.
    let map = fs::read_to_string("/proc/self/uid_map");
    has_capability(of)
        && map.map_or(true, |map| {
            map.split_whitespace().eq(["0", "0", "4294967295"])
        })
}

/// In the process's own user namespace.
pub(super) fn has_capability(of: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(of))
}

/// What is wrong with the files of all tables, and what should be known of them.
pub(super) fn judged(examined: Vec<Examined>) -> (Vec<FileProblem>, Vec<String>) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for table in examined {
        problems.extend(table.problems);
        warnings.extend(table.warnings);
    }
    (problems, warnings)
}

/// Pages that all TCP sockets of the machine may have in buffers: the third number of
/// net.ipv4.tcp_mem (tcp(7)), in bytes.
fn tcp_memory_max() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").ok()?;
    let pages: u64 = text.split_whitespace().nth(2)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
impl Facts {
    /// A machine of four cores on which everything is in order.
    pub(super) fn good() -> Self {
        Self {
            release: "6.1.0".to_owned(),
            ring: Ok(()),
            tells_unacknowledged: None,
            io_uring_disabled: Some(0),
            memlock: 8 << 20,
            memlock_is_free: false,
            before: None,
            nofile: 20_000,
            cores: vec![0, 1, 2, 3],
            unable: Vec::new(),
            admin: Vec::new(),
            inherited: 0,
            moved: Vec::new(),
            tls: (Vec::new(), Vec::new()),
            memory_total: Some(64 << 30),
            memory_available: Some(8 << 30),
            memory_max: None,
            tcp_memory_max: None,
            task_bytes: 100,
            parcel_bytes: 16,
            somaxconn: Some(4096),
            rmem_max: Some(212_992),
            wmem_max: Some(212_992),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;

    #[test]
    fn this_machine_gives_its_facts() {
        let server = Server {
            listen: ([127, 0, 0, 1], 0).into(),
            ..Server::default()
        };
        let facts = Facts::gather(
            &Config {
                server,
                ..Config::default()
            },
            AppBytes { task: 0, parcel: 0 },
            &Inherited::default(),
        );
        assert!(!facts.release.is_empty() && !facts.cores.is_empty() && facts.nofile > 0);
        assert!(
            facts.memory_available.is_some()
                && facts.memory_total > facts.memory_available
                && facts.unable.is_empty()
        );
    }
}
