//! What the gateway answers, to whom, and whom it serves.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tests::events::{EndOfEvents, Events};
use tests::gateway::{
    ADA, BOB, Publisher, an_event, answer_to, ask, events, file, gateway, request, setting, socket,
    tokens, wait_for_subscribers,
};
use tests::http::Answers;
use tests::websocket::{self, Came, Socket, frame};
use tests::{BOUND, Launch, Line, connect, needs, within};

const DIRECTORY: &str = env!("CARGO_TARGET_TMPDIR");

// ---- what is answered ----

#[test]
fn each_request_has_its_answer() {
    let server = gateway().set("app.message_max=10").start();
    let long = "a".repeat(65);
    let stream = "Accept: text/event-stream\r\n";
    for (method, path, fields, status) in [
        ("GET", "/", "", 200),
        ("HEAD", "/", "", 200),
        ("GET", "/health", "", 200),
        ("HEAD", "/health?a=b", "", 200),
        ("POST", "/health", "", 405),
        ("POST", "/", "", 405),
        ("GET", "/nothing", "", 404),
        ("GET", "/publish", "", 404),
        ("POST", "/publish/a", "", 200),
        ("POST", "/publish/a?b=c", "", 200),
        ("GET", "/publish/a", "", 405),
        ("PUT", "/publish/a", "", 405),
        ("POST", "/publish/", "", 400),
        ("POST", "/publish/a/b", "", 400),
        ("POST", "/publish/a%20b", "", 400),
        ("POST", &format!("/publish/{long}"), "", 400),
        ("POST", "/subscribe/a", "", 405),
        ("HEAD", "/subscribe/a", stream, 405),
        ("GET", "/subscribe/a%00", stream, 400),
        ("GET", "/subscribe/a", "Accept: text/html\r\n", 406),
        ("GET", "/subscribe/a", "Last-Event-ID: last\r\n", 400),
        ("OPTIONS", "/publish/a", "", 204),
        ("OPTIONS", "/subscribe/a", "", 204),
        ("OPTIONS", "/", "", 405),
    ] {
        let answer = ask(&server, method, path, fields);
        assert_eq!(answer.status, status, "{method} {path} {fields}");
        assert_eq!(
            answer.field("allow").is_some(),
            matches!(status, 204 | 405),
            "{answer:?}"
        );
        assert!(answer.closes() == (status == 413), "{answer:?}");
    }
    for (length, status) in [(10, 200), (11, 413)] {
        let bytes = request("POST", "/publish/a", "", &vec![b'x'; length]);
        assert_eq!(answer_to(&server, &bytes, false).status, status);
    }
    let chunked = b"POST /publish/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        6\r\nabcdef\r\n5\r\nghijk\r\n0\r\n\r\n";
    let too_long = answer_to(&server, chunked, false);
    assert_eq!(too_long.status, 413);
    // An answer without an end begins behind the request's, which nobody reads.
    let with_body = request("GET", "/subscribe/a", stream, b"abc");
    assert_eq!(answer_to(&server, &with_body, false).status, 400);
    let chunked =
        b"GET /subscribe/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(answer_to(&server, chunked, false).status, 400);
    let old = b"GET /subscribe/a HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n";
    assert_eq!(answer_to(&server, old, false).status, 505);
    let refused = websocket::request("/subscribe/a", "").replace("Version: 13", "Version: 8");
    let refused = answer_to(&server, refused.as_bytes(), false);
    assert_eq!(refused.status, 426);
    for answer in [too_long, refused] {
        // As the answers that the gateway words itself.
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
    for fields in ["", "Accept: */*\r\n", "Accept: text/*;q=0.5\r\n"] {
        let mut stream = Events::open(&server, "/subscribe/a", fields);
        stream.begin();
        assert!(
            stream
                .head
                .contains("\r\nContent-Type: text/event-stream\r\n"),
            "{}",
            stream.head
        );
    }
    server.stop();
}

/// A request that has begun before the drain is answered in it.
#[test]
fn in_a_drain_it_is_not_healthy() {
    let mut server = gateway().start();
    let mut stream = connect(server.addr()).unwrap();
    let begun = b"GET /health HTTP/1.1\r\nHost: a\r\n";
    stream.write_all(begun).unwrap();
    within(BOUND, "the server has its beginning", || {
        let received = server.metric("corelane_received_bytes_total");
        (received >= begun.len() as f64).then_some(())
    });
    server.signal(Signal::TERM);
    within(BOUND, "no shard listens", || {
        TcpStream::connect(server.addr()).err()
    });
    stream.write_all(b"\r\n").unwrap();
    let answer = Answers::of(&stream).next(false).unwrap();
    assert_eq!((answer.status, &*answer.content), (503, &b"draining\n"[..]));
    assert!(answer.closes());
    drop(stream);
    assert_eq!(server.wait_exit(2 * BOUND), Some(0));
}

#[test]
fn requests_of_one_connection_are_answered_in_order() {
    let server = gateway().start();
    let mut stream = events(&server, "a");
    wait_for_subscribers(&server, "event_stream", 1);
    let ahead: Vec<u8> = (0..50)
        .flat_map(|number: u32| request("POST", "/publish/a", "", number.to_string().as_bytes()))
        .collect();
    let mut connection = connect(server.addr()).unwrap();
    connection.write_all(&ahead).unwrap();
    let mut answers = Answers::of(&connection);
    for number in 0..50 {
        let told: Value = serde_json::from_slice(&answers.next(false).unwrap().content).unwrap();
        assert_eq!(stream.event(), an_event(&told["id"], &number.to_string()));
    }
    server.stop();
}

#[test]
fn who_only_listens_is_told_so() {
    let server = gateway().start();
    let mut socket = socket(&server, "a");
    wait_for_subscribers(&server, "websocket", 1);
    socket.send(&frame(0x81, b"hello"));
    match socket.came() {
        Came::Frame(0x88, said) => assert_eq!(&said[..2], 1008_u16.to_be_bytes()),
        other => panic!("{other:?}"),
    }
    socket.send(&websocket::close(1008, ""));
    assert_eq!(socket.came(), Came::Eof);
    let mut stream = events(&server, "a");
    stream.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(
        stream.event(),
        Err(EndOfEvents::Whole),
        "its head has said that it ends"
    );
    server.stop();
}

/// A peer may say anything: nothing of it ends more than its own connection.
#[test]
fn garbage_ends_its_own_connection() {
    let server = gateway().start();
    let mut stream = events(&server, "a");
    wait_for_subscribers(&server, "event_stream", 1);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"POST /publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
        b"GET /subscribe/a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"POST /publish/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = connect(server.addr()).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let _answer_or_reset = client.read_to_end(&mut Vec::new());
    }
    let told = Publisher::to(&server).publish("a", b"hello");
    assert_eq!(stream.event(), an_event(&told["id"], "hello"));
    server.stop();
}

