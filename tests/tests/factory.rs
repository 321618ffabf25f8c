//! What a factory may do on its shard, and what becomes of a start in which it fails.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tests::{BOUND, Exit, Launch, free_address};

fn assert_refused(exit: &Exit, needle: &str) {
    assert_eq!(exit.code, Some(2), "{exit:?}");
    for never in ["listening", "a shard died"] {
        assert!(!exit.stderr.contains(never), "{exit:?}");
    }
    let told = exit
        .stderr
        .lines()
        .any(|line| line.starts_with("worker: shard ") && line.contains(needle));
    assert!(told, "no `{needle}` in:\n{}", exit.stderr);
}

#[test]
fn a_factory_that_fails_refuses_the_start_with_its_words() {
    let exit = Launch::worker()
        .set("server.shards=2")
        .set("app.fails_from=0")
        .run();
    assert_refused(
        &exit,
        "does not start: its factory failed: the table cannot be read, on demand",
    );
}

#[test]
fn a_factory_that_panics_refuses_the_start_with_words_and_place() {
    let exit = Launch::worker()
        .set("server.shards=2")
        .set("app.panics_from=1")
        .run();
    assert_refused(
        &exit,
        "shard 1 does not start: its factory failed: it panicked: no table, on demand, at tests/src/bin/worker.rs:",
    );
}

#[test]
fn nobody_is_served_by_the_other_shards_of_a_start_that_is_refused() {
    let address = free_address();
    let slow = Launch::worker()
        .set("server.shards=2")
        .set("app.fails_from=1")
        .set("app.takes_ms=1000");
    let server = thread::spawn(move || slow.set(&format!("server.listen=\"{address}\"")).run());
    let start = Instant::now();
    let mut clients: Vec<TcpStream> = Vec::new();
    // Enough for both shards, queued while the second one's factory takes its time.
    while clients.len() < 16 {
        match TcpStream::connect(address) {
            Ok(mut client) => {
                client.write_all(b"hello\n").unwrap();
                clients.push(client);
            }
            Err(error) if clients.is_empty() && start.elapsed() < BOUND => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error} after {} clients", clients.len()),
        }
    }
    for mut client in clients {
        client.set_read_timeout(Some(BOUND)).unwrap();
        let mut answer = Vec::new();
        let ended = client.read_to_end(&mut answer);
        assert_eq!(answer, b"", "served, and then {ended:?}");
    }
    assert_refused(
        &server.join().unwrap(),
        "the table cannot be read, on demand",
    );
}

#[test]
fn a_signal_during_a_factory_ends_the_start_cleanly() {
    let mut server = Launch::worker()
        .set("server.shards=2")
        .set("app.fails_from=1")
        .set("app.takes_ms=1000")
        .spawn();
    server.wait_for_log("admission", BOUND);
    server.signal(rustix::process::Signal::TERM);
    // The shard that has its handler ends at once, the other when its factory has failed: that is
    // still the start's refusal.
    assert_eq!(server.wait_exit(BOUND), Some(2));
}

#[test]
fn what_a_factory_spawned_sleeps_notifies_and_asks_a_pool() {
    let upstream = Launch::ping().start();
    let server = Launch::worker()
        .set("server.shards=2")
        .set(&format!("upstream.next.addr=\"{}\"", upstream.addr()))
        .start();
    for _ in 0..16 {
        server.connect().ask(b"started\n", b"slept, asked: +PONG\n");
    }
    server.stop();
    upstream.stop();
}
