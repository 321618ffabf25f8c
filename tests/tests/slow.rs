//! Deadlines: how long a peer may take for its first byte, its next one, a whole request, its
//! replies, its life. Each closes with its own reason, and none before its time.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{Client, End, Launch, Line, Server, needs, skip};

/// Deadlines are swept a few times a second, and machines get busy.
const LATE_MAX: Duration = Duration::from_millis(1500);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Fails unless the connection is ended `timeout` after `start`, not earlier and not much later.
fn expect_end_after(client: &mut Client, start: Instant, timeout: Duration) {
    let taken = client.time_to_end(start);
    assert!(
        taken >= timeout,
        "ended after {taken:?}, before its time of {timeout:?}"
    );
    assert!(
        taken <= timeout + LATE_MAX,
        "ended only after {taken:?}, {timeout:?} was its time"
    );
}

fn assert_closed_once(server: Server, reason: &str) {
    let counts = server.stop();
    assert_eq!((counts.of(reason), counts.closed), (1, 1), "{counts:?}");
}

#[test]
fn a_silent_connection_is_closed_at_its_first_byte_deadline() {
    let server = Launch::echo()
        .alone()
        .set("timeouts.first_byte=\"500ms\"")
        .start();
    let start = Instant::now();
    let mut client = server.connect();
    expect_end_after(&mut client, start, ms(500));
    assert_closed_once(server, "first_byte_timeout");
}

#[test]
fn a_first_byte_in_time_lifts_its_deadline() {
    let server = Launch::echo()
        .alone()
        .set("timeouts.first_byte=\"500ms\"")
        .start();
    let mut client = server.connect();
    client.ask(b"early", b"early");
    assert!(
        client.is_silent_for(ms(1200)),
        "closed though it spoke in time"
    );
    client.ask(b"later", b"later");
    drop(client);
    assert_closed_once(server, "peer_closed");
}

#[test]
fn an_idle_connection_is_closed_after_its_timeout() {
    let server = Launch::echo()
        .alone()
        .set("timeouts.idle=\"600ms\"")
        .start();
    let mut client = server.connect();
    let mut last = Instant::now();
    client.ask(b"hello", b"hello");
    // Each message starts the time anew.
    for _ in 0..5 {
        assert!(client.is_silent_for(ms(300)), "closed while it spoke");
        last = Instant::now();
        client.ask(b"hello", b"hello");
    }
    expect_end_after(&mut client, last, ms(600));
    assert_closed_once(server, "idle_timeout");
}

#[test]
fn an_idle_connection_between_requests_is_closed_after_its_timeout() {
    let server = Launch::ping()
        .alone()
        .set("timeouts.idle=\"500ms\"")
        .start();
    let mut client = server.connect();
    let start = Instant::now();
    client.ask(b"PING\r\n", b"+PONG\r\n");
    expect_end_after(&mut client, start, ms(500));
    assert_closed_once(server, "idle_timeout");
}

#[test]
fn a_request_dripped_byte_by_byte_is_closed_at_its_deadline() {
    let server = Launch::ping()
        .alone()
        .set("timeouts.read=\"1s\"")
        .set("timeouts.idle=\"500ms\"")
        .set("timeouts.first_byte=\"500ms\"")
        .start();
    let mut client = server.connect();
    let start = Instant::now();
    // Never silent for long, so only a deadline of the whole request can end it.
    while client.end() == End::Open && start.elapsed() < ms(5000) {
        let _ = client.stream().write_all(b"x");
        let _ = client.is_silent_for(ms(50));
    }
    let taken = start.elapsed();
    assert!(taken >= ms(1000), "closed after {taken:?}, before its time");
    assert!(taken <= ms(1000) + LATE_MAX, "still open after {taken:?}");
    drop(client);
    assert_closed_once(server, "read_timeout");
}

#[test]
fn a_request_that_stops_half_way_is_closed_at_its_deadline() {
    let server = Launch::ping()
        .alone()
        .set("timeouts.read=\"700ms\"")
        .start();
    let mut client = server.connect();
    let start = Instant::now();
    client.send(b"*1\r\n$4\r\nPI");
    expect_end_after(&mut client, start, ms(700));
    assert_closed_once(server, "read_timeout");
}

