//! One server, one load: its processor time per request, or the cost of idle connections.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::ServerKind;
use super::sample::Sample;
use super::server::{Binaries, Server};
use crate::Stop;
use crate::args::CompareArguments;
use crate::data::Report;
use crate::engine::{self, Observer, Show};
use crate::error::Error;
use crate::plan::{Mode, Plan};
use crate::workload::{Protocol, Workload};

/// How long idle connections are watched.
const IDLE_DURATION: Duration = Duration::from_secs(5);
/// Quiet time between the last connect and the watch.
const IDLE_SETTLE: Duration = Duration::from_secs(3);
/// Load before the memory is looked at first. A server's pools are as large as they are however
/// many connections it has: touch them once, so that they do not count as the connections' own.
const PRELUDE_CONNECTIONS: u32 = 100;
const PRELUDE_DURATION: Duration = Duration::from_secs(1);
/// Then time for a server that gives memory back when it has nothing to do.
const PRELUDE_SETTLE: Duration = Duration::from_secs(3);

/// What a request cost.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Load {
    pub(super) server: ServerKind,
    pub(super) cpu_us_per_request: f64,
    /// Share of the window the server ran.
    pub(super) server_busy: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) requests_per_second: f64,
    pub(super) requests: u64,
}

/// What idle connections cost.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Idle {
    pub(super) server: ServerKind,
    pub(super) connections: u32,
    pub(super) resident_bytes_before: u64,
    pub(super) resident_bytes_after: u64,
    pub(super) bytes_per_connection: f64,
    /// Share of a core.
    pub(super) cpu_share: f64,
}

impl Load {
    #[cfg(test)]
    pub(super) fn none(server: ServerKind) -> Self {
        let [cpu_us_per_request, server_busy, p50_us, p99_us, requests_per_second] = [0.0; 5];
        Self { server, cpu_us_per_request, server_busy, p50_us, p99_us, requests_per_second, requests: 0 }
    }
}

/// Load a fresh server with `connections` connections.
pub(super) fn load(
    arguments: &CompareArguments,
    binaries: &Binaries,
    kind: ServerKind,
    connections: u32,
    stop: &Stop,
) -> Result<Load, Error> {
    let server = Server::start(binaries, kind, arguments.cpu_server, stop)?;
    let plan = load_plan(arguments, server.addr(), connections);
    let (report, [opened, closed]) = client(&server, plan, stop)?;
    let requests = report.latency_us.count;
    if requests == 0 {
        return Err(Error::Failed(format!("{kind}: no request was answered within the window")));
    }
    Ok(Load {
        server: kind,
        cpu_us_per_request: closed.cpu_ns_since(&opened) as f64 / 1e3 / requests as f64,
        server_busy: busy(&opened, &closed),
        p50_us: report.latency_us.p50,
        p99_us: report.latency_us.p99,
        requests_per_second: report.requests.achieved_per_s,
        requests,
    })
}

/// Hold `arguments.idle` connections that say nothing to a server that has seen some load.
pub(super) fn idle(arguments: &CompareArguments, binaries: &Binaries, kind: ServerKind, stop: &Stop) -> Result<Idle, Error> {
    let server = Server::start(binaries, kind, arguments.cpu_server, stop)?;
    let mut prelude = load_plan(arguments, server.addr(), PRELUDE_CONNECTIONS);
    prelude.duration = PRELUDE_DURATION;
    client(&server, prelude, stop)?;
    thread::sleep(PRELUDE_SETTLE);
    let before = server.sample()?;
    let plan = idle_plan(arguments, server.addr());
    let connections = plan.connections;
    let (_, [opened, closed]) = client(&server, plan, stop)?;
    let grown = closed.resident_bytes as f64 - before.resident_bytes as f64;
    Ok(Idle {
        server: kind,
        connections,
        resident_bytes_before: before.resident_bytes,
        resident_bytes_after: closed.resident_bytes,
        bytes_per_connection: grown / f64::from(connections),
        cpu_share: busy(&opened, &closed),
    })
}

fn load_plan(arguments: &CompareArguments, target: SocketAddr, connections: u32) -> Plan {
    let CompareArguments { payload, pipeline, .. } = *arguments;
    Plan {
        connections,
        cpus: vec![arguments.cpu_client],
        workload: Workload { protocol: Protocol::Echo, payload, pipeline },
        warmup: arguments.warmup,
        duration: arguments.duration,
        ..Plan::to(target)
    }
}

fn idle_plan(arguments: &CompareArguments, target: SocketAddr) -> Plan {
    let plan = load_plan(arguments, target, arguments.idle);
    let (warmup, duration) = (IDLE_SETTLE, IDLE_DURATION);
    Plan { mode: Mode::Idle, warmup, duration, ..plan }
}

/// Carry out the plan on the client's core, and look at the server at both ends of the window.
fn client(server: &Server, plan: Plan, stop: &Stop) -> Result<(Report, [Sample; 2]), Error> {
    let mut sampler = Sampler { server, samples: Vec::new() };
    let report = engine::run(plan, Show::Nothing, stop, &mut sampler)?;
    if stop.is_set() {
        return Err(Error::Interrupted);
    }
    if !report.is_clean() {
        return Err(Error::Failed(format!("{} failed under load:\n{report}", server.kind())));
    }
    let samples: Vec<Sample> = sampler.samples.into_iter().collect::<Result<_, _>>()?;
    let samples = samples.try_into().expect("a run that was not interrupted opens and closes one window");
    Ok((report, samples))
}

struct Sampler<'a> {
    server: &'a Server,
    samples: Vec<Result<Sample, Error>>,
}

impl Observer for Sampler<'_> {
    fn window_opened(&mut self) {
        self.samples.push(self.server.sample());
    }

    fn window_closed(&mut self) {
        self.samples.push(self.server.sample());
    }
}

fn busy(opened: &Sample, closed: &Sample) -> f64 {
    let elapsed = closed.at.saturating_duration_since(opened.at);
    closed.cpu_ns_since(opened) as f64 / elapsed.as_nanos() as f64
}
