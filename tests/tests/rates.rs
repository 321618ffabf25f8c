//! Least rates: who delivers a request, or takes its answer, more slowly than the settings allow is
//! closed; who owes nothing is not.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{Client, End, Launch, Server};

/// Two windows of a second, in which nobody is judged but at the end of the second, and what a busy
/// machine takes on top: a window more each time that the shard itself was late.
const FOUND_MAX: Duration = Duration::from_secs(6);
/// Longer than any window in which somebody could be found.
const WHILE: Duration = Duration::from_millis(3200);
const PAUSE: Duration = Duration::from_millis(20);

fn hostile(behaviour: &str) -> Launch {
    Launch::hostile()
        .set(&format!("app.behaviour=\"{behaviour}\""))
        .set("limits.rate_window=\"1s\"")
}

fn receiving(launch: Launch) -> Server {
    launch
        .set("limits.receive_rate_min=1000")
        .set("limits.rate_window=\"1s\"")
        .set("timeouts.read=\"off\"")
        .start()
}

/// A server whose handler writes for ever. The kernel at our end takes little ahead.
fn flooding(launch: Launch) -> (Server, Client) {
    let server = launch
        .debug()
        .set("limits.send_rate_min=65536")
        .set("socket.send_buffer=65536")
        .start();
    let mut client = server.connect();
    socket2::SockRef::from(&*client.stream())
        .set_recv_buffer_size(65_536)
        .unwrap();
    (server, client)
}

/// Reads `length` bytes at a time, with pauses, for as long as the connection stands and `time` has
/// not passed. Gives how long that was.
fn sip(client: &mut Client, length: usize, time: Duration) -> Duration {
    let start = Instant::now();
    let mut bytes = vec![0; length];
    while start.elapsed() < time {
        match client.stream().read_exact(&mut bytes) {
            Ok(()) => thread::sleep(PAUSE),
            Err(error) => {
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
                    ),
                    "{error}"
                );
                break;
            }
        }
    }
    start.elapsed()
}

/// Sends `piece` again and again, with pauses. Gives how long the connection stood.
fn drip(client: &mut Client, piece: &[u8], time: Duration) -> Duration {
    let start = Instant::now();
    while client.end() == End::Open && start.elapsed() < time {
        let _ = client.stream().write_all(piece);
        thread::sleep(PAUSE);
    }
    start.elapsed()
}

/// Runs them at the same time: each takes seconds and little else.
fn side_by_side<const N: usize>(runs: [fn(); N]) {
    let running = runs.map(thread::spawn);
    running.into_iter().for_each(|run| run.join().unwrap());
}

fn drip_is_found(launch: Launch) {
    let server = receiving(launch);
    let mut client = server.connect();
    let stood = drip(&mut client, b"x", 2 * FOUND_MAX);
    assert!(
        stood >= Duration::from_secs(1),
        "judged after {stood:?}, before its first window was over"
    );
    assert!(stood <= FOUND_MAX, "{stood:?}");
    drop(client);
    let counts = server.stop();
    assert_eq!(
        (counts.of("receive_too_slow"), counts.closed),
        (1, 1),
        "{counts:?}"
    );
}

#[test]
fn a_request_that_comes_in_too_slowly_is_closed() {
    side_by_side([
        || drip_is_found(Launch::ping()),
        || drip_is_found(hostile("gather")),
    ]);
}

#[test]
fn who_keeps_the_rates_or_owes_nothing_is_not_judged() {
    side_by_side([
        a_steady_sender,
        who_owes_no_bytes,
        whose_handler_rests,
        a_steady_reader,
        who_rests_between_answers,
    ]);
}

fn a_steady_sender() {
    let server = receiving(hostile("gather"));
    let mut client = server.connect();
    let piece = [b'x'; 200];
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < WHILE {
        client.send(&piece);
        sent += piece.len();
        thread::sleep(PAUSE);
    }
    client.send(b"\n");
    client.expect(&vec![b'x'; sent]);
    client.expect(b"\n");
    drop(client);
    assert_eq!(server.stop().of("peer_closed"), 1);
}

/// Between requests, in a byte-wise conversation, and where the handler reads nothing.
fn who_owes_no_bytes() {
    let (ping, echo) = (receiving(Launch::ping()), receiving(Launch::echo()));
    let stall = receiving(hostile("stall").set("timeouts.drain=\"100ms\""));
    let (mut idle, mut typing, mut unheard) = (ping.connect(), echo.connect(), stall.connect());
    idle.ask(b"PING\r\n", b"+PONG\r\n");
    unheard.send(b"x");
    let start = Instant::now();
    while start.elapsed() < WHILE {
        typing.ask(b"k", b"k");
        thread::sleep(PAUSE);
    }
    idle.ask(b"PING\r\n", b"+PONG\r\n");
    assert_eq!(unheard.end(), End::Open);
    drop((idle, typing));
    assert_eq!(stall.stop().of("drain_cut"), 1);
    for server in [ping, echo] {
        assert_eq!(server.stop().of("peer_closed"), 1);
    }
}

