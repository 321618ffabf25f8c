//! What the kernel does only to a machine in need: caused by failpoints
//! (`framework/src/failpoint.rs`), in a server that is built with them.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use tests::latency;
use tests::{BOUND, Client, Launch, Server, descriptors, processor_time, slack};

/// A server that may connect, one connect at a time.
fn dialing(failpoints: &str) -> Server {
    Launch::faulty(failpoints)
        .set("server.shards=1")
        .set("limits.outbound_per_shard_max=8")
        .set("limits.connects_in_flight_max=1")
        .start()
}

#[test]
fn a_wrong_failpoint_refuses_the_start() {
    let exit = Launch::faulty("accept=ENOFILE").run();
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(
        exit.stderr.contains("CORELANE_FAILPOINTS")
            && exit.stderr.contains("there is no errno `ENOFILE`"),
        "{}",
        exit.stderr
    );
}

#[test]
fn a_receive_that_finds_no_buffer_is_made_again() {
    let server = Launch::faulty("receive=ENOBUFS*50")
        .set("server.shards=1")
        .start();
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for _ in 0..20 {
        clients
            .iter_mut()
            .for_each(|client| client.ask(b"still here?\n", b"still here?\n"));
    }
    drop(clients);
    assert_eq!(server.stop().accepted, 4);
}

#[test]
fn a_connect_whose_socket_cannot_be_made_passes_its_place_on() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = dialing("socket=EMFILE*8");
    let mut clients: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    let dial = format!("dial {}\n", target.local_addr().unwrap());
    clients
        .iter_mut()
        .for_each(|client| client.send(dial.as_bytes()));
    let answers: Vec<String> = clients.iter_mut().map(Client::receive_line).collect();
    let failed = answers
        .iter()
        .filter(|answer| answer.contains("os error 24"))
        .count();
    let connected = answers
        .iter()
        .filter(|answer| *answer == "connected")
        .count();
    assert_eq!((failed, connected), (8, 8), "{answers:?}");
    drop(clients);
    server.stop();
}

#[test]
fn a_connect_whose_socket_does_not_get_into_the_table_says_so_and_leaves_nothing_behind() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target.local_addr().unwrap();
    let server = dialing("install=ENFILE*24");
    let mut client = server.connect();
    client.ask(b"here\n", b"here\n");
    let before = descriptors(server.pid());
    // Eight may be open, one may be on its way: neither is enough if one that has failed keeps its
    // own. Half of them are taken back before they fail.
    for round in 0..12 {
        client.ask(format!("leave {address}\n").as_bytes(), b"left\n");
        client.send(format!("dial {address}\n").as_bytes());
        let answer = client.receive_line();
        assert!(
            answer.contains("cannot connect") && answer.contains("os error 23"),
            "{round}: {answer}"
        );
    }
    assert_eq!(descriptors(server.pid()), before);
    (0..8).for_each(|_| client.ask(format!("dial {address}\n").as_bytes(), b"connected\n"));
    drop(client);
    server.stop();
}

/// How long a shard is held up on its way to rest: what happens meanwhile falls between a look for
/// something to do and the park.
const WINDOW: Duration = Duration::from_millis(600);

/// The shard looks once more after it is held up at `rest`, for completions signalled nothing; at
/// `park` that look was the last.
const WINDOWS: [&str; 2] = ["rest", "park"];

/// A shard that is held up at `point` each time, and is now.
fn held_up(point: &str) -> Server {
    let server = Launch::faulty(&format!("{point}={}ms", WINDOW.as_millis()))
        .set("server.shards=1")
        .start();
    server.wait_for_log("failpoint", BOUND);
    server
}

/// Fails unless what happened within the window was served at its end. No timer would come to the
/// rescue within minutes.
fn assert_served_at_once(point: &str, took: Duration, least: Duration) {
    assert!(
        took > least,
        "{point}: {took:?}, so it did not fall into the window"
    );
    assert!(
        took < WINDOW + Duration::from_secs(2) * slack(),
        "{point}: {took:?}"
    );
}

fn in_each_window(test: fn(&str)) {
    let tests = WINDOWS.map(|point| thread::spawn(move || test(point)));
    tests.into_iter().for_each(|test| test.join().unwrap());
}

#[test]
fn who_comes_while_the_shard_goes_to_rest_is_served_at_once() {
    in_each_window(|point| {
        let server = held_up(point);
        let begun = Instant::now();
        server.connect().ask(b"now\n", b"now\n"); // nobody is connected, so there is no timer
        assert_served_at_once(point, begun.elapsed(), WINDOW / 10);
        server.stop();
    });
}

#[test]
fn who_is_woken_by_another_thread_while_the_shard_goes_to_rest_is_served_at_once() {
    in_each_window(|point| {
        let server = held_up(point);
        let mut client = server.connect();
        client.send(b"elsewhere\n");
        let took = Duration::from_millis(client.receive_line().parse().unwrap());
        assert_served_at_once(point, took, WINDOW * 3 / 4); // the other thread took less
        drop(client);
        server.stop();
    });
}

