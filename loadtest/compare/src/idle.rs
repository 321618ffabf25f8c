//! The cost of a server's connections while they say nothing.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use loadtest::engine::Observer;
use loadtest::error::Error;
use loadtest::machine::Sample;
use loadtest::plan::{Mode, Plan};

use super::bench::{Bench, load_plan};
use super::comparison::Idle;
use super::kind::ServerKind;
use super::server::Server;
use super::shape::Shape;

/// How long idle connections are watched.
const IDLE_DURATION: Duration = Duration::from_secs(1);
/// Quiet time between the last connect and the watch.
const IDLE_SETTLE: Duration = Duration::from_secs(2);
/// Load before the memory is looked at first. A server's pools are as large as they are however
/// many connections it has: touch them once, so that they do not count as the connections' own.
const PRELUDE: Shape = Shape {
    connections: 100,
    pipeline: 1,
};
const PRELUDE_DURATION: Duration = Duration::from_millis(500);
/// Then time for a server that gives memory back when it has nothing to do.
const PRELUDE_SETTLE: Duration = Duration::from_secs(3);

/// Hold `--idle` connections that say nothing to a server that has seen some load.
pub(super) fn idle(bench: &Bench<'_>, kind: ServerKind) -> Result<Idle, Error> {
    let server = bench.start(kind)?;
    let prelude = load_plan(bench.arguments, (kind, server.addr()), PRELUDE);
    let prelude = Plan {
        duration: PRELUDE_DURATION,
        ..prelude
    };
    bench.client(kind, prelude, &mut ())?;
    thread::sleep(PRELUDE_SETTLE);
    let before = server.sample()?;
    let plan = idle_plan(bench, (kind, server.addr()));
    let connections = plan.connections;
    let mut sampler = Sampler {
        server: &server,
        samples: Vec::new(),
    };
    bench.client(kind, plan, &mut sampler)?;
    let samples: Vec<Sample> = sampler.samples.into_iter().collect::<Result<_, _>>()?;
    let [opened, closed]: [Sample; 2] = samples
        .try_into()
        .expect("a run that was not interrupted opens and closes one window");
    let grown = closed.resident_bytes as f64 - before.resident_bytes as f64;
    Ok(Idle {
        server: kind,
        resident_bytes_before: before.resident_bytes,
        resident_bytes_after: closed.resident_bytes,
        bytes_per_connection: grown / f64::from(connections),
        cpu_share: closed.cpu_ns_since(&opened) as f64
            / closed.at.saturating_duration_since(opened.at).as_nanos() as f64,
    })
}

fn idle_plan(bench: &Bench<'_>, server: (ServerKind, SocketAddr)) -> Plan {
    let plan = load_plan(
        bench.arguments,
        server,
        Shape {
            connections: bench.idle,
            pipeline: 1,
        },
    );
    let (warmup, duration) = (IDLE_SETTLE, IDLE_DURATION);
    Plan {
        mode: Mode::Idle,
        warmup,
        duration,
        ..plan
    }
}

/// Looks at the server at both ends of the window.
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
