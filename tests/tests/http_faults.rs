//! Peers that mean it ill, or break off, by HTTP: faults 75 to 84.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use tests::http::{Answers, NoAnswer};
use tests::{BOUND, Client, Launch, connect, slack};

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// The number of final answers until the end of a connection, and that end.
fn all(answers: &mut Answers) -> (Vec<u16>, NoAnswer) {
    let mut statuses = Vec::new();
    loop {
        match answers.next(false) {
            Ok(answer) if answer.status < 200 => {}
            Ok(answer) => statuses.push(answer.status),
            Err(end) => return (statuses, end),
        }
    }
}

fn is_served(address: SocketAddr) {
    let stream = connect(address).unwrap();
    (&stream).write_all(HELLO).unwrap();
    assert_eq!(Answers::of(&stream).next(false).unwrap().content, b"hello");
}

// ---- FIN and reset ----

/// A peer that ends within a request is not answered; one that ends behind it is.
#[test]
fn a_fin_at_every_byte_of_a_request_ends_the_connection_and_a_whole_request_is_answered() {
    let server = Launch::web().debug().start();
    let requests: [&[u8]; 3] = [
        HELLO,
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n",
    ];
    for request in requests {
        for length in 0..=request.len() {
            let stream = connect(server.addr()).unwrap();
            (&stream).write_all(&request[..length]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let (statuses, end) = all(&mut Answers::of(&stream));
            let expected: &[u16] = if length == request.len() { &[200] } else { &[] };
            assert_eq!(statuses, expected, "{}", request[..length].escape_ascii());
            let is_clean = length == 0 || length == request.len();
            assert_eq!(
                end == NoAnswer::Eof,
                is_clean,
                "{}: {end:?}",
                request[..length].escape_ascii()
            );
        }
    }
    is_served(server.addr());
    server.wait_for_closed("protocol_error", 50);
    let counts = server.stop();
    assert_eq!(counts.accepted, counts.closed);
}

#[test]
fn a_reset_in_the_midst_of_anything_ends_its_own_connection() {
    let server = Launch::web().start();
    let starts: [&[u8]; 4] = [
        b"GET /hel",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello",
        b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /large/9000000 HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for start in starts {
        for _ in 0..20 {
            let stream = connect(server.addr()).unwrap();
            (&stream).write_all(start).unwrap();
            tests::reset(stream).unwrap();
        }
    }
    is_served(server.addr());
    let counts = server.stop();
    assert_eq!(counts.accepted, counts.closed);
}

// ---- slow ones ----

/// How long the server bears what is sent byte by byte, behind `start`.
fn dripped(address: SocketAddr, start: &[u8]) -> Duration {
    let stream = connect(address).unwrap();
    (&stream).write_all(start).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let (begin, mut answers) = (Instant::now(), Answers::of(&stream));
    loop {
        match answers.next(false) {
            Err(NoAnswer::Silence) => {}
            Err(NoAnswer::Reset) => return begin.elapsed(),
            other => panic!("{other:?}"),
        }
        match (&stream).write_all(b"a") {
            Ok(()) => assert!(begin.elapsed() < BOUND, "it is borne for ever"),
            Err(error) => {
                let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(kinds.contains(&error.kind()), "{error}");
                return begin.elapsed();
            }
        }
    }
}

#[test]
fn a_head_or_a_body_that_drips_ends_at_its_deadline() {
    let server = Launch::web()
        .debug()
        .set("app.http.header_timeout=\"1s\"")
        .set("app.http.body_timeout=\"2s\"")
        .start();
    let head = b"GET /hello HTTP/1.1\r\nHost: ";
    let length = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let streamed = b"POST /pass HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let line = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    let trailers = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ";
    let unread = b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let address = server.addr();
    thread::scope(|scope| {
        let in_time = |start: &'static [u8], seconds: u64| {
            let took = dripped(address, start);
            let least = Duration::from_secs(seconds) - Duration::from_millis(200);
            let most = Duration::from_secs(seconds + 2) * slack();
            assert!(
                took > least && took < most,
                "{}: {took:?}",
                start.escape_ascii()
            );
        };
        scope.spawn(move || in_time(head, 1));
        for start in [&length[..], line, trailers] {
            scope.spawn(move || in_time(start, 2));
        }
        for answered in [&unread[..], streamed] {
            scope.spawn(move || {
                let stream = connect(address).unwrap();
                (&stream).write_all(answered).unwrap();
                let (begin, mut answers) = (Instant::now(), Answers::of(&stream));
                let (_, end) = all(&mut answers);
                assert_eq!(end, NoAnswer::Reset);
                assert!(
                    begin.elapsed() > Duration::from_millis(1800),
                    "{:?}",
                    begin.elapsed()
                );
            });
        }
    });
    server.wait_for_closed("read_timeout", 6);
    is_served(server.addr());
}

#[test]
fn a_slow_body_that_keeps_the_least_rate_is_waited_for() {
    let server = Launch::web()
        .set("app.http.body_timeout=\"1s\"")
        .set("app.http.body_rate_min=1000")
        .start();
    let stream = connect(server.addr()).unwrap();
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8000\r\n\r\n";
    (&stream).write_all(head).unwrap();
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(150));
        (&stream).write_all(&[b'x'; 400]).unwrap();
    }
    let answer = Answers::of(&stream).next(false).unwrap();
    assert_eq!((answer.status, answer.content.len()), (200, 8000));
}