/// It is found waiting at the end of each window, and has kept its peer waiting for most of it.
fn whose_handler_rests() {
    let server = receiving(hostile("doze"));
    let mut client = server.connect();
    for pause in [1400, 1200, 900] {
        client.send(b"x");
        assert!(client.is_silent_for(Duration::from_millis(pause)), "closed");
    }
    drop(client);
    assert_eq!(server.stop().of("peer_closed"), 1);
}

#[test]
fn a_reader_of_a_few_bytes_now_and_then_is_closed() {
    let (server, mut client) = flooding(hostile("flood"));
    let stood = sip(&mut client, 50, 2 * FOUND_MAX);
    server.wait_for_closed("send_too_slow", 1);
    assert!(
        stood >= Duration::from_secs(1),
        "judged after {stood:?}, before its first window was over"
    );
    drop(client);
    let counts = server.stop();
    assert_eq!(
        (counts.of("send_too_slow"), counts.closed),
        (1, 1),
        "{counts:?}"
    );
}

fn a_steady_reader() {
    let (server, mut client) = flooding(hostile("flood"));
    // Some 400 000 bytes per second, six times the least.
    let stood = sip(&mut client, 20_000, WHILE);
    assert!(stood >= WHILE, "closed after {stood:?}");
    client.reset();
    server.wait_for_closed("peer_reset", 1);
    assert_eq!(server.stop().of("peer_reset"), 1);
}

#[test]
fn a_reader_of_a_few_bytes_now_and_then_ends_with_its_lifetime_where_there_is_no_rate() {
    let lifetime = Duration::from_millis(1500);
    let (server, mut client) = flooding(
        hostile("flood")
            .set("timeouts.lifetime=\"1500ms\"")
            .set("timeouts.first_byte=\"1s\"")
            .set("limits.rate_window=\"1h\""),
    );
    sip(&mut client, 50, lifetime);
    server.wait_for_closed("lifetime_exceeded", 1);
    drop(client);
    assert_eq!(server.stop().of("lifetime_exceeded"), 1);
}

fn who_rests_between_answers() {
    let server = Launch::echo()
        .set("limits.send_rate_min=65536")
        .set("limits.rate_window=\"1s\"")
        .start();
    let mut client = server.connect();
    let message = vec![b'm'; 100_000];
    let start = Instant::now();
    while start.elapsed() < WHILE {
        client.ask(&message, &message);
        thread::sleep(Duration::from_millis(1500));
    }
    drop(client);
    assert_eq!(server.stop().of("peer_closed"), 1);
}

/// Peers of the same machine stop with the server and go on with it: what they did not send and
/// take meanwhile is not held against them.
#[test]
fn nobody_is_judged_for_a_pause_of_the_whole_machine() {
    const PIECE: [u8; 100] = [b'x'; 100];
    // A window three times as long as the grace after a stop, which would make up for a short one.
    let window = |launch: Launch| {
        launch
            .set("server.shards=1")
            .set("limits.rate_window=\"3s\"")
    };
    let gathering = window(Launch::hostile())
        .set("limits.receive_rate_min=1500")
        .set("timeouts.read=\"off\"")
        .start();
    let flooding = window(Launch::hostile())
        .set("limits.send_rate_min=240000")
        .set("socket.send_buffer=65536")
        .start();
    let (mut sender, mut taker) = (gathering.connect(), flooding.connect());
    socket2::SockRef::from(&*taker.stream())
        .set_recv_buffer_size(65_536)
        .unwrap();
    sender.send(b"gather\n");
    taker.send(b"flood\n");
    let mut sent = 0;
    // 2500 bytes per second one way, and 400 000 the other.
    let mut go_on = |time: Duration| {
        let (mut due, end) = (Instant::now(), Instant::now() + time);
        while due < end {
            sender.send(&PIECE);
            sent += PIECE.len();
            let _ = taker.receive(16_000);
            due += Duration::from_millis(40);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    };
    // Both are being measured, in a window that has just begun.
    go_on(Duration::from_millis(3300));
    [&gathering, &flooding]
        .into_iter()
        .for_each(|server| server.signal(Signal::STOP));
    thread::sleep(Duration::from_secs(4));
    [&gathering, &flooding]
        .into_iter()
        .for_each(|server| server.signal(Signal::CONT));
    go_on(Duration::from_secs(4));
    sender.send(b"\n");
    sender.expect(&vec![b'x'; sent]);
    sender.expect(b"\n");
    drop((sender, taker));
    assert_eq!(gathering.stop().of("peer_closed"), 1);
    assert_eq!(flooding.stop().of("peer_reset"), 1);
}
