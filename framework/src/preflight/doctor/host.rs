//! What [`Facts`](crate::preflight::facts::Facts) leave out because no start depends on it. Nothing
//! here decides anything, and nothing is opened but files of /proc and /sys.

use std::fs;
use std::path::PathBuf;

use rustix::thread::CapabilitySet;

use crate::cgroup;
use crate::net::listen::listening;
use crate::preflight::facts::{has_capability, is_capable, number};

/// Of this machine. What could not be learned is `None`.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// sysctl fs.file-max: open files of the whole machine, sockets among them.
    pub(super) files_max: Option<u64>,
    /// The first number of fs.file-nr: how many are open.
    pub(super) files_open: Option<u64>,
    /// CAP_SYS_ADMIN: the limit is not asked.
    pub(super) files_are_free: bool,
    /// sysctl net.netfilter.nf_conntrack_max, where connections are tracked, and how many are.
    pub(super) tracked_max: Option<u64>,
    pub(super) tracked: Option<u64>,
    /// sysctl net.ipv4.ip_local_port_range, both ends included.
    pub(super) local_ports: Option<(u16, u16)>,
    /// The first port that anybody may listen on: sysctl net.ipv4.ip_unprivileged_port_start.
    pub(super) free_ports_from: Option<u16>,
    /// CAP_NET_BIND_SERVICE: any port.
    pub(super) may_take_any_port: bool,
    /// The file of the control group whose memory bound is the smallest.
    pub(super) memory_max_file: Option<PathBuf>,
    /// Ports of the settings on which somebody listens, at whatever address.
    pub(super) ports_taken: Vec<u16>,
}

impl Host {
    pub(super) fn gather(ports: &[u16]) -> Self {
        let bounded = cgroup::memory_groups().into_iter();
        let smallest = bounded
            .filter_map(|group| Some((group.memory_max()?, group.memory_max_file())))
            .min_by_key(|(bytes, _)| *bytes);
        Self {
            files_max: number("/proc/sys/fs/file-max"),
            files_open: numbers("/proc/sys/fs/file-nr").first().copied(),
            files_are_free: is_capable(CapabilitySet::SYS_ADMIN),
            tracked_max: number("/proc/sys/net/netfilter/nf_conntrack_max"),
            tracked: number("/proc/sys/net/netfilter/nf_conntrack_count"),
            local_ports: local_ports(),
            free_ports_from: number("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
            may_take_any_port: has_capability(CapabilitySet::NET_BIND_SERVICE),
            memory_max_file: smallest.map(|(_, file)| file),
            ports_taken: ports.iter().copied().filter(is_taken).collect(),
        }
    }
}

fn is_taken(port: &u16) -> bool {
    let mut tables = ["tcp", "tcp6"].into_iter();
    tables.any(|table| is_listened_on(table, *port))
}

fn local_ports() -> Option<(u16, u16)> {
    match numbers("/proc/sys/net/ipv4/ip_local_port_range")[..] {
        [first, last] => Some((first.try_into().ok()?, last.try_into().ok()?)),
        _ => None,
    }
}

/// The numbers of a file of one line.
fn numbers(path: &str) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let words = text.split_whitespace();
    words.map_while(|word| word.parse().ok()).collect()
}

fn is_listened_on(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    listening(table).is_ok_and(|mut listeners| listeners.any(|(local, _)| local.ends_with(&port)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_is_taken_while_somebody_listens_there() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        assert_eq!(Host::gather(&[port]).ports_taken, [port]);
        drop(listener);
        assert!(Host::gather(&[port]).ports_taken.is_empty());
    }
}
