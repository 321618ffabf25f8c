//! One bad connection, handler or log does no harm to the others.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use tests::latency;
use tests::{BOUND, Client, End, Launch, Line, Random, Server};

/// A connection to each of the server's two shards.
fn one_on_each_shard(server: &Server) -> [Client; 2] {
    let mut found = BTreeMap::new();
    for _ in 0..64 {
        let mut client = server.connect();
        client.send(b"shard\n");
        let number = client.receive(2)[0];
        found.entry(number).or_insert(client);
        if found.len() == 2 {
            break;
        }
    }
    let clients: Vec<Client> = found.into_values().collect();
    clients
        .try_into()
        .expect("64 connections reach both shards")
}

#[test]
fn a_panic_ends_its_own_connection_only() {
    const PANICS: usize = 100;
    let server = Launch::hostile().set("server.shards=1").start();
    let mut other = server.connect();
    other.ask(b"echo\n", b"");
    let start = Instant::now();
    for _ in 0..PANICS {
        let mut client = server.connect();
        client.send(b"panic\n");
        assert_eq!(client.receive_all().0, b"");
        other.ask(b"alive?", b"alive?");
    }
    drop(other);
    let told = server
        .log()
        .lines()
        .iter()
        .filter(|line| line.message() == "the handler panicked")
        .count();
    // One in each interval of the log, which is eight ticks at least.
    let intervals = start.elapsed().as_millis() as usize / 875 + 1;
    assert!(
        (1..=intervals).contains(&told),
        "{told} lines for {PANICS} panics in {:?}",
        start.elapsed()
    );
    let counts = server.stop();
    assert_eq!(counts.of("handler_panicked"), PANICS as u64);
}

#[test]
fn a_panic_while_a_handler_is_dropped_ends_nothing_else() {
    let server = Launch::hostile()
        .set("server.shards=1")
        .set("timeouts.lifetime=\"500ms\"")
        .set("timeouts.first_byte=\"500ms\"")
        .start();
    let mut client = server.connect();
    client.send(b"bomb\n");
    let _ = client.receive_all();
    server.connect().ask(b"alive?\n", b"alive?\n");
    server.stop();
}

#[test]
fn a_handler_that_fails_is_counted_as_such() {
    let server = Launch::hostile().start();
    let mut client = server.connect();
    client.send(b"fail\n");
    assert_eq!(client.receive_all().0, b"");
    server.connect().ask(b"alive?\n", b"alive?\n");
    assert_eq!(server.stop().of("handler_failed"), 1);
}

#[test]
fn a_handler_may_leave_while_its_client_still_sends() {
    let server = Launch::hostile()
        .debug()
        .set("timeouts.close=\"500ms\"")
        .start();
    let mut client = server.connect();
    client.send(b"leave\n");
    // The server reads on for a while, so that the client sees an end and no reset.
    assert_eq!(client.receive_all().1, End::Eof);
    server.wait_for_closed("handler_closed", 1);
    assert_eq!(server.stop().of("handler_closed"), 1);
}

#[test]
fn a_read_given_up_half_way_loses_nothing() {
    let server = Launch::hostile().set("server.shards=1").start();
    let mut random = Random::new();
    let mut client = server.connect();
    client.send(b"hesitate\n");
    let mut writer = client.stream().try_clone().unwrap();
    let sent = random.bytes(2_000_000);
    let expected = sent.clone();
    let sender = thread::spawn(move || {
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at((1 + random.below(9000)).min(rest.len()));
            writer.write_all(now).unwrap();
            rest = later;
        }
    });
    client.expect(&expected);
    sender.join().unwrap();
    drop(client);
    server.stop();
}

#[test]
fn a_handler_is_woken_by_another_thread() {
    let server = Launch::hostile().set("server.shards=2").start();
    for _ in 0..10 {
        let mut client = server.connect();
        client.ask(b"thread\n", b"woken\n");
        client.ask(b"alive?", b"alive?");
    }
    server.stop();
}

#[test]
fn a_handler_may_wait_through_a_waker_of_its_own() {
    let server = Launch::hostile().set("server.shards=1").start();
    let mut client = server.connect();
    client.send(b"between\n");
    for round in 0..100_u32 {
        client.ask(&round.to_be_bytes(), &round.to_be_bytes());
    }
    drop(client);
    assert_eq!(server.stop().of("peer_closed"), 1);
}

