//! The two proxies as processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tests::{Launch, Program, Server};

/// Which proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// tests/src/bin/proxy.rs
    Corelane,
    /// loadtest/baselines/tokio_proxy
    Tokio,
}

/// A proxy that runs; ended on drop.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Process,
    pub(crate) addr: SocketAddr,
}

#[derive(Debug)]
enum Process {
    Corelane(Server),
    Tokio(Child),
}

impl Proxy {
    pub(crate) fn start(
        kind: Kind,
        core: usize,
        upstream: SocketAddr,
        settings: &[String],
    ) -> Self {
        match kind {
            Kind::Corelane => {
                // Buffers as a proxy of bulk wants them; tokio's has 8 KiB for each direction.
                let launch = Launch::proxy(upstream)
                    .set("server.shards=1")
                    .set(&format!("server.cpus=[{core}]"));
                let launch = launch.set("buffers.profile=\"medium\"");
                let server = settings
                    .iter()
                    .fold(launch, |launch, setting| launch.set(setting))
                    .start();
                Self {
                    addr: server.addr(),
                    process: Process::Corelane(server),
                }
            }
            Kind::Tokio => {
                let mut command = Command::new(Program::TokioProxy.path());
                command.args(["127.0.0.1:0", &core.to_string(), &upstream.to_string()]);
                let mut child = command
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut line = String::new();
                BufReader::new(child.stdout.take().unwrap())
                    .read_line(&mut line)
                    .unwrap();
                let addr = line
                    .trim()
                    .strip_prefix("listening ")
                    .and_then(|addr| addr.parse().ok());
                Self {
                    addr: addr.expect("it says where it listens"),
                    process: Process::Tokio(child),
                }
            }
        }
    }

    fn pid(&self) -> u32 {
        match &self.process {
            Process::Corelane(server) => server.pid(),
            Process::Tokio(child) => child.id(),
        }
    }

    /// What it has spent on a processor so far, of all its threads (proc(5), schedstat).
    pub(crate) fn processor_time(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let of_thread = |thread: fs::DirEntry| -> u64 {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap();
            text.split_whitespace()
                .next()
                .and_then(|nanoseconds| nanoseconds.parse().ok())
                .unwrap()
        };
        Duration::from_nanos(threads.map(Result::unwrap).map(of_thread).sum())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Process::Tokio(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
