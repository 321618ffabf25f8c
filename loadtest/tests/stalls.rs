//! A server that stalls is in the figures, whenever it does: each request due in the window counts
//! from when it was due, answered or not.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use loadtest::Stop;
use loadtest::data::Report;
use loadtest::engine::{self, Observer, Show};
use loadtest::plan::{Mode, Plan};

const CONNECTIONS: u32 = 10;
const INTERVAL: Duration = Duration::from_millis(50);
const WINDOW: Duration = Duration::from_secs(1);
/// Due in a window.
const REQUESTS: u64 = 200;
/// Far longer than anything here takes; a bound, not a pause.
const BOUND: Duration = Duration::from_secs(30);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What every reply waits for.
#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    passed: AtomicU64,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(
            self.opened
                .wait_while(self.is_shut.lock().unwrap(), |is_shut| *is_shut)
                .unwrap(),
        );
        self.passed.fetch_add(1, Ordering::Relaxed);
    }
}

/// An echo behind a gate.
fn server(gate: &Arc<Gate>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let gate = Arc::clone(gate);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let gate = Arc::clone(&gate);
            thread::spawn(move || echo(stream, &gate));
        }
    });
    address
}

fn echo(mut stream: TcpStream, gate: &Gate) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        gate.pass();
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// Shuts the gate when the window has been open for `from`, and opens it again when it has been
/// open for `to`, if at all.
struct Staller {
    gate: Arc<Gate>,
    from: Duration,
    to: Option<Duration>,
}

impl Observer for Staller {
    fn window_opened(&mut self) {
        let (gate, from, to) = (Arc::clone(&self.gate), self.from, self.to);
        thread::spawn(move || {
            thread::sleep(from);
            gate.set(true);
            if let Some(to) = to {
                thread::sleep(to - from);
                gate.set(false);
            }
        });
    }

    fn window_closed(&mut self) {}
}

fn stalled(mode: Mode, timeout: Duration, from: Duration, to: Option<Duration>) -> Report {
    let gate = Arc::new(Gate::default());
    let plan = Plan {
        mode,
        interval: INTERVAL,
        connections: CONNECTIONS,
        warmup: ms(100),
        duration: WINDOW,
        timeout,
        ..Plan::to(server(&gate))
    };
    let report = engine::run(
        plan,
        Show::Nothing,
        &Stop::default(),
        &mut Staller {
            gate: Arc::clone(&gate),
            from,
            to,
        },
    );
    gate.set(false);
    report.unwrap()
}

/// How many requests an open loop was to send in the window.
fn due(report: &Report) -> u64 {
    (report.requests.offered_per_s.unwrap() * report.requests.window_s).round() as u64
}

#[test]
fn a_stall_at_the_end_of_the_window_is_in_the_figures_of_an_open_loop() {
    let report = stalled(Mode::Open, BOUND, ms(600), Some(ms(1600)));
    assert!(report.is_complete(), "{report}");
    assert!(report.latency_us.max >= 900e3, "{report}");
    assert!(
        report.latency_us.p90 >= 600e3,
        "four requests in ten waited for the gate: {report}"
    );
    assert_eq!(
        report.latency_us.count, REQUESTS,
        "each that was due, and no other: {report}"
    );
    assert_eq!((due(&report), report.requests.unanswered), (REQUESTS, 0));
    assert!(
        report.requests.achieved_per_s < 150.0,
        "what came after the window was not answered in it: {report}"
    );
}

#[test]
fn a_stall_at_the_beginning_is_in_the_figures_of_an_open_loop() {
    let report = stalled(Mode::Open, BOUND, Duration::ZERO, Some(ms(500)));
    assert!(report.is_complete(), "{report}");
    assert!(
        report.latency_us.max >= 400e3 && report.latency_us.p90 >= 200e3,
        "{report}"
    );
    assert_eq!(report.latency_us.count, REQUESTS, "{report}");
}

#[test]
fn a_server_that_never_answers_again_is_in_the_figures_with_what_was_waited_for_it() {
    let timeout = ms(700);
    let report = stalled(Mode::Open, timeout, ms(500), None);
    assert_eq!(
        report.failures_of("timed_out"),
        u64::from(CONNECTIONS),
        "{report}"
    );
    assert!(report.latency_us.max >= 650e3, "{report}");
    let never = report.requests.unanswered;
    assert!(
        (90..=110).contains(&never),
        "half of those that were due: {report}"
    );
    assert_eq!(due(&report), REQUESTS, "{report}");
    assert_eq!(
        report.latency_us.count, REQUESTS,
        "each of them waited until its connection was given up: {report}"
    );
    assert!(
        report.to_string().contains("of the window's were not"),
        "{report}"
    );
}

/// Cuts every other connection off once the window has opened.
struct Cutter(Arc<AtomicBool>);

