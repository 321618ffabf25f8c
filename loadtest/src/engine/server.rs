//! The server process, if it is on this machine: who listens on the target's port.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// State of a listening socket in /proc/net/tcp (TCP_LISTEN of the kernel's tcp_states.h).
const LISTEN: &str = "0A";

/// The process that listens on the port of `target`; none if it is not on this machine or not ours
/// to look at.
pub(super) fn find(target: SocketAddr) -> Option<u32> {
    if !target.ip().is_loopback() {
        return None;
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<u64> = tables
        .iter()
        .flat_map(|table| listeners(table, target.port()))
        .collect();
    processes().find(|pid| holds_any(*pid, &inodes))
}

/// Inodes of the sockets that listen on `port`, from a table as proc_pid_net(5) describes it.
fn listeners(table: &str, port: u16) -> Vec<u64> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?.rsplit_once(':')?.1;
        let state = words.nth(1)?;
        let inode = words.nth(5)?.parse().ok()?;
        (u16::from_str_radix(local, 16) == Ok(port) && state == LISTEN).then_some(inode)
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds_any(pid: u32, inodes: &[u64]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        let link = fs::read_link(descriptor.path()).unwrap_or_default();
        socket_inode(&link).is_some_and(|inode| inodes.contains(&inode))
    })
}

fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;

    use super::*;

    #[test]
    fn whoever_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(
            find(listener.local_addr().unwrap()),
            Some(std::process::id())
        );
    }

    #[test]
    fn only_listeners_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1B5F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
            1: 0100007F:1B5F 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n";
        assert_eq!(listeners(table, 7007), [4711]);
        assert!(listeners(table, 7008).is_empty());
        assert!(listeners("", 7007).is_empty());
    }

    proptest::proptest! {
        #![proptest_config(crate::proptests::cases())]

        #[test]
        fn any_text_is_read_or_refused(text in crate::proptests::text()) {
            let _either = (listeners(&format!("head\n{text}"), 7), listeners(&format!("head\n0: 0:0007 0:0 0A 0 0 0 0 0 {text}"), 7), socket_inode(Path::new(&text)));
        }
    }
}
