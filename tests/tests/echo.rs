//! The promise of the echo server: the bytes a client sends come back, all of them and in order.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tests::{
    Client, Launch, Random, Server, connect, needs, processor_time, raise_descriptor_limit, reset,
    skip, slack,
};

const MIB: usize = 1024 * 1024;

/// Opens `count` connections, holds them all, and twice sends a message of its own on each.
fn hold_and_echo(server: &Server, count: usize) {
    let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
    for round in 0..2_u64 {
        let message = |index: usize| {
            [round.to_le_bytes(), index.to_le_bytes()]
                .concat()
                .repeat(4)
        };
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(&message(index));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            client.expect(&message(index));
        }
    }
}

#[test]
fn one_connection_gets_its_bytes_back() {
    let server = Launch::echo().start();
    hold_and_echo(&server, 1);
    let counts = server.stop();
    assert_eq!((counts.accepted, counts.of("peer_closed")), (1, 1));
}

#[test]
fn a_hundred_connections_get_their_bytes_back() {
    let server = Launch::echo().start();
    hold_and_echo(&server, 100);
    assert_eq!(server.stop().of("peer_closed"), 100);
}

#[test]
fn ten_thousand_connections_get_their_bytes_back() {
    if raise_descriptor_limit() < 11_000 {
        skip!("needs a hard limit of 11 000 descriptors (ulimit -Hn)");
    }
    let server = Launch::echo()
        .alone()
        .after("ulimit -Sn $(ulimit -Hn)")
        .start();
    hold_and_echo(&server, 10_000);
    assert_eq!(server.stop().of("peer_closed"), 10_000);
}

#[test]
fn messages_of_one_byte_to_a_megabyte_come_back() {
    let server = Launch::echo().start();
    let mut random = Random::new();
    let sizes = [
        1, 2, 255, 256, 4095, 4096, 4097, 16_384, 65_535, 65_537, 262_145, MIB,
    ];
    for size in sizes {
        exchange(server.addr(), &mut random, size, |_| usize::MAX);
    }
    assert_eq!(server.stop().accepted, sizes.len() as u64);
}

#[test]
fn chunking_does_not_matter() {
    const THREADS: usize = 8;
    const CONNECTIONS: usize = 25;
    let server = Launch::echo().alone().start();
    let address = server.addr();
    let mut random = Random::new();
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let mut random = Random::seeded(random.bits());
            thread::spawn(move || {
                for _ in 0..CONNECTIONS {
                    let size = 1 + random.below(MIB);
                    // Mostly small writes, now and then a large one.
                    let chunk = |random: &mut Random| match random.below(4) {
                        0 => 1 + random.below(100_000),
                        _ => 1 + random.below(3000),
                    };
                    exchange(address, &mut random, size, chunk);
                }
            })
        })
        .collect();
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
    assert_eq!(
        server.stop().of("peer_closed"),
        (THREADS * CONNECTIONS) as u64
    );
}

#[test]
fn small_buffers_and_queues_lose_nothing() {
    let server = Launch::echo()
        .set("buffers.size=256")
        .set("buffers.count=16")
        .set("limits.recv_queue_max=2")
        .set("limits.write_queue_max=4096")
        .start();
    let mut random = Random::new();
    for _ in 0..20 {
        exchange(server.addr(), &mut random, 300_000, |random| {
            1 + random.below(20_000)
        });
    }
    assert_eq!(server.stop().of("peer_closed"), 20);
}

/// Sends `size` random bytes in pieces of `chunk` bytes on a connection of their own, reads them
/// back at the same time, and half-closes.
fn exchange(
    address: SocketAddr,
    random: &mut Random,
    size: usize,
    mut chunk: impl FnMut(&mut Random) -> usize,
) {
    let sent = random.bytes(size);
    let mut stream = connect(address).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let back = thread::spawn(move || {
        let mut back = Vec::new();
        reader.read_to_end(&mut back).map(|_| back)
    });
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(chunk(random).min(rest.len()));
        stream.write_all(now).unwrap();
        rest = later;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let back = back.join().unwrap().unwrap();
    let equal = back
        .iter()
        .zip(&sent)
        .take_while(|(one, other)| one == other)
        .count();
    assert_eq!(
        (equal, back.len()),
        (size, size),
        "first difference, length"
    );
}

#[test]
fn a_half_closed_connection_is_answered_flushed_and_closed() {
    let server = Launch::echo().debug().start();
    for size in [0, 1, 100, 5000, 100_000] {
        let message = vec![b'm'; size];
        let mut client = server.connect();
        client.send(&message);
        client.half_close();
        client.expect(&message);
        client.expect_eof();
    }
    server.wait_for_closed("peer_closed", 5);
    assert_eq!(server.stop().of("peer_closed"), 5);
}

/// A server with a single place, in the midst of an endless answer.
#[test]
fn a_reset_in_mid_write_is_logged_at_debug_and_frees_its_place() {
    let server = Launch::hostile()
        .debug()
        .set("server.shards=1")
        .set("limits.connections_max=1")
        .start();
    for resets in 1..=20 {
        let mut client = server.connect();
        client.send(b"flood\n");
        client.expect(&[b'~'; 100]);
        client.reset();
        server.wait_for_closed("peer_reset", resets);
    }
    let told = server.wait_for_log("closed", tests::BOUND);
    assert_eq!(told.level(), "DEBUG", "{}", told.text);
    server.connect().ask(b"next\n", b"next\n");
    assert_eq!(server.stop().of("peer_reset"), 20);
}

