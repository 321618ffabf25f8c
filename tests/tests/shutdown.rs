//! How a server ends: nobody cut in mid-request, nobody left waiting, and not for ever.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{BOUND, Client, End, Launch, Server, connect, free_address, within};

const PAYLOAD: usize = 1000;
/// A signal that comes again so soon is the same one.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Asks again and again until the server ends the connection; fails if it does so in mid-reply.
fn ask_until_eof(address: SocketAddr, asked: &AtomicU64) {
    let request = [
        format!("*2\r\n$4\r\nECHO\r\n${PAYLOAD}\r\n").as_bytes(),
        &[b'p'; PAYLOAD],
        b"\r\n",
    ]
    .concat();
    let reply = [
        format!("${PAYLOAD}\r\n").as_bytes(),
        &[b'p'; PAYLOAD],
        b"\r\n",
    ]
    .concat();
    let mut stream = connect(address).unwrap();
    let mut bytes = vec![0; reply.len()];
    loop {
        stream
            .write_all(&request)
            .unwrap_or_else(|error| panic!("sending: {error}"));
        let mut got = 0;
        while got < bytes.len() {
            match stream.read(&mut bytes[got..]) {
                Ok(0) if got == 0 => return,
                Ok(0) => panic!("cut after {got} of {} bytes", bytes.len()),
                Ok(length) => got += length,
                Err(error) => panic!("after {got} bytes: {error}"),
            }
        }
        assert_eq!(bytes, reply);
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn sigterm_under_load_cuts_nobody_in_mid_request() {
    const CLIENTS: usize = 64;
    for _ in 0..5 {
        let mut server = Launch::ping().alone().start();
        let asked = AtomicU64::new(0);
        let address = server.addr();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| ask_until_eof(address, &asked));
            }
            within(BOUND, "a load", || {
                (asked.load(Ordering::Relaxed) > 5000).then_some(())
            });
            let start = Instant::now();
            server.signal(Signal::TERM);
            assert_eq!(server.wait_exit(BOUND), Some(0));
            // Everybody hangs up when told to, so there is nothing to wait for.
            assert!(
                start.elapsed() < Duration::from_secs(3),
                "took {:?}",
                start.elapsed()
            );
        });
        let counts = server.counts();
        counts.assert_balanced();
        assert_eq!(counts.accepted, CLIENTS as u64);
    }
}

#[test]
fn a_request_that_is_half_in_is_heard_to_its_end_and_answered() {
    let mut server = Launch::ping().start();
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.ask(b"PING\r\n", b"+PONG\r\n"));
    clients
        .iter_mut()
        .for_each(|client| client.send(b"*2\r\n$4\r\nECHO\r\n$10\r\nhello"));
    thread::sleep(Duration::from_millis(100));
    server.signal(Signal::TERM);
    server.wait_for_log("draining", BOUND);
    // Longer than `timeouts.drain_quiet`, after which whoever has begun none is ended.
    for piece in [b"wo".as_slice(), b"rld\r\n"] {
        thread::sleep(Duration::from_millis(500));
        clients.iter_mut().for_each(|client| client.send(piece));
    }
    for client in &mut clients {
        client.expect(b"$10\r\nhelloworld\r\n");
        client.expect_eof();
    }
    drop(clients);
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

#[test]
fn a_drain_listens_to_the_silent_for_as_long_as_the_settings_say() {
    let mut server = Launch::echo().set("timeouts.drain_quiet=\"2s\"").start();
    let mut client = server.connect();
    client.ask(b"before", b"before");
    server.signal(Signal::TERM);
    let told = Instant::now();
    assert!(
        client.is_silent_for(Duration::from_secs(1)),
        "it was ended after {:?}",
        told.elapsed()
    );
    client.ask(b"a slow request", b"a slow request");
    client.expect_eof(); // it was answered, and nobody begins another
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

#[test]
fn a_large_reply_under_way_is_finished() {
    const LENGTH: usize = 900_000;
    let mut server = Launch::ping().set("socket.send_buffer=65536").start();
    let mut client = server.connect();
    client.send(format!("*2\r\n$4\r\nECHO\r\n${LENGTH}\r\n").as_bytes());
    client.send(&[b'l'; LENGTH]);
    client.send(b"\r\n");
    client.expect(format!("${LENGTH}\r\n").as_bytes());
    server.signal(Signal::TERM);
    server.wait_for_log("draining", BOUND);
    client.expect(&[b'l'; LENGTH]);
    client.expect(b"\r\n");
    client.expect_eof();
    drop(client);
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

#[test]
fn idle_connections_are_ended_politely() {
    const CLIENTS: usize = 200;
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Launch::echo().start();
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
        clients[CLIENTS / 2..]
            .iter_mut()
            .for_each(|client| client.ask(b"x", b"x"));
        let start = Instant::now();
        server.signal(signal);
        clients.iter_mut().for_each(Client::expect_eof);
        drop(clients);
        assert_eq!(server.wait_exit(BOUND), Some(0));
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "took {:?}",
            start.elapsed()
        );
        let counts = server.counts();
        counts.assert_balanced();
        assert_eq!(
            (counts.accepted, counts.of("drained")),
            (200, 200),
            "{counts:?}"
        );
    }
}

