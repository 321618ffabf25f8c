//! The examples of the framework, built and run over real sockets.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;
use tests::http::{Answers, NoAnswer};
use tests::websocket::{Socket, close, frame};
use tests::{BOUND, Client, Launch, Server, cargo, needs};

/// The examples by name, built once.
fn examples() -> &'static BTreeMap<String, PathBuf> {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let built = cargo()
            .args([
                "build",
                "-p",
                "corelane",
                "--examples",
                "--features=hyper,websocket",
                "--message-format=json",
            ])
            .current_dir(root)
            // Of an instrumented build: without a target of its own cargo would build its own tools with them.
            .env_remove("RUSTFLAGS")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "the examples do not build:\n{said}");
        let messages = String::from_utf8(built.stdout).unwrap();
        let executables = messages.lines().filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, message["executable"].as_str()?.into()))
        });
        executables.collect()
    })
}

/// The server of an example, on a free port.
fn server(name: &str) -> Launch {
    let path = examples()[name].display().to_string();
    // It is run in place of the program that the rig would run.
    let script = format!("exec '{path}' \"$@\"");
    Launch::echo()
        .under(&["sh", "-c", &script])
        .set("server.shards=2")
}

fn ends_well(server: Server) {
    let counts = server.stop();
    assert_eq!(counts.accepted, counts.closed);
}

#[test]
fn echo_sends_back_what_it_gets() {
    let server = server("echo").start();
    server.connect().ask(b"hello", b"hello");
    ends_well(server);
}

#[test]
fn lines_are_added_up_and_mistakes_are_told() {
    let server = server("lines").set("app.numbers_max=3").start();
    let mut client = server.connect();
    client.ask(b"1 2 39\n\n", b"42\n0\n");
    client.ask(b"1 x\n", b"! not a number\n");
    client.ask(b"1 1 1 1\n", b"! too many numbers\n");
    client.ask(b"9223372036854775807 1\n", b"! too large\n");
    drop(client);
    ends_well(server);
    let refused = self::server("lines").set("app.numbers_max=0").run();
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("app.numbers_max"),
        "{}",
        refused.stderr
    );
}

#[test]
fn frames_are_answered_reversed_and_a_length_beyond_the_bound_ends_it() {
    let server = server("length_prefixed").debug().start();
    let mut client = server.connect();
    client.ask(
        b"\0\0\0\x05hello\0\0\0\0\0\0\0\x02ab",
        b"\0\0\0\x05olleh\0\0\0\0\0\0\0\x02ba",
    );
    client.send(b"\0\x01\0\x01");
    client.expect_reset();
    server.wait_for_closed("protocol_error", 1);
    ends_well(server);
}

#[test]
fn the_proxy_passes_on_both_ways_and_the_ends() {
    let echo = server("echo").start();
    let proxy = server("proxy")
        .set(&format!("app.upstream=\"{}\"", echo.addr()))
        .start();
    let mut client = proxy.connect();
    client.ask(b"over two", b"over two");
    client.send(b"last");
    client.half_close();
    client.expect(b"last");
    client.expect_eof();
    drop(client);
    ends_well(proxy);
    ends_well(echo);
}

#[test]
fn news_of_a_thread_reach_the_connections_of_every_shard() {
    let server = server("push_from_thread").set("app.interval_ms=5").start();
    let mut clients: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    for client in &mut clients {
        let number = |client: &mut Client| -> u64 { client.receive_line().trim().parse().unwrap() };
        let first = number(client);
        assert!(number(client) > first, "each is later than the one before");
    }
    drop(clients);
    ends_well(server);
}

#[test]
fn the_relay_asks_through_its_pool_and_tells_of_failures() {
    let lines = server("lines").start();
    let next = format!("upstream.next.addr=\"{}\"", lines.addr());
    let relay = server("relay_through_pool").set(&next).start();
    let mut clients: Vec<Client> = (0..10).map(|_| relay.connect()).collect();
    for client in &mut clients {
        client.ask(b"1 2 39\n", b"42\n");
    }
    let opened = lines.stop().accepted;
    assert!(
        (1..=8).contains(&opened),
        "{opened}, four of each shard at most"
    );
    clients[0].send(b"1\n");
    assert!(clients[0].receive_line().starts_with("! upstream next: "));
    drop(clients);
    ends_well(relay);
}

