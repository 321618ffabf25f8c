//! What the machine says about itself. Nothing here decides anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::sysctl;
pub use values::{MemoryMarks, PortList, PortRange};

mod values;

/// Facts of this machine and this process. A fact that could not be learned is `None`, and nothing
/// is made of it.
///
/// The sysctls are explained in the kernel's Documentation/networking/ip-sysctl.rst,
/// nf_conntrack-sysctl.rst and Documentation/admin-guide/sysctl/{fs,net}.rst; the others in
/// proc(5), getrlimit(2), capabilities(7) and cgroups(7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Soft RLIMIT_NOFILE; `u64::MAX` when there is none.
    pub nofile: Option<u64>,
    /// Whether this process has CAP_SYS_ADMIN, which lets it open files beyond fs.file-max.
    pub files_unlimited: Option<bool>,
    /// sysctl fs.nr_open: the highest RLIMIT_NOFILE that can be set.
    pub nr_open: Option<u64>,
    /// sysctl fs.file-max: open files of the whole machine.
    pub file_max: Option<u64>,
    /// Files that are open on the whole machine now, the first number of fs.file-nr.
    pub files_open: Option<u64>,
    /// sysctl net.ipv4.ip_local_port_range, which IPv6 uses as well.
    pub port_range: Option<PortRange>,
    /// sysctl net.ipv4.ip_local_reserved_ports.
    pub ports_reserved: Option<PortList>,
    /// sysctl net.ipv4.ip_unprivileged_port_start: the port range cannot begin below it.
    pub port_unprivileged_first: Option<u16>,
    /// sysctl net.ipv4.tcp_mem, in pages.
    pub tcp_mem: Option<MemoryMarks>,
    /// Bytes of a page.
    pub page_bytes: Option<u64>,
    /// Bytes the kernel could still give away, `MemAvailable`.
    pub memory_available: Option<u64>,
    /// Smallest memory.max of this process's control groups (version 2), in bytes. Sockets are
    /// charged to them.
    pub memory_max: Option<u64>,
    /// sysctl net.netfilter.nf_conntrack_max; `None` unless the module is loaded.
    pub conntrack_max: Option<u64>,
    /// Connections that are tracked now.
    pub conntrack_count: Option<u64>,
    /// sysctl net.core.netdev_max_backlog: packets that wait for a core. `None` in a network
    /// namespace, which does not show it.
    pub netdev_backlog_max: Option<u64>,
    /// sysctl net.core.somaxconn: upper bound of every listener's backlog.
    pub somaxconn: Option<u64>,
    /// sysctl net.ipv4.tcp_max_syn_backlog.
    pub syn_backlog_max: Option<u64>,
    /// sysctl net.ipv4.tcp_syncookies: 0 off, 1 when the backlog overflows, 2 always.
    pub syncookies: Option<u64>,
    /// sysctl net.ipv4.tcp_tw_reuse: 0 off, 1 everywhere, 2 on loopback.
    pub time_wait_reuse: Option<u64>,
}

impl Facts {
    /// Ask the machine whose root directory is `root`: "/", or one that a test has made.
    pub fn gather(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let number = |name: &str| parsed(&sysctl::path(root, name));
        Self {
            nofile: text("proc/self/limits").and_then(|text| nofile(&text)),
            files_unlimited: text("proc/self/status").and_then(|text| has_sys_admin(&text)),
            nr_open: number(sysctl::NR_OPEN),
            file_max: number(sysctl::FILE_MAX),
            files_open: text("proc/sys/fs/file-nr").and_then(|text| first_number(&text)),
            port_range: parsed(&sysctl::path(root, sysctl::PORT_RANGE)),
            ports_reserved: parsed(&sysctl::path(root, sysctl::PORTS_RESERVED)),
            port_unprivileged_first: parsed(&sysctl::path(
                root,
                "net.ipv4.ip_unprivileged_port_start",
            )),
            tcp_mem: parsed(&sysctl::path(root, sysctl::TCP_MEM)),
            page_bytes: Some(rustix::param::page_size() as u64),
            memory_available: text("proc/meminfo").and_then(|text| memory_available(&text)),
            memory_max: text("proc/self/cgroup").and_then(|text| memory_max(root, &text)),
            conntrack_max: number(sysctl::CONNTRACK_MAX),
            conntrack_count: number("net.netfilter.nf_conntrack_count"),
            netdev_backlog_max: number(sysctl::NETDEV_BACKLOG),
            somaxconn: number(sysctl::SOMAXCONN),
            syn_backlog_max: number(sysctl::SYN_BACKLOG),
            syncookies: number("net.ipv4.tcp_syncookies"),
            time_wait_reuse: number(sysctl::TIME_WAIT_REUSE),
        }
    }

