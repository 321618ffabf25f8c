//! Two network namespaces with a cable between them, which can be cut. Needs root.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{announce, have};

/// How long a client of [`Cable::talk`] stays at most, in seconds, should its test be killed.
const STAY_SECONDS: u32 = 60;

/// Two namespaces, the server's and the client's. Taken away on drop, and with them whatever still
/// runs on the cable.
#[derive(Debug)]
pub struct Cable {
    server_side: String,
    client_side: String,
}

/// A client at the far end of a cable. Killed on drop.
#[derive(Debug)]
pub struct Talker(Child);

impl Cable {
    /// The address at the server's end.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    /// The address at the client's end.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

    /// None, with the reason said, where the machine does not let us.
    #[must_use]
    pub fn lay() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !have("ip") || !have("nc") {
            announce("needs ip and nc");
            return None;
        }
        let unique = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        // Made before the first step: whatever was laid when a later one fails is taken away again.
        let cable = Self {
            server_side: format!("clserver{unique}"),
            client_side: format!("clclient{unique}"),
        };
        if !cable.lay_all() {
            announce("needs root, to make network namespaces");
            return None;
        }
        Some(cable)
    }

    fn lay_all(&self) -> bool {
        let (server, client) = (&self.server_side, &self.client_side);
        [
            format!("netns add {server}"),
            format!("netns add {client}"),
            format!("-n {server} link add wire type veth peer name wire netns {client}"),
            format!("-n {server} addr add {}/24 dev wire", Self::SERVER),
            format!("-n {client} addr add {}/24 dev wire", Self::CLIENT),
            format!("-n {server} link set wire up"),
            format!("-n {client} link set wire up"),
            format!("-n {server} link set lo up"),
        ]
        .iter()
        .all(|step| run("ip", step))
    }

    /// What to run a server under ([`Launch::under`](crate::Launch::under)) so that it is at its
    /// end.
    #[must_use]
    pub fn within_server_side(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.server_side]
    }

    /// A client that sends `line` and then reads for ever.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn talk(&self, server: SocketAddr, line: &str) -> Talker {
        let script = format!(
            "(echo {line}; exec sleep {STAY_SECONDS}) | exec nc {} {}",
            server.ip(),
            server.port()
        );
        let child = Command::new("ip")
            .args(["netns", "exec", &self.client_side, "sh", "-c", &script])
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        Talker(child.unwrap())
    }

    /// From now on nothing passes, and neither end is told.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn cut(&self) {
        assert!(
            run("ip", &format!("-n {} link set wire down", self.client_side)),
            "the cable is cut"
        );
    }

    /// Undoes [`cut`](Self::cut).
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn mend(&self) {
        assert!(
            run("ip", &format!("-n {} link set wire up", self.client_side)),
            "the cable is mended"
        );
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // One that was never made is not there to be taken away.
        let _ = run("ip", &format!("netns del {}", self.server_side));
        let _ = run("ip", &format!("netns del {}", self.client_side));
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

fn run(tool: &str, arguments: &str) -> bool {
    let status = Command::new(tool)
        .args(arguments.split_whitespace())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