#[test]
fn a_request_whole_in_time_lifts_its_deadline() {
    let server = Launch::ping()
        .alone()
        .set("timeouts.read=\"700ms\"")
        .start();
    let mut client = server.connect();
    for _ in 0..4 {
        client.send(b"PI");
        assert!(client.is_silent_for(ms(300)), "closed in mid-request");
        client.ask(b"NG\r\n", b"+PONG\r\n");
    }
    drop(client);
    assert_closed_once(server, "peer_closed");
}

/// Sends `piece` again and again, with pauses too short for an idle timeout, until the server ends
/// the connection. Gives the time that took from the first one.
fn drip(client: &mut Client, piece: &[u8]) -> Duration {
    let start = Instant::now();
    while client.end() == End::Open && start.elapsed() < ms(5000) {
        let _ = client.stream().write_all(piece);
        let _ = client.is_silent_for(ms(50));
    }
    start.elapsed()
}

fn assert_in_time(taken: Duration, timeout: Duration) {
    assert!(
        taken >= timeout,
        "closed after {taken:?}, before its time of {timeout:?}"
    );
    assert!(
        taken <= timeout + LATE_MAX,
        "still open after {taken:?}, {timeout:?} was its time"
    );
}

/// Without a deadline of frames, so that only that of the whole request is left.
fn with_request_deadline(launch: Launch) -> Launch {
    launch
        .set("timeouts.request=\"1s\"")
        .set("timeouts.read=\"off\"")
        .set("timeouts.idle=\"500ms\"")
        .set("timeouts.write=\"off\"")
}

#[test]
fn a_frame_dripped_byte_by_byte_is_closed_at_the_deadline_of_its_request() {
    let server = with_request_deadline(Launch::ping()).start();
    let mut client = server.connect();
    assert_in_time(drip(&mut client, b"x"), ms(1000));
    drop(client);
    assert_closed_once(server, "request_timeout");
}

#[test]
fn a_request_dripped_to_a_handler_that_frames_for_itself_is_closed_at_its_deadline() {
    let server = with_request_deadline(Launch::hostile().set("app.behaviour=\"gather\"")).start();
    let mut client = server.connect();
    client.ask(b"whole\n", b"whole\n");
    assert_in_time(drip(&mut client, b"x"), ms(1000));
    drop(client);
    assert_closed_once(server, "request_timeout");
}

#[test]
fn every_request_has_a_deadline_of_its_own() {
    let gather = with_request_deadline(Launch::hostile().set("app.behaviour=\"gather\"")).start();
    let echo = with_request_deadline(Launch::echo()).start();
    let ping = with_request_deadline(Launch::ping()).start();
    let mut clients: [(Client, &[u8], &[u8]); 3] = [
        (gather.connect(), b"go\n", b"go\n"),
        (echo.connect(), b"a", b"a"),
        (ping.connect(), b"PING\r\n", b"+PONG\r\n"),
    ];
    let start = Instant::now();
    while start.elapsed() < ms(1800) {
        for (client, request, reply) in &mut clients {
            let (head, tail) = request.split_at(request.len() / 2);
            client.send(head);
            assert!(
                client.is_silent_for(ms(20)),
                "answered or closed in mid-request"
            );
            client.ask(tail, reply);
        }
        // Requests ahead, each of them in time for itself.
        clients[2]
            .0
            .ask(&b"PING\r\n".repeat(500), &b"+PONG\r\n".repeat(500));
    }
    drop(clients);
    for server in [gather, echo, ping] {
        assert_closed_once(server, "peer_closed");
    }
}

#[test]
fn a_handler_that_stalls_ends_with_its_request() {
    let server = with_request_deadline(Launch::hostile()).start();
    let mut client = server.connect();
    assert!(client.is_silent_for(ms(300)), "no request has begun");
    let start = Instant::now();
    client.send(b"stall\n");
    expect_end_after(&mut client, start, ms(1000));
    assert_closed_once(server, "request_timeout");
}