#[test]
fn clients_in_the_queue_are_served() {
    const QUEUED: usize = 20;
    let mut server = Launch::ping()
        .set("server.shards=1")
        .set("limits.connections_max=2")
        .start();
    let mut held: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    held.iter_mut()
        .for_each(|client| client.ask(b"PING\r\n", b"+PONG\r\n"));
    let mut queued: Vec<Client> = (0..QUEUED).map(|_| server.connect()).collect();
    queued
        .iter_mut()
        .for_each(|client| client.send(b"PING\r\n"));
    server.signal(Signal::TERM);
    for mut client in held {
        client.expect_eof();
    }
    for mut client in queued {
        client.expect(b"+PONG\r\n");
        client.expect_eof();
    }
    assert_eq!(server.wait_exit(BOUND), Some(0));
    let counts = server.counts();
    counts.assert_balanced();
    assert_eq!(counts.accepted, 2 + QUEUED as u64);
}

#[test]
fn nobody_new_is_let_in_while_draining() {
    let mut server = Launch::hostile().set("timeouts.drain=\"1s\"").start();
    let address = server.addr();
    let mut stalled = server.connect();
    stalled.send(b"stall\n");
    let mut asked = server.connect();
    asked.ask(b"x\n", b"x\n");
    server.signal(Signal::TERM);
    server.wait_for_log("draining", BOUND);
    within(BOUND, "new connections are refused", || {
        let refused = connect(address).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
        refused.then_some(())
    });
    drop(asked);
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

/// A server that cannot drain, because a handler never returns.
fn stuck(drain: &str) -> (Server, Client) {
    let server = Launch::hostile()
        .alone()
        .set("server.shards=1")
        .set(&format!("timeouts.drain={drain:?}"))
        .start();
    let mut client = server.connect();
    client.send(b"stall\n");
    server.connect().ask(b"x\n", b"x\n");
    (server, client)
}

#[test]
fn the_drain_deadline_cuts_who_does_not_finish() {
    let (mut server, mut client) = stuck("1s");
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
    let taken = start.elapsed();
    assert!(
        taken >= Duration::from_secs(1),
        "cut after {taken:?}, before the deadline"
    );
    assert!(
        taken < Duration::from_millis(2500),
        "cut only after {taken:?}"
    );
    assert_ne!(client.receive_all().1, End::Open);
    let counts = server.counts();
    counts.assert_balanced();
    assert_eq!(counts.of("drain_cut"), 1, "{counts:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let (mut server, client) = stuck("30s");
        server.signal(Signal::TERM);
        server.wait_for_log("draining", BOUND);
        thread::sleep(SAME_SIGNAL);
        let start = Instant::now();
        server.signal(second);
        assert_eq!(server.wait_exit(BOUND), Some(1), "not a clean end");
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "took {:?}",
            start.elapsed()
        );
        drop(client);
    }
}

#[test]
fn another_signal_ends_it_at_once_however_soon_it_comes() {
    let (mut server, client) = stuck("30s");
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    assert_eq!(server.wait_exit(BOUND), Some(1), "not a clean end");
    drop(client);
}

/// As GNU timeout sends it: to its child, and to the group that the child is in.
#[test]
fn a_signal_that_comes_twice_within_half_a_second_is_one() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut server, client) = stuck("1s");
        let start = Instant::now();
        for _ in 0..5 {
            server.signal(signal);
            thread::sleep(SAME_SIGNAL / 10); // or they would be one in the kernel
        }
        assert_eq!(
            server.wait_exit(BOUND),
            Some(0),
            "a clean end, at the deadline of the drain"
        );
        assert!(
            start.elapsed() >= Duration::from_secs(1),
            "took {:?}",
            start.elapsed()
        );
        drop(client);
    }
}

#[test]
fn a_client_that_keeps_sending_does_not_hold_up_the_end() {
    let mut server = Launch::echo().alone().set("timeouts.drain=\"2s\"").start();
    let mut client = server.connect();
    client.ask(b"x", b"x");
    let mut writer = client.stream().try_clone().unwrap();
    let mut reader = client.stream().try_clone().unwrap();
    let sender = thread::spawn(move || while writer.write_all(&[b's'; 1000]).is_ok() {});
    let receiver = thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
    assert!(
        start.elapsed() < Duration::from_millis(4500),
        "took {:?}",
        start.elapsed()
    );
    let _ = client.stream().shutdown(Shutdown::Both);
    sender.join().unwrap();
    receiver.join().unwrap();
    server.counts().assert_balanced();
}

#[test]
fn sigterm_during_start_ends_it_cleanly() {
    for step in 0..60 {
        let mut server = Launch::echo().alone().spawn();
        // From before `main` to after `listening`.
        thread::sleep(Duration::from_micros(step * 500));
        server.signal(Signal::TERM);
        let start = Instant::now();
        let code = server.wait_exit(BOUND);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "hung for {:?}",
            start.elapsed()
        );
        let log = server.log().text();
        // Before the program has installed its handlers the kernel's default ends it.
        let ended_by_default = code.is_none() && log.is_empty();
        assert!(
            code == Some(0) || ended_by_default,
            "step {step}: exit {code:?}\n{log}"
        );
        assert!(!log.contains("panicked"), "step {step}:\n{log}");
    }
}

/// The port is open before the shards run, and by then a signal is no end by default any more.
#[test]
fn sigterm_ends_it_cleanly_as_soon_as_a_connect_succeeds() {
    for round in 0..10 {
        let address = free_address();
        let mut server = Launch::echo()
            .alone()
            .set(&format!("server.listen=\"{address}\""))
            .spawn();
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < BOUND, "it does not listen");
        }
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(BOUND), Some(0), "round {round}");
    }
}
