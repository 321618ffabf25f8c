//! Comparisons that never were.

use compare::{Case, Comparison, Idle, IdleCase, Load, ServerKind, Suite};
use loadtest::data::Machine;

const SHAPES: [(u32, u32); 4] = [(100, 1), (1000, 1), (10_000, 1), (100, 16)];
const ROUNDS: u32 = 5;
const IDLE_CONNECTIONS: u32 = 15_000;

/// What each server takes of raw_uring's, and bytes per idle connection.
fn cost(server: ServerKind) -> (f64, f64) {
    match server {
        ServerKind::Echo => (1.01, 172.0),
        ServerKind::RawUring => (1.0, 48.0),
        ServerKind::RawEpoll => (0.99, 38.0),
        ServerKind::Tokio => (1.06, 4_832.0),
        ServerKind::Monoio => (1.12, 4_617.0),
        ServerKind::Glommio => (1.4, 4_992.0),
        ServerKind::GoNetpoller => (1.45, 11_813.0),
        _ => (1.2, 200.0),
    }
}

/// Of these servers, under every load, all of whose figures are so many times what they might be.
pub(crate) fn of(servers: &[ServerKind], factor: f64) -> Comparison {
    let case = |&(connections, pipeline): &(u32, u32)| {
        let loads: Vec<Load> = rounds(servers)
            .map(|(round, server)| load(server, pipeline, drift(round) * factor))
            .collect();
        Case::of(Suite::Echo, (connections, pipeline), servers, &loads)
    };
    let idles: Vec<Idle> = rounds(servers)
        .map(|(round, server)| idle(server, drift(round) * factor))
        .collect();
    Comparison {
        suite: Suite::Echo,
        command: "compare --html '<comparison> & page.html'".to_owned(),
        began: "2026-01-15T09:26:53Z".to_owned(),
        machine: Machine {
            processor: "Example Processor 2.60 GHz".to_owned(),
            cores: 2,
            ..Machine::default()
        },
        complete: true,
        rounds: ROUNDS,
        window_s: 0.7,
        payload_bytes: 64,
        cases: SHAPES.iter().map(case).collect(),
        idle: Some(IdleCase::of(Suite::Echo, IDLE_CONNECTIONS, servers, &idles)),
    }
}

/// Of all servers.
pub(crate) fn of_all() -> Comparison {
    of(Suite::Echo.servers(), 1.0)
}

fn rounds(servers: &[ServerKind]) -> impl Iterator<Item = (u32, ServerKind)> {
    (1..=ROUNDS).flat_map(|round| servers.iter().map(move |server| (round, *server)))
}

/// The rounds of a machine that grows slower, which hits some servers more than others.
fn drift(round: u32) -> f64 {
    1.0 + 0.03 * f64::from(round)
}

fn load(server: ServerKind, pipeline: u32, drift: f64) -> Load {
    let ratio = cost(server).0;
    let cpu_us_per_request = 6.5 * ratio.powf(drift) * drift / f64::from(pipeline).sqrt();
    Load {
        server,
        cpu_us_per_request,
        server_busy: 0.97,
        p50_us: 100.0 * cpu_us_per_request,
        p99_us: 180.0 * cpu_us_per_request * ratio * drift,
        requests_per_second: 0.97e6 / cpu_us_per_request,
        requests: 100_000,
    }
}

fn idle(server: ServerKind, drift: f64) -> Idle {
    let bytes_per_connection = cost(server).1 * drift;
    let before = 9_000_000_u64;
    Idle {
        server,
        resident_bytes_before: before,
        resident_bytes_after: before
            .saturating_add((bytes_per_connection * f64::from(IDLE_CONNECTIONS)) as u64),
        bytes_per_connection,
        cpu_share: 0.001,
    }
}