#[test]
fn an_answer_that_is_not_taken_ends_with_its_request() {
    let server = with_request_deadline(Launch::hostile())
        .debug()
        .set("socket.send_buffer=65536")
        .start();
    let mut client = server.connect();
    let start = Instant::now();
    client.send(b"flood\n");
    server.wait_for_closed("request_timeout", 1);
    assert_in_time(start.elapsed(), ms(1000));
    drop(client);
    assert_closed_once(server, "request_timeout");
}

#[test]
fn a_handler_may_say_that_a_request_without_an_answer_is_over() {
    let server = with_request_deadline(Launch::hostile().set("app.behaviour=\"absorb\"")).start();
    let mut client = server.connect();
    let start = Instant::now();
    while start.elapsed() < ms(1800) {
        client.send(b"news");
        assert!(
            client.is_silent_for(ms(50)),
            "closed after {:?}",
            start.elapsed()
        );
    }
    drop(client);
    assert_closed_once(server, "peer_closed");
}

/// What it sends meanwhile must not put the deadline of its replies off.
#[test]
fn a_connection_that_reads_nothing_and_speaks_on_is_closed_at_its_write_deadline() {
    let server = Launch::echo()
        .debug()
        .set("socket.send_buffer=4096")
        .set("timeouts.write=\"1s\"")
        .start();
    let mut client = server.connect();
    // More than the kernel's buffers hold, and less than the connection's queue: the server goes on
    // reading.
    socket2::SockRef::from(&*client.stream())
        .set_recv_buffer_size(4096)
        .unwrap();
    client.send(&[b'n'; 200_000]);
    let start = Instant::now();
    while client.stream().write_all(b"n").is_ok() && start.elapsed() < ms(5000) {
        thread::sleep(ms(50));
    }
    assert!(
        start.elapsed() <= ms(1000) + LATE_MAX,
        "still open after {:?}",
        start.elapsed()
    );
    server.wait_for_closed("write_timeout", 1);
    drop(client);
    assert_closed_once(server, "write_timeout");
}

#[test]
fn a_connection_that_reads_nothing_is_closed_at_its_write_deadline() {
    let server = Launch::hostile()
        .alone()
        .debug()
        .set("socket.send_buffer=65536")
        .set("timeouts.write=\"700ms\"")
        .start();
    let mut client = server.connect();
    let start = Instant::now();
    client.send(b"flood\n");
    server.wait_for_closed("write_timeout", 1);
    let taken = start.elapsed();
    assert!(
        taken >= ms(700) && taken <= ms(700) + LATE_MAX,
        "closed after {taken:?}"
    );
    drop(client);
    assert_closed_once(server, "write_timeout");
}

#[test]
fn a_connection_ends_with_its_lifetime_whatever_it_does() {
    let server = Launch::echo()
        .alone()
        .set("timeouts.lifetime=\"1s\"")
        .set("timeouts.first_byte=\"1s\"")
        .start();
    let start = Instant::now();
    let mut client = server.connect();
    while client.end() == End::Open && start.elapsed() < ms(5000) {
        let _ = client.stream().write_all(b"busy");
        let _ = client.is_silent_for(ms(20));
        let mut drained = [0; 64];
        let _ = std::io::Read::read(client.stream(), &mut drained);
    }
    let taken = start.elapsed();
    assert!(taken >= ms(1000), "closed after {taken:?}, before its time");
    assert!(taken <= ms(1000) + LATE_MAX, "still open after {taken:?}");
    drop(client);
    assert_closed_once(server, "lifetime_exceeded");
}

#[test]
fn a_handler_that_stalls_ends_with_its_connections_lifetime() {
    let server = Launch::hostile()
        .alone()
        .set("timeouts.lifetime=\"1s\"")
        .set("timeouts.first_byte=\"1s\"")
        .start();
    let start = Instant::now();
    let mut client = server.connect();
    client.send(b"stall\n");
    expect_end_after(&mut client, start, ms(1000));
    assert_closed_once(server, "lifetime_exceeded");
}