#[test]
fn a_program_embeds_a_server() {
    let run = Command::new(&examples()["embedded_server"])
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{said}");
    assert!(said.starts_with("bound to 127.0.0.1:"), "{said}");
    assert!(
        said.ends_with("hello, Ada\nhello, Grace\nserved 2, 2 left\n"),
        "{said}"
    );
    assert!(run.stderr.is_empty(), "the log is the program's");
}

#[test]
fn the_client_counts_right_answers_from_every_shard() {
    let echo = server("echo").start();
    let client = || Command::new(&examples()["client"]);
    let run = client().arg(echo.addr().to_string()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "800 right answers\n");
    assert_eq!((run.status.code(), &*run.stderr), (Some(0), &b""[..]));
    assert_eq!(client().output().unwrap().status.code(), Some(2));
    ends_well(echo);
}

#[test]
fn websocket_echo_sends_back_what_it_gets_and_tells_all() {
    let server = server("websocket_echo").start();
    server.connect().ask(
        b"GET /no HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 404",
    );
    let mut sockets: Vec<Socket> = (0..8).map(|_| Socket::open(&server, "/echo")).collect();
    for socket in &mut sockets {
        socket.send(&frame(0x82, b"bytes"));
        socket.expect(0x82, b"bytes");
    }
    sockets[0].send(&frame(0x81, b"all: hear"));
    for socket in &mut sockets {
        socket.expect(0x81, b"all: hear");
        socket.send(&close(1000, "bye"));
        socket.expect_close(1000);
    }
    drop(sockets);
    ends_well(server);
}

#[test]
fn every_example_is_tried_here() {
    let own = include_str!("examples.rs");
    for name in examples().keys() {
        assert!(
            own.contains(&format!("(\"{name}\")")) || own.contains(&format!("[\"{name}\"]")),
            "{name}"
        );
    }
    assert_eq!(examples().len(), 11);
}

#[test]
fn hello_is_said_by_http_and_bodies_are_read_and_streamed() {
    let server = server("http_hello").set("app.http.body_max=100").start();
    let asked = |request: &[u8]| {
        let mut client = server.connect();
        client.send(request);
        let mut answers = Answers::of(client.stream());
        answers.next(request.starts_with(b"HEAD ")).unwrap()
    };
    let answer = asked(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, &*answer.content), (200, &b"hello\n"[..]));
    assert_eq!(answer.field("content-type"), Some("text/plain"));
    assert_eq!(
        asked(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").field("content-length"),
        Some("6")
    );
    let counted = asked(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(counted.content, b"3 bytes\n");
    let upper = asked(
        b"PUT /upper HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(upper.content, b"ABC");
    let statuses = [
        (405, &b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        (404, b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            413,
            b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n",
        ),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
    ];
    for (status, request) in statuses {
        assert_eq!(asked(request).status, status);
    }
    ends_well(server);
    let refused = self::server("http_hello").set("app.http.head_max=1").run();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("head_max"), "{}", refused.stderr);
}

/// One answer on a connection of its own.
fn ask(server: &Server, request: &[u8]) -> (u16, String) {
    let mut client = server.connect();
    client.send(request);
    let answer = Answers::of(client.stream()).next(false).unwrap();
    (answer.status, String::from_utf8(answer.content).unwrap())
}

#[test]
fn a_router_of_axum_is_served() {
    needs!("curl");
    let server = server("axum_router").set("app.body_max=100000").start();
    let url = |path: &str| format!("http://{}{path}", server.addr());
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "60"]).args(arguments);
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // Twice on one connection.
    let both = curl(&[&url("/hello/Ada"), &url("/hello/Ada")]);
    assert_eq!(
        both,
        "hello, Ada, the 1. of this shard\nhello, Ada, the 2. of this shard\n"
    );
    let body = "x".repeat(90_000);
    let chunked = ["-H", "Transfer-Encoding: chunked", "-d", &body];
    let counted = curl(&[&chunked[..], &[&url("/count")]].concat());
    assert_eq!(counted, "90000 bytes\n");
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(curl(&[&status[..], &[&url("/nothing")]].concat()), "404");
    let large = "x".repeat(100_001);
    let refused = curl(&[&status[..], &["-d", &large, &url("/count")]].concat());
    assert_eq!(refused, "413");
    ends_well(server);
}