impl Observer for Cutter {
    fn window_opened(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn window_closed(&mut self) {}
}

#[test]
fn requests_due_after_their_connection_has_failed_are_counted_as_unanswered() {
    let cuts = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap();
    let cut = Arc::clone(&cuts);
    thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            let cut = Arc::clone(&cut);
            thread::spawn(move || {
                let mut buffer = [0; 64];
                while stream.read_exact(&mut buffer).is_ok()
                    && !(number % 2 == 1 && cut.load(Ordering::Relaxed))
                {
                    drop(stream.write_all(&buffer));
                }
            });
        }
    });
    let plan = Plan {
        mode: Mode::Open,
        interval: INTERVAL,
        connections: CONNECTIONS,
        warmup: ms(100),
        duration: WINDOW,
        ..Plan::to(target)
    };
    let report = engine::run(plan, Show::Nothing, &Stop::default(), &mut Cutter(cuts)).unwrap();
    assert_eq!(
        report.failures_total(),
        u64::from(CONNECTIONS / 2),
        "{report}"
    );
    assert_eq!(
        due(&report),
        REQUESTS,
        "the window stays as long as some are left: {report}"
    );
    let unanswered = report.requests.unanswered;
    assert!(
        (REQUESTS / 4..=REQUESTS / 2).contains(&unanswered),
        "{report}"
    );
    assert!(
        report.latency_us.count >= REQUESTS / 2 && report.latency_us.count < REQUESTS,
        "nobody waited for the later ones: {report}"
    );
}

#[test]
fn a_stall_at_the_end_is_in_the_figures_of_a_closed_loop() {
    let report = stalled(Mode::Closed, BOUND, ms(800), Some(ms(1800)));
    assert!(report.is_complete(), "{report}");
    assert!(report.latency_us.max >= 900e3, "{report}");
}

#[test]
fn a_stall_that_began_before_the_window_is_in_the_figures_of_a_closed_loop() {
    let gate = Arc::new(Gate::default());
    let warm = Arc::clone(&gate);
    thread::spawn(move || {
        while warm.passed.load(Ordering::Relaxed) < 100 {
            thread::sleep(ms(1));
        }
        warm.set(true);
    });
    let plan = Plan {
        connections: CONNECTIONS,
        warmup: WINDOW,
        duration: WINDOW,
        ..Plan::to(server(&gate))
    };
    let staller = &mut Staller {
        gate,
        from: Duration::ZERO,
        to: Some(ms(500)),
    };
    let report = engine::run(plan, Show::Nothing, &Stop::default(), staller).unwrap();
    assert!(
        report.is_complete() && report.latency_us.max >= 450e3,
        "{report}"
    );
}

#[test]
fn a_server_that_never_answers_a_closed_loop_again_is_in_its_figures() {
    let report = stalled(Mode::Closed, ms(700), ms(800), None);
    assert_eq!(
        report.failures_of("timed_out"),
        u64::from(CONNECTIONS),
        "{report}"
    );
    assert_eq!(
        report.requests.unanswered,
        u64::from(CONNECTIONS),
        "{report}"
    );
    assert!(report.latency_us.max >= 650e3, "{report}");
}

#[test]
fn a_stall_at_the_end_is_in_the_figures_of_a_storm() {
    let report = stalled(Mode::Storm, BOUND, ms(800), Some(ms(1800)));
    assert!(report.is_complete(), "{report}");
    assert!(report.latency_us.max >= 900e3, "{report}");
}

#[test]
fn bytes_that_never_come_back_fail_a_slow_run() {
    let report = stalled(Mode::Slow, ms(700), ms(500), None);
    assert_eq!(
        report.failures_of("timed_out"),
        u64::from(CONNECTIONS),
        "{report}"
    );
}

#[test]
fn connections_rest_only_when_nothing_is_owed_to_them() {
    let gate = Arc::new(Gate::default());
    let plan = Plan {
        mode: Mode::Open,
        interval: INTERVAL,
        connections: CONNECTIONS,
        warmup: ms(100),
        duration: WINDOW,
        rest: ms(200),
        ..Plan::to(server(&gate))
    };
    let report = engine::run(
        plan,
        Show::Nothing,
        &Stop::default(),
        &mut Staller {
            gate,
            from: ms(600),
            to: Some(ms(1600)),
        },
    )
    .unwrap();
    assert!(report.is_complete() && report.rest.is_some(), "{report}");
    assert!(report.latency_us.max >= 900e3, "{report}");
    assert_eq!(report.latency_us.count, REQUESTS, "{report}");
}

#[test]
fn a_reply_later_than_the_timeout_has_failed_however_coarse_the_deadlines_are() {
    fn late(mut stream: TcpStream) {
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).is_ok() {
            thread::sleep(ms(60));
            drop(stream.write_all(&buffer));
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap();
    thread::spawn(move || {
        listener
            .incoming()
            .flatten()
            .for_each(|stream| drop(thread::spawn(move || late(stream))))
    });
    let run = |timeout| {
        let plan = Plan {
            connections: 3,
            duration: ms(300),
            timeout,
            ..Plan::to(target)
        };
        engine::run(plan, Show::Nothing, &Stop::default(), &mut ()).unwrap()
    };
    let report = run(ms(50));
    assert_eq!(report.failures_of("timed_out"), 3, "{report}");
    assert!(
        report.failures[0].examples[0].contains("--timeout is 50 ms"),
        "{report}"
    );
    assert!(run(BOUND).is_complete());
}
