//! Bad networks between the servers and their clients: through a proxy that delays, slices,
//! corrupts and cuts. What the network does to a connection ends that connection at worst, with the
//! right reason and within its deadline.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::chaos::{Chaos, Cut, Faults};
use tests::{BOUND, Client, Counts, End, Launch, Random, Server};

/// Deadlines are swept a few times a second, and machines get busy.
const LATE_MAX: Duration = Duration::from_millis(2000);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Fails unless all that the server has taken is given back: by its statistics, a second later at
/// most, and by its counts.
fn stop_with_nothing_left(server: Server) -> Counts {
    let from = server.log().lines().len();
    server.wait_for_line(from, BOUND, "no connection and no task left", |line| {
        line.message() == "stats" && line.number("connections") == 0 && line.number("tasks") == 0
    });
    server.stop()
}

fn echo() -> Launch {
    Launch::echo().debug().set("log.stats_interval=\"1s\"")
}

fn ping() -> Launch {
    Launch::ping().debug().set("log.stats_interval=\"1s\"")
}

/// Sends `sent` while it reads what comes back, then half-closes and expects the end behind the
/// last byte.
fn expect_back(address: SocketAddr, sent: &[u8], expected: &[u8]) {
    let mut client = Client::connect(address);
    let mut writer = client.stream().try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        client.expect(expected);
        client.expect_eof();
    });
}

