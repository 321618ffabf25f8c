//! `loadtest run` against servers that behave, and against servers that do not.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use loadtest::Stop;
use loadtest::engine;
use loadtest::failure::FailureKind;
use loadtest::plan::{Mode, Plan};
use loadtest::report::Report;
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
        target,
        connections: 3,
        mode: Mode::Closed,
        workload: Workload { protocol: Protocol::Echo, payload: 64, pipeline: 1 },
        seed: 1,
        rate: None,
        in_flight_max: 256,
        warmup: Duration::from_millis(20),
        duration: Duration::from_millis(100),
        timeout: BOUND,
    }
}

fn run(plan: &Plan) -> Report {
    engine::run(plan, &Stop::default(), &mut ()).unwrap()
}

/// That nothing else went wrong than `count` failures of this kind.
fn assert_failures(report: &Report, kind: FailureKind, count: u64) {
    assert_eq!(report.failures.count(kind), count, "{report}");
    assert_eq!(report.failures.total(), count, "{report}");
    assert!(!report.is_clean());
}

#[test]
fn an_echo_is_verified_at_every_size_and_depth() {
    let target = server(echo);
    for (payload, pipeline) in [(1, 1), (1, 16), (64, 1), (4097, 16), (65_536, 1), (65_536, 16)] {
        let workload = Workload { protocol: Protocol::Echo, payload, pipeline };
        let report = run(&Plan { workload, ..plan(target) });
        assert!(report.is_clean(), "{report}");
        assert!(report.window.requests > 0, "{report}");
        assert!(report.requests >= 3 + 3 * u64::from(pipeline), "{report}");
        assert!(report.window.latency_us.p50 > 0.0, "{report}");
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
    assert_failures(&report, FailureKind::WrongBytes, 3);
    assert_eq!(report.connections.served, 3, "the first five replies were right");
    assert_eq!(report.requests, 15);
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
    assert_failures(&report, FailureKind::WrongBytes, 3);
}

#[test]
fn more_than_was_asked_for_is_wrong_bytes() {
    let report = run(&plan(server(|mut stream| {
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).is_ok() {
            drop(stream.write_all(&[buffer, buffer].concat()));
        }
    })));
    assert_failures(&report, FailureKind::WrongBytes, 3);
}

#[test]
fn a_server_that_closes_instead_of_replying_closed_early() {
    let report = run(&plan(server(|mut stream| {
        // All of the request is read, so the close is a FIN and not a reset.
        drop(stream.read_exact(&mut [0; 64]));
    })));
    assert_failures(&report, FailureKind::ClosedEarly, 3);
    assert_eq!(report.connections.established, 3);
    assert_eq!(report.connections.served, 0);
}

#[test]
fn a_server_that_closes_with_unread_bytes_reset() {
    let report = run(&plan(server(|mut stream| drop(stream.read_exact(&mut [0; 1])))));
    assert_failures(&report, FailureKind::Reset, 3);
}

#[test]
fn a_port_without_a_listener_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap();
    drop(listener);
    let report = run(&plan(target));
    assert_failures(&report, FailureKind::Refused, 3);
    assert_eq!(report.connections.established, 0);
}

#[test]
fn a_server_that_never_replies_timed_out() {
    let target = server(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let timeout = Duration::from_millis(200);
    let started = Instant::now();
    let report = run(&Plan { timeout, ..plan(target) });
    assert_failures(&report, FailureKind::TimedOut, 3);
    assert!(started.elapsed() >= timeout);
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
    let report = run(&Plan { timeout: Duration::from_millis(200), ..plan(target) });
    assert_failures(&report, FailureKind::TimedOut, 3);
    assert_eq!(report.connections.served, 3);
}

#[test]
fn a_pong_answers_a_ping_and_an_error_does_not() {
    let workload = Workload { protocol: Protocol::Ping, payload: 0, pipeline: 4 };
    let target = server(|mut stream| {
        while stream.read_exact(&mut [0; 14]).is_ok() {
            drop(stream.write_all(b"+PONG\r\n"));
        }
    });
    let report = run(&Plan { workload, ..plan(target) });
    assert!(report.is_clean(), "{report}");
    let target = server(|mut stream| {
        drop(stream.read_exact(&mut [0; 14]));
        drop(stream.write_all(b"-ERR\r\n"));
        drop(stream.read_to_end(&mut Vec::new()));
    });
    assert_failures(&run(&Plan { workload, ..plan(target) }), FailureKind::WrongBytes, 3);
}

#[test]
fn a_storm_makes_exactly_as_many_connections_as_asked_for() {
    let mode = Mode::Storm { cycles: Some(500) };
    let report = run(&Plan { mode, connections: 7, ..plan(server(echo)) });
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.connections.served, 500);
    assert_eq!(report.requests, 500);
}

#[test]
fn idle_connections_make_one_request_each_and_notice_when_they_are_left() {
    let report = run(&Plan { mode: Mode::Idle, ..plan(server(echo)) });
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.requests, report.window.requests), (3, 0));
    let target = server(|mut stream| {
        let mut buffer = [0; 64];
        drop(stream.read_exact(&mut buffer));
        drop(stream.write_all(&buffer));
    });
    let report = run(&Plan { mode: Mode::Idle, ..plan(target) });
    assert_failures(&report, FailureKind::ClosedEarly, 3);
    assert_eq!(report.connections.served, 3);
}

#[test]
fn a_rate_bounds_the_connects() {
    let started = Instant::now();
    let report = run(&Plan { connections: 20, rate: Some(100), ..plan(server(echo)) });
    assert!(report.is_clean(), "{report}");
    assert!(started.elapsed() >= Duration::from_millis(190));
}

fn loadtest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.arg("run").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str]) -> Output {
    loadtest(arguments).output().unwrap()
}

#[test]
fn exit_codes_tell_clean_from_failed_from_refused() {
    let target = server(echo).to_string();
    let clean = output(&["--target", &target, "--duration", "100ms", "--json"]);
    assert_eq!(clean.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&clean.stdout).unwrap();
    assert_eq!(report["connections"]["served"], 1);
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
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
    let child = loadtest(&["--target", &target, "--duration", "1h"]).spawn().unwrap();
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
    assert!(text.contains("interrupted") && text.contains("1 served"), "{text}");
    assert_eq!(output.status.code(), Some(0), "all was established, served and right: {text}");
}
