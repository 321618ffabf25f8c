//! Facts about the machine, read from it, and how to type that they are to be others. Nothing here
//! decides anything.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use procfs::process::{LimitValue, Limits, Status};
use procfs::{FromRead as _, Meminfo, ProcessCGroups};

use super::values::{MemoryMarks, PortList, PortRange};

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
    pub fn read(root: &Path) -> Self {
        Self {
            nofile: nofile(root),
            files_unlimited: is_sys_admin(root),
            nr_open: sysctl(root, "fs.nr_open"),
            file_max: sysctl(root, "fs.file-max"),
            files_open: files_open(root),
            port_range: sysctl(root, "net.ipv4.ip_local_port_range"),
            ports_reserved: sysctl(root, "net.ipv4.ip_local_reserved_ports"),
            port_unprivileged_first: sysctl(root, "net.ipv4.ip_unprivileged_port_start"),
            tcp_mem: sysctl(root, "net.ipv4.tcp_mem"),
            page_bytes: Some(rustix::param::page_size() as u64),
            memory_available: memory_available(root),
            memory_max: memory_max(root),
            conntrack_max: sysctl(root, "net.netfilter.nf_conntrack_max"),
            conntrack_count: sysctl(root, "net.netfilter.nf_conntrack_count"),
            netdev_backlog_max: sysctl(root, "net.core.netdev_max_backlog"),
            somaxconn: sysctl(root, "net.core.somaxconn"),
            syn_backlog_max: sysctl(root, "net.ipv4.tcp_max_syn_backlog"),
            syncookies: sysctl(root, "net.ipv4.tcp_syncookies"),
            time_wait_reuse: sysctl(root, "net.ipv4.tcp_tw_reuse"),
        }
    }

    /// Ports that connect(2) may choose from, for one pair of addresses.
    pub(super) fn ports(&self) -> Option<u64> {
        let (range, reserved) = (self.port_range?, self.ports_reserved.as_ref());
        let reserved = reserved.map_or(0, |ports| ports.count_within(range));
        Some(range.count().saturating_sub(reserved))
    }
}

/// The value of a sysctl, proc_sys(5). None of those above has a dot within a component.
fn sysctl<T: FromStr>(root: &Path, name: &str) -> Option<T> {
    parsed(&root.join("proc/sys").join(name.replace('.', "/")))
}

fn parsed<T: FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn files_open(root: &Path) -> Option<u64> {
    let numbers = fs::read_to_string(root.join("proc/sys/fs/file-nr")).ok()?;
    numbers.split_whitespace().next()?.parse().ok()
}

fn nofile(root: &Path) -> Option<u64> {
    let limits = Limits::from_file(root.join("proc/self/limits")).ok()?;
    match limits.max_open_files.soft_limit {
        LimitValue::Unlimited => Some(u64::MAX),
        LimitValue::Value(soft) => Some(soft),
    }
}

fn is_sys_admin(root: &Path) -> Option<bool> {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = Status::from_file(root.join("proc/self/status")).ok()?;
    Some((status.capeff >> CAP_SYS_ADMIN) & 1 == 1)
}

fn memory_available(root: &Path) -> Option<u64> {
    let meminfo = Meminfo::from_file(root.join("proc/meminfo")).ok()?;
    meminfo.mem_available
}

/// The smallest `memory.max` from this process's control group up to the root's.
fn memory_max(root: &Path) -> Option<u64> {
    let groups = ProcessCGroups::from_file(root.join("proc/self/cgroup")).ok()?;
    let unified = groups.0.into_iter().find(|group| group.hierarchy == 0)?;
    let group = PathBuf::from(unified.pathname.strip_prefix('/')?);
    let groups = root.join("sys/fs/cgroup");
    let limit = |group| parsed(&groups.join(group).join("memory.max"));
    group.ancestors().filter_map(limit).min()
}

/// The command that sets these sysctls (sysctl(8)), in this order.
pub(super) fn set_sysctls(settings: &[(&str, String)]) -> String {
    let assignments: Vec<String> = settings
        .iter()
        .map(|(name, value)| {
            let quote = if value.contains(' ') { "\"" } else { "" };
            format!("{name}={quote}{value}{quote}")
        })
        .collect();
    format!("run `sysctl -w {}` as root", assignments.join(" "))
}

