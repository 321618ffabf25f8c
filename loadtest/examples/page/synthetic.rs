//! Reports of runs that never were, made up from a fixed seed.

use std::net::SocketAddr;

use fastrand::Rng;
use loadtest::data::{
    Connections, FailureCount, Generator, LoadShape, Machine, MemoryUse, Quantiles, Report,
    Requests, Rest, Sample, ServerUse, ShardShare, ShardTime,
};

const MIB: u64 = 1 << 20;
/// Memory of both ends of a connection, of the server's end in its process, and of the tester's.
const CONNECTION_BYTES: f64 = 6460.0;
const SERVER_BYTES: f64 = 164.0;
const GENERATOR_BYTES: f64 = 210.0;

/// About 1, within `spread` of it.
fn about(random: &mut Rng, spread: f64) -> f64 {
    1.0 + spread * (2.0 * random.f64() - 1.0)
}

/// A run in open mode in which everything went well: so many connections, a ramp, then requests at
/// a steady rate.
pub(crate) fn even(connections: u64, samples: usize) -> Report {
    let (connect_rate, window_s, interval_s) = (10_000, 120.0, 30.0);
    let ramp_s = connections as f64 / f64::from(connect_rate);
    let offered = connections as f64 / interval_s;
    let count = (offered * window_s) as u64;
    Report {
        command: format!(
            "loadtest run 127.0.0.1:7007 --connections {connections} --rate {connect_rate} --mode open --interval 30s"
        ),
        began: "2026-01-15T09:26:53Z".to_owned(),
        machine: machine(),
        load: load(connect_rate, interval_s, window_s),
        connections: Connections {
            wanted: connections,
            established: connections,
            served: connections,
            ramp_s,
            connects_per_s: 9_987.0,
        },
        connect_us: Quantiles {
            count: connections,
            p50: 62.0,
            p90: 118.0,
            p99: 410.0,
            p99_9: 2_900.0,
            p99_99: 9_800.0,
            max: 31_000.0,
        },
        latency_us: Quantiles {
            count,
            p50: 80.0,
            p90: 165.0,
            p99: 480.0,
            p99_9: 2_350.0,
            p99_99: 11_400.0,
            max: 48_200.0,
        },
        latency_curve: curve(count),
        fanout: None,
        handshakes: None,
        requests: Requests {
            total: count + connections,
            window_s,
            offered_per_s: Some(offered),
            achieved_per_s: offered * 0.9998,
            unanswered: 0,
        },
        failures: Vec::new(),
        generator: generator(count),
        server: Some(ServerUse {
            pid: 4711,
            name: "echo".to_owned(),
            processes: 1,
            cpu_cores: 0.41,
            cpu_us_per_request: Some(6.3),
            resident_bytes: 19 * MIB + (connections as f64 * SERVER_BYTES) as u64,
        }),
        memory: Some(MemoryUse {
            used_bytes: (connections as f64 * CONNECTION_BYTES) as u64,
            bytes_per_connection: CONNECTION_BYTES,
            slab_bytes_per_connection: 5_120.0,
        }),
        rest: Some(Rest {
            seconds: 10.0,
            generator_cpu_cores: 0.006,
            server_cpu_cores: Some(0.004),
        }),
        timeline: timeline(connections, samples, ramp_s, window_s + 10.0, offered),
        shards: shards(2, connections, count, 0.002),
        server_shards: shards_of_server(60, 0.41),
        interrupted: false,
        void: None,
    }
}

/// The same with connections that are missing, failures of several kinds, and texts that try to
/// become markup.
pub(crate) fn with_failures(connections: u64, samples: usize) -> Report {
    let mut report = even(connections, samples);
    report.connections.established = connections - connections / 50;
    report.connections.served = connections - connections / 40;
    report
        .command
        .push_str(" --note '<script>alert(\"1\" & 2)</script>'");
    report.machine.processor = "Processor <b>\u{1b}[1m</b>".to_owned();
    report.failures = vec![
        failure(
            "timed_out",
            connections / 200,
            &[
                "connection 17: no reply within 10 s",
                "connection 48: no reply within 10 s",
            ],
        ),
        failure(
            "refused",
            connections / 50,
            &["connect to 127.0.0.1:7007: Connection refused (os error 111)"],
        ),
        failure(
            "wrong_bytes",
            3,
            &["expected \"ping\", got \"<i>pong</i> & more\0\""],
        ),
        failure("reset", 0, &[]),
    ];
    let (length, last) = (
        report.timeline.len(),
        connections / 50 + connections / 200 + 3,
    );
    for (index, sample) in report.timeline.iter_mut().enumerate() {
        sample.failures = if index > length / 2 {
            last
        } else {
            last * (index as u64 / 8) / (length as u64 / 8 + 1)
        };
    }
    // The server stood still for a while: no request was answered.
    for sample in &mut report.timeline[length / 2..length / 2 + length / 20] {
        (sample.requests_per_s, sample.max_us, sample.p99_9_us) = (0.0, 0.0, 0.0);
        (sample.p99_us, sample.p90_us, sample.p50_us) = (0.0, 0.0, 0.0);
    }
    report
}

/// A run that ended before it began.
pub(crate) fn empty() -> Report {
    let mut report = even(0, 0);
    report.load.connect_rate = None;
    report.load.interval_s = None;
    report.connections = Connections::default();
    report.connect_us = Quantiles::default();
    report.latency_us = Quantiles::default();
    report.latency_curve = Vec::new();
    report.requests = Requests::default();
    report.generator = Generator::default();
    report.server = None;
    report.memory = None;
    report.shards = Vec::new();
    report.server_shards = Vec::new();
    report
}