/// Requests of very different lengths, and the replies to them.
fn conversation(random: &mut Random, requests: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..requests {
        let length_max = [8, 300, 9000][random.below(3)];
        let length = random.below(length_max);
        let text = random.bytes(length);
        sent.extend_from_slice(format!("*2\r\n$4\r\nECHO\r\n${length}\r\n").as_bytes());
        expected.extend_from_slice(format!("${length}\r\n").as_bytes());
        for bytes in [&mut sent, &mut expected] {
            bytes.extend_from_slice(&text);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    (sent, expected)
}

/// The lines that must change nothing but the time.
fn bad_lines() -> [Faults; 4] {
    [
        Faults::none().slice(3),
        Faults::none().slice(700).delay(ms(2), ms(8)),
        Faults::none().delay(ms(30), ms(30)),
        Faults::none().bandwidth(400_000),
    ]
}

#[test]
fn sliced_and_delayed_streams_come_back_byte_for_byte() {
    let server = echo().start();
    let mut random = Random::new();
    thread::scope(|scope| {
        for (forth, back) in bad_lines().into_iter().zip(bad_lines().into_iter().rev()) {
            let (sent, seed, address) = (random.bytes(60_000), random.bits(), server.addr());
            scope.spawn(move || {
                let chaos = Chaos::before(address, seed, forth, back);
                expect_back(chaos.addr(), &sent, &sent);
            });
        }
    });
    assert_eq!(stop_with_nothing_left(server).of("peer_closed"), 4);
}

#[test]
fn sliced_and_delayed_requests_are_answered_each_with_its_own() {
    let server = ping().start();
    let mut random = Random::new();
    thread::scope(|scope| {
        for (forth, back) in bad_lines().into_iter().zip(bad_lines().into_iter().rev()) {
            let ((sent, expected), seed, address) =
                (conversation(&mut random, 30), random.bits(), server.addr());
            scope.spawn(move || {
                let chaos = Chaos::before(address, seed, forth, back);
                expect_back(chaos.addr(), &sent, &expected);
            });
        }
    });
    assert_eq!(stop_with_nothing_left(server).of("peer_closed"), 4);
}

#[test]
fn corrupt_requests_never_kill_ping() {
    const CONVERSATIONS: usize = 150;
    let server = ping().set("timeouts.read=\"500ms\"").start();
    let mut random = Random::new();
    let chaos = Chaos::before(
        server.addr(),
        random.bits(),
        Faults::none().corrupt(60).slice(50),
        Faults::none(),
    );
    let mut bystander = server.connect();
    let told = AtomicUsize::new(0);
    for _ in 0..CONVERSATIONS / 10 {
        let conversations: Vec<Vec<u8>> = (0..10).map(|_| conversation(&mut random, 4).0).collect();
        thread::scope(|scope| {
            for sent in &conversations {
                scope.spawn(|| {
                    told.fetch_add(
                        usize::from(is_told_why(chaos.addr(), sent)),
                        Ordering::Relaxed,
                    )
                });
            }
        });
        bystander.ask(b"PING\r\n", b"+PONG\r\n");
    }
    drop((bystander, chaos));
    let counts = stop_with_nothing_left(server);
    assert_eq!(counts.accepted, CONVERSATIONS as u64 + 1);
    // Some bytes are wrong where it shows, the others in what is only echoed.
    assert!(
        counts.of("protocol_error") > CONVERSATIONS as u64 / 10,
        "{counts:?}"
    );
    // Found out at once, that is, and not at an end that came too early.
    let told = told.into_inner();
    assert!(
        told > CONVERSATIONS / 10,
        "{told} of {CONVERSATIONS} were told what is wrong"
    );
}

/// Sends, and reads to an end. Which one is the server's business: it may answer, refuse, or give
/// up waiting, but not hang. Whether it said why it refused.
fn is_told_why(address: SocketAddr, sent: &[u8]) -> bool {
    let mut client = Client::connect(address);
    let _ = client.stream().write_all(sent); // it may have been refused in the middle
    let _ = client.stream().shutdown(std::net::Shutdown::Write);
    let why = b"-ERR Protocol error: ";
    client
        .receive_all()
        .0
        .windows(why.len())
        .any(|bytes| bytes == why)
}

#[test]
fn a_reset_on_the_way_ends_with_its_reason() {
    const CLIENTS: usize = 50;
    let server = echo().start();
    let chaos = Chaos::before(
        server.addr(),
        1,
        Faults::none(),
        Faults::none().cut(Cut::Reset, 1000),
    );
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| Client::connect(chaos.addr()))
        .collect();
    for client in &mut clients {
        client.ask(&[b'a'; 999], &[b'a'; 999]);
        client.send(b"the last one is the thousandth");
        assert_eq!(client.receive_all().1, End::Reset);
    }
    server.wait_for_closed("peer_reset", CLIENTS);
    assert_eq!(
        stop_with_nothing_left(server).of("peer_reset"),
        CLIENTS as u64
    );
}

#[test]
fn a_half_close_on_the_way_is_answered_and_closed() {
    let server = ping().start();
    let request = b"PING\r\n";
    // Behind a whole request: answered, and a good end. Within one: it can never be answered.
    for (passed, reply, reason) in [
        (6, &b"+PONG\r\n"[..], "peer_closed"),
        (9, &b"+PONG\r\n"[..], "protocol_error"),
    ] {
        let chaos = Chaos::before(
            server.addr(),
            1,
            Faults::none().cut(Cut::HalfClose, passed),
            Faults::none(),
        );
        let mut client = Client::connect(chaos.addr());
        client.send(request);
        client.expect(reply);
        client.send(request);
        client.expect_eof();
        server.wait_for_closed(reason, 1);
    }
    assert_eq!(stop_with_nothing_left(server).closed, 2);
}

#[test]
fn a_request_that_vanishes_half_way_ends_at_its_deadline() {
    let server = ping().set("timeouts.read=\"700ms\"").start();
    let chaos = Chaos::before(
        server.addr(),
        1,
        Faults::none().cut(Cut::Blackhole, 20),
        Faults::none(),
    );
    let start = Instant::now();
    let mut client = Client::connect(chaos.addr());
    client.send(b"*2\r\n$4\r\nECHO\r\n$5\r\nnever\r\n");
    server.wait_for_closed("read_timeout", 1);
    let taken = start.elapsed();
    assert!(
        taken >= ms(700) && taken < ms(700) + LATE_MAX,
        "closed after {taken:?}"
    );
    drop((client, chaos));
    assert_eq!(stop_with_nothing_left(server).of("read_timeout"), 1);
}

#[test]
fn a_peer_behind_a_blackhole_ends_by_silence() {
    let server = echo().set("timeouts.idle=\"700ms\"").start();
    let chaos = Chaos::before(
        server.addr(),
        1,
        Faults::none().cut(Cut::Blackhole, 5),
        Faults::none(),
    );
    let mut client = Client::connect(chaos.addr());
    client.ask(b"hello", b"hello");
    let start = Instant::now();
    client.send(b"is anybody there?");
    client.half_close();
    server.wait_for_closed("idle_timeout", 1);
    let taken = start.elapsed();
    assert!(
        taken >= ms(600) && taken < ms(700) + LATE_MAX,
        "closed after {taken:?}"
    );
    drop((client, chaos));
    assert_eq!(stop_with_nothing_left(server).of("idle_timeout"), 1);
}

/// Reads through a narrow line until the end, and tells what came.
fn read_to_the_end(client: &mut Client) -> Vec<u8> {
    let (mut received, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match client.stream().read(&mut bytes) {
            Ok(0) => return received,
            Ok(length) => received.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return received,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Whoever reads slowly, but reads, is served: the deadline of a write is for those that take
/// nothing.
#[test]
fn a_slow_reader_is_served_to_the_end() {
    let server = echo()
        .set("timeouts.write=\"700ms\"")
        .set("limits.send_rate_min=65536")
        .set("limits.rate_window=\"1s\"")
        .set("socket.send_buffer=16384")
        .start();
    let chaos = Chaos::before(
        server.addr(),
        1,
        Faults::none(),
        Faults::none().bandwidth(300_000),
    );
    let sent = Random::new().bytes(600_000);
    expect_back(chaos.addr(), &sent, &sent);
    drop(chaos);
    assert_eq!(stop_with_nothing_left(server).of("peer_closed"), 1);
}

/// Through a line of 1000 bytes per second `launch` sends without end, and ends that with `reason`,
/// neither before `time` nor much later.
fn slow_reader_ends(launch: Launch, reason: &str, time: Duration) {
    let server = launch
        .debug()
        .set("log.stats_interval=\"1s\"")
        .set("socket.send_buffer=16384")
        .start();
    let chaos = Chaos::before(
        server.addr(),
        1,
        Faults::none(),
        Faults::none().bandwidth(1000),
    );
    let start = Instant::now();
    let mut client = Client::connect(chaos.addr());
    client.send(b"flood\n");
    server.wait_for_closed(reason, 1);
    let taken = start.elapsed();
    assert!(
        taken >= time && taken < time + LATE_MAX,
        "closed after {taken:?}"
    );
    // What the proxy holds still drips; without it the client sees the end at once.
    drop(chaos);
    let _ = read_to_the_end(&mut client);
    assert_eq!(stop_with_nothing_left(server).of(reason), 1);
}

#[test]
fn a_slow_reader_ends_with_its_lifetime_at_the_latest() {
    let launch = Launch::hostile()
        .set("timeouts.lifetime=\"1500ms\"")
        .set("timeouts.first_byte=\"1s\"");
    slow_reader_ends(launch, "lifetime_exceeded", ms(1500));
}

#[test]
fn a_slow_reader_is_found_by_the_least_rate() {
    let launch = Launch::hostile()
        .set("limits.send_rate_min=65536")
        .set("limits.rate_window=\"1s\"");
    slow_reader_ends(launch, "send_too_slow", ms(1000));
}

#[test]
fn a_slow_reader_ends_with_its_request() {
    let launch = Launch::hostile()
        .set("timeouts.request=\"1s\"")
        .set("timeouts.write=\"off\"");
    slow_reader_ends(launch, "request_timeout", ms(1000));
}

/// Never silent for long, so that only a deadline of the whole request, or a least rate, can end
/// it.
#[test]
fn a_request_that_drips_through_the_network_ends_with_its_request_or_by_its_rate() {
    let request = ["timeouts.request=\"1s\"", "timeouts.read=\"off\""];
    let rate = ["limits.receive_rate_min=1000", "timeouts.read=\"off\""];
    for (sets, reason) in [(request, "request_timeout"), (rate, "receive_too_slow")] {
        for launch in [
            Launch::ping(),
            Launch::hostile().set("app.behaviour=\"gather\""),
        ] {
            let launch = sets.iter().fold(launch, |launch, set| launch.set(set));
            let launch = launch
                .set("timeouts.idle=\"500ms\"")
                .set("limits.rate_window=\"1s\"");
            let server = launch.debug().set("log.stats_interval=\"1s\"").start();
            let chaos = Chaos::before(
                server.addr(),
                1,
                Faults::none().bandwidth(50),
                Faults::none(),
            );
            let start = Instant::now();
            let mut client = Client::connect(chaos.addr());
            client.send(&[b'x'; 1000]);
            server.wait_for_closed(reason, 1);
            let taken = start.elapsed();
            assert!(
                taken >= ms(1000) && taken < ms(2000) + LATE_MAX,
                "closed after {taken:?}"
            );
            drop((client, chaos));
            assert_eq!(stop_with_nothing_left(server).of(reason), 1);
        }
    }
}
