//! What a peer, or all of them together, may take: connections, bytes, descriptors. Every limit is
//! exact, and who is past it waits or is told.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use tests::latency;
use tests::{BOUND, Client, End, Launch, Server, resident_bytes, within};

/// Long enough for a reply that is coming to come.
const SILENCE: Duration = Duration::from_millis(300);
const MIB: u64 = 1024 * 1024;

/// Those of the waiting who have their reply.
fn take_served(waiting: &mut Vec<Client>) -> Vec<Client> {
    let has_reply = |client: &Client| !client.is_silent_for(Duration::from_millis(1));
    let (served, still_waiting) = mem::take(waiting).into_iter().partition(has_reply);
    *waiting = still_waiting;
    served
}

#[test]
fn the_eleventh_connection_waits_until_one_of_ten_leaves() {
    let ten_at_most = Launch::echo()
        .set("server.shards=1")
        .set("limits.connections_max=10");
    let server = ten_at_most.set("log.stats_interval=\"1s\"").start();
    let mut served: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    served
        .iter_mut()
        .for_each(|client| client.ask(b"ten", b"ten"));
    let mut eleventh = server.connect();
    let mut twelfth = server.connect();
    eleventh.send(b"eleven");
    twelfth.send(b"twelve");
    assert!(eleventh.is_silent_for(SILENCE));
    server.wait_for_line(0, BOUND, "those who wait", |line| {
        line.message() == "stats" && line.field("queued").as_deref() == Some("2")
    });
    served.pop();
    eleventh.expect(b"eleven");
    assert!(twelfth.is_silent_for(SILENCE));
    served
        .iter_mut()
        .for_each(|client| client.ask(b"ten", b"ten"));
    drop(eleventh);
    twelfth.expect(b"twelve");
    drop((served, twelfth));
    assert_eq!(server.stop().accepted, 12);
}

#[test]
fn the_limit_is_of_the_whole_process() {
    const CLIENTS: usize = 60;
    let server = Launch::echo()
        .set("server.shards=2")
        .set("limits.connections_max=10")
        .start();
    let mut waiting: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(b"x"));
    let mut served: Vec<Client> = Vec::new();
    // With 60 clients both shards fill their five places.
    within(BOUND, "ten are served", || {
        served.extend(take_served(&mut waiting));
        (served.len() == 10).then_some(())
    });
    assert!(
        !waiting
            .iter()
            .any(|client| !client.is_silent_for(Duration::from_millis(5)))
    );
    while !waiting.is_empty() {
        served.clear();
        within(BOUND, "those who left make room", || {
            served.extend(take_served(&mut waiting));
            (!served.is_empty()).then_some(())
        });
        assert!(served.len() <= 10, "{} served at once", served.len());
    }
    drop(served);
    assert_eq!(server.stop().accepted, CLIENTS as u64);
}

#[test]
fn a_limit_per_shard_is_exact() {
    let server = Launch::echo()
        .set("server.shards=1")
        .set("limits.connections_per_shard_max=3")
        .set("limits.accepts_in_flight_max=1024")
        .start();
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(b"x"));
    clients[..3]
        .iter_mut()
        .for_each(|client| client.expect(b"x"));
    assert!(clients[3].is_silent_for(SILENCE));
    clients.drain(..2);
    clients[1..]
        .iter_mut()
        .for_each(|client| client.expect(b"x"));
    drop(clients);
    server.stop();
}

#[test]
fn the_descriptor_limit_bounds_connections_and_is_survived() {
    const CLIENTS: usize = 600;
    let server = Launch::echo()
        .set("server.shards=1")
        .after("ulimit -n 256")
        .start();
    let line = server.wait_for_log("admission", BOUND);
    assert_eq!(
        line.field("follows").as_deref(),
        Some("the descriptor limit"),
        "{}",
        line.text
    );
    assert_eq!(
        (
            line.number("descriptors_max"),
            line.number("connections_max")
        ),
        (256, 256),
        "{}",
        line.text
    );
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(b"x"));
    let mut first = clients.remove(0);
    first.expect(b"x");
    first.ask(b"still quick?", b"still quick?");
    // Each that leaves makes room for the next.
    for mut client in clients {
        client.expect(b"x");
    }
    first.ask(b"still here?", b"still here?");
    drop(first);
    assert_eq!(server.stop().accepted, CLIENTS as u64);
}

/// Sends as much as the server takes, reading nothing, until no more is taken for a while.
fn stuff(client: &mut Client, patience: Duration) -> u64 {
    let bytes = vec![b'n'; 64 * 1024];
    let stream = client.stream();
    stream.set_write_timeout(Some(patience)).unwrap();
    let mut taken = 0;
    while let Ok(length @ 1..) = stream.write(&bytes) {
        taken += length as u64;
    }
    taken
}

fn small_socket_buffers(launch: Launch) -> Launch {
    launch
        .set("socket.receive_buffer=65536")
        .set("socket.send_buffer=65536")
}