#[test]
fn a_silent_connection_between_two_requests_is_closed_politely() {
    let server = Launch::web()
        .debug()
        .set("app.http.keep_alive=\"500ms\"")
        .start();
    let stream = connect(server.addr()).unwrap();
    let mut answers = Answers::of(&stream);
    (&stream).write_all(HELLO).unwrap();
    assert_eq!(answers.next(false).unwrap().status, 200);
    assert_eq!(answers.end(), NoAnswer::Eof);
    server.wait_for_closed("idle_timeout", 1);
}

// ---- too much ----

#[test]
fn chunks_without_end_meet_the_bound_of_a_body() {
    let server = Launch::web().set("app.http.body_max=10000").start();
    let stream = connect(server.addr()).unwrap();
    (&stream)
        .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let chunks = b"1\r\na\r\n".repeat(11_000);
    let _refused = (&stream).write_all(&chunks);
    let (statuses, end) = all(&mut Answers::of(&stream));
    assert_eq!((statuses, end), (vec![413], NoAnswer::Eof));
    is_served(server.addr());
}

#[test]
fn a_body_that_nobody_reads_and_has_no_end_ends_its_connection_behind_its_answer() {
    let server = Launch::web().set("timeouts.close=\"1s\"").start();
    let stream = connect(server.addr()).unwrap();
    (&stream)
        .write_all(b"POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let _heard_enough = (&stream).write_all(
        &b"40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n".repeat(2000),
    );
    let (statuses, end) = all(&mut Answers::of(&stream));
    assert_eq!((statuses, end), (vec![200], NoAnswer::Eof));
    is_served(server.addr());
}

/// Fault 44 and 83: a peer that sends requests and reads no answer.
#[test]
fn a_pipeline_without_end_that_reads_nothing_is_bounded_and_ends_at_its_write_deadline() {
    let server = Launch::web()
        .debug()
        .set("timeouts.write=\"1s\"")
        .set("limits.write_queue_max=65536")
        .set("socket.send_buffer=16384")
        .start();
    let mut client = Client::connect(server.addr());
    client
        .stream()
        .set_write_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    let requests = HELLO.repeat(1_000_000);
    let sent = client.stream().write_all(&requests);
    assert!(sent.is_err(), "requests are not read for ever: {sent:?}");
    server.wait_for_closed("write_timeout", 1);
    is_served(server.addr());
}

#[test]
fn a_pipeline_is_answered_in_order_and_another_connection_in_between() {
    const REQUESTS: usize = 20_000;
    let server = Launch::web().set("server.shards=1").start();
    let address = server.addr();
    let stream = connect(address).unwrap();
    let reader = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = &stream;
            for number in 0..REQUESTS {
                let body = format!("{number}");
                let head = format!(
                    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        scope.spawn(move || (0..50).for_each(|_| is_served(address)));
        let mut answers = Answers::of(&reader);
        for number in 0..REQUESTS {
            let answer = answers.next(false).unwrap();
            assert_eq!(answer.content, number.to_string().as_bytes());
        }
    });
}

#[test]
fn a_connection_has_so_many_requests_and_no_more() {
    let server = Launch::web().set("app.http.requests_max=3").start();
    let stream = connect(server.addr()).unwrap();
    (&stream).write_all(&HELLO.repeat(5)).unwrap();
    let mut answers = Answers::of(&stream);
    let closes: Vec<bool> = (0..3)
        .map(|_| answers.next(false).unwrap().closes())
        .collect();
    assert_eq!(closes, [false, false, true]);
    assert_eq!(answers.end(), NoAnswer::Eof);
}

#[test]
fn a_large_answer_waits_for_its_reader() {
    let server = Launch::web().start();
    for path in ["/large/20000000", "/parts/300000"] {
        let stream = connect(server.addr()).unwrap();
        (&stream)
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        thread::sleep(Duration::from_millis(200));
        let answer = Answers::of(&stream).next(false).unwrap();
        assert!(
            answer.content.len() >= 1_500_000,
            "{}",
            answer.content.len()
        );
    }
}