    /// Ports that connect(2) may choose from, for one pair of addresses.
    pub(super) fn ports(&self) -> Option<u64> {
        let range = self.port_range?;
        let reserved = self
            .ports_reserved
            .as_ref()
            .map_or(0, |ports| ports.count_within(range));
        Some(range.count().saturating_sub(reserved))
    }
}

/// Raise the soft descriptor limit to the hard one, as any process may.
pub(super) fn raise_limits() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where this is refused the facts tell the limit that remains, and the check judges it.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

fn parsed<T: FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The soft limit in a line "Max open files  20000  20000  files".
fn nofile(limits: &str) -> Option<u64> {
    let values = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match values.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        soft => soft.parse().ok(),
    }
}

/// CAP_SYS_ADMIN among the effective capabilities, a line "CapEff:  000001ffffffffff".
fn has_sys_admin(status: &str) -> Option<bool> {
    const CAP_SYS_ADMIN: u32 = 21;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some((mask >> CAP_SYS_ADMIN) & 1 == 1)
}

/// `MemAvailable` in bytes.
fn memory_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The smallest `memory.max` from the control group of that /proc/self/cgroup up to the root's.
fn memory_max(root: &Path, membership: &str) -> Option<u64> {
    let group = PathBuf::from(
        membership
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))?,
    );
    let groups = root.join("sys/fs/cgroup");
    group
        .ancestors()
        .filter_map(|group| parsed(&groups.join(group).join("memory.max")))
        .min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_soft_descriptor_limit_is_read() {
        let limits =
            "Limit    Soft Limit   Hard Limit  Units\nMax open files   1024   20000   files\n";
        assert_eq!(nofile(limits), Some(1024));
        assert_eq!(
            nofile("Max open files   unlimited   unlimited   files\n"),
            Some(u64::MAX)
        );
        assert_eq!(nofile(""), None);
    }

    #[test]
    fn sys_admin_is_bit_21() {
        assert_eq!(has_sys_admin("CapEff:\t0000000000200000\n"), Some(true));
        assert_eq!(has_sys_admin("CapEff:\t0000000000000000\n"), Some(false));
        assert_eq!(has_sys_admin("CapEff:\tnone\n"), None);
    }

    #[test]
    fn available_memory_is_read_in_bytes() {
        assert_eq!(
            memory_available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(memory_available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn facts_are_read_below_the_root_given_and_what_is_missing_is_none() {
        let root = std::env::temp_dir().join(format!("loadtest-facts-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n");
        put(
            "proc/sys/net/ipv4/ip_local_reserved_ports",
            "7007,8000-8009\n",
        );
        put("proc/sys/net/ipv4/tcp_mem", "3\t4\t6\n");
        put("proc/sys/fs/file-nr", "208\t0\t2466174\n");
        put("proc/sys/fs/nr_open", "rubbish\n");
        put("proc/self/cgroup", "0::/a/b\n");
        put("sys/fs/cgroup/a/memory.max", "4096\n");
        put("sys/fs/cgroup/a/b/memory.max", "max\n");
        let facts = Facts::gather(&root);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(facts.ports(), Some(64_512 - 11));
        assert_eq!(
            facts.tcp_mem,
            Some(MemoryMarks {
                low: 3,
                pressure: 4,
                high: 6
            })
        );
        assert_eq!(
            (facts.files_open, facts.memory_max),
            (Some(208), Some(4096))
        );
        assert_eq!(
            (facts.nr_open, facts.nofile, facts.conntrack_max),
            (None, None, None)
        );
    }

    #[test]
    fn this_machine_gives_its_facts() {
        let facts = Facts::gather(Path::new("/"));
        assert!(
            facts.nofile.is_some() && facts.memory_available.is_some() && facts.ports().is_some(),
            "{facts:?}"
        );
    }

    proptest::proptest! {
        #![proptest_config(crate::proptests::cases())]

        #[test]
        fn any_text_is_read_or_refused(text in crate::proptests::text()) {
            let _either = (nofile(&format!("Max open files {text}")), has_sys_admin(&format!("CapEff:{text}")), first_number(&text));
            let _either = (memory_available(&format!("MemAvailable:{text}")), memory_max(Path::new("/nowhere"), &format!("0::/{text}")));
        }
    }
}
