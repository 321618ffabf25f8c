//! The names of the sysctls that are judged, and where they lie.

use std::path::{Path, PathBuf};

pub(super) const FILE_MAX: &str = "fs.file-max";
pub(super) const NR_OPEN: &str = "fs.nr_open";
pub(super) const NETDEV_BACKLOG: &str = "net.core.netdev_max_backlog";
pub(super) const SOMAXCONN: &str = "net.core.somaxconn";
pub(super) const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";
pub(super) const PORTS_RESERVED: &str = "net.ipv4.ip_local_reserved_ports";
pub(super) const SYN_BACKLOG: &str = "net.ipv4.tcp_max_syn_backlog";
pub(super) const TCP_MEM: &str = "net.ipv4.tcp_mem";
pub(super) const TIME_WAIT_REUSE: &str = "net.ipv4.tcp_tw_reuse";
pub(super) const CONNTRACK_MAX: &str = "net.netfilter.nf_conntrack_max";

/// Those that may be changed. The state file is believed only as far as it names these.
const TUNABLE: [&str; 10] = [
    FILE_MAX,
    NR_OPEN,
    NETDEV_BACKLOG,
    SOMAXCONN,
    PORT_RANGE,
    PORTS_RESERVED,
    SYN_BACKLOG,
    TCP_MEM,
    TIME_WAIT_REUSE,
    CONNTRACK_MAX,
];

/// The constant of that name, if it may be changed.
pub(super) fn tunable(name: &str) -> Option<&'static str> {
    TUNABLE.into_iter().find(|known| *known == name)
}

/// Its file below the root directory of a machine, proc_sys(5). None of the names above has a dot
/// within a component.
pub(super) fn path(root: &Path, name: &str) -> PathBuf {
    root.join("proc/sys").join(name.replace('.', "/"))
}
