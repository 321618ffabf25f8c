//! A server under measurement.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::{env, fmt, io};

use loadtest::error::Error;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{Arguments, failed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Corelane,
    Tokio,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corelane => "corelane",
            Self::Tokio => "tokio",
        })
    }
}

/// One that runs, until it is dropped.
pub(crate) struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts it on its core, with further `settings` of Corelane's beside the arguments', and waits
    /// until it listens.
    pub(crate) fn start(
        kind: Kind,
        arguments: &Arguments,
        settings: &[String],
    ) -> Result<Self, Error> {
        let core = arguments.cpu_server;
        let own = env::current_exe().map_err(failed("cannot tell where this program is"))?;
        let path = own.with_file_name(format!("push_{kind}"));
        let mut command = Command::new(&path);
        match kind {
            Kind::Tokio => command.args(["127.0.0.1:0", &core.to_string()]),
            Kind::Corelane => {
                let fixed = [
                    "server.listen=\"127.0.0.1:0\"",
                    "server.shards=1",
                    "log.level=\"warn\"",
                ]
                .map(str::to_owned);
                let all = fixed
                    .into_iter()
                    .chain([format!("server.cpus=[{core}]")])
                    .chain(settings.iter().cloned())
                    .chain(arguments.settings.iter().cloned());
                command.args(all.flat_map(|setting| ["--set".to_owned(), setting]))
            }
        };
        let child = anywhere(|| command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn());
        let child = child.map_err(failed(format!(
            "cannot start {}: build it with `cargo build --release -p push`",
            path.display()
        )))?;
        let mut server = Self {
            child,
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
        };
        let said = server
            .child
            .stdout
            .take()
            .and_then(|stdout| BufReader::new(stdout).lines().next())
            .and_then(Result::ok);
        let addr = said
            .as_deref()
            .and_then(|line| line.strip_prefix("listening ")?.parse().ok());
        server.addr = addr.ok_or_else(|| Error::Failed(format!("{kind} does not listen")))?;
        Ok(server)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// A process that is started in here may run on any core: this thread's own, which it inherits, is
/// the client's.
fn anywhere<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let own = sched_getaffinity(None)?;
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    sched_setaffinity(None, &all)?;
    let started = start();
    sched_setaffinity(None, &own)?;
    started
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whatever it still does is of no interest.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
