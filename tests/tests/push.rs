//! Handlers that wait for several things at once: pushed to from another thread, full duplex, with
//! halves that are dropped half-way. What becomes of their timing on a quiet machine is for
//! `make compare-push`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tests::{Client, Launch, Server, needs, slack};

/// What the server writes in full duplex: as in src/bin/pusher.rs.
const DUPLEX_BYTES: usize = 8 << 20;
/// Medians below these count as these: what a wake costs a shard that waits in its ring, and one
/// that has parked, on a busy machine and built without optimisation. One that is not woken hears
/// of it when it gives the executor its turn, or at a timer: 1 to 25 ms late.
const WOKEN_IN_RING: Duration = Duration::from_micros(200);
const WOKEN_PARKED: Duration = Duration::from_millis(2);

fn start() -> Server {
    Launch::pusher().set("server.shards=1").start()
}

/// A connection that behaves so.
fn ask(server: &Server, behaviour: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("{behaviour}\n").as_bytes());
    client
}

/// The next `count` pushes, each of which must be the next in turn, and the lines of others in
/// between. How late they were.
fn pushes(client: &mut Client, count: u64, mut other: impl FnMut(&str)) -> Vec<Duration> {
    let mut late = Vec::new();
    while (late.len() as u64) < count {
        let line = client.receive_line();
        match line
            .strip_prefix("pushed ")
            .and_then(|rest| rest.split_once(' '))
        {
            Some((number, micros)) => {
                assert_eq!(number, late.len().to_string(), "a push is missing");
                late.push(Duration::from_micros(micros.parse().unwrap()));
            }
            None => other(&line),
        }
    }
    late
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn another_thread_wakes_a_handler_of_a_resting_shard_as_fast_as_on_a_busy_one() {
    let server = Launch::pusher().set("server.shards=1").alone().start();
    for order in ["peer", "channel"] {
        // So short a pause that the shard waits in its own ring all the time, and one so long that
        // it has parked before each push.
        for (interval, count, floor) in [(13, 60, WOKEN_IN_RING), (170, 8, WOKEN_PARKED)] {
            let behaviour = format!("race {order} {interval} {count}");
            let resting = pushes(&mut ask(&server, &behaviour), count, |_| {
                panic!("nothing was sent")
            });
            let (mut talker, mut listener) = (ask(&server, "echo"), ask(&server, &behaviour));
            let busy = thread::scope(|scope| {
                let pushed = scope.spawn(move || pushes(&mut listener, count, |_| ()));
                while !pushed.is_finished() {
                    talker.ask(b"talk\n", b"talk\n");
                }
                pushed.join().unwrap()
            });
            let (resting, busy) = (median(resting), median(busy));
            println!(
                "{order} first, every {interval} ms: median {resting:?} late at rest, {busy:?} beside one that talks"
            );
            assert!(
                resting <= 3 * busy.max(floor) * slack(),
                "every {interval} ms: {resting:?} late at rest, {busy:?} on a busy shard"
            );
        }
    }
    server.stop();
}

#[test]
fn a_race_of_the_peer_and_a_thread_loses_nothing_in_either_order() {
    const EACH: u64 = 2000;
    let server = start();
    for order in ["peer", "channel"] {
        let mut client = ask(&server, &format!("race {order} 0 {EACH}"));
        let mut sender = client.stream().try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                (0..EACH)
                    .for_each(|number| sender.write_all(format!("{number}\n").as_bytes()).unwrap())
            });
            let mut echoed = 0;
            let mut echo = |line: &str| {
                assert_eq!(line, echoed.to_string(), "an echo is missing");
                echoed += 1;
            };
            pushes(&mut client, EACH, &mut echo);
            while echoed < EACH {
                let line = client.receive_line();
                assert_eq!(line, echoed.to_string(), "an echo is missing");
                echoed += 1;
            }
        });
    }
    server.stop();
}

#[test]
fn reading_and_pushing_joined_lose_nothing_in_either_order() {
    const PUSHED: u64 = 2000;
    const SENT: usize = 100_000;
    let server = start();
    for order in ["reader", "writer"] {
        let mut client = ask(&server, &format!("join {order} {PUSHED}"));
        for number in 0..PUSHED {
            if number.is_multiple_of(20) {
                client.send(&[b'x'; SENT / (PUSHED as usize / 20)]);
            }
            assert_eq!(client.receive_line(), number.to_string());
        }
        client.stream().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.receive_line(), format!("read {SENT}"));
        client.expect_eof();
    }
    server.stop();
}

#[test]
fn a_write_waits_for_room_while_a_read_waits_for_input_in_either_order() {
    const BEFORE: &[u8] = b"while you wait for room";
    let expected: Vec<u8> = (0..DUPLEX_BYTES).map(|index| (index % 251) as u8).collect();
    let server = start();
    for halves in ["split", "futures-io"] {
        for order in ["writer", "reader"] {
            let mut client = ask(&server, &format!("duplex {halves} {order}"));
            thread::sleep(Duration::from_millis(200)); // by then the write waits for room, and the read for input
            let mut sent = 0;
            for part in expected.chunks(expected.len() / 16 + 1) {
                client.send(BEFORE);
                sent += BEFORE.len();
                client.expect(part);
            }
            // Now the read waits alone.
            client.send(BEFORE);
            client.stream().shutdown(Shutdown::Write).unwrap();
            assert_eq!(
                client.receive_line(),
                format!("read {}", sent + BEFORE.len()),
                "{halves}, {order} first"
            );
            client.expect_eof();
        }
    }
    server.stop();
}

