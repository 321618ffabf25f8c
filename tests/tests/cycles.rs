//! Connections come and go for ever: whatever a connection takes, its end gives back.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use tests::{BOUND, Client, Counts, Launch, Server, connect, descriptors, reset, resident_bytes};

const THREADS: usize = 4;
const WARM_UP: usize = 10_000;
const CYCLES: usize = 200_000;
/// What an allocator may keep without it being a leak: not two bytes a cycle.
const MARGIN_BYTES: u64 = 256 * 1024;
/// The kernel gives out slot numbers in turn rather than the lowest free one, so a server comes to
/// touch all its slots by and by. With few of them it has after the warm-up.
const CONNECTIONS_MAX: &str = "limits.connections_max=2000";

/// Connects, has a message echoed and closes, `count` times: each second time by a reset, else
/// politely, which costs the client's port a minute of TIME_WAIT. Hence the many addresses.
fn cycles(server: &Server, count: usize) {
    let addresses: Vec<SocketAddr> = (1..=16)
        .map(|last| server.addr_at(Ipv4Addr::new(127, 0, 0, last)))
        .collect();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..count / THREADS {
                    cycle(addresses[round / 2 % addresses.len()], round % 2 == 0);
                }
            });
        }
    });
}

fn cycle(address: SocketAddr, polite: bool) {
    let mut stream = connect(address).unwrap();
    let mut reply = [0; 8];
    stream.write_all(b"message!").unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"message!");
    if polite {
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut reply).unwrap(), 0);
    } else {
        reset(stream).unwrap();
    }
}

/// Descriptors and resident bytes, once no more than `open` connections are open and as many
/// handlers run.
fn at_rest(server: &Server, open: u64) -> (usize, u64) {
    let from = server.log().lines().len();
    server.wait_for_line(
        from,
        BOUND,
        &format!("stats with connections={open}"),
        |line| {
            line.message() == "stats"
                && line.number("connections") == open
                && line.number("tasks") == open
        },
    );
    // The control thread opens a file of /proc for a moment, four times a second.
    let looks = (0..10).map(|_| {
        thread::sleep(Duration::from_millis(2));
        descriptors(server.pid())
    });
    (looks.min().unwrap(), resident_bytes(server.pid()))
}

#[test]
fn two_hundred_thousand_cycles_leave_nothing_behind() {
    let server = Launch::echo()
        .alone()
        .set("server.listen=\"0.0.0.0:0\"")
        .set(CONNECTIONS_MAX)
        .set("log.stats_interval=\"1s\"")
        .start();
    cycles(&server, WARM_UP);
    let (descriptors_before, resident_before) = at_rest(&server, 0);
    let start = Instant::now();
    cycles(&server, CYCLES);
    println!("{CYCLES} cycles took {:?}", start.elapsed());
    let (descriptors_after, resident_after) = at_rest(&server, 0);
    assert_eq!(descriptors_after, descriptors_before, "descriptors");
    let grown = resident_after.saturating_sub(resident_before);
    assert!(
        grown <= MARGIN_BYTES * u64::from(tests::slack()),
        "resident memory grew by {grown} bytes from {resident_before}"
    );

    let counts: Counts = server.stop();
    assert_eq!(counts.accepted, (WARM_UP + CYCLES) as u64);
    assert_eq!(counts.of("peer_closed"), counts.accepted / 2);
    assert_eq!(counts.of("peer_reset"), counts.accepted / 2);
}

#[test]
fn connections_that_time_out_leave_nothing_behind() {
    const CONNECTIONS: usize = 1500;
    let server = Launch::echo()
        .alone()
        .set("timeouts.first_byte=\"200ms\"")
        .set("timeouts.close=\"200ms\"")
        .set(CONNECTIONS_MAX)
        .set("log.stats_interval=\"1s\"")
        .start();
    let silent = || {
        let held: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
        for mut client in held {
            client.expect_eof();
        }
    };
    silent();
    let (descriptors_before, resident_before) = at_rest(&server, 0);
    (0..4).for_each(|_| silent());
    let (descriptors_after, resident_after) = at_rest(&server, 0);
    assert_eq!(descriptors_after, descriptors_before, "descriptors");
    let grown = resident_after.saturating_sub(resident_before);
    assert!(
        grown <= MARGIN_BYTES * u64::from(tests::slack()),
        "resident memory grew by {grown} bytes from {resident_before}"
    );
    assert_eq!(
        server.stop().of("first_byte_timeout"),
        5 * CONNECTIONS as u64
    );
}

#[test]
fn connections_that_are_refused_leave_nothing_behind() {
    const REFUSED: usize = 10_000;
    let server = Launch::echo()
        .alone()
        .set("server.shards=1")
        .set("limits.connections_max=1")
        .set("limits.on_full=\"refuse\"")
        .set("log.stats_interval=\"1s\"")
        .start();
    let mut inside = server.connect();
    inside.ask(b"inside", b"inside");
    let address = server.addr();
    let refused = |count: usize| {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(move || {
                    (0..count / THREADS).for_each(|_| drop(Client::connect(address).receive_all()))
                });
            }
        });
    };
    refused(WARM_UP / 4);
    let (descriptors_before, resident_before) = at_rest(&server, 1);
    refused(REFUSED);
    let (descriptors_after, resident_after) = at_rest(&server, 1);
    assert_eq!(descriptors_after, descriptors_before, "descriptors");
    let grown = resident_after.saturating_sub(resident_before);
    assert!(
        grown <= MARGIN_BYTES * u64::from(tests::slack()),
        "resident memory grew by {grown} bytes from {resident_before}"
    );
    inside.ask(b"still inside", b"still inside");
    drop(inside);
    assert_eq!(server.stop().of("refused"), (WARM_UP / 4 + REFUSED) as u64);
}