pub(super) fn set_sysctl(name: &str, value: impl Display) -> String {
    set_sysctls(&[(name, value.to_string())])
}

/// The remedies that there are, one or another of which will do.
pub(super) fn either<const N: usize>(remedies: [Option<String>; N]) -> String {
    let remedies: Vec<String> = remedies.into_iter().flatten().collect();
    remedies.join(", or ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A root directory with some files, removed when dropped.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("loadtest-{name}-{}", std::process::id())))
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// This machine's file, with `line` in place of the one that begins like it.
        fn put_own(&self, path: &str, line: &str) {
            let begins = line.split(['\t', ':']).next().unwrap();
            let begins = begins.split("  ").next().unwrap();
            let text = fs::read_to_string(Path::new("/").join(path)).unwrap();
            assert!(text.lines().any(|own| own.starts_with(begins)), "{text}");
            let lines = text.lines().map(|own| {
                let is_it = own.starts_with(begins);
                format!("{}\n", if is_it { line } else { own })
            });
            self.put(path, &lines.collect::<String>());
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn the_soft_descriptor_limit_is_read() {
        let root = Root::new("limits");
        let line =
            |soft| format!("Max open files            {soft:<20} 20000                files ");
        root.put_own("proc/self/limits", &line("1024"));
        assert_eq!(nofile(&root.0), Some(1024));
        root.put_own("proc/self/limits", &line("unlimited"));
        assert_eq!(nofile(&root.0), Some(u64::MAX));
        root.put("proc/self/limits", "");
        assert_eq!(nofile(&root.0), None);
    }

    #[test]
    fn sys_admin_is_bit_21() {
        let root = Root::new("status");
        root.put_own("proc/self/status", "CapEff:\t0000000000200000");
        assert_eq!(is_sys_admin(&root.0), Some(true));
        root.put_own("proc/self/status", "CapEff:\t0000000000000000");
        assert_eq!(is_sys_admin(&root.0), Some(false));
        root.put_own("proc/self/status", "CapEff:\tnone");
        assert_eq!(is_sys_admin(&root.0), None);
    }

    #[test]
    fn available_memory_is_read_in_bytes() {
        let root = Root::new("meminfo");
        root.put_own("proc/meminfo", "MemAvailable:    2048 kB");
        assert_eq!(memory_available(&root.0), Some(2_097_152));
        root.put_own("proc/meminfo", "MemAvailable: many kB");
        assert_eq!(memory_available(&root.0), None);
    }

    #[test]
    fn facts_are_read_below_the_root_given_and_what_is_missing_is_none() {
        let root = Root::new("facts");
        root.put("proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n");
        root.put(
            "proc/sys/net/ipv4/ip_local_reserved_ports",
            "7007,8000-8009\n",
        );
        root.put("proc/sys/net/ipv4/tcp_mem", "3\t4\t6\n");
        root.put("proc/sys/fs/file-nr", "208\t0\t2466174\n");
        root.put("proc/sys/fs/nr_open", "rubbish\n");
        root.put("proc/self/cgroup", "0::/a/b\n");
        root.put("sys/fs/cgroup/a/memory.max", "4096\n");
        root.put("sys/fs/cgroup/a/b/memory.max", "max\n");
        let facts = Facts::read(&root.0);
        assert_eq!(facts.ports(), Some(64_512 - 11));
        assert_eq!(facts.tcp_mem.unwrap().to_string(), "3 4 6");
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
        let facts = Facts::read(Path::new("/"));
        assert!(
            facts.nofile.is_some() && facts.memory_available.is_some() && facts.ports().is_some(),
            "{facts:?}"
        );
    }

    #[test]
    fn the_command_can_be_typed_as_it_stands() {
        let settings = [
            ("net.ipv4.ip_local_reserved_ports", "7007".to_owned()),
            ("net.ipv4.ip_local_port_range", "1024 65535".to_owned()),
        ];
        assert_eq!(
            set_sysctls(&settings),
            "run `sysctl -w net.ipv4.ip_local_reserved_ports=7007 \
             net.ipv4.ip_local_port_range=\"1024 65535\"` as root"
        );
        assert_eq!(
            set_sysctl("fs.nr_open", 10_000),
            "run `sysctl -w fs.nr_open=10000` as root"
        );
    }
}
