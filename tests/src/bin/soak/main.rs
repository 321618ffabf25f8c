//! Echo and ping under random well- and ill-behaved clients for minutes: `soak [SECONDS]`, ten
//! minutes unless told otherwise.
//!
//! Fails on a byte that is wrong, a well-behaved client that is not served, memory, descriptors or
//! connections that grow, and anything that is not given back at the end. `SEED=N` repeats what the
//! clients do, though not when the threads do it.
#![allow(clippy::unwrap_used)] // As the rig does, it reports what it did not expect by panicking.

mod crew;
mod samples;
mod sessions;
mod slope;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crew::Crew;
use samples::Samples;
use tests::{Launch, Server, raise_descriptor_limit};

const SECONDS_DEFAULT: u64 = 600;
/// How often memory, descriptors and connections are looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Samples for each line that is printed.
const SAMPLES_PER_LINE: usize = 10;

fn main() -> ExitCode {
    let seconds = env::args().nth(1).map_or(SECONDS_DEFAULT, |text| {
        text.parse().expect("soak [SECONDS]")
    });
    let seed = env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| RandomState::new().hash_one(0_u8));
    let _ = raise_descriptor_limit();
    println!("soak of {seconds} s; SEED={seed} repeats it");
    let problems = soak(Duration::from_secs(seconds), seed);
    for problem in &problems {
        println!("FAILED: {problem}");
    }
    if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Short deadlines, so that every kind of end comes often; few slots and buffers, so that all of
/// them have been touched soon and what grows later is a leak.
fn start(launch: Launch) -> Server {
    launch
        .set("limits.connections_max=1000")
        .set("limits.write_queue_max=65536")
        .set("buffers.size=4096")
        .set("buffers.count=256")
        .set("socket.send_buffer=32768")
        .set("socket.receive_buffer=32768")
        .set("timeouts.first_byte=\"3s\"")
        .set("timeouts.read=\"3s\"")
        .set("timeouts.write=\"3s\"")
        .set("timeouts.idle=\"5s\"")
        .set("timeouts.close=\"500ms\"")
        .set("log.stats_interval=\"1s\"")
        .start()
}

fn soak(time: Duration, seed: u64) -> Vec<String> {
    let servers = [
        ("echo", start(Launch::echo())),
        ("ping", start(Launch::ping())),
    ];
    let mut samples = servers
        .each_ref()
        .map(|(name, server)| Samples::of(name, server));
    let crew = Crew::start(servers[0].1.addr(), servers[1].1.addr(), seed);
    let end = Instant::now() + time;
    while Instant::now() < end && !crew.has_failed() {
        thread::sleep(SAMPLE_INTERVAL.min(end.saturating_duration_since(Instant::now())));
        for (sampled, (_, server)) in samples.iter_mut().zip(&servers) {
            sampled.take(server);
        }
        if samples[0].count() % SAMPLES_PER_LINE == 0 {
            println!("{} {} {}", samples[0], samples[1], crew.progress());
        }
    }
    let (sessions, mut problems) = crew.end();
    println!("{sessions}");
    for (sampled, (name, server)) in samples.iter().zip(servers) {
        problems.extend(sampled.growth());
        problems.extend(sampled.left_behind(&server));
        let counts = server.stop();
        println!("{name}: {counts:?}");
    }
    problems
}