/// Median and p99 of `count` requests.
fn latencies(client: &mut Client, count: usize) -> (Duration, Duration) {
    let mut times = latency::time(count, || client.ask(b"quick?\n", b"quick?\n"));
    times.sort();
    (times[count / 2], latency::p99(times))
}

/// Accepts fail 18 times with `errno`: the 16 that are in flight at once, and then two, one at a
/// time.
fn accepting_pauses_and_goes_on(errno: &str) {
    let server = Launch::faulty(&format!("accept={errno}*18"))
        .set("server.shards=1")
        .start();
    let mut client = server.connect();
    client.ask(b"at last\n", b"at last\n");
    drop(client);
    server.connect().ask(b"and at once\n", b"and at once\n");
    // Three pauses, in one interval of the log or at the turn of two: told once in each, and the
    // others counted.
    let rest = server.wait_for_line(0, BOUND, "held back", |line| {
        line.field("subject").as_deref() == Some("accepts paused")
    });
    let told = server
        .log()
        .lines()
        .into_iter()
        .filter(|line| line.message() == "accepting pauses" && line.level() == "WARN")
        .count() as u64;
    assert!(
        (1..=2).contains(&told) && told + rest.number("more") == 3,
        "{told} lines, then {}",
        rest.text
    );
    let counts = server.stop();
    assert_eq!(
        (
            counts.accepted,
            counts.accepts_failed,
            counts.accepts_aborted
        ),
        (2, 18, 0),
        "{errno}"
    );
}

#[test]
fn out_of_descriptors_or_memory_accepting_pauses_and_goes_on_by_itself() {
    let errnos = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];
    let servers: Vec<_> = errnos
        .map(|errno| thread::spawn(move || accepting_pauses_and_goes_on(errno)))
        .into();
    servers
        .into_iter()
        .for_each(|server| server.join().unwrap());
}

#[test]
fn accepting_pauses_as_the_settings_say() {
    let server = Launch::faulty("accept=EMFILE*1")
        .set("server.shards=1")
        .set("limits.accepts_in_flight_max=1");
    let server = server
        .set("timeouts.accept_pause_min=\"700ms\"")
        .set("timeouts.accept_pause_max=\"700ms\"")
        .start();
    let begun = Instant::now();
    server.connect().ask(b"at last\n", b"at last\n");
    assert!(
        begun.elapsed() >= Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        server
            .wait_for_log("accepting pauses", BOUND)
            .number("pause_ms"),
        700
    );
    server.stop();
}

#[test]
fn while_accepting_pauses_the_established_keep_their_latency_and_nobody_spins() {
    // Two are accepted, then none ever again, though one waits.
    let server = Launch::faulty("accept=EMFILE+2")
        .alone()
        .set("server.shards=1")
        .set("limits.accepts_in_flight_max=1")
        .start();
    let (mut one, mut other) = (server.connect(), server.connect());
    other.ask(b"here\n", b"here\n");
    let (_, quiet) = latencies(&mut one, 2000);
    let mut waiting = server.connect();
    waiting.send(b"me too\n");
    server.wait_for_log("accepting pauses", BOUND);
    let (mut times, begin) = (Vec::new(), Instant::now());
    while begin.elapsed() < Duration::from_secs(1) {
        times.extend(latency::time(1, || one.ask(b"quick?\n", b"quick?\n")));
    }
    let (pausing, longest) = (latency::p99(times.clone()), *times.iter().max().unwrap());
    assert!(
        pausing < 5 * quiet.max(Duration::from_millis(1)) * slack(),
        "p99 {pausing:?}, and {quiet:?} before"
    );
    // Pauses of 100 ms and more have begun and ended meanwhile.
    assert!(
        longest < Duration::from_millis(100) * slack(),
        "{longest:?}"
    );
    let before = processor_time(server.pid());
    assert!(waiting.is_silent_for(Duration::from_secs(1)));
    let taken = processor_time(server.pid()) - before;
    assert!(
        taken < Duration::from_millis(100) * slack(),
        "{taken:?} of processor time in a second of waiting"
    );
    drop((one, other));
}

#[test]
fn a_client_that_left_the_queue_does_not_delay_the_next() {
    let server = Launch::faulty("accept=ECONNABORTED*200;accept=EPROTO*200")
        .set("server.shards=1")
        .set("limits.accepts_in_flight_max=1")
        .start();
    // With the shortest pause after each this would take a minute.
    server.connect().ask(b"my turn\n", b"my turn\n");
    let counts = server.stop();
    assert_eq!(
        (
            counts.accepted,
            counts.accepts_aborted,
            counts.accepts_failed
        ),
        (1, 400, 0)
    );
}