#[test]
fn what_a_handler_drops_half_way_loses_nothing_and_is_woken_for_no_more() {
    let server = start();
    for what in ["read", "read-half", "write", "write-half", "flush"] {
        let mut client = ask(&server, &format!("drop {what}"));
        // Of a read that was dropped the input comes; of a write or flush the room does, as the
        // peer takes what was queued.
        if what.starts_with("read") {
            assert_eq!(client.receive_line(), "now");
            client.send(b"kept\n");
        }
        let mut lines = BufReader::new(client.stream().try_clone().unwrap());
        let (mut flood, mut line) = (Vec::new(), String::new());
        lines.read_until(b'\n', &mut flood).unwrap();
        assert!(
            flood.iter().all(|byte| matches!(byte, b'~' | b'\n')),
            "{what}"
        );
        assert_eq!(
            flood.len() == 1,
            what.starts_with("read"),
            "{what}: what was queued goes out"
        );
        lines.read_line(&mut line).unwrap();
        assert_eq!(
            line, "polls 2\n",
            "{what}: polled once to begin and once when the other thread spoke"
        );
        client.send(b"and on\n");
        client.stream().shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(
            rest,
            if what.starts_with("read") {
                "kept\nand on\n"
            } else {
                "and on\n"
            },
            "{what}"
        );
    }
    server.stop();
}

/// An upstream that sends the number of each `PING` back, for as long as the test's process lives.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
    addr
}

fn answer(mut stream: TcpStream) {
    let requests = BufReader::new(stream.try_clone().unwrap());
    for request in requests.lines().map_while(Result::ok) {
        let number = request.strip_prefix("PING ").unwrap();
        if stream
            .write_all(format!("+{number}\r\n").as_bytes())
            .is_err()
        {
            break;
        }
    }
}

#[test]
fn a_handler_that_selects_over_all_there_is_hears_of_every_event() {
    const SOURCES: usize = 6;
    const EACH: u64 = 1000;
    let mut launch = Launch::pusher().set("server.shards=1");
    for name in ["left", "right"] {
        launch = launch
            .set(&format!("upstream.{name}.addr=\"{}\"", upstream()))
            .set(&format!("upstream.{name}.connections_max=1"));
    }
    let server = launch.start();
    for way in ["or", "or-reversed", "select", "unordered"] {
        let mut client = ask(&server, &format!("select {way}"));
        let mut lines = BufReader::new(client.stream().try_clone().unwrap());
        let mut told = [0; SOURCES];
        client.send(&0_u64.to_le_bytes());
        // Each source has one event under way at a time: one that is lost stops its source, and
        // then this would not end.
        let mut heard = 0;
        while told.iter().any(|count| *count < EACH) {
            assert!(
                heard < 1000 * EACH,
                "{way}: a source stands still while others go on: {told:?}"
            );
            heard += 1;
            let mut line = String::new();
            lines
                .read_line(&mut line)
                .unwrap_or_else(|error| panic!("{way}: {error}, after {told:?}"));
            let (source, number) = line
                .trim_end()
                .split_once(' ')
                .unwrap_or_else(|| panic!("{way}: {line:?} after {told:?}"));
            let source: usize = source.parse().unwrap();
            assert_eq!(
                number,
                told[source].to_string(),
                "{way}: an event of source {source} is missing"
            );
            told[source] += 1;
            if source == 0 {
                client.send(&told[0].to_le_bytes());
            }
        }
        client.stream().shutdown(Shutdown::Write).unwrap();
        lines.read_to_end(&mut Vec::new()).unwrap();
    }
    server.stop();
}

/// System calls of a server while one connection asks `count` times.
fn calls(forgotten: bool, count: u32) -> u64 {
    let trace =
        std::env::temp_dir().join(format!("corelane-push-{}-{forgotten}", std::process::id()));
    let path = trace.to_str().unwrap().to_owned();
    let strace = [
        "strace",
        "-D",
        "-f",
        "-o",
        &path,
        "-e",
        "trace=io_uring_enter",
    ];
    let server = Launch::pusher()
        .set("server.shards=1")
        .set(&format!("app.forgotten_waker={forgotten}"))
        .under(&strace)
        .start();
    let mut client = ask(&server, "echo");
    client.ask(b"first\n", b"first\n");
    let lines = || {
        fs::read_to_string(&trace)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.contains("io_uring_enter("))
            .count() as u64
    };
    let before = lines();
    (0..count).for_each(|_| client.ask(b"request\n", b"request\n"));
    let calls = lines() - before;
    drop(client);
    server.stop();
    let _ = fs::remove_file(&trace);
    calls
}

#[test]
fn a_task_that_keeps_a_waker_and_is_never_woken_costs_the_others_no_system_call() {
    needs!("strace");
    const ASKED: u32 = 500;
    let [with, without] = [true, false].map(|forgotten| calls(forgotten, ASKED));
    println!("{with} entries of rings with such a task, {without} without, for {ASKED} requests");
    assert!(
        without >= u64::from(ASKED),
        "{without} entries for {ASKED} requests"
    );
    // Every 5 ms the executor has its turn either way, in a server that is traced at every 10th
    // request or so.
    assert!(
        with < without + u64::from(ASKED) / 2,
        "{with} entries with a task that keeps its waker, {without} without"
    );
}
