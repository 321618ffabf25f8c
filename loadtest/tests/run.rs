//! `loadtest run` against servers that behave, and against servers that do not.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use loadtest::Stop;
use loadtest::data::Report;
use loadtest::engine::{self, Show};
use loadtest::plan::{Mode, Plan};
use loadtest::workload::{Protocol, Workload};

/// Far longer than anything here takes; a bound, not a pause.
const BOUND: Duration = Duration::from_secs(30);

/// A server that handles each connection on a thread of its own, until the process ends.
fn server(handle: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || handle(stream));
        }
    });
    addr
}

fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 10_000];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn plan(target: SocketAddr) -> Plan {
    Plan {
        connections: 3,
        seed: 1,
        warmup: Duration::from_millis(20),
        duration: Duration::from_millis(100),
        timeout: BOUND,
        ..Plan::to(target)
    }
}

fn run(plan: &Plan) -> Report {
    engine::run(plan.clone(), Show::Nothing, &Stop::default(), &mut ()).unwrap()
}

/// That nothing else went wrong than `count` failures of this kind.
fn assert_failures(report: &Report, kind: &str, count: u64) {
    assert_eq!(report.failures_of(kind), count, "{report}");
    assert_eq!(report.failures_total(), count, "{report}");
    assert!(!report.is_clean());
}

#[test]
fn an_echo_is_verified_at_every_size_and_depth() {
    let target = server(echo);
    for (payload, pipeline) in [
        (1, 1),
        (1, 16),
        (64, 1),
        (4097, 16),
        (65_536, 1),
        (65_536, 16),
    ] {
        let workload = Workload::new(Protocol::Echo, payload, pipeline);
        let report = run(&Plan {
            workload,
            ..plan(target)
        });
        assert!(report.is_clean(), "{report}");
        assert!(report.latency_us.count > 0, "{report}");
        assert!(
            report.requests.total >= 3 + 3 * u64::from(pipeline),
            "{report}"
        );
        assert!(report.latency_us.p50 > 0.0, "{report}");
    }
}

#[test]
fn a_wrong_byte_is_found_in_the_midst_of_right_ones() {
    let report = run(&plan(server(|mut stream| {
        let mut buffer = [0; 64];
        for request in 0.. {
            if stream.read_exact(&mut buffer).is_err() {
                return;
            }
            buffer[40] ^= u8::from(request == 5);
            drop(stream.write_all(&buffer));
        }
    })));
    assert_failures(&report, "wrong_bytes", 3);
    assert_eq!(
        report.connections.served, 3,
        "the first five replies were right"
    );
    assert_eq!(report.requests.total, 15);
}

#[test]
fn replies_of_another_connection_are_wrong_bytes() {
    let report = run(&plan(server(|mut stream| {
        static OTHER: std::sync::Mutex<[u8; 64]> = std::sync::Mutex::new([0; 64]);
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).is_ok() {
            std::mem::swap(&mut *OTHER.lock().unwrap(), &mut buffer);
            drop(stream.write_all(&buffer));
        }
    })));
    assert_failures(&report, "wrong_bytes", 3);
}

#[test]
fn more_than_was_asked_for_is_wrong_bytes() {
    let report = run(&plan(server(|mut stream| {
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).is_ok() {
            drop(stream.write_all(&[buffer, buffer].concat()));
        }
    })));
    assert_failures(&report, "wrong_bytes", 3);
}

#[test]
fn a_server_that_closes_instead_of_replying_closed_early() {
    let report = run(&plan(server(|mut stream| {
        // All of the request is read, so the close is a FIN and not a reset.
        drop(stream.read_exact(&mut [0; 64]));
    })));
    assert_failures(&report, "closed_early", 3);
    assert_eq!(report.connections.established, 3);
    assert_eq!(report.connections.served, 0);
}

