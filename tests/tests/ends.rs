//! How a connection ends, as its peer, its handler and the log are told of it.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{BOUND, Counts, End, Launch, Server, reset};

/// The counts of a server that was told to stop.
fn drained(server: &mut Server) -> Counts {
    assert_eq!(server.wait_exit(BOUND), Some(0));
    server.counts()
}

fn half(server: &Server, how: &str) -> (Vec<u8>, End) {
    let mut client = server.connect();
    client.send(format!("half\n{how}\n").as_bytes());
    client.receive_all()
}

#[test]
fn whoever_is_sent_half_an_answer_is_told_by_a_reset() {
    let server = Launch::hostile().start();
    for how in ["abort", "fail", "panic"] {
        assert_eq!(
            half(&server, how),
            (b"half an answer".to_vec(), End::Reset),
            "{how}"
        );
    }
    assert_eq!(
        half(&server, "close and fail"),
        (b"half an answer".to_vec(), End::Eof),
        "its handler had said all"
    );
    let counts = server.stop();
    assert_eq!(
        (
            counts.of("aborted"),
            counts.of("handler_failed"),
            counts.of("handler_panicked")
        ),
        (1, 2, 1),
        "{counts:?}"
    );
}

#[test]
fn whoever_a_drain_cuts_is_told_by_a_reset() {
    let mut server = Launch::hostile().set("timeouts.drain=\"500ms\"").start();
    let mut client = server.connect();
    client.send(b"half\nwait\n");
    client.expect(b"half an answer");
    server.signal(Signal::TERM);
    assert_eq!(client.receive_all(), (Vec::new(), End::Reset));
    assert_eq!(drained(&mut server).of("drain_cut"), 1);
}

#[test]
fn an_idle_connection_is_ended_politely() {
    let server = Launch::hostile().set("timeouts.idle=\"300ms\"").start();
    let mut client = server.connect();
    client.ask(b"hello\n", b"hello\n");
    assert_eq!(client.receive_all(), (Vec::new(), End::Eof));
    server.stop();
}

#[test]
fn what_was_written_goes_out_whatever_its_handler_waits_for() {
    let server = Launch::hostile().start();
    server.connect().ask(b"answer\n", b"answered\n");
}

#[test]
fn what_is_written_behind_a_send_of_the_same_turn_waits_for_no_timer() {
    const ASKED: usize = 21;
    let server = Launch::hostile().set("server.shards=1").start();
    let mut client = server.connect();
    client.send(b"twice\n");
    let mut times: Vec<Duration> = (0..ASKED)
        .map(|_| {
            let begun = Instant::now();
            client.ask(b"?", b"one two\n");
            begun.elapsed()
        })
        .collect();
    times.sort();
    // A shard that waits for something else, or for its timer, takes 50 ms each time.
    assert!(times[ASKED / 2] < Duration::from_millis(25), "{times:?}");
    drop(client);
    server.stop();
}

#[test]
fn a_handler_that_rests_hears_of_a_drain() {
    let mut server = Launch::hostile().start();
    let mut client = server.connect();
    client.send(b"rest\n");
    assert!(client.is_silent_for(Duration::from_millis(300)));
    let begun = Instant::now();
    server.signal(Signal::TERM);
    client.expect(b"it drains\n");
    client.expect_eof();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    drop(client);
    drained(&mut server);
}

#[test]
fn the_end_of_input_says_whether_it_is_the_peers_or_a_drain() {
    let mut server = Launch::hostile().start();
    let (mut ends, mut kept) = (server.connect(), server.connect());
    for client in [&mut ends, &mut kept] {
        client.send(b"end\nmore");
        assert!(client.is_silent_for(Duration::from_millis(100)));
    }
    ends.half_close();
    ends.expect(b"Some(Peer)\n");
    server.signal(Signal::TERM);
    kept.expect(b"Some(Drain)\n");
    drop((ends, kept));
    drained(&mut server);
}

#[test]
fn the_end_of_another_connection_is_not_counted_as_ones_own() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let resets = thread::spawn(move || reset(upstream.accept().unwrap().0).unwrap());
    let server = Launch::hostile()
        .set("limits.outbound_per_shard_max=1")
        .set(&format!("app.upstream=\"{address}\""))
        .start();
    let mut client = server.connect();
    client.send(b"pass_on\n");
    assert_eq!(client.receive_all(), (Vec::new(), End::Reset));
    resets.join().unwrap();
    let line = server.wait_for_log("the handler failed", BOUND);
    assert_eq!(
        line.field("error").as_deref(),
        Some("the connection has ended: peer_reset")
    );
    let counts = server.stop();
    assert_eq!(
        (counts.of("handler_failed"), counts.of("peer_reset")),
        (1, 0),
        "{counts:?}"
    );
}

#[test]
fn the_text_of_an_error_that_ends_a_connection_is_in_the_log() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Launch::hostile()
        .debug()
        .set("limits.outbound_per_shard_max=1")
        .set(&format!("app.upstream=\"{nobody}\""))
        .start();
    server.connect().send(b"pass_on\n");
    let line = server.wait_for_log("the handler failed", BOUND);
    assert!(
        line.field("error")
            .unwrap()
            .starts_with("cannot connect: Connection refused"),
        "{}",
        line.text
    );
    server.connect().send(&[b'x'; 2000]);
    let line = server.wait_for_log("the peer broke the protocol", BOUND);
    assert_eq!(
        line.field("error").as_deref(),
        Some("the frame is longer than 1024 bytes")
    );
    server.stop();
}

#[test]
fn the_limit_at_which_a_pipeline_that_is_not_read_stands_still_is_in_the_log() {
    let server = Launch::echo().set("timeouts.write=\"1s\"").start();
    let mut client = server.connect();
    let mut writer = client.stream().try_clone().unwrap();
    let sender = thread::spawn(move || {
        use std::io::Write;
        // More than every buffer on the way holds, and nothing is read meanwhile.
        while writer.write_all(&[b'x'; 65_536]).is_ok() {}
    });
    let line = server.wait_for_line(0, BOUND, "the limit is named", |line| {
        line.text.contains("limits.write_queue_max")
    });
    assert_eq!(line.level(), "WARN");
    assert!(
        line.number("unsent_bytes") > 0 && line.number("write_queue_max") > 0,
        "{}",
        line.text
    );
    sender.join().unwrap(); // whose last write was told of the reset
    let _ = client.receive_all();
    assert_eq!(server.stop().of("write_timeout"), 1);
}
