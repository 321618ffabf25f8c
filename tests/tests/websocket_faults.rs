//! Peers that mean it ill, or break off, by WebSocket: faults 69 to 74, and topics beside handlers.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::websocket::{ACCEPT, Came, Socket, close, frame, request};
use tests::{BOUND, Launch, Server, connect, resident_bytes, slack};

fn is_served(server: &Server) {
    let mut socket = Socket::open(server, "/");
    socket.send(&frame(0x81, b"hello"));
    socket.expect(0x81, b"hello");
    socket.send(&close(1000, ""));
    assert_eq!(socket.expect_close(1000), "");
}

// ---- those who break off ----

/// A peer that ends within a frame or a message is told nothing, and its connection is cut; one that
/// ends between two has ended.
#[test]
fn a_fin_at_every_byte_ends_the_connection() {
    let server = Launch::sockets().debug().start();
    let stream = [
        request("/", "").into_bytes(),
        frame(0x01, b"ab"),
        frame(0x89, b"p"),
        frame(0x80, b"c"),
        close(1000, "bye"),
    ];
    let ends: Vec<usize> = (0..=stream.len())
        .map(|count| stream[..count].iter().map(Vec::len).sum())
        .collect();
    let stream = stream.concat();
    for length in 0..=stream.len() {
        let connection = connect(server.addr()).unwrap();
        (&connection).write_all(&stream[..length]).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut came = Vec::new();
        let end = (&connection).read_to_end(&mut came);
        // Behind the request, behind the message, behind the closing; and before all.
        let is_between = [0, ends[1], ends[4], ends[5]].contains(&length);
        assert_eq!(
            end.is_ok(),
            is_between,
            "behind {length} of {ends:?}: {end:?}"
        );
        let closes = came.ends_with(b"\x88\x02\x03\xe8");
        assert_eq!(closes, length == stream.len(), "{}", came.escape_ascii());
    }
    is_served(&server);
    let counts = server.stop();
    assert_eq!(counts.accepted, counts.closed);
}

#[test]
fn a_reset_in_the_midst_of_anything_ends_its_own_connection() {
    let server = Launch::sockets().start();
    for sent in [
        &b"\x81"[..],
        b"\x81\xfe\x10\0",
        &frame(0x01, b"half"),
        &frame(0x81, b"whole"),
    ] {
        for path in ["/", "/split", "/hall"] {
            for _ in 0..10 {
                let mut socket = Socket::open(&server, path);
                socket.send(sent);
                tests::reset(socket.stream).unwrap();
            }
        }
    }
    is_served(&server);
    let counts = server.stop();
    assert_eq!(counts.accepted, counts.closed);
}

// ---- floods ----

/// Sends what `flood` gives for two seconds, reading nothing or all, while others are served.
fn flooded(server: &Server, flood: &[u8], reads: bool) {
    let socket = Socket::open(server, "/count");
    let others = thread::scope(|scope| {
        let stream = socket.stream.try_clone().unwrap();
        stream
            .set_write_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        scope.spawn(move || {
            let begin = Instant::now();
            let mut bytes = [0; 64 * 1024];
            while begin.elapsed() < Duration::from_secs(2) {
                if (&stream).write_all(flood).is_err() {
                    return;
                }
                if reads {
                    _ = (&stream).read(&mut bytes);
                }
            }
        });
        let (begin, mut others) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_secs(1) {
            is_served(server);
            others += 1;
        }
        others
    });
    assert!(others >= 10 / slack(), "others come to nothing: {others}");
    drop(socket.stream.shutdown(Shutdown::Both));
}

#[test]
fn whoever_floods_with_frames_takes_no_turn_from_others_and_no_memory() {
    let server = Launch::sockets().set("server.shards=1").start();
    is_served(&server);
    let before = resident_bytes(server.pid());
    let pings = frame(0x89, &[b'p'; 125]).repeat(500);
    let pongs = frame(0x8a, b"").repeat(2000);
    let empty = frame(0x82, b"").repeat(2000);
    for flood in [&pings, &pongs, &empty] {
        flooded(&server, flood, true);
    }
    flooded(&server, &pings, false);
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(
        grown < u64::from(slack()) * (24 << 20),
        "{grown} bytes more"
    );
    is_served(&server);
    server.stop();
}