#[test]
fn a_server_that_closes_with_unread_bytes_reset() {
    let report = run(&plan(server(|mut stream| {
        drop(stream.read_exact(&mut [0; 1]))
    })));
    assert_failures(&report, "reset", 3);
}

#[test]
fn a_port_without_a_listener_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap();
    drop(listener);
    let report = run(&plan(target));
    assert_failures(&report, "refused", 3);
    assert_eq!(report.connections.established, 0);
}

#[test]
fn a_server_that_never_replies_timed_out() {
    let target = server(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let timeout = Duration::from_millis(200);
    let started = Instant::now();
    let report = run(&Plan {
        timeout,
        ..plan(target)
    });
    assert_failures(&report, "timed_out", 3);
    assert!(started.elapsed() >= timeout);
}

#[test]
fn an_end_that_is_asked_for_in_the_ramp_waits_for_no_reply() {
    for mode in [Mode::Open, Mode::Closed, Mode::Idle, Mode::Slow, Mode::Push] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (stop, began) = (Stop::default(), Instant::now());
        let plan = Plan {
            mode,
            timeout: 3 * BOUND,
            ..plan(listener.local_addr().unwrap())
        };
        let asked = stop.clone();
        let silent = thread::spawn(move || {
            let streams = [(); 3].map(|()| listener.accept().unwrap().0);
            asked.set();
            streams
        });
        let report = engine::run(plan, Show::Nothing, &stop, &mut ()).unwrap();
        assert!(began.elapsed() < BOUND, "{mode:?}: {:?}", began.elapsed());
        assert!(
            report.interrupted && report.connections.served == 0,
            "{report}"
        );
        drop(silent.join().unwrap());
    }
}

#[test]
fn the_figures_are_of_all_processes_that_share_the_port() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap();
    let shared = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    let mut other = Command::new("sleep")
        .arg("600")
        .stdin(shared)
        .spawn()
        .unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
    let report = run(&plan(target));
    other.kill().unwrap();
    other.wait().unwrap();
    let server = report.server.as_ref().unwrap();
    assert_eq!(server.processes, 2);
    assert!(report.to_string().contains(") and 1 more: "), "{report}");
}