// ---- who may ----

#[test]
fn a_token_gives_the_rights_of_its_line() {
    let path = file(DIRECTORY, "tokens", &tokens());
    let server = gateway().set(&setting("app.tokens_file", &path)).start();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let short = &ADA[..ADA.len() - 1];
    for (fields, publish, subscribe) in [
        (String::new(), 401, 401),
        (bearer(short), 401, 401),
        (bearer(&format!("{ADA}x")), 401, 401),
        (bearer(ADA).replace("Bearer", "Basic"), 401, 401),
        (bearer(ADA) + &bearer(ADA), 401, 401),
        (bearer(BOB), 403, 406),
        (bearer(ADA), 200, 406),
    ] {
        let answer = ask(&server, "POST", "/publish/a", &fields);
        assert_eq!(answer.status, publish, "{fields}");
        assert_eq!(answer.field("www-authenticate").is_some(), publish == 401);
        let fields = fields + "Accept: text/plain\r\n";
        assert_eq!(
            ask(&server, "GET", "/subscribe/a", &fields).status,
            subscribe,
            "{fields}"
        );
    }
    assert_eq!(
        ask(&server, "GET", "/health", "").status,
        200,
        "that is for everybody"
    );
    let mut stream = Events::open(&server, "/subscribe/a", &bearer(BOB));
    stream.begin();
    // As scripts of a browser have to do it, and as other programs may.
    let offers = format!("Sec-WebSocket-Protocol: bearer, {BOB}\r\n");
    let (mut script, head) = Socket::open_with(&server, "/subscribe/a", &offers);
    assert!(
        head.contains("\r\nSec-WebSocket-Protocol: bearer\r\n"),
        "{head}"
    );
    let (mut program, head) = Socket::open_with(&server, "/subscribe/a", &bearer(BOB));
    assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
    for fields in [
        "",
        "Sec-WebSocket-Protocol: bearer\r\n",
        "Sec-WebSocket-Protocol: bearer, x\r\n",
    ] {
        let asks = websocket::request("/subscribe/a", fields);
        assert_eq!(
            answer_to(&server, asks.as_bytes(), false).status,
            401,
            "{fields}"
        );
    }
    wait_for_subscribers(&server, "websocket", 2);
    let bytes = request("POST", "/publish/a", &bearer(ADA), b"hello");
    assert_eq!(answer_to(&server, &bytes, false).status, 200);
    assert_eq!(stream.event().unwrap().data, "hello");
    script.expect(0x81, b"hello");
    program.expect(0x81, b"hello");
    let log = server.log().text();
    assert!(
        !log.contains(ADA) && !log.contains(BOB),
        "a token in the log"
    );
    server.stop();
}