/// Fragments without end meet the bound of a message, by their number or by their sum.
#[test]
fn fragments_without_end_are_counted_the_empty_ones_too() {
    let server = Launch::sockets().start();
    for (payload, why) in [(&b""[..], "fragments"), (&[b'x'; 2000], "too large")] {
        let mut socket = Socket::open(&server, "/count");
        socket.send(&frame(0x01, b""));
        let fragments = frame(0x00, payload).repeat(100);
        while socket.stream.write_all(&fragments).is_ok() {}
        // What was told before the flood met the end is lost with it, if it was not read by then.
        match socket.came() {
            Came::Frame(0x88, bytes) => {
                assert_eq!(bytes[..2], 1009_u16.to_be_bytes());
                assert!(String::from_utf8_lossy(&bytes).contains(why));
            }
            Came::Reset => {}
            other => panic!("{other:?}"),
        }
    }
    is_served(&server);
    server.stop();
}

// ---- compression ----

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

#[test]
fn compression_is_off_unless_it_is_asked_for_on_both_sides() {
    let server = Launch::sockets().start();
    let (_, head) = Socket::open_with(&server, "/", OFFER);
    assert!(!head.contains("Extensions"), "{head}");
    server.stop();
    let server = Launch::sockets().set("app.websocket.deflate=true").start();
    let (_, head) = Socket::open_with(&server, "/", "");
    assert!(!head.contains("Extensions"), "{head}");
    let (mut socket, head) = Socket::open_with(&server, "/", OFFER);
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert!(
        head.contains(&format!("\r\nSec-WebSocket-Extensions: {agreed}\r\n")),
        "{head}"
    );
    // RFC 7692, 7.2.3.1 and 7.2.3.2, whole and in fragments, and as it is.
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    socket.send(&frame(0xc1, hello));
    socket.expect(0x81, b"Hello");
    socket.send(&[frame(0x41, &hello[..3]), frame(0x80, &hello[3..])].concat());
    socket.expect(0x81, b"Hello");
    socket.send(&frame(0x81, b"plain"));
    socket.expect(0x81, b"plain");
    // A long one comes back compressed.
    socket.send(&frame(0x81, &[b'a'; 1000]));
    let Came::Frame(0xc1, deflated) = socket.came() else {
        panic!("it is not compressed");
    };
    assert!(deflated.len() < 50, "{}", deflated.len());
    socket.send(&frame(0xc1, &deflated));
    socket.expect(0xc1, &deflated);
    // The bit on a continuation; text that is none; what does not inflate.
    socket.send(&[frame(0x41, hello), frame(0xc0, hello)].concat());
    assert!(socket.expect_close(1002).contains("compressed"));
    for (bad, code) in [
        (&b"\xff\xff\xff\xff"[..], 1007),
        (b"\x00\x01\x00\xfe\xff\xff\x00", 1007),
    ] {
        let (mut socket, _) = Socket::open_with(&server, "/", OFFER);
        socket.send(&frame(0xc1, bad));
        socket.expect_close(code);
    }
    server.stop();
}