#[test]
fn what_is_off_closes_nobody() {
    let off = ["first_byte", "read", "write", "idle", "lifetime"];
    let launch = off.iter().fold(Launch::ping().alone(), |launch, name| {
        launch.set(&format!("timeouts.{name}=\"off\""))
    });
    let server = launch.start();
    let mut silent = server.connect();
    let mut halfway = server.connect();
    halfway.send(b"PI");
    assert!(silent.is_silent_for(ms(1500)));
    assert!(halfway.is_silent_for(ms(10)));
    halfway.ask(b"NG\r\n", b"+PONG\r\n");
    silent.ask(b"PING\r\n", b"+PONG\r\n");
    drop((silent, halfway));
    assert_eq!(server.stop().of("peer_closed"), 2);
}

#[test]
fn a_client_that_never_says_goodbye_is_not_waited_for() {
    let server = Launch::ping()
        .alone()
        .debug()
        .set("timeouts.close=\"500ms\"")
        .start();
    let mut client = server.connect();
    let start = Instant::now();
    client.ask(b"QUIT\r\n", b"+OK\r\n");
    client.expect_eof();
    // The client keeps its half open: the server must not keep the slot for it.
    server.wait_for_closed("handler_closed", 1);
    assert!(
        start.elapsed() <= ms(500) + LATE_MAX,
        "{:?}",
        start.elapsed()
    );
    assert_closed_once(server, "handler_closed");
    drop(client);
}

#[test]
fn thousands_of_deadlines_pass_together() {
    const CLIENTS: usize = 3000;
    let server = Launch::echo()
        .alone()
        .set("timeouts.first_byte=\"1s\"")
        .start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let start = Instant::now();
    for client in &mut clients {
        client.expect_eof();
    }
    assert!(
        start.elapsed() <= ms(1000) + LATE_MAX,
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.stop().of("first_byte_timeout"), CLIENTS as u64);
}

#[test]
fn nobody_expires_for_the_servers_own_pause() {
    const CLIENTS: usize = 50;
    let server = Launch::echo().alone().set("timeouts.idle=\"1s\"").start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.ask(b"before", b"before"));
    server.signal(Signal::STOP);
    // What they say meanwhile lies in the kernel, in time, when the server goes on.
    clients
        .iter_mut()
        .for_each(|client| client.send(b"meanwhile"));
    thread::sleep(ms(2500));
    server.signal(Signal::CONT);
    clients
        .iter_mut()
        .for_each(|client| client.expect(b"meanwhile"));
    clients
        .iter_mut()
        .for_each(|client| client.ask(b"after", b"after"));
    drop(clients);
    assert_eq!(server.stop().of("peer_closed"), CLIENTS as u64);
}