#[test]
fn what_is_no_request_to_a_router_of_axum_is_told_and_an_end_behind_one_has_its_answer() {
    let server = server("axum_router").debug().start();
    let (status, _) = ask(&server, b"no request at all\r\n\r\n");
    assert_eq!(status, 400);
    server.wait_for_closed("protocol_error", 1);
    let endless = format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(65 * 1024));
    let (status, _) = ask(&server, endless.as_bytes());
    assert_eq!(status, 431);
    server.wait_for_closed("protocol_error", 2);
    let mut client = server.connect();
    client.send(b"GET /hello/Ada HTTP/1.1\r\nHo");
    client.half_close();
    server.wait_for_closed("protocol_error", 3);
    drop(client);
    // Half a body is axum's to refuse.
    let mut client = server.connect();
    client.send(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    client.half_close();
    let answer = Answers::of(client.stream()).next(false).unwrap();
    assert_eq!(answer.status, 400);
    drop(client);
    // Whoever ends behind the request has the answer.
    let mut client = server.connect();
    client.send(b"GET /hello/Ada HTTP/1.1\r\nHost: a\r\n\r\n");
    client.half_close();
    let answer = Answers::of(client.stream()).next(false).unwrap();
    assert_eq!(answer.status, 200);
    drop(client);
    ends_well(server);
}

#[test]
fn in_a_drain_a_router_of_axum_answers_what_it_has_in_hand_and_lets_the_others_go() {
    // A drain that waits longer than this test for whoever is silent.
    let mut server = server("axum_router")
        .set("server.shards=1") // where one drains, so does the other
        .set("timeouts.drain='60s'")
        .set("timeouts.drain_quiet='50s'")
        .start();
    let mut idle = server.connect();
    idle.send(b"GET /hello/Ada HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut of_idle = Answers::of(idle.stream());
    assert!(!of_idle.next(false).unwrap().closes());
    let mut upload = server.connect();
    upload.send(b"GET /hello/Bob HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut of_upload = Answers::of(upload.stream());
    assert!(!of_upload.next(false).unwrap().closes());
    upload.send(
        b"POST /count HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    );
    // It says so once the handler waits for the body.
    assert_eq!(of_upload.next(false).unwrap().status, 100);
    upload.send(b"first");
    server.signal(Signal::TERM);
    assert_eq!(of_idle.end(), NoAnswer::Eof, "it waits for nothing");
    upload.send(b"other");
    let answer = of_upload.next(false).unwrap();
    assert_eq!(
        (answer.status, &*answer.content, answer.closes()),
        (200, &b"10 bytes\n"[..], true)
    );
    assert_eq!(of_upload.end(), NoAnswer::Eof);
    drop((idle, upload));
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

#[test]
fn without_its_feature_nothing_of_hyper_is_built() {
    let tree = |features: &str| {
        let output = cargo()
            .args([
                "tree",
                "--offline",
                "-p",
                "corelane",
                "--edges=normal,build",
            ])
            .args(["--prefix=none", "--features", features])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |tree: &str, name: &str| {
        tree.lines()
            .any(|line| line.starts_with(&format!("{name} v")))
    };
    let (without, with) = (tree("websocket-deflate"), tree("hyper"));
    for name in ["hyper", "http", "http-body", "bytes", "tokio"] {
        assert!(!has(&without, name) && has(&with, name), "{name}");
    }
    for name in ["axum", "hyper-util", "tower"] {
        assert!(!has(&with, name), "{name} is for examples");
    }
}