#[test]
fn a_reload_reads_the_tokens_again_or_changes_nothing() {
    let path = file(DIRECTORY, "tokens-to-change", &tokens());
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[app]\n{}\n",
        setting("tokens_file", &path).replace('=', " = ")
    );
    let server = Launch::gateway_with(&file(DIRECTORY, "reload.toml", &settings)).start();
    let status = |token: &str| {
        let fields = format!("Authorization: Bearer {token}\r\n");
        ask(&server, "POST", "/publish/a", &fields).status
    };
    assert_eq!((status(ADA), status(BOB)), (200, 403));
    let reload = |text: &str, wanted: &str| {
        let seen = server.log().lines().len();
        std::fs::write(&path, text).unwrap();
        server.signal(Signal::HUP);
        server.wait_for_line(seen, BOUND, wanted, |line| line.message() == wanted)
    };
    let line = reload(&format!("bob {BOB} publish\n"), "reloaded");
    assert!(line.text.contains("app.tokens_file"), "{}", line.text);
    // Each shard is told between two of its turns.
    within(BOUND, "the new tokens are in force on every shard", || {
        let all = (0..8).all(|_| (status(ADA), status(BOB)) == (401, 200));
        all.then_some(())
    });
    let line = reload("bob short publish\n", "reload refused");
    assert!(line.text.contains("expected 16 to 256"), "{}", line.text);
    assert_eq!((status(ADA), status(BOB)), (401, 200));
    let line = reload(&format!("bob {BOB} publish\n"), "reloaded");
    assert_eq!(line.number("count"), 0, "it is as before");
    server.stop();
}

#[test]
fn a_file_of_tokens_that_any_user_may_read_is_warned_of() {
    let path = file(DIRECTORY, "tokens-for-all", &tokens());
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[app]\n{}\n",
        setting("tokens_file", &path).replace('=', " = ")
    );
    let settings = file(DIRECTORY, "tokens-for-all.toml", &settings);
    let allow = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, permissions).unwrap();
    };
    let warning = format!(
        "app.tokens_file: {} is for any user of this machine to read: run `chmod 640` on it",
        path.display()
    );
    let told = |question: &str| {
        let exit = Launch::gateway_with(&settings).argument(question).run();
        format!("{}{}", exit.stdout, exit.stderr).contains(&warning)
    };
    for (mode, is_told) in [(0o640, false), (0o644, true)] {
        allow(mode);
        for question in ["--check", "--doctor"] {
            assert_eq!(told(question), is_told, "{question} of mode {mode:o}");
        }
    }
    let start = || Launch::gateway_with(&settings).start();
    let warns = |line: &Line| line.level() == "WARN" && line.text.contains(&warning);
    let server = start();
    server.wait_for_line(0, BOUND, "the warning of a start", warns);
    server.stop();
    allow(0o600);
    let server = start();
    assert!(!server.log().lines().iter().any(warns));
    for (mode, warnings) in [(0o604, 1), (0o604, 1), (0o600, 1), (0o604, 2)] {
        allow(mode);
        let seen = server.log().lines().len();
        server.signal(Signal::HUP);
        server.wait_for_line(seen, BOUND, "reloaded", |line| line.message() == "reloaded");
        let lines = server.log().lines();
        assert_eq!(
            lines.into_iter().filter(warns).count(),
            warnings,
            "told where it is new"
        );
    }
    server.stop();
}