fn machine() -> Machine {
    Machine {
        kernel: "6.12.0".to_owned(),
        processor: "Example Processor 2.60 GHz".to_owned(),
        cores: 2,
        memory_bytes: 16_384 * MIB,
        descriptors_max: 20_000,
    }
}

fn load(connect_rate: u32, interval_s: f64, duration_s: f64) -> LoadShape {
    LoadShape {
        target: SocketAddr::from(([127, 0, 0, 1], 7007)),
        mode: "open".to_owned(),
        mode_note: "Open loop: every connection asks on a fixed schedule, whether or not it has been answered; latency counts from \
                    the time a request was due."
            .to_owned(),
        protocol: "echo".to_owned(),
        tls: false,
        payload_bytes: 64,
        pipeline: 1,
        connect_rate: Some(connect_rate),
        interval_s: Some(interval_s),
        duration_s,
    }
}

fn generator(count: u64) -> Generator {
    Generator {
        shards: 2,
        cpu_cores: 0.52,
        lag_us: Quantiles {
            count,
            p50: 12.0,
            p90: 31.0,
            p99: 88.0,
            p99_9: 610.0,
            p99_99: 3_100.0,
            max: 15_700.0,
        },
        stood_still_s: 0.0,
        resident_bytes: 240 * MIB,
    }
}

fn failure(kind: &str, count: u64, examples: &[&str]) -> FailureCount {
    FailureCount {
        kind: kind.to_owned(),
        count,
        examples: examples
            .iter()
            .map(|example| (*example).to_owned())
            .collect(),
    }
}

/// The latency by decades of the requests that are left, between which the curve runs.
const LATENCIES_US: [f64; 8] = [
    58.0, 165.0, 480.0, 2_350.0, 11_400.0, 19_800.0, 43_000.0, 48_200.0,
];

/// Percentiles up to that of the slowest but one, as a histogram tells them.
fn curve(count: u64) -> Vec<(f64, f64)> {
    const STEPS_PER_DECADE: u32 = 40;
    let decades = (count.max(10) as f64)
        .log10()
        .min((LATENCIES_US.len() - 1) as f64);
    let mut curve = Vec::new();
    for step in 0..(decades * f64::from(STEPS_PER_DECADE)) as u32 {
        let (decade, part) = (
            step / STEPS_PER_DECADE,
            f64::from(step % STEPS_PER_DECADE) / f64::from(STEPS_PER_DECADE),
        );
        let (from, to) = (
            LATENCIES_US[decade as usize],
            LATENCIES_US[decade as usize + 1],
        );
        // Slow ones come in groups: a pause makes a step.
        let part = if decade >= 3 { part.powf(0.6) } else { part };
        let us = from * (to / from).powf(part);
        curve.push((
            100.0 - 100.0 * 10f64.powf(-f64::from(step) / f64::from(STEPS_PER_DECADE)),
            us,
        ));
    }
    curve.push((100.0, 48_200.0));
    curve
}

fn timeline(
    connections: u64,
    samples: usize,
    ramp_s: f64,
    rest_s: f64,
    offered: f64,
) -> Vec<Sample> {
    let mut random = Rng::with_seed(7);
    let end_s = ramp_s + rest_s;
    let mut timeline = Vec::with_capacity(samples);
    for number in 1..=samples {
        let at_s = end_s * number as f64 / samples as f64;
        let open = (connections as f64 * (at_s / ramp_s).min(1.0)).round();
        let is_ramp = at_s < ramp_s;
        // Every 30 s a pause, which only the slowest requests notice.
        let pause = if at_s % 30.0 < end_s / samples as f64 {
            14.0
        } else {
            1.0
        };
        let p50 = if is_ramp { 120.0 } else { 91.0 } * about(&mut random, 0.06);
        timeline.push(Sample {
            at_s,
            connections: open as u64,
            connects_per_s: if is_ramp {
                9_990.0 * about(&mut random, 0.03)
            } else {
                0.0
            },
            requests_per_s: offered * (open / connections as f64) * about(&mut random, 0.012),
            failures: 0,
            p50_us: p50,
            p90_us: p50 * 1.8 * about(&mut random, 0.08),
            p99_us: p50 * 5.0 * about(&mut random, 0.2),
            p99_9_us: p50 * 22.0 * about(&mut random, 0.4),
            max_us: p50 * 60.0 * about(&mut random, 0.6) * pause,
            memory_used_bytes: (open * CONNECTION_BYTES * about(&mut random, 0.002)) as i64
                + 30 * MIB as i64,
            server_resident_bytes: 19 * MIB + (open * SERVER_BYTES) as u64,
            generator_resident_bytes: 30 * MIB + (open * GENERATOR_BYTES) as u64,
        });
    }
    timeline
}

fn shards(count: u32, connections: u64, requests: u64, spread: f64) -> Vec<ShardShare> {
    let mut random = Rng::with_seed(u64::from(count));
    let shards = (0..count).map(|shard| {
        let share = about(&mut random, spread) / f64::from(count);
        ShardShare {
            shard,
            connections: (connections as f64 * share) as u64,
            requests: (requests as f64 * share) as u64,
        }
    });
    shards.collect()
}

fn shards_of_server(count: u32, cores: f64) -> Vec<ShardTime> {
    let mut random = Rng::with_seed(u64::from(count));
    (0..count)
        .map(|shard| ShardTime {
            shard,
            cpu_cores: cores / f64::from(count) * about(&mut random, 0.02),
        })
        .collect()
}
