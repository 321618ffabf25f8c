//! `loadtest run` by HTTP, WebSocket and TLS: against servers of ours, and against servers that answer
//! wrongly in every way that it is to find.
#![allow(clippy::unwrap_used)]

mod rig;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use loadtest::Stop;
use loadtest::data::Report;
use loadtest::engine::{self, Show};
use loadtest::plan::{self, Mode, Plan};
use loadtest::workload::{Protocol, Workload};
use rig::{BOUND, binaries, output, program};
use serde_json::Value;
use sha1_smol::Sha1;
use tests::Certificate;

/// A server that handles each connection on a thread of its own, until the process ends.
fn server(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    addr
}

/// A server of ours; dropped, it is killed.
struct Ours(Child, SocketAddr);

impl Ours {
    fn start(name: &str, settings: &[&str]) -> Self {
        let mut command = Command::new(binaries().join(name));
        let own = [
            "server.listen=\"127.0.0.1:0\"",
            "server.shards=1",
            "log.format=\"json\"",
        ];
        command.args(own.iter().chain(settings).flat_map(|set| ["--set", set]));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listens = |line: String| {
            let log: Value = serde_json::from_str(&line).ok()?;
            let is_it = log["fields"]["message"] == "listening";
            is_it.then(|| log["fields"]["addr"].as_str().unwrap().parse().unwrap())
        };
        let addr = lines.by_ref().map_while(Result::ok).find_map(listens);
        let addr = addr.unwrap_or_else(|| panic!("{name} does not listen"));
        thread::spawn(move || lines.for_each(drop));
        Self(child, addr)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn plan(target: SocketAddr, workload: Workload) -> Plan {
    Plan {
        connections: 3,
        seed: 1,
        warmup: Duration::from_millis(20),
        duration: Duration::from_millis(200),
        timeout: BOUND,
        workload: workload.at("localhost", "/"),
        ..Plan::to(target)
    }
}

fn run(plan: Plan) -> Report {
    engine::run(plan, Show::Nothing, &Stop::default(), &mut ()).unwrap()
}

fn http() -> Workload {
    Workload::new(Protocol::Http, 8, 1)
}

fn websocket() -> Workload {
    Workload::new(Protocol::Websocket, 8, 1)
}

fn ours(protocol: Protocol) -> Ours {
    match protocol {
        Protocol::Http => Ours::start("http_echo", &[]),
        // Pings come in the midst of everything.
        _ => Ours::start("websocket_echo", &["app.websocket.ping_interval=\"100ms\""]),
    }
}

const BOTH: [Protocol; 2] = [Protocol::Http, Protocol::Websocket];

#[test]
fn an_echo_is_verified_at_every_size_and_depth() {
    for protocol in BOTH {
        let server = ours(protocol);
        for (payload, pipeline) in [
            (1, 1),
            (64, 16),
            (125, 1),
            (126, 4),
            (4097, 16),
            (65_535, 1),
            (65_536, 4),
        ] {
            let report = run(plan(server.1, Workload::new(protocol, payload, pipeline)));
            assert!(report.is_complete(), "{protocol:?}: {report}");
            assert!(report.latency_us.count > 0, "{protocol:?}: {report}");
        }
    }
}

#[test]
fn every_mode_speaks_every_protocol() {
    for protocol in BOTH {
        let server = ours(protocol);
        for mode in [Mode::Open, Mode::Idle, Mode::Storm, Mode::Slow] {
            let report = run(Plan {
                mode,
                interval: Duration::from_millis(10),
                duration: Duration::from_secs(1),
                ..plan(server.1, Workload::new(protocol, 64, 1))
            });
            assert_eq!(
                report.failures_total(),
                0,
                "{protocol:?} {mode:?}: {report}"
            );
            assert!(report.connections.served >= 3, "{report}");
            assert!(report.requests.total >= 3, "{report}");
        }
    }
}

#[test]
fn a_get_is_answered_by_what_is_expected_or_it_is_told() {
    let server = ours(Protocol::Http);
    let expecting = |body: &[u8]| {
        run(plan(
            server.1,
            Workload::new(Protocol::Http, 1, 4).expecting(body),
        ))
    };
    let report = expecting(b"hello\n");
    assert!(report.is_complete(), "{report}");
    for other in [&b"hallo\n"[..], b"hello", b"hello\n\n"] {
        assert_failures(&expecting(other), "wrong_bytes", "");
    }
}

/// That all three connections failed for this, in words that hold `wanted`.
fn assert_failures(report: &Report, kind: &str, wanted: &str) {
    assert_eq!(report.failures_of(kind), 3, "{wanted}: {report}");
    assert_eq!(report.failures_total(), 3, "{wanted}: {report}");
    assert!(report.to_string().contains(wanted), "{wanted}: {report}");
    assert!(!report.is_complete());
}

/// With a window that is long enough for each connection to fail in; with the last it ends.
fn until_all_fail(plan: Plan) -> Plan {
    Plan {
        duration: BOUND,
        ..plan
    }
}

/// Reads a request's head, and of its body 8 bytes; none at the end.
fn request(stream: &mut TcpStream) -> Option<[u8; 8]> {
    let (mut head, mut byte, mut body) = (Vec::new(), [0], [0; 8]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(
        head.starts_with("POST / HTTP/1.1\r\nHost: localhost\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nContent-Length: 8\r\n"), "{head}");
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// What is sent in answer to a request, by its number and body.
type Answer = fn(usize, [u8; 8]) -> Vec<u8>;
/// Sends an answer to a message, by its number and what it carries.
type Handle = fn(&mut TcpStream, usize, [u8; 8]);

/// A server that answers request number `n` with what `answer` says.
fn http_server(answer: Answer) -> SocketAddr {
    server(move |mut stream| {
        for number in 0.. {
            let Some(body) = request(&mut stream) else {
                return;
            };
            drop(stream.write_all(&answer(number, body)));
        }
    })
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn bodies_that_come_in_chunks_or_pieces_are_verified() {
    let chunked = http_server(|_, body| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n";
        [
            head.as_bytes(),
            &body[..3],
            b"\r\n5\r\n",
            &body[3..],
            b"\r\n0\r\n\r\n",
        ]
        .concat()
    });
    let report = run(plan(chunked, http()));
    assert!(
        report.is_complete() && report.latency_us.count > 0,
        "{report}"
    );
    let dripped = server(|mut stream| {
        stream.set_nodelay(true).unwrap();
        while let Some(body) = request(&mut stream) {
            for byte in answer(&body) {
                drop(stream.write_all(&[byte]));
            }
        }
    });
    let report = run(plan(dripped, http()));
    assert!(
        report.is_complete() && report.latency_us.count > 0,
        "{report}"
    );
}

#[test]
fn a_wrong_answer_by_http_is_found() {
    let flipped = |number: usize, mut body: [u8; 8]| {
        body[7] ^= u8::from(number == 5);
        answer(&body)
    };
    let report = run(until_all_fail(plan(http_server(flipped), http())));
    assert_failures(&report, "wrong_bytes", "byte 47 of the replies");
    assert_eq!(report.requests.total, 15, "the first five were right");
    let cases: [(Answer, &str); 6] = [
        (|_, body| answer(&body[..7]), "a reply of 7 bytes, not 8"),
        (
            |_, body| answer(&[&body[..], b"x"].concat()),
            "longer than 8 bytes",
        ),
        (|_, _| answer(b""), "a reply of 0 bytes, not 8"),
        (
            |_, _| b"HTTP/1.1 500 Oh no\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "status 500 Oh no",
        ),
        (|_, body| body.to_vec(), "no reply by HTTP"),
        (
            |_, body| [answer(&body), answer(&body)].concat(),
            "nothing had asked for",
        ),
    ];
    for (wrong, wanted) in cases {
        let report = run(plan(http_server(wrong), http()));
        // Bytes of the second answer may come after the next request: then they are wrong ones.
        let wanted = if wanted.starts_with("nothing") {
            ""
        } else {
            wanted
        };
        assert_failures(&report, "wrong_bytes", wanted);
    }
}

/// The server's side of RFC 6455, 4.2.2.
fn shake_hands(stream: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let key = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let key = key.unwrap_or_default().to_owned() + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let accept = STANDARD.encode(Sha1::from(key).digest().bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    drop(stream.write_all(answer.as_bytes()));
}

/// Shakes hands, and has each message handled, unmasked; of 8 bytes.
fn websocket_server(handle: Handle) -> SocketAddr {
    server(move |mut stream| {
        shake_hands(&mut stream);
        stream.set_nodelay(true).unwrap();
        for number in 0.. {
            let Some(message) = message(&mut stream) else {
                return;
            };
            handle(&mut stream, number, message);
        }
    })
}

/// A binary message, masked; none at the end, which is told by a close frame.
fn message(stream: &mut TcpStream) -> Option<[u8; 8]> {
    let mut frame = [0; 14];
    stream.read_exact(&mut frame[..8]).ok()?;
    if frame[0] == 0x88 {
        assert_eq!(frame[1], 0x82, "a code");
        return None;
    }
    stream.read_exact(&mut frame[8..]).ok()?;
    assert_eq!(frame[..2], [0x82, 0x88], "one frame, binary, masked");
    let mut payload: [u8; 8] = frame[6..].try_into().unwrap();
    for (place, byte) in payload.iter_mut().enumerate() {
        *byte ^= frame[2 + place % 4];
    }
    Some(payload)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}

#[test]
fn fragments_and_pings_between_them_are_taken_and_pings_answered() {
    let target = websocket_server(|stream, number, message| {
        drop(stream.write_all(&frame(0x02, &message[..2])));
        drop(stream.write_all(&frame(0x89, &[number as u8; 3])));
        drop(stream.write_all(&frame(0x00, &message[2..])));
        drop(stream.write_all(&frame(0x80, b"")));
        let mut pong = [0; 9];
        if stream.read_exact(&mut pong).is_ok() {
            assert_eq!(pong[..2], [0x8a, 0x83], "masked");
            for place in 0..3 {
                assert_eq!(pong[6 + place] ^ pong[2 + place], number as u8);
            }
        }
    });
    let report = run(plan(target, websocket()));
    assert!(
        report.is_complete() && report.latency_us.count > 0,
        "{report}"
    );
}

#[test]
fn a_wrong_answer_by_websocket_is_found() {
    let target = websocket_server(|stream, number, mut message| {
        message[0] ^= u8::from(number == 5);
        drop(stream.write_all(&frame(0x82, &message)));
    });
    let report = run(until_all_fail(plan(target, websocket())));
    assert_failures(&report, "wrong_bytes", "byte 40 of the replies");
    assert_eq!(report.requests.total, 15, "the first five were right");
    let cases: [(Handle, &str, &str); 5] = [
        (
            |stream, _, message| drop(stream.write_all(&frame(0x81, &message))),
            "wrong_bytes",
            "none of a binary message",
        ),
        (
            |stream, _, message| drop(stream.write_all(&frame(0x82, &message[..7]))),
            "wrong_bytes",
            "a reply of 7 bytes, not 8",
        ),
        (
            |stream, _, message| {
                let more = [&message[..], b"x"].concat();
                drop(stream.write_all(&frame(0x82, &more)));
            },
            "wrong_bytes",
            "longer than 8 bytes",
        ),
        (
            |stream, _, message| drop(stream.write_all(&message)),
            "wrong_bytes",
            "",
        ),
        (
            |stream, _, _| drop(stream.write_all(&frame(0x88, b"\x03\xe9away"))),
            "closed_early",
            "with 1001 away",
        ),
    ];
    for (wrong, kind, wanted) in cases {
        let report = run(plan(websocket_server(wrong), websocket()));
        assert_failures(&report, kind, wanted);
    }
}

#[test]
fn a_server_that_does_not_go_over_to_websocket_is_told() {
    let refusing = server(|mut stream| {
        let mut head = [0; 1024];
        drop(stream.read(&mut head));
        drop(stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let report = run(plan(refusing, websocket()));
    assert_failures(&report, "wrong_bytes", "does not go over");
    assert_eq!(report.connections.established, 3);
    let mute = server(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let report = run(Plan {
        timeout: Duration::from_millis(200),
        ..plan(mute, websocket())
    });
    assert_failures(&report, "timed_out", "handshake");
}

/// A certificate of the servers here.
fn certificate() -> Certificate {
    Certificate::of("127.0.0.1")
}

/// A server of ours that has it.
fn start(name: &str, certificate: &Certificate) -> Ours {
    Ours::start(name, &certificate.settings().each_ref().map(String::as_str))
}

fn by_tls(certificate: &Certificate, target: SocketAddr, workload: Workload) -> Plan {
    Plan {
        tls: Some(plan::trusting(certificate.path()).unwrap()),
        ..plan(target, workload)
    }
}

fn echo() -> Workload {
    Workload::new(Protocol::Echo, 8, 1)
}

#[test]
fn every_protocol_is_verified_by_tls_at_every_size() {
    let certificate = certificate();
    for (server, protocol) in [
        ("echo", Protocol::Echo),
        ("http_echo", Protocol::Http),
        ("websocket_echo", Protocol::Websocket),
    ] {
        let server = start(server, &certificate);
        for (payload, pipeline) in [(1, 1), (64, 16), (16_384, 1), (65_536, 4)] {
            let workload = Workload::new(protocol, payload, pipeline);
            let report = run(by_tls(&certificate, server.1, workload));
            assert!(report.is_complete(), "{protocol:?}: {report}");
            assert!(report.latency_us.count > 0, "{protocol:?}: {report}");
            assert!(report.to_string().contains(" by TLS to "), "{report}");
        }
    }
}

#[test]
fn every_mode_goes_by_tls_and_handshakes_are_counted() {
    let certificate = certificate();
    let server = start("echo", &certificate);
    for mode in [Mode::Open, Mode::Idle, Mode::Slow] {
        let report = run(Plan {
            mode,
            interval: Duration::from_millis(10),
            ..by_tls(&certificate, server.1, echo())
        });
        assert_eq!(report.failures_total(), 0, "{mode:?}: {report}");
        let handshakes = report.handshakes.as_ref().unwrap();
        assert_eq!(handshakes.full + handshakes.resumed, 3, "{report}");
    }
}

#[test]
fn a_storm_resumes_sessions_unless_it_is_told_not_to() {
    let certificate = certificate();
    let (server, file) = (start("echo", &certificate), certificate.path());
    let storm = |options: &str| {
        let target = server.1.to_string();
        let mut command = program(&["run", "--target", &target, "--mode", "storm", "--json"]);
        command
            .args(["--cycles", "40", "--shards", "1", "--tls-ca"])
            .arg(file);
        let output = output(command.args(options.split_whitespace()));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["connections"]["served"], 40, "{report}");
        assert_eq!(report["failures"], serde_json::json!([]));
        assert_eq!(report["load"]["tls"], true);
        ["full", "resumed"].map(|kind| report["handshakes"][kind].as_u64().unwrap())
    };
    assert_eq!(storm("--tls-full"), [40, 0]);
    assert_eq!(
        storm(""),
        [1, 39],
        "one connection at a time, each leaves tickets"
    );
}

#[test]
fn who_is_not_trusted_or_speaks_no_tls_is_told() {
    let (certificate, other) = (certificate(), certificate());
    let server = start("echo", &certificate);
    let report = run(by_tls(&other, server.1, echo()));
    assert_failures(&report, "other", "certificate");
    let plain = Ours::start("echo", &[]);
    let report = run(by_tls(&certificate, plain.1, echo()));
    assert_eq!(report.connections.established, 0, "{report}");
    assert_eq!(report.failures_total(), 3, "{report}");
    // In the clear to one who wants TLS.
    let report = run(plan(server.1, echo()));
    assert_eq!(report.connections.served, 0, "{report}");
    assert_eq!(report.failures_total(), 3, "{report}");
}