#[test]
fn a_pipe_in_the_place_of_the_tokens_stops_nobody() {
    needs!("mkfifo");
    let path = Path::new(DIRECTORY).join("gateway-tokens-to-be-a-pipe");
    drop(std::fs::remove_file(&path)); // the pipe of a run that has failed
    std::fs::write(&path, tokens()).unwrap();
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[app]\n{}\n",
        setting("tokens_file", &path).replace('=', " = ")
    );
    let mut server = Launch::gateway_with(&file(DIRECTORY, "pipe.toml", &settings)).start();
    std::fs::remove_file(&path).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let seen = server.log().lines().len();
    server.signal(Signal::HUP);
    let line = server.wait_for_line(seen, BOUND, "reload refused", |line| {
        line.message() == "reload refused"
    });
    assert!(line.text.contains("no regular file"), "{}", line.text);
    let fields = format!("Authorization: Bearer {ADA}\r\n");
    assert_eq!(ask(&server, "POST", "/publish/a", &fields).status, 200);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_wrong_file_of_tokens_refuses_the_start() {
    let missing = Path::new(DIRECTORY).join("gateway-no-such-file");
    for (path, told) in [
        (missing, "cannot read"),
        (
            file(DIRECTORY, "no-tokens", "# nobody\n"),
            "leave app.tokens_file empty",
        ),
        (
            file(DIRECTORY, "wrong-tokens", &format!("\nada {ADA} write\n")),
            ":2: expected NAME TOKEN RIGHTS",
        ),
    ] {
        let exit = gateway().set(&setting("app.tokens_file", &path)).run();
        assert_eq!(exit.code, Some(2), "{}", exit.stderr);
        assert!(exit.stderr.contains("app.tokens_file"), "{}", exit.stderr);
        assert!(exit.stderr.contains(told), "{}", exit.stderr);
        assert!(!exit.stderr.contains(ADA), "{}", exit.stderr);
    }
}

#[test]
fn scripts_of_other_pages_may_ask_only_where_the_settings_say_so() {
    let server = gateway()
        .set("app.origins=['https://page.example']")
        .start();
    let of = |origin: &str| format!("Origin: {origin}\r\n");
    let (own, named, strange) = (
        of("http://a"),
        of("https://page.example"),
        of("https://evil.example"),
    );
    for (fields, status, is_named) in [
        (&own, 200, false),
        (&named, 200, true),
        (&strange, 403, false),
    ] {
        let answer = ask(&server, "POST", "/publish/a", fields);
        assert_eq!(answer.status, status, "{fields}");
        let allowed = answer.field("access-control-allow-origin");
        assert_eq!(allowed, is_named.then_some("https://page.example"));
        assert_eq!(answer.field("vary"), is_named.then_some("Origin"));
    }
    let asks = named.clone()
        + "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n";
    let preflight = ask(&server, "OPTIONS", "/publish/a", &asks);
    assert_eq!(preflight.status, 204);
    assert_eq!(
        preflight.field("access-control-allow-methods"),
        Some("POST, OPTIONS")
    );
    let headers = preflight.field("access-control-allow-headers").unwrap();
    assert!(
        headers.contains("Authorization") && headers.contains("Last-Event-ID"),
        "{headers}"
    );
    assert_eq!(ask(&server, "OPTIONS", "/publish/a", &strange).status, 403);
    let stream = Events::open(&server, "/subscribe/a", &named);
    assert!(
        stream
            .head
            .contains("Access-Control-Allow-Origin: https://page.example\r\n")
    );
    let (_socket, _) = Socket::open_with(&server, "/subscribe/a", &named);
    let refused = websocket::request("/subscribe/a", &strange);
    assert_eq!(answer_to(&server, refused.as_bytes(), false).status, 403);
    server.stop();
}

#[test]
fn a_page_in_the_settings_is_an_origin() {
    let exit = gateway().set("app.origins=['page.example']").run();
    assert_eq!(exit.code, Some(2));
    assert!(
        exit.stderr.contains("app.origins: found \"page.example\""),
        "{}",
        exit.stderr
    );
}
