//! Calls that block, on threads of their own.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tests::{BOUND, Client, Launch, Server, needs, within};

/// A call blocks for this long; who is held up by it would wait about as long.
const BLOCKED: Duration = Duration::from_millis(500);

fn answer(client: &mut Client, line: &str) -> String {
    client.send(format!("{line}\n").as_bytes());
    client.receive_line()
}

/// Threads of the server whose names begin so.
fn threads(server: &Server, name: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|comm| comm.starts_with(name)).count()
}

#[test]
fn a_call_that_blocks_holds_up_nobody_else() {
    let server = Launch::worker().set("server.shards=1").start();
    let (mut blocked, mut other) = (server.connect(), server.connect());
    other.ask(b"hello\n", b"hello\n");
    let start = Instant::now();
    blocked.send(format!("block {}\n", BLOCKED.as_millis()).as_bytes());
    let mut asked = 0;
    while start.elapsed() < BLOCKED / 2 {
        other.ask(b"hello\n", b"hello\n");
        asked += 1;
    }
    assert!(
        start.elapsed() < BLOCKED,
        "the shard was held up: {asked} answers in {:?}",
        start.elapsed()
    );
    assert_eq!(blocked.receive_line(), "done");
    assert!(start.elapsed() >= BLOCKED);
    assert!(
        !server.log().text().contains("blocks its shard"),
        "{}",
        server.log().text()
    );
    server.stop();
}

#[test]
fn a_call_runs_on_any_core_and_a_handlers_own_thread_on_the_shards() {
    needs!("taskset");
    let all = Launch::worker()
        .set("server.shards=1")
        .set("server.pin=false")
        .start();
    let allowed = answer(&mut all.connect(), "cores")
        .split(' ')
        .nth(1)
        .unwrap()
        .to_owned();
    all.stop();
    let first: usize = allowed.split(['-', ',']).next().unwrap().parse().unwrap();
    let server = Launch::worker()
        .set(&format!("server.cpus=[{first}]"))
        .start();
    assert_eq!(
        answer(&mut server.connect(), "cores"),
        format!("shard {first} blocking {allowed} own {first}")
    );
    server.stop();
}

#[test]
fn no_more_calls_run_and_wait_than_allowed_and_the_rest_fails_with_the_bounds_name() {
    let server = Launch::worker()
        .set("server.shards=1")
        .set("limits.blocking_threads_per_shard_max=3")
        .set("limits.blocking_waiting_per_shard_max=4")
        .start();
    let told = "4 calls wait for a blocking thread already (limits.blocking_waiting_per_shard_max)";
    assert_eq!(
        answer(&mut server.connect(), "crowd 12 50"),
        format!("most 3 refused 5: {told}")
    );
    assert_eq!(threads(&server, "blocking"), 3);
    // A thread tells the outcome of a call before it rests.
    within(BOUND, "there is room again", || {
        (answer(&mut server.connect(), "crowd 7 1") == "most 3 refused 0: ").then_some(())
    });
    server.stop();
}

#[test]
fn threads_that_have_nothing_to_do_end() {
    let server = Launch::worker().set("server.shards=1").start();
    assert_eq!(
        answer(&mut server.connect(), "crowd 4 20"),
        "most 4 refused 0: "
    );
    assert_eq!(threads(&server, "blocking"), 4);
    within(2 * BOUND, "the blocking threads end", || {
        (threads(&server, "blocking") == 0).then_some(())
    });
    assert_eq!(
        answer(&mut server.connect(), "crowd 1 1"),
        "most 1 refused 0: "
    );
    server.stop();
}

#[test]
fn a_panic_in_a_call_is_an_error_to_its_handler_and_its_thread_goes_on() {
    let server = Launch::worker()
        .set("server.shards=1")
        .set("limits.blocking_threads_per_shard_max=1")
        .start();
    let mut client = server.connect();
    for _ in 0..3 {
        let told = answer(&mut client, "panic");
        assert!(
            told.starts_with(
                "in unblock: it panicked: in a call, on demand, at tests/src/bin/worker.rs:"
            ),
            "{told}"
        );
    }
    assert_eq!(answer(&mut client, "block 1"), "done");
    assert_eq!(threads(&server, "blocking"), 1);
    server.stop();
}

#[test]
fn a_call_whose_future_was_dropped_goes_on() {
    let server = Launch::worker().set("server.shards=1").start();
    let mut client = server.connect();
    let start = Instant::now();
    assert_eq!(
        answer(&mut client, &format!("forget {}", BLOCKED.as_millis())),
        "forgot"
    );
    assert!(start.elapsed() < BLOCKED);
    within(BOUND, "the call ends", || {
        (answer(&mut client, "forgotten") == "1").then_some(())
    });
    server.stop();
}
