//! One server, one load: its processor time per request, or the cost of idle connections.

use std::net::SocketAddr;
use std::time::Duration;
use std::{panic, thread};

use super::comparison::{Idle, Load};
use super::sample::Sample;
use super::server::Server;
use super::{Bench, ServerKind, Shape};
use crate::args::CompareArguments;
use crate::engine::{self, Observer};
use crate::error::Error;
use crate::plan::{Mode, Plan};
use crate::report::Report;
use crate::system;
use crate::workload::{Protocol, Workload};

const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTS_IN_FLIGHT_MAX: u32 = 256;
/// How long idle connections are watched.
const IDLE_DURATION: Duration = Duration::from_secs(2);
/// Quiet time between the last connect and the watch.
const IDLE_SETTLE: Duration = Duration::from_secs(2);
/// Load before the memory is looked at first. A server's pools are as large as they are however
/// many connections it has: touch them once, so that they do not count as the connections' own.
const PRELUDE: Shape = Shape { connections: 100, pipeline: 1 };
const PRELUDE_DURATION: Duration = Duration::from_secs(1);
/// Then time for a server that gives memory back when it has nothing to do.
const PRELUDE_SETTLE: Duration = Duration::from_secs(3);

/// Load a fresh server.
pub(super) fn load(bench: &Bench<'_>, kind: ServerKind, shape: Shape) -> Result<Load, Error> {
    let server = bench.start(kind)?;
    let plan = load_plan(bench.arguments, server.addr(), shape);
    let (report, [opened, closed]) = client(bench, &server, &plan)?;
    let requests = report.window.requests;
    if requests == 0 {
        return Err(Error::Failed(format!("{kind}: no request was answered within the window")));
    }
    Ok(Load {
        server: kind,
        cpu_us_per_request: closed.cpu_ns_since(&opened) as f64 / 1e3 / requests as f64,
        server_busy: busy(&opened, &closed),
        p50_us: report.window.latency_us.p50,
        p99_us: report.window.latency_us.p99,
        requests_per_second: report.window.requests_per_second,
        requests,
    })
}

/// Hold `--idle` connections that say nothing to a server that has seen some load.
pub(super) fn idle(bench: &Bench<'_>, kind: ServerKind) -> Result<Idle, Error> {
    let server = bench.start(kind)?;
    let prelude = load_plan(bench.arguments, server.addr(), PRELUDE);
    client(bench, &server, &Plan { duration: PRELUDE_DURATION, ..prelude })?;
    thread::sleep(PRELUDE_SETTLE);
    let before = server.sample()?;
    let plan = idle_plan(bench.arguments, server.addr());
    let (_, [opened, closed]) = client(bench, &server, &plan)?;
    let grown = closed.resident_bytes as f64 - before.resident_bytes as f64;
    Ok(Idle {
        server: kind,
        resident_bytes_before: before.resident_bytes,
        resident_bytes_after: closed.resident_bytes,
        bytes_per_connection: grown / f64::from(plan.connections),
        cpu_share: busy(&opened, &closed),
    })
}

impl Bench<'_> {
    fn start(&self, kind: ServerKind) -> Result<Server, Error> {
        Server::start(&self.binaries, kind, self.arguments.cpu_server, self.stop)
    }
}

fn load_plan(arguments: &CompareArguments, target: SocketAddr, shape: Shape) -> Plan {
    let Shape { connections, pipeline } = shape;
    Plan {
        target,
        connections,
        mode: Mode::Closed,
        workload: Workload { protocol: Protocol::Echo, payload: arguments.payload, pipeline },
        seed: 0,
        rate: None,
        in_flight_max: CONNECTS_IN_FLIGHT_MAX,
        warmup: arguments.warmup,
        duration: arguments.duration,
        timeout: TIMEOUT,
    }
}

fn idle_plan(arguments: &CompareArguments, target: SocketAddr) -> Plan {
    let plan = load_plan(arguments, target, Shape { connections: arguments.idle, pipeline: 1 });
    let (warmup, duration) = (IDLE_SETTLE, IDLE_DURATION);
    Plan { mode: Mode::Idle, warmup, duration, ..plan }
}

/// Carry out the plan on the client's core, and look at the server at both ends of the window.
fn client(bench: &Bench<'_>, server: &Server, plan: &Plan) -> Result<(Report, [Sample; 2]), Error> {
    let mut sampler = Sampler { server, samples: Vec::new() };
    // A thread of its own: servers are started by this one and would inherit the client's core.
    let report = thread::scope(|scope| {
        let client = scope.spawn(|| {
            system::pin(bench.arguments.cpu_client)?;
            engine::run(plan, bench.stop, &mut sampler)
        });
        client.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    })?;
    if bench.stop.is_set() {
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