/// Thirty-two clients send all they can and read nothing: each costs the server `each_max` bytes at
/// most, and its write deadline ends it.
fn stuff_and_never_read(launch: Launch, each_max: u64) {
    const CLIENTS: usize = 32;
    let server = small_socket_buffers(launch)
        .alone()
        .debug()
        .set("server.shards=1")
        .set("limits.write_queue_max=65536")
        .set("timeouts.write=\"1s\"")
        .start();
    server.connect().ask(b"warm", b"warm");
    let before = resident_bytes(server.pid());
    let workers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = server.connect();
            thread::spawn(move || (stuff(&mut client, Duration::from_millis(500)), client))
        })
        .collect();
    let stuffed: Vec<(u64, Client)> = workers.into_iter().map(|one| one.join().unwrap()).collect();
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    let most = stuffed.iter().map(|(taken, _)| *taken).max().unwrap();
    // The kernel's buffers at both ends take the rest: without a bound this would never end.
    assert!(
        most < 32 * MIB,
        "{most} bytes taken from one that reads nothing"
    );
    let each = grown / CLIENTS as u64;
    assert!(
        each < each_max,
        "{each} bytes kept for each that reads nothing"
    );
    server.wait_for_closed("write_timeout", CLIENTS);
    server.connect().ask(b"next", b"next");
    drop(stuffed);
    assert_eq!(server.stop().of("write_timeout"), CLIENTS as u64);
}

#[test]
fn who_never_reads_is_not_read_from() {
    // The shard's 16 MiB of receive buffers are touched too.
    stuff_and_never_read(Launch::echo(), MIB);
}

#[test]
fn who_never_reads_is_not_read_from_even_when_buffers_run_low() {
    stuff_and_never_read(Launch::echo().set("buffers.count=256"), MIB / 2);
}

#[test]
fn a_flooding_handler_waits_for_its_client() {
    let server = small_socket_buffers(Launch::hostile())
        .alone()
        .debug()
        .set("server.shards=1")
        .set("limits.write_queue_max=65536")
        .set("timeouts.write=\"1s\"")
        .start();
    server.connect().ask(b"warm\n", b"warm\n");
    let before = resident_bytes(server.pid());
    let mut flooded = server.connect();
    flooded.send(b"flood\n");
    let start = Instant::now();
    server.wait_for_closed("write_timeout", 1);
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(
        grown < 4 * MIB * u64::from(tests::slack()),
        "grew by {grown} bytes for one that reads nothing"
    );
    server.connect().ask(b"next\n", b"next\n");
    drop(flooded);
    server.stop();
}

/// A server that grows by no more than a few megabytes, unless it keeps what it should refuse.
fn frugal() -> Server {
    Launch::ping()
        .alone()
        .set("app.inline_max=4096")
        .set("buffers.count=256")
        .start()
}

/// Two hundred clients send `header`, then 128 KiB of `endless`, and are all told `why`.
fn refused(server: &Server, header: &[u8], endless: &[u8], why: &str) {
    let before = resident_bytes(server.pid());
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(header);
        // The server may refuse, and close, before it has everything.
        for _ in 0..if endless.is_empty() { 0 } else { 32 } {
            if client.stream().write_all(endless).is_err() {
                break;
            }
        }
    }
    for client in &mut clients {
        client.expect(format!("-ERR Protocol error: {why}\r\n").as_bytes());
    }
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    for client in &mut clients {
        assert_ne!(client.receive_all().1, End::Open);
    }
    assert!(
        grown < 8 * MIB * u64::from(tests::slack()),
        "{why}: grew by {grown} bytes"
    );
}

#[test]
fn a_giant_length_is_refused_from_the_header() {
    let server = frugal();
    refused(
        &server,
        b"*1\r\n$4294967295\r\n",
        b"",
        "invalid bulk length",
    );
    refused(&server, b"*4294967295\r\n", b"", "invalid multibulk length");
    refused(&server, b"*1\r\n$1048577\r\n", b"", "invalid bulk length");
    refused(&server, b"*1025\r\n", b"", "invalid multibulk length");
    assert_eq!(server.stop().of("protocol_error"), 800);
}

#[test]
fn an_endless_line_is_refused_at_its_bound() {
    let server = frugal();
    let line = [b'x'; 4096];
    let mut client = server.connect();
    client.send(&line);
    assert!(client.is_silent_for(SILENCE));
    client.send(b"x");
    client.expect(b"-ERR Protocol error: too big inline request\r\n");
    client.expect_eof();
    refused(&server, b"", &line, "too big inline request");
    refused(&server, b"*", &[b'1'; 4096], "too big mbulk count string");
    server.stop();
}

#[test]
fn a_line_longer_than_its_bound_is_a_protocol_error() {
    let server = Launch::hostile().start();
    let mut client = server.connect();
    client.send(&[b'x'; 2000]);
    client.expect_reset();
    server.connect().ask(b"next\n", b"next\n");
    assert_eq!(server.stop().of("protocol_error"), 1);
}

#[test]
fn a_frame_cut_short_by_its_client_is_a_protocol_error() {
    let server = Launch::ping().start();
    let mut client = server.connect();
    client.ask(b"PING\r\n*1\r\n$4\r\nPI", b"+PONG\r\n");
    client.half_close();
    client.expect_eof();
    let counts = server.stop();
    assert_eq!(
        counts.of("protocol_error") + counts.of("peer_closed"),
        1,
        "{counts:?}"
    );
}

#[test]
fn a_flood_of_blank_requests_starves_nobody() {
    latency::assert_kept_beside(b"\r\n".repeat(50_000));
}