/// What a send could not place at once is sent when there is room.
#[test]
fn a_full_socket_delays_a_reply_and_loses_none_of_it() {
    let server = Launch::hostile()
        .set("server.shards=1")
        .set("socket.send_buffer=4096")
        .start();
    let mut random = Random::new();
    let mut clients: Vec<(Client, Vec<u8>)> = (0..20)
        .map(|_| (server.connect(), random.bytes(400_000)))
        .collect();
    let senders: Vec<_> = clients
        .iter_mut()
        .map(|(client, sent)| {
            let (mut writer, sent) = (client.stream().try_clone().unwrap(), sent.clone());
            thread::spawn(move || {
                writer
                    .write_all(b"echo\n")
                    .and_then(|()| writer.write_all(&sent))
            })
        })
        .collect();
    for (client, sent) in &mut clients {
        client.expect(sent);
    }
    senders
        .into_iter()
        .for_each(|sender| sender.join().unwrap().unwrap());
    drop(clients);
    server.stop();
}

#[test]
fn a_handler_that_keeps_its_chunks_starves_nobody() {
    const HOLDERS: usize = 20;
    const ROUNDS: usize = 100;
    let server = Launch::hostile()
        .alone()
        .set("server.shards=1")
        .set("buffers.size=4096")
        .set("buffers.count=64")
        .start();
    let mut other = server.connect();
    other.send(b"echo\n");
    let mut holders: Vec<Client> = (0..HOLDERS).map(|_| server.connect()).collect();
    for holder in &mut holders {
        holder.send(b"hold\n");
    }
    let quiet = latency::time(ROUNDS, || other.ask(b"alive?", b"alive?"));
    let held = (0..ROUNDS).flat_map(|_| {
        // Together many times what the shard's buffers hold.
        holders
            .iter_mut()
            .for_each(|holder| holder.send(&[b'h'; 4096]));
        latency::time(1, || other.ask(b"alive?", b"alive?"))
    });
    latency::assert_kept(quiet, held.collect());
    let message = Random::new().bytes(1_000_000);
    let mut newcomer = server.connect();
    newcomer.send(b"echo\n");
    let mut writer = newcomer.stream().try_clone().unwrap();
    let sent = message.clone();
    let sender = thread::spawn(move || writer.write_all(&sent));
    newcomer.expect(&message);
    sender.join().unwrap().unwrap();
    drop((other, newcomer, holders));
    server.stop();
}

fn warns_of_a_shard(line: &Line) -> bool {
    line.level() == "WARN" && line.message() == "a handler blocks its shard"
}

#[test]
fn a_blocked_shard_is_named_within_200_milliseconds() {
    let server = Launch::hostile().alone().set("server.shards=2").start();
    for round in 0..6 {
        // Each time at another moment between two looks of the watchdog.
        thread::sleep(Duration::from_millis(37) * round);
        let mut blocked = server.connect();
        let from = server.log().lines().len();
        let start = Instant::now();
        blocked.send(b"block\n");
        let warning = server.wait_for_line(from, BOUND, "a shard is blocked", warns_of_a_shard);
        let after = warning.at.duration_since(start);
        assert!(
            after <= Duration::from_millis(200),
            "named only after {after:?}"
        );
        blocked.expect(format!("blocked {}\n", warning.number("shard")).as_bytes());
    }
    server.stop();
}

#[test]
fn a_blocked_shard_delays_the_other_not_at_all() {
    let server = Launch::hostile().alone().set("server.shards=2").start();
    let [mut first, mut second] = one_on_each_shard(&server);
    // Which shard a new connection gets is the kernel's choice: block one, see which it was.
    let mut blocker = server.connect();
    blocker.send(b"block\n");
    let warning = server.wait_for_line(0, BOUND, "a shard is blocked", warns_of_a_shard);
    let blocked = warning.number("shard");
    let other = if blocked == 0 {
        &mut second
    } else {
        &mut first
    };
    let mut blocked_times = Vec::new();
    while blocker.is_silent_for(Duration::from_micros(1)) {
        blocked_times.extend(latency::time(1, || other.ask(b"alive?", b"alive?")));
    }
    blocker.expect(format!("blocked {blocked}\n").as_bytes());
    assert!(
        blocked_times.len() > 20,
        "only {} replies while the other shard was blocked",
        blocked_times.len()
    );
    let quiet_times = (0..blocked_times.len()).flat_map(|_| {
        let _ = blocker.is_silent_for(Duration::from_micros(1)); // which takes some milliseconds, as above
        latency::time(1, || other.ask(b"alive?", b"alive?"))
    });
    let quiet_times: Vec<Duration> = quiet_times.collect();
    // The usual, and not the longest: one that the machine kept waiting says nothing of the shards.
    latency::assert_usual_kept(&quiet_times, &blocked_times);
    first.ask(b"alive?", b"alive?");
    second.ask(b"alive?", b"alive?");
    drop((first, second, blocker));
    server.stop();
}

#[test]
fn one_endless_pipeline_leaves_the_others_their_latency() {
    latency::assert_kept_beside(b"PING\r\n".repeat(10_000));
}