#[test]
fn a_body_is_passed_on_at_the_pace_of_its_reader() {
    let server = Launch::web()
        .set("app.http.body_max=100000000")
        .set("limits.write_queue_max=65536")
        .start();
    let stream = connect(server.addr()).unwrap();
    let bytes: Vec<u8> = (0..20_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let reader = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let head = format!(
                "POST /pass HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                bytes.len()
            );
            (&stream).write_all(head.as_bytes()).unwrap();
            (&stream).write_all(&bytes).unwrap();
        });
        thread::sleep(Duration::from_millis(300));
        let answer = Answers::of(&reader).next(false).unwrap();
        assert!(answer.content == bytes, "{} bytes", answer.content.len());
    });
}

// ---- answers ----

#[test]
fn the_body_is_asked_for_when_it_is_read_and_not_before() {
    let server = Launch::web().start();
    let stream = connect(server.addr()).unwrap();
    let mut answers = Answers::of(&stream);
    let head =
        b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    for _ in 0..2 {
        (&stream).write_all(head).unwrap();
        assert_eq!(answers.next(false).unwrap().status, 100);
        (&stream).write_all(b"hello").unwrap();
        assert_eq!(answers.next(false).unwrap().content, b"hello");
    }
    (&stream)
        .write_all(&[b"POST /unread".as_slice(), &head[10..]].concat())
        .unwrap();
    let answer = answers.next(false).unwrap();
    assert_eq!(
        (answer.status, answer.closes()),
        (200, true),
        "whether a body comes nobody knows"
    );
    assert_eq!(answers.end(), NoAnswer::Eof);
}

#[test]
fn an_answer_that_is_cut_is_told_by_a_reset() {
    let server = Launch::web().debug().start();
    for path in ["/cut", "/parts/1/of/9", "/parts/3/of/9"] {
        let stream = connect(server.addr()).unwrap();
        (&stream)
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        assert_eq!(
            Answers::of(&stream).next(false),
            Err(NoAnswer::Reset),
            "{path}"
        );
    }
    server.wait_for_closed("handler_failed", 3);
}

#[test]
fn a_refusal_is_read_whole_however_much_was_sent_behind_it() {
    let server = Launch::web().debug().start();
    for _ in 0..20 {
        let stream = connect(server.addr()).unwrap();
        let smuggled = [b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", &*HELLO.repeat(5000)].concat();
        let _heard_enough = (&stream).write_all(&smuggled);
        let (statuses, end) = all(&mut Answers::of(&stream));
        assert_eq!((statuses, end), (vec![400], NoAnswer::Eof));
    }
    server.wait_for_closed("protocol_error", 20);
}

#[test]
fn another_protocol_has_what_was_sent_behind_the_head() {
    let server = Launch::web().start();
    let stream = connect(server.addr()).unwrap();
    let head = b"GET /any HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x, Echo\r\n\r\n";
    (&stream)
        .write_all(&[&head[..], b"early"].concat())
        .unwrap();
    let mut client = stream;
    let mut answers = Answers::of(&client);
    let answer = answers.next(false).unwrap();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("upgrade"), Some("echo"));
    assert_eq!(answer.field("connection"), Some("Upgrade"));
    assert_eq!(answer.field("x-spoken"), Some("echo"));
    client.write_all(b" and late").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        answers.next(false),
        Err(NoAnswer::Cut("early and late".to_owned()))
    );
}

#[test]
fn in_a_drain_what_was_asked_is_answered_and_the_answer_says_that_it_is_the_last() {
    let mut server = Launch::web().set("timeouts.drain_quiet=\"2s\"").start();
    let streams: Vec<_> = (0..8).map(|_| connect(server.addr()).unwrap()).collect();
    for stream in &streams {
        let mut stream = stream;
        stream
            .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        stream.write_all(HELLO).unwrap();
    }
    let idle = connect(server.addr()).unwrap();
    (&idle).write_all(HELLO).unwrap();
    let mut of_idle = Answers::of(&idle);
    assert!(!of_idle.next(false).unwrap().closes());
    thread::sleep(Duration::from_millis(100));
    server.signal(rustix::process::Signal::TERM);
    for stream in &streams {
        let mut answers = Answers::of(stream);
        let slow = answers.next(false).unwrap();
        assert_eq!((&*slow.content, slow.closes()), (&b"slow"[..], false));
        let last = answers.next(false).unwrap();
        assert_eq!((&*last.content, last.closes()), (&b"hello"[..], true));
        assert_eq!(answers.end(), NoAnswer::Eof);
    }
    assert_eq!(
        of_idle.end(),
        NoAnswer::Eof,
        "who has asked for nothing is let go politely"
    );
    drop((streams, idle));
    assert_eq!(server.wait_exit(BOUND), Some(0));
}
