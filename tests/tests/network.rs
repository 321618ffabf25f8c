//! A peer that vanishes without a word: its link is cut, and no FIN, no reset ever comes.
//!
//! Server and client each get a network namespace of their own, so this needs root.
#![allow(clippy::unwrap_used)]

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{BOUND, Launch, Server, announce, have};

const SERVER_IP: &str = "10.77.0.1";
const CLIENT_IP: &str = "10.77.0.2";

fn ip(arguments: &str) -> bool {
    let status = Command::new("ip").args(arguments.split_whitespace()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Two network namespaces with a cable between them.
struct Cable {
    server_side: String,
    client_side: String,
}

impl Cable {
    /// None, with the reason said, where the machine does not let us.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !have("ip") || !have("nc") {
            announce("needs ip and nc");
            return None;
        }
        let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let cable = Self { server_side: format!("clserver{unique}"), client_side: format!("clclient{unique}") };
        if !cable.lay() {
            announce("needs root, to make network namespaces");
            return None;
        }
        Some(cable)
    }

    fn lay(&self) -> bool {
        let (server, client) = (&self.server_side, &self.client_side);
        [
            format!("netns add {server}"),
            format!("netns add {client}"),
            format!("-n {server} link add wire type veth peer name wire netns {client}"),
            format!("-n {server} addr add {SERVER_IP}/24 dev wire"),
            format!("-n {client} addr add {CLIENT_IP}/24 dev wire"),
            format!("-n {server} link set wire up"),
            format!("-n {client} link set wire up"),
            format!("-n {server} link set lo up"),
        ]
        .iter()
        .all(|step| ip(step))
    }

    fn server(&self, launch: Launch) -> Server {
        launch
            .alone()
            .debug()
            .set("server.shards=1")
            .set(&format!("server.listen=\"{SERVER_IP}:0\""))
            .set("log.stats_interval=\"1s\"")
            .under(&["ip", "netns", "exec", &self.server_side])
            .start()
    }

    /// A client that sends `line` and then reads for ever.
    fn client(&self, server: &Server, line: &str) -> Reaped {
        let port = server.addr().port();
        let script = format!("(echo {line}; exec sleep 60) | exec nc {SERVER_IP} {port}");
        let child = Command::new("ip")
            .args(["netns", "exec", &self.client_side, "sh", "-c", &script])
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        Reaped(child.unwrap())
    }

    fn cut(&self) {
        assert!(ip(&format!("-n {} link set wire down", self.client_side)));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}", self.server_side));
        let _ = ip(&format!("netns del {}", self.client_side));
    }
}

struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

fn wait_for_traffic(server: &Server, connections: u64) {
    server.wait_for_line(0, BOUND, "traffic in the stats", |line| {
        line.message() == "stats" && line.number("connections") == connections && line.number("bytes_per_second") > 0
    });
}

#[test]
fn a_reader_that_vanishes_is_found_by_the_user_timeout() {
    let Some(cable) = Cable::new() else { return };
    let server = cable.server(Launch::hostile().set("socket.user_timeout=\"1s\"").set("timeouts.write=\"off\""));
    let client = cable.client(&server, "flood");
    wait_for_traffic(&server, 1);
    cable.cut();
    let start = Instant::now();
    server.wait_for_closed("peer_unreachable", 1);
    assert!(start.elapsed() < Duration::from_secs(6), "took {:?}", start.elapsed());
    drop(client);
    assert_eq!(server.stop().of("peer_unreachable"), 1);
}

#[test]
fn an_idle_peer_that_vanishes_is_found_by_keepalive() {
    let Some(cable) = Cable::new() else { return };
    let server = cable.server(
        Launch::hostile()
            .set("socket.keepalive_idle=\"1s\"")
            .set("socket.keepalive_interval=\"1s\"")
            .set("socket.keepalive_count=2")
            .set("socket.user_timeout=\"off\""),
    );
    let client = cable.client(&server, "hello");
    wait_for_traffic(&server, 1);
    cable.cut();
    let start = Instant::now();
    server.wait_for_closed("peer_unreachable", 1);
    assert!(start.elapsed() < Duration::from_secs(8), "took {:?}", start.elapsed());
    drop(client);
    assert_eq!(server.stop().of("peer_unreachable"), 1);
}
