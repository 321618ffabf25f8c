//! What is put on a proxy, and what it costs.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::Value;
use tests::duplex::{FROM_CLIENT, FROM_SERVER, both_ways, receive, send, upstream};
use tests::{Launch, Program, Server, connect};

use crate::proxy::Proxy;

/// How long requests are sent, after a warm-up.
const WINDOW: &str = "1s";

/// What is put on a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Bytes from the upstream to the client, as a download.
    Down,
    /// Bytes in both directions at once.
    Both,
    /// Requests of 64 bytes over so many connections, so many in one go.
    Requests { connections: u32, pipeline: u32 },
}

pub(crate) const LOADS: [Load; 4] = [
    Load::Down,
    Load::Both,
    Load::Requests {
        connections: 50,
        pipeline: 1,
    },
    Load::Requests {
        connections: 50,
        pipeline: 16,
    },
];

impl Load {
    /// What its cost is given in.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Down | Self::Both => "ms/MB",
            Self::Requests { .. } => "us/request",
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => write!(formatter, "bulk, one way"),
            Self::Both => write!(formatter, "bulk, both ways at once"),
            Self::Requests {
                connections,
                pipeline,
            } => write!(formatter, "requests, {connections} x {pipeline}"),
        }
    }
}

/// What the proxies pass connections on to.
#[derive(Debug)]
pub(crate) struct Upstreams {
    core: usize,
    bytes: u64,
    down: SocketAddr,
    both: SocketAddr,
    echo: Server,
}

impl Upstreams {
    /// All on `core`; a bulk load is `bytes` each way.
    pub(crate) fn start(core: usize, bytes: u64) -> Self {
        let (down, both) = on_core(core, || {
            let down = upstream(move |stream| {
                send(&stream, FROM_SERVER, bytes).and_then(|()| receive(&stream, FROM_CLIENT, 0))
            });
            (
                down,
                upstream(move |stream| both_ways(&stream, FROM_SERVER, FROM_CLIENT, bytes)),
            )
        });
        let echo = Launch::echo()
            .set("server.shards=1")
            .set(&format!("server.cpus=[{core}]"))
            .start();
        Self {
            core,
            bytes,
            down,
            both,
            echo,
        }
    }

    pub(crate) fn of(&self, load: Load) -> SocketAddr {
        match load {
            Load::Down => self.down,
            Load::Both => self.both,
            Load::Requests { .. } => self.echo.addr(),
        }
    }

    /// What a unit of the load costs `proxy`.
    pub(crate) fn cost(&self, load: Load, proxy: &Proxy) -> f64 {
        let bytes = self.bytes;
        match load {
            Load::Down => self.bulk(proxy, bytes, move |stream| {
                stream.shutdown(Shutdown::Write)?;
                receive(stream, FROM_SERVER, bytes)
            }),
            Load::Both => self.bulk(proxy, 2 * bytes, move |stream| {
                both_ways(stream, FROM_CLIENT, FROM_SERVER, bytes)
            }),
            Load::Requests {
                connections,
                pipeline,
            } => self.requests(proxy, connections, pipeline),
        }
    }

    /// Milliseconds of the proxy for a megabyte of all that `run` has it pass on, which is `bytes`.
    fn bulk(
        &self,
        proxy: &Proxy,
        bytes: u64,
        run: impl FnOnce(&TcpStream) -> io::Result<()> + Send,
    ) -> f64 {
        let (before, addr) = (proxy.processor_time(), proxy.addr);
        on_core(self.core, move || run(&connect(addr).unwrap())).unwrap();
        let spent = proxy.processor_time() - before;
        spent.as_secs_f64() * 1e3 / (bytes as f64 / 1e6)
    }

    /// Microseconds of the proxy for a request, connects and ends included.
    fn requests(&self, proxy: &Proxy, connections: u32, pipeline: u32) -> f64 {
        let mut loadtest = Command::new(Program::Loadtest.path());
        loadtest.args([
            "run",
            "--mode",
            "closed",
            "--shards",
            "1",
            "--warmup",
            "100ms",
            "--json",
            "--duration",
            WINDOW,
        ]);
        loadtest.arg("--target").arg(proxy.addr.to_string());
        loadtest.args(["--cpus", &self.core.to_string()]);
        loadtest.args([
            "--connections",
            &connections.to_string(),
            "--pipeline",
            &pipeline.to_string(),
        ]);
        // It exits with 1 when it was the bottleneck, which the processor time of a request does
        // not mind.
        let before = proxy.processor_time();
        let output = loadtest.output().unwrap();
        let spent = proxy.processor_time() - before;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let requests = report["requests"]["total"]
            .as_u64()
            .filter(|total| *total > 0);
        let requests = requests.unwrap_or_else(|| {
            panic!(
                "no figures from the load tester: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        spent.as_secs_f64() * 1e6 / requests as f64
    }
}

/// Does `run`, and whatever threads that starts, on `core`.
fn on_core<T: Send>(core: usize, run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            assert!(
                core_affinity::set_for_current(core_affinity::CoreId { id: core }),
                "core {core} is one of ours"
            );
            run()
        });
        thread
            .join()
            .expect("a load that fails ends the comparison")
    })
}