/// Ten megabytes of zeros in ten kilobytes.
#[test]
fn an_inflate_bomb_is_given_up_at_the_bound() {
    let server = Launch::sockets().set("app.websocket.deflate=true").start();
    // A block of 'a' and then repeats of 258 (RFC 1951, 3.2.5), fixed codes: 8 + 7 zero bits each.
    let mut bits = vec![false, true, false]; // not the last, fixed
    let code = |bits: &mut Vec<bool>, value: u32, length: u32| {
        bits.extend((0..length).rev().map(|place| value >> place & 1 == 1));
    };
    code(&mut bits, 0x30 + 0x61, 8);
    for _ in 0..40_000 {
        code(&mut bits, 0b1100_0101, 8); // 285: 258 bytes
        code(&mut bits, 0, 5); // of one byte before
    }
    code(&mut bits, 0, 7);
    bits.extend([false; 3]); // an empty stored block, without its lengths
    let bomb: Vec<u8> = bits
        .chunks(8)
        .map(|byte| {
            byte.iter()
                .enumerate()
                .map(|(place, bit)| u8::from(*bit) << place)
                .sum()
        })
        .collect();
    let before = resident_bytes(server.pid());
    for _ in 0..20 {
        let (mut socket, _) = Socket::open_with(&server, "/count", OFFER);
        socket.send(&frame(0xc2, &bomb));
        assert!(socket.expect_close(1009).contains("inflated"));
    }
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(
        grown < u64::from(slack()) * (16 << 20),
        "{grown} bytes more"
    );
    is_served(&server);
    server.stop();
}

// ---- ends ----

#[test]
fn the_server_closes_and_waits_for_the_peer() {
    let server = Launch::sockets()
        .debug()
        .set("app.websocket.close_timeout='1s'")
        .start();
    let mut socket = Socket::open(&server, "/close/4001/enough");
    socket.expect(0x88, b"\x0f\xa1enough");
    socket.send(&frame(0x81, b"on its way"));
    socket.send(&close(4001, ""));
    assert_eq!(socket.came(), Came::Eof);
    let mut socket = Socket::open(&server, "/close/1000/enough");
    socket.expect(0x88, b"\x03\xe8enough");
    assert_eq!(socket.came(), Came::Reset, "it has not answered");
    server.wait_for_closed("read_timeout", 1);
    server.stop();
}