#[test]
fn a_server_that_stops_replying_halfway_timed_out() {
    let target = server(|mut stream| {
        let mut buffer = [0; 64];
        for _ in 0..50 {
            drop(stream.read_exact(&mut buffer));
            drop(stream.write_all(&buffer));
        }
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let report = run(&Plan {
        timeout: Duration::from_millis(200),
        ..plan(target)
    });
    assert_failures(&report, "timed_out", 3);
    assert_eq!(report.connections.served, 3);
}

#[test]
fn a_pong_answers_a_ping_and_an_error_does_not() {
    let workload = Workload::new(Protocol::Ping, 0, 4);
    let target = server(|mut stream| {
        while stream.read_exact(&mut [0; 14]).is_ok() {
            drop(stream.write_all(b"+PONG\r\n"));
        }
    });
    let report = run(&Plan {
        workload: workload.clone(),
        ..plan(target)
    });
    assert!(report.is_clean(), "{report}");
    let target = server(|mut stream| {
        drop(stream.read_exact(&mut [0; 14]));
        drop(stream.write_all(b"-ERR\r\n"));
        drop(stream.read_to_end(&mut Vec::new()));
    });
    assert_failures(
        &run(&Plan {
            workload,
            ..plan(target)
        }),
        "wrong_bytes",
        3,
    );
}

#[test]
fn a_storm_makes_exactly_as_many_connections_as_asked_for() {
    let report = run(&Plan {
        mode: Mode::Storm,
        cycles: Some(500),
        connections: 7,
        ..plan(server(echo))
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.connections.served, 500);
    assert_eq!(report.requests.total, 500);
}

#[test]
fn idle_connections_make_one_request_each_and_notice_when_they_are_left() {
    let report = run(&Plan {
        mode: Mode::Idle,
        ..plan(server(echo))
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.requests.total, 3);
    let target = server(|mut stream| {
        let mut buffer = [0; 64];
        drop(stream.read_exact(&mut buffer));
        drop(stream.write_all(&buffer));
    });
    let report = run(&Plan {
        mode: Mode::Idle,
        ..plan(target)
    });
    assert_failures(&report, "closed_early", 3);
    assert_eq!(report.connections.served, 3);
}

/// Answers at once, but for one second in every ten of `period` tenths it does nothing.
fn stalling(mut stream: TcpStream) {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let began = *BEGAN.get_or_init(Instant::now);
    let mut buffer = [0; 64];
    while stream.read_exact(&mut buffer).is_ok() {
        let within = began.elapsed().as_millis() % STALL_PERIOD.as_millis();
        if within < STALL.as_millis() {
            thread::sleep(STALL - Duration::from_millis(within as u64));
        }
        drop(stream.write_all(&buffer));
    }
}

const STALL_PERIOD: Duration = Duration::from_secs(4);
const STALL: Duration = Duration::from_secs(1);

#[test]
fn a_server_that_stalls_is_seen_to_stall_by_an_open_loop() {
    let target = server(stalling);
    let plan = Plan {
        connections: 20,
        duration: 2 * STALL_PERIOD,
        ..plan(target)
    };
    let open = run(&Plan {
        mode: Mode::Open,
        interval: Duration::from_millis(50),
        ..plan.clone()
    });
    assert_eq!(open.failures_total(), 0, "{open}");
    assert!(
        open.latency_us.p99 > 800e3,
        "the requests of a second out of four waited for it: {open}"
    );
    assert!(open.latency_us.p90 > 300e3, "{open}");
    assert!(open.latency_us.p50 < 100e3, "{open}");
    let closed = run(&plan);
    assert!(
        closed.latency_us.p99 < 100e3,
        "the closed loop does not ask while it waits: {closed}"
    );
    assert!(closed.to_string().contains("optimistic"), "{closed}");
}

#[test]
fn slow_peers_drip_and_what_comes_back_is_verified() {
    let slow = |target| Plan {
        mode: Mode::Slow,
        interval: Duration::from_millis(5),
        duration: Duration::from_secs(1),
        ..plan(target)
    };
    let report = run(&slow(server(echo)));
    assert!(report.is_clean(), "{report}");
    assert!(
        report.requests.total <= 3,
        "only the first request was sent in one go"
    );
    let target = server(|mut stream| {
        let mut byte = [0; 1];
        for count in 0.. {
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            byte[0] ^= u8::from(count == 70);
            drop(stream.write_all(&byte));
        }
    });
    let report = run(&slow(target));
    assert_failures(&report, "wrong_bytes", 3);
}

#[test]
fn an_open_loop_offers_its_rate_whatever_the_server_does() {
    let report = run(&Plan {
        mode: Mode::Open,
        interval: Duration::from_millis(10),
        duration: Duration::from_secs(1),
        ..plan(server(echo))
    });
    assert_eq!(report.failures_total(), 0, "{report}");
    let offered = report.requests.offered_per_s.unwrap();
    assert!(
        (270.0..330.0).contains(&offered),
        "3 connections x 100 per second: {offered}"
    );
    assert!(report.generator.lag_us.count > 0);
}

#[test]
fn a_server_that_is_killed_shows_as_closed_or_reset() {
    // Each connection is served for as long as the switch is on; then all of them are dropped.
    static ON: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
    let target = server(|mut stream| {
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).is_ok()
            && ON.load(std::sync::atomic::Ordering::Relaxed)
        {
            drop(stream.write_all(&buffer));
        }
    });
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(500));
        ON.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    let report = run(&Plan {
        duration: BOUND,
        ..plan(target)
    });
    assert_eq!(
        report.failures_of("closed_early") + report.failures_of("reset"),
        3,
        "{report}"
    );
    assert!(
        report.requests.window_s < BOUND.as_secs_f64() / 2.0,
        "nobody is left, so it ends: {report}"
    );
}

#[test]
fn a_ramp_in_vain_is_given_up() {
    let target = server(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let started = Instant::now();
    let plan = Plan {
        connections: 100_000,
        shards: 8,
        timeout: Duration::from_millis(200),
        ..plan(target)
    };
    let report = run(&plan);
    assert!(started.elapsed() < BOUND, "{report}");
    assert!(
        report.failures_of("timed_out") >= 200 && report.connections.served == 0,
        "{report}"
    );
    assert_eq!(report.connections.wanted, 100_000);
}

#[test]
fn connections_spread_over_sources_and_targets() {
    static SEEN: std::sync::Mutex<std::collections::BTreeSet<(String, String)>> =
        std::sync::Mutex::new(std::collections::BTreeSet::new());
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pair = (
                stream.peer_addr().unwrap().ip().to_string(),
                stream.local_addr().unwrap().ip().to_string(),
            );
            SEEN.lock().unwrap().insert(pair);
            thread::spawn(move || echo(stream));
        }
    });
    let targets = (1..=2)
        .map(|last| SocketAddr::from(([127, 0, 0, last], port)))
        .collect::<Vec<_>>();
    let sources = vec!["127.0.0.8".parse().unwrap(), "127.0.0.9".parse().unwrap()];
    let report = run(&Plan {
        connections: 8,
        targets: targets.clone(),
        sources,
        ..plan(targets[0])
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(SEEN.lock().unwrap().len(), 4, "{:?}", SEEN.lock().unwrap());
}

#[test]
fn many_shards_share_a_run() {
    let report = run(&Plan {
        connections: 101,
        shards: 8,
        ..plan(server(echo))
    });
    assert!(report.is_clean(), "{report}");
    let carried: Vec<u64> = report
        .shards
        .iter()
        .map(|shard| shard.connections)
        .collect();
    assert_eq!(carried, [13, 13, 13, 13, 13, 12, 12, 12]);
}

#[test]
fn a_rate_bounds_the_connects() {
    let started = Instant::now();
    let report = run(&Plan {
        connections: 20,
        rate: Some(100),
        ..plan(server(echo))
    });
    assert!(report.is_clean(), "{report}");
    assert!(started.elapsed() >= Duration::from_millis(190));
}

fn loadtest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command
        .arg("run")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str]) -> Output {
    loadtest(arguments).output().unwrap()
}