/// The library that `faketime` loads into a program, to be given to a server whose clock is set
/// while it runs.
fn faketime_library() -> String {
    let printed = Command::new("faketime")
        .args(["-m", "-f", "+0", "sh", "-c", "echo $LD_PRELOAD"])
        .output()
        .unwrap();
    String::from_utf8(printed.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_wall_clock_that_jumps_moves_no_deadline() {
    needs!("faketime");
    if std::env::var_os("ASAN_OPTIONS").is_some() {
        skip!("libfaketime breaks under AddressSanitizer: both take over dlsym");
    }
    const FOUR_HUNDRED_DAYS: i64 = 400 * 86_400;
    let clock = format!(
        "{}/clock-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    let set_clock = |seconds: i64| {
        fs::write(format!("{clock}.new"), format!("{seconds:+}\n")).unwrap();
        fs::rename(format!("{clock}.new"), &clock).unwrap();
    };
    set_clock(0);
    let (library, file) = (
        format!("LD_PRELOAD={}", faketime_library()),
        format!("FAKETIME_TIMESTAMP_FILE={clock}"),
    );
    let faked = [
        "env",
        &library,
        &file,
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",
    ];
    let server = Launch::echo()
        .alone()
        .debug()
        .set("server.shards=1")
        .set("timeouts.first_byte=\"6s\"")
        .set("timeouts.idle=\"6s\"")
        .set("log.stats_interval=\"1s\"")
        .under(&faked)
        .start();
    let year = |line: &Line| {
        line.text.split_once("\"timestamp\":\"").unwrap().1[..4]
            .parse::<i32>()
            .unwrap()
    };
    let this_year = year(&server.wait_for_log("listening", tests::BOUND));
    let start = Instant::now();
    let mut silent = server.connect();
    let mut idle = server.connect();
    idle.ask(b"hello", b"hello");
    for jump in [FOUR_HUNDRED_DAYS, -FOUR_HUNDRED_DAYS, 0] {
        assert!(
            silent.is_silent_for(ms(300)),
            "closed {:?} after its accept",
            start.elapsed()
        );
        set_clock(jump);
        // The clock of the log is the wall's: it has jumped.
        let mut passing = server.connect();
        passing.ask(b"hello", b"hello");
        let from = server.log().lines().len();
        passing.reset();
        let closed = server.wait_for_line(from, tests::BOUND, "its close", |line| {
            line.message() == "closed"
        });
        assert_eq!(
            (year(&closed) - this_year).signum(),
            jump.signum() as i32,
            "{}",
            closed.text
        );
        // Longer than a shard that takes itself to have been late excuses anybody, and then turns
        // in which it could judge.
        thread::sleep(ms(1200));
        for _ in 0..2 {
            server.connect().ask(b"hello", b"hello");
        }
        assert!(
            silent.is_silent_for(ms(50)) && idle.is_silent_for(ms(50)),
            "closed {:?} after its accept, jump {jump}",
            start.elapsed()
        );
    }
    expect_end_after(&mut silent, start, ms(6000));
    expect_end_after(&mut idle, start, ms(6000));
    let counts = server.stop();
    assert_eq!(
        (counts.of("first_byte_timeout"), counts.of("idle_timeout")),
        (1, 1),
        "{counts:?}"
    );
}

/// Requests that are half in, and deliver on; answers that are being taken: all of them under
/// bounds that the pause alone exceeds.
#[test]
fn nobody_is_judged_for_the_servers_own_pause() {
    const CLIENTS: usize = 40;
    const PIECE: [u8; 100] = [b'x'; 100];
    let server = Launch::hostile()
        .set("server.shards=1")
        .set("timeouts.idle=\"1s\"")
        .set("timeouts.read=\"off\"")
        .set("timeouts.request=\"3s\"")
        .set("limits.receive_rate_min=1000")
        .set("limits.rate_window=\"1s\"")
        .start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(b"gather\n"));
    let writer = Launch::hostile()
        .set("timeouts.write=\"1s\"")
        .set("limits.send_rate_min=65536")
        .set("limits.rate_window=\"1s\"")
        .start();
    let mut flooded = writer.connect();
    flooded.send(b"flood\n");
    let mut reader = flooded.stream().try_clone().unwrap();
    let taking = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let mut sent = 0;
    let mut deliver = |clients: &mut Vec<Client>, time: Duration| {
        let start = Instant::now();
        while start.elapsed() < time {
            clients.iter_mut().for_each(|client| client.send(&PIECE));
            sent += PIECE.len();
            thread::sleep(ms(40));
        }
    };
    // Longer than a window, so that all of them are being measured.
    deliver(&mut clients, ms(1300));
    [&server, &writer]
        .into_iter()
        .for_each(|paused| paused.signal(Signal::STOP));
    deliver(&mut clients, ms(2500));
    [&server, &writer]
        .into_iter()
        .for_each(|paused| paused.signal(Signal::CONT));
    clients.iter_mut().for_each(|client| client.send(b"\n"));
    for client in &mut clients {
        client.expect(&vec![b'x'; sent]);
        client.expect(b"\n");
    }
    // Whoever would have been found too slow would be by now.
    for _ in 0..4 {
        clients
            .iter_mut()
            .for_each(|client| client.ask(b"on\n", b"on\n"));
        thread::sleep(ms(300));
    }
    assert_eq!(flooded.end(), End::Open);
    flooded.stream().shutdown(std::net::Shutdown::Read).unwrap();
    let _may_have_ended_at_a_look_that_does_not_wait = taking.join().unwrap();
    // By a reset: a peer that is merely gone, its window closed, is found by the next probe,
    // perhaps after the deadline of the write.
    flooded.reset();
    drop(clients);
    let counts = writer.stop();
    assert_eq!(counts.of("peer_reset"), 1, "{counts:?}");
    assert_eq!(server.stop().of("peer_closed"), CLIENTS as u64);
}