/// The signal is ignored, as in every program of Rust: only a tracer sees one that was raised all
/// the same.
#[test]
fn no_write_to_a_peer_that_has_gone_raises_sigpipe() {
    needs!("strace");
    let trace = format!(
        "{}/sigpipe-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    let strace = [
        "strace",
        "-D",
        "-f",
        "-o",
        &trace,
        "-e",
        "trace=none",
        "-e",
        "signal=SIGPIPE",
    ];
    let server = Launch::hostile()
        .debug()
        .set("server.shards=1")
        .under(&strace)
        .start();
    for gone in 1..=20 {
        let mut client = server.connect();
        client.send(b"flood\n");
        client.expect(&[b'~'; 100]);
        // After its FIN a reset is EPIPE to whoever writes, and no ECONNRESET (tcp_reset() of
        // Linux).
        client.half_close();
        client.reset();
        server.wait_for_closed("peer_reset", gone);
    }
    server.stop();
    let trace = fs::read_to_string(trace).unwrap();
    assert!(
        trace.contains("exited with 0"),
        "it was not traced to its end: {trace}"
    );
    assert!(!trace.contains("SIGPIPE"), "{trace}");
}

#[test]
fn a_thousand_resets_in_mid_write_leave_no_leak() {
    let server = Launch::echo().alone().start();
    let message = vec![b'r'; 64 * 1024];
    for round in 0..1000 {
        let mut stream = connect(server.addr()).unwrap();
        stream.write_all(&message).unwrap();
        if round % 2 == 0 {
            // Some of the reply has come, so the server is writing.
            stream.read_exact(&mut [0; 100]).unwrap();
        }
        reset(stream).unwrap();
    }
    server.connect().ask(b"still there?", b"still there?");
    let counts = server.stop();
    assert!(counts.of("peer_reset") >= 500, "{counts:?}");
    assert_only(&counts.reasons, &["peer_reset", "peer_closed"]);
}

#[test]
fn a_storm_of_resets_in_the_accept_queue_leaves_no_leak() {
    const THREADS: usize = 4;
    const CONNECTIONS: usize = 2500;
    let server = Launch::echo().alone().start();
    let address = server.addr();
    let mut held = server.connect();
    let storm: Vec<_> = (0..THREADS)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..CONNECTIONS {
                    reset(TcpStream::connect(address).unwrap()).unwrap();
                }
            })
        })
        .collect();
    storm.into_iter().for_each(|thread| thread.join().unwrap());
    held.ask(b"still here?", b"still here?");
    server.connect().ask(b"still there?", b"still there?");
    drop(held);
    assert_only(&server.stop().reasons, &["peer_reset", "peer_closed"]);
}

fn assert_only(reasons: &BTreeMap<String, u64>, allowed: &[&str]) {
    let others: Vec<_> = reasons
        .iter()
        .filter(|(name, count)| **count > 0 && !allowed.contains(&name.as_str()))
        .collect();
    assert!(others.is_empty(), "unexpected reasons: {others:?}");
}

#[test]
fn ipv6_is_served() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        skip!("needs IPv6");
    }
    let server = Launch::echo()
        .set("server.listen=\"[::1]:0\"")
        .debug()
        .start();
    assert!(server.addr().is_ipv6());
    server.connect().ask(b"six", b"six");
    server.wait_for_closed("peer_closed", 1);
    let closed = server.wait_for_log("closed", tests::BOUND);
    assert!(
        closed.field("peer").unwrap().starts_with("[::1]:"),
        "{}",
        closed.text
    );
    assert_eq!(server.stop().accepted, 1);
}

#[test]
fn an_ipv4_client_of_an_ipv6_listener_is_served() {
    if TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_err() {
        skip!("needs IPv6");
    }
    let server = Launch::echo().set("server.listen=\"[::]:0\"").start();
    Client::connect(server.addr_at(Ipv4Addr::LOCALHOST)).ask(b"four", b"four");
    Client::connect(server.addr_at(Ipv6Addr::LOCALHOST)).ask(b"six", b"six");
    assert_eq!(server.stop().accepted, 2);
}

#[test]
fn a_shard_that_spins_looks_for_work_between_messages_and_rests_when_there_are_none() {
    let server = Launch::echo()
        .alone()
        .set("server.shards=1")
        .set("server.spin=\"50ms\"")
        .start();
    let mut client = server.connect();
    let taken = |act: &mut dyn FnMut()| {
        let (before, start) = (processor_time(server.pid()), Instant::now());
        act();
        (processor_time(server.pid()) - before, start.elapsed())
    };
    let (talking, time) = taken(&mut || {
        for _ in 0..50 {
            client.ask(b"x", b"x");
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert!(
        talking > time / 4,
        "only {talking:?} of processor time in {time:?}"
    );
    let (silent, time) = taken(&mut || thread::sleep(Duration::from_millis(1500)));
    assert!(
        silent < time / 4 * slack(),
        "{silent:?} of processor time in {time:?} of silence"
    );
    client.ask(b"still there?", b"still there?");
    drop(client);
    server.stop();
}