#[test]
fn in_a_drain_a_peer_is_told_that_the_server_goes() {
    let mut server = Launch::sockets().start();
    let mut socket = Socket::open(&server, "/");
    socket.send(&frame(0x81, b"hello"));
    socket.expect(0x81, b"hello");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(
        socket.came(),
        Came::Frame(0x88, b"\x03\xe9the server is shutting down".to_vec())
    );
    assert_eq!(socket.came(), Came::Eof);
    drop(socket);
    // Not `stop`, whose signal is a second one where this took half a second.
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

#[test]
fn a_silent_peer_is_pinged_and_given_up() {
    let server = Launch::sockets()
        .debug()
        .set("app.websocket.ping_interval='500ms'")
        .set("app.websocket.pong_timeout='1s'")
        .start();
    let mut socket = Socket::open(&server, "/");
    for _ in 0..4 {
        socket.expect(0x89, b"");
        socket.send(&frame(0x8a, b""));
    }
    socket.expect(0x89, b"");
    assert_eq!(socket.came(), Came::Reset);
    server.wait_for_closed("read_timeout", 1);
    server.stop();
}

// ---- backpressure, halves, topics ----

#[test]
fn both_halves_echo_what_comes_however_large() {
    let server = Launch::sockets().start();
    for path in ["/", "/split"] {
        let mut socket = Socket::open(&server, path);
        let mut writer = socket.stream.try_clone().unwrap();
        let message = |number: usize| vec![number as u8; number * number * 31 % 300_000];
        let writing = thread::spawn(move || {
            for number in 0..200 {
                writer.write_all(&frame(0x82, &message(number))).unwrap();
                writer.write_all(&frame(0x89, b"still there?")).unwrap();
            }
        });
        let (mut messages, mut pongs) = (0, 0);
        while messages < 200 {
            match socket.came() {
                Came::Frame(0x82, bytes) => {
                    assert_eq!(bytes, message(messages));
                    messages += 1;
                }
                Came::Frame(0x8a, bytes) => {
                    assert_eq!(bytes, b"still there?");
                    pongs += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        writing.join().unwrap();
        assert!(pongs > 0);
        socket.send(&close(1000, ""));
        while let Came::Frame(0x8a, _) = socket.came() {}
        assert_eq!(socket.came(), Came::Eof);
    }
    server.stop();
}

/// Whoever gives a send up leaves whole frames all the same.
#[test]
fn a_send_that_is_given_up_goes_on_by_itself() {
    let server = Launch::sockets().start();
    let mut socket = Socket::open(&server, "/impatient/9000000");
    for number in 0..3_u8 {
        socket.send(&frame(0x81, &[b'a' + number]));
    }
    thread::sleep(Duration::from_millis(500));
    let (mut small, mut large) = (Vec::new(), 0);
    while small.len() < 3 {
        match socket.came() {
            Came::Frame(0x81, bytes) => small.extend(bytes),
            Came::Frame(0x82, bytes) => {
                assert_eq!(bytes.len(), 9_000_000);
                large += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((&*small, large), (&b"abc"[..], 3));
    server.stop();
}

/// What is published comes to each subscriber between two messages, never within one.
#[test]
fn a_publication_is_framed_once_and_comes_between_messages() {
    let server = Launch::sockets().start();
    let mut hearer = Socket::open(&server, "/hall/large/3000000");
    let mut asking = hearer.stream.try_clone().unwrap();
    let news = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&news);
    let hearing = thread::spawn(move || {
        let mut large = 0;
        loop {
            match hearer.came() {
                Came::Frame(0x81, bytes) => {
                    assert!(bytes.starts_with(b"news "), "{}", bytes.escape_ascii());
                    heard.fetch_add(1, Ordering::Relaxed);
                }
                Came::Frame(0x82, bytes) => {
                    assert_eq!(bytes, vec![b'x'; 3_000_000]);
                    large += 1;
                }
                Came::Frame(0x88, _) => return (large, hearer.came()),
                other => panic!("{other:?}"),
            }
        }
    });
    let mut speaker = Socket::open(&server, "/hall");
    let begun = Instant::now();
    // All of the first may be dropped, for there is no room behind what is large.
    for number in (0..).take_while(|number| *number < 400 || news.load(Ordering::Relaxed) == 0) {
        assert!(begun.elapsed() < BOUND, "nothing is heard");
        if number < 400 && number % 100 == 0 {
            asking.write_all(&frame(0x82, b"go")).unwrap();
        }
        speaker.send(&frame(0x81, format!("news {number}").as_bytes()));
        speaker.expect(0x81, format!("news {number}").as_bytes());
    }
    asking.write_all(&close(1000, "")).unwrap();
    assert_eq!(hearing.join().unwrap(), (4, Came::Eof));
    server.stop();
}

// ---- the client ----

#[test]
fn the_client_speaks_with_the_server() {
    let server = Launch::sockets().set("app.websocket.deflate=true").start();
    let relay = |upstream: &dyn std::fmt::Display| {
        Launch::sockets()
            .set(&format!("app.upstream='{upstream}'"))
            .set("app.websocket.deflate=true")
            .set("limits.outbound_per_shard_max=10")
            .start()
    };
    let relayed = relay(&server.addr());
    let mut socket = Socket::open(&relayed, "/relay");
    for size in [0, 5, 125, 126, 65_535, 65_536, 900_000] {
        let message: Vec<u8> = (0..size)
            .map(|place: usize| ((place * 7919) >> 3) as u8)
            .collect();
        socket.send(&frame(0x82, &message));
        socket.expect(0x82, &message);
    }
    socket.send(&frame(0x81, "h\u{e9}llo".as_bytes()));
    socket.expect(0x81, "h\u{e9}llo".as_bytes());
    socket.send(&close(1000, ""));
    socket.expect_close(1000);
    // A server that masks, and one that does not go over.
    let accepted = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    for (answer, why) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "does not go over"),
        (&*accepted, "has not understood the key"),
        ("SSH-2.0\r\n\r\n", "no HTTP"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relayed = relay(&listener.local_addr().unwrap());
        let mut socket = Socket::open(&relayed, "/relay");
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let mut head = [0; 1024];
        let length = stream.read(&mut head).unwrap();
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        assert!(
            head.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{head}"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        let Came::Frame(0x88, told) = socket.came() else {
            panic!("it is not told");
        };
        assert!(
            String::from_utf8_lossy(&told).contains(why),
            "{}",
            told.escape_ascii()
        );
    }
}