#[test]
fn exit_codes_tell_clean_from_failed_from_refused() {
    let target = server(echo).to_string();
    // A mode that a busy machine cannot make void.
    let clean = output(&[
        "--target",
        &target,
        "--mode",
        "idle",
        "--duration",
        "200ms",
        "--json",
    ]);
    assert_eq!(
        clean.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&clean.stdout)
    );
    let report: serde_json::Value = serde_json::from_slice(&clean.stdout).unwrap();
    assert_eq!(report["connections"]["served"], 1);
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let failed = output(&["--target", &nobody.to_string()]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("1 refused"));
    let refused = output(&["--target", &target, "--mode", "idle", "--pipeline", "2"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--pipeline"));
}

#[test]
fn a_signal_ends_a_run_in_order_and_the_report_is_printed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let child = loadtest(&["--target", &target, "--mode", "closed", "--duration", "1h"])
        .spawn()
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let mut buffer = [0; 64];
    for request in 0.. {
        if stream.read_exact(&mut buffer).is_err() {
            break;
        }
        stream.write_all(&buffer).unwrap();
        if request == 10 {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        }
    }
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(BOUND).unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("INTERRUPTED") && text.contains("1 served"),
        "{text}"
    );
    assert_eq!(
        output.status.code(),
        Some(1),
        "it is not the run that was asked for: {text}"
    );
}
