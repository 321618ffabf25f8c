//! The rules of WebSocket, each with its code, over real sockets: faults 69 to 74, and more.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::Shutdown;

use tests::http::{Answers, NoAnswer};
use tests::websocket::{Came, Socket, close, frame, request};
use tests::{Launch, Server, connect};

/// What a peer sends, the code that it is told for it, and a part of the words. Without a code: it is
/// answered, by these frames.
struct Case {
    sent: Vec<u8>,
    answers: Vec<(u8, Vec<u8>)>,
    code: Option<u16>,
    why: &'static str,
}

fn told(code: u16, why: &'static str, sent: &[&[u8]]) -> Case {
    Case {
        sent: sent.concat(),
        answers: Vec::new(),
        code: Some(code),
        why,
    }
}

fn answered(sent: &[&[u8]], answers: &[(u8, &[u8])]) -> Case {
    let answers = answers
        .iter()
        .map(|(first, bytes)| (*first, bytes.to_vec()));
    Case {
        sent: sent.concat(),
        answers: answers.collect(),
        code: None,
        why: "",
    }
}

/// `message_max` is 1000, `fragments_max` 10.
fn cases() -> Vec<Case> {
    let text = |bytes: &[u8]| frame(0x81, bytes);
    let mut cases = vec![
        // ---- what is answered ----
        answered(&[&text(b"")], &[(0x81, b"")]),
        answered(&[&text(b"hello")], &[(0x81, b"hello")]),
        answered(
            &[&text("h\u{e9}\u{1f600}".as_bytes())],
            &[(0x81, "h\u{e9}\u{1f600}".as_bytes())],
        ),
        answered(&[&frame(0x82, &[0xff; 125])], &[(0x82, &[0xff; 125])]),
        answered(&[&frame(0x82, &[1; 126])], &[(0x82, &[1; 126])]),
        answered(&[&frame(0x82, &[1; 1000])], &[(0x82, &[1; 1000])]),
        answered(&[&frame(0x89, b"")], &[(0x8a, b"")]),
        answered(&[&frame(0x89, &[0xfe; 125])], &[(0x8a, &[0xfe; 125])]),
        answered(
            &[&frame(0x8a, b"not asked for"), &text(b"a")],
            &[(0x81, b"a")],
        ),
        answered(
            &[&frame(0x01, b"a"), &frame(0x00, b""), &frame(0x80, b"b")],
            &[(0x81, b"ab")],
        ),
        answered(&[&frame(0x01, b""), &frame(0x80, b"")], &[(0x81, b"")]),
        answered(
            &[&frame(0x02, b"a"), &frame(0x89, b"p"), &frame(0x80, b"b")],
            &[(0x8a, b"p"), (0x82, b"ab")],
        ),
        answered(
            &[
                &frame(0x01, b"\xf0\x9f"),
                &frame(0x00, b"\x98"),
                &frame(0x80, b"\x80"),
            ],
            &[(0x81, "\u{1f600}".as_bytes())],
        ),
        answered(
            &[
                &frame(0x01, b"a"),
                &frame(0x00, b"").repeat(8),
                &frame(0x80, b"b"),
            ],
            &[(0x81, b"ab")],
        ),
        answered(&[&frame(0x88, b"")], &[(0x88, b"")]),
        answered(
            &[&close(1000, "bye"), &text(b"late")],
            &[(0x88, b"\x03\xe8")],
        ),
        answered(
            &[&frame(0x01, b"half"), &close(1001, "")],
            &[(0x88, b"\x03\xe9")],
        ),
        answered(&[&close(1000, &"r".repeat(123))], &[(0x88, b"\x03\xe8")]),
        // ---- frames ----
        told(1002, "is not masked", &[b"\x81\x05hello"]),
        told(1002, "is not masked", &[b"\x89\x00"]),
        told(1002, "is not masked", &[b"\x88\x00"]),
        told(1002, "reserved bit", &[&frame(0xa1, b"a")]),
        told(1002, "reserved bit", &[&frame(0x92, b"a")]),
        told(1002, "for compressed", &[&frame(0xc1, b"a")]),
        told(1002, "for compressed", &[&frame(0xc9, b"a")]),
        told(1002, "more bytes than it takes", &[b"\x82\xfe\0\x7d"]),
        told(
            1002,
            "more bytes than it takes",
            &[b"\x82\xff\0\0\0\0\0\0\xff\xff"],
        ),
        told(1002, "2^63", &[b"\x82\xff\x80\0\0\0\0\0\0\0"]),
        told(1002, "2^63", &[b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"]),
        // ---- control frames ----
        told(1002, "in fragments", &[&frame(0x09, b"")]),
        told(1002, "in fragments", &[&frame(0x08, b"")]),
        told(1002, "more than 125", &[&frame(0x89, &[0; 126])]),
        told(1002, "more than 125", &[&frame(0x88, &[0; 126])]),
        told(1002, "half a code", &[&frame(0x88, b"\x03")]),
        told(1007, "reason", &[&frame(0x88, b"\x03\xe8\xff")]),
        // ---- messages ----
        told(1002, "continuation of no message", &[&frame(0x80, b"a")]),
        told(1002, "continuation of no message", &[&frame(0x00, b"a")]),
        told(1002, "within another", &[&frame(0x01, b"a"), &text(b"b")]),
        told(
            1002,
            "within another",
            &[&frame(0x02, b"a"), &frame(0x01, b"b")],
        ),
        told(1009, "too large", &[&frame(0x82, &[0; 1001])]),
        told(
            1009,
            "too large",
            &[b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"],
        ),
        told(1009, "too large", &[b"\x82\xff\0\0\0\x01\0\0\0\0\0\0\0\0"]),
        told(
            1009,
            "too large",
            &[&frame(0x02, &[0; 600]), &frame(0x80, &[0; 401])],
        ),
        told(
            1009,
            "too many",
            &[&frame(0x02, b""), &frame(0x00, b"").repeat(10)],
        ),
        // ---- text ----
        told(1007, "UTF-8", &[&text(b"a\xff")]),
        told(1007, "UTF-8", &[&text(b"\xc0\x80")]),
        told(1007, "UTF-8", &[&text(b"\xed\xa0\x80")]),
        told(1007, "UTF-8", &[&text(b"\xf4\x90\x80\x80")]),
        told(1007, "UTF-8", &[&text(b"\xe2\x82")]),
        told(
            1007,
            "UTF-8",
            &[&frame(0x01, b"\xe2"), &frame(0x80, b"\x82")],
        ),
        // At the first byte that cannot be: the message goes on.
        told(1007, "UTF-8", &[&frame(0x01, b"\xf4\x90")]),
        told(
            1007,
            "UTF-8",
            &[&frame(0x01, b"\xf4"), &frame(0x00, b"\x90")],
        ),
        told(1007, "UTF-8", &[&frame(0x81, &[0xff; 200])[..9]]),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(told(1002, "reserved opcode", &[&frame(0x80 | opcode, b"")]));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        cases.push(told(1002, "may not be sent", &[&close(code, "")]));
    }
    for code in [
        1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999,
    ] {
        let echoed = u16::to_be_bytes(code);
        cases.push(answered(&[&close(code, "why")], &[(0x88, &echoed)]));
    }
    cases
}

fn server() -> Launch {
    Launch::sockets()
        .set("app.websocket.message_max=1000")
        .set("app.websocket.fragments_max=10")
}

fn judge(server: &Server, case: &Case, pieces: usize) {
    let mut socket = Socket::open(server, "/");
    for piece in case.sent.chunks(pieces) {
        // The server may have ended it already.
        if socket.stream.write_all(piece).is_err() {
            break;
        }
    }
    let what = case.sent[..case.sent.len().min(40)]
        .escape_ascii()
        .to_string();
    for (first, bytes) in &case.answers {
        assert_eq!(socket.came(), Came::Frame(*first, bytes.clone()), "{what}");
    }
    let Some(code) = case.code else {
        if case.answers.iter().all(|(first, _)| *first != 0x88) {
            socket.send(&close(1000, ""));
            socket.expect(0x88, b"\x03\xe8");
        }
        assert_eq!(socket.came(), Came::Eof, "{what}");
        return;
    };
    match socket.came() {
        Came::Frame(0x88, told) => {
            assert_eq!(
                told[..2],
                code.to_be_bytes(),
                "{what}: {}",
                told[2..].escape_ascii()
            );
            let words = String::from_utf8_lossy(&told[2..]).into_owned();
            assert!(words.contains(case.why), "{what}: {words}");
        }
        other => panic!("{what}: {other:?}"),
    }
    assert_eq!(socket.came(), Came::Eof, "{what}");
}

#[test]
fn every_frame_of_the_table_has_its_verdict() {
    let server = server().start();
    for case in cases() {
        judge(&server, &case, usize::MAX);
    }
    let counts = server.stop();
    assert_eq!(counts.accepted, counts.closed);
}

#[test]
fn every_frame_of_the_table_has_the_same_verdict_byte_by_byte() {
    let server = server().start();
    for case in cases() {
        judge(&server, &case, 1);
    }
    server.stop();
}

// ---- the handshake ----

#[test]
fn every_handshake_of_the_table_has_its_answer() {
    let server = Launch::sockets()
        .set("app.websocket.subprotocols=['v2', 'v1']")
        .start();
    let good = request("/protocol", "");
    let cases: [(String, u16); 19] = [
        (good.clone(), 101),
        (
            good.replace("Upgrade: websocket", "Upgrade: h2c, WebSocket"),
            101,
        ),
        (
            good.replace("Connection: Upgrade", "connection: keep-alive, upgrade"),
            101,
        ),
        (request("/", "Origin: http://a\r\n"), 101),
        (request("/", "Origin: https://A\r\n"), 101),
        (
            request("/", "Sec-WebSocket-Extensions: x; y=\"z\"\r\n"),
            101,
        ),
        (request("/", "Origin: http://b\r\n"), 403),
        (request("/", "Origin: null\r\n"), 403),
        (request("/", "Origin: http://a:81\r\n"), 403),
        (
            request("/", "Origin: http://\r\n").replace("Host: a", "Host: "),
            403,
        ),
        (
            request("/", "Origin: http://a\r\nOrigin: http://b\r\n"),
            403,
        ),
        (good.replace("Version: 13", "Version: 8"), 426),
        (
            good.replace("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"),
            426,
        ),
        (good.replace("Upgrade: websocket\r\n", ""), 426),
        (good.replace("Connection: Upgrade\r\n", ""), 426),
        (good.replace("dGhl", "dGh"), 400),
        (good.replace("Sec-WebSocket-Key", "X-Key"), 400),
        (good.replace("GET", "POST"), 400),
        (
            good.replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\na"),
            400,
        ),
    ];
    for (request, status) in cases {
        let stream = connect(server.addr()).unwrap();
        (&stream).write_all(request.as_bytes()).unwrap();
        let mut answers = Answers::of(&stream);
        let answer = answers.next(false).unwrap();
        assert_eq!(answer.status, status, "{request}");
        if status == 426 {
            assert_eq!(answer.field("sec-websocket-version"), Some("13"));
            assert_eq!(answer.field("upgrade"), Some("websocket"));
        }
        if status != 101 {
            assert!(answer.closes(), "{request}");
            assert_eq!(answers.end(), NoAnswer::Eof, "{request}");
        }
    }
    server.stop();
}

#[test]
fn the_clients_first_subprotocol_that_is_spoken_is_taken() {
    let server = Launch::sockets()
        .set("app.websocket.subprotocols=['v2', 'v1']")
        .start();
    for (offered, taken) in [
        ("Sec-WebSocket-Protocol: v1, v2\r\n", "v1"),
        (
            "Sec-WebSocket-Protocol: v3\r\nSec-WebSocket-Protocol: v2\r\n",
            "v2",
        ),
        ("Sec-WebSocket-Protocol: v3\r\n", ""),
        ("", ""),
    ] {
        let (mut socket, head) = Socket::open_with(&server, "/protocol", offered);
        let told = format!("\r\nSec-WebSocket-Protocol: {taken}\r\n");
        assert_eq!(head.contains(&told), !taken.is_empty(), "{head}");
        assert_eq!(
            head.contains("WebSocket-Protocol"),
            !taken.is_empty(),
            "{head}"
        );
        socket.expect(0x81, taken.as_bytes());
        socket.expect(0x88, b"\x03\xe8");
        socket.send(&close(1000, ""));
        assert_eq!(socket.came(), Came::Eof);
    }
    server.stop();
}

#[test]
fn named_pages_may_connect_and_no_others() {
    let server = Launch::sockets()
        .set("app.websocket.origins=['https://example.org']")
        .start();
    for (origin, status) in [
        ("Origin: https://example.org\r\n", 101),
        ("Origin: https://EXAMPLE.org\r\n", 101),
        ("", 101),
        ("Origin: https://a\r\n", 403),
        ("Origin: https://example.org.evil\r\n", 403),
    ] {
        let stream = connect(server.addr()).unwrap();
        (&stream)
            .write_all(request("/", origin).as_bytes())
            .unwrap();
        assert_eq!(
            Answers::of(&stream).next(false).unwrap().status,
            status,
            "{origin}"
        );
    }
    server.stop();
}

/// Frames that are sent together with the request are read behind the answer.
#[test]
fn frames_that_follow_the_request_at_once_are_served() {
    let server = Launch::sockets().start();
    let stream = connect(server.addr()).unwrap();
    let hello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    let sent = [
        hello.as_bytes(),
        request("/", "").as_bytes(),
        &frame(0x81, b"early"),
    ]
    .concat();
    (&stream).write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = Answers::of(&stream);
    assert_eq!(answers.next(false).unwrap().content, b"hello");
    assert_eq!(answers.next(false).unwrap().status, 101);
    match answers.next(false) {
        Err(NoAnswer::Cut(rest)) => assert_eq!(rest, "\\x81\\x05early"),
        other => panic!("{other:?}"),
    }
    server.wait_for_closed("peer_closed", 0);
    server.stop();
}
