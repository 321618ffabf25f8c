//! TLS on accepted and opened connections, as a program that embeds a server meets it.
#![allow(clippy::unwrap_used)]

mod tls_rig;
mod tls_stream;

use std::future::Future;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use corelane::{
    Client, ClientTls, CloseReason, Conn, Connector, Error, HandshakeFailure, Settings,
    ShardContext, from_fn,
};
use tests::{BOUND, Launch, connect, needs, resident_bytes};
use tls_rig::{Files, NAME, end, serve, serve_by, wait_for_closed};
use tls_stream::{Stream, echo, line, stream, stream_over};

// ---- accepted connections ----

#[test]
fn a_session_is_told_and_carries_any_length() {
    let files = Files::new();
    let handle = serve(files.settings());
    let mut client = stream(handle.local_addr(), &files.client());
    let told = line(&mut client);
    assert!(told.starts_with("1.3 TLS13_"), "{told}");
    for length in [1, 100, 16_384, 16_385, 1_000_000] {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        echo_long(&mut client, &bytes);
    }
    end(handle);
}

/// Both ends send more than sockets take: what comes is read while the rest is sent.
fn echo_long(client: &mut Stream, bytes: &[u8]) {
    for piece in bytes.chunks(100_000) {
        echo(client, piece);
    }
}

#[test]
fn the_end_of_a_session_is_told_and_its_lack_is_too() {
    let files = Files::new();
    let handle = serve(files.settings());
    for (says_so, told) in [(true, "bye\n"), (false, "cut\n")] {
        let mut client = stream(handle.local_addr(), &files.client());
        line(&mut client);
        if says_so {
            client.conn.send_close_notify();
            client.conn.complete_io(&mut client.sock).unwrap();
        } else {
            client.sock.shutdown(Shutdown::Write).unwrap();
        }
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap(); // an error, if the server has not said so
        assert_eq!(rest, told);
    }
    wait_for_closed(&handle, CloseReason::PeerClosed, 2);
    end(handle);
}

#[test]
fn a_drain_ends_the_sessions_it_finds() {
    let files = Files::new();
    let handle = serve(
        files
            .settings()
            .set("timeouts.drain_quiet", Duration::from_millis(200)),
    );
    let mut client = stream(handle.local_addr(), &files.client());
    line(&mut client);
    echo(&mut client, b"hello");
    handle.drain();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye\n");
    drop(client);
    assert_eq!(handle.join().outcome, Ok(()));
}

#[test]
fn nobody_is_refused_in_plain_text() {
    let files = Files::new();
    let settings = files
        .settings()
        .set("limits.connections_per_address_max", 1)
        .set("limits.refuse_with", "too many of you\n");
    let handle = serve(settings);
    let mut client = stream(handle.local_addr(), &files.client());
    line(&mut client);
    let mut second = connect(handle.local_addr()).unwrap();
    let mut said = Vec::new();
    second.read_to_end(&mut said).unwrap();
    assert!(said.is_empty(), "{said:?}");
    wait_for_closed(&handle, CloseReason::AddressLimit, 1);
    end(handle);
}

#[test]
fn a_proxy_header_comes_before_the_handshake() {
    let files = Files::new();
    let settings = files
        .settings()
        .set("listener.proxy", "v1")
        .set("listener.proxy_trusted", vec!["127.0.0.1"]);
    let handler = |_: &ShardContext| {
        from_fn(async |conn: &mut Conn| {
            let source = conn.proxied().and_then(|proxied| proxied.source());
            conn.write(&format!("{source:?} {}\n", conn.tls().is_some()))
                .await
        })
    };
    let handle = serve_by(settings, handler);
    let mut socket = connect(handle.local_addr()).unwrap();
    socket
        .write_all(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n")
        .unwrap();
    let mut client = stream_over(socket, &files.client());
    assert_eq!(line(&mut client), "Some(192.0.2.1:56324) true");
    end(handle);
}

// ---- hostile peers ----

#[test]
fn plain_text_is_answered_by_an_alert() {
    let files = Files::new();
    let handle = serve(files.settings());
    let mut client = connect(handle.local_addr()).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).unwrap();
    assert_eq!(said[..5], [21, 3, 3, 0, 2], "an alert");
    wait_for_closed(&handle, CloseReason::TlsFailed, 1);
    assert_eq!(CloseReason::TlsFailed.as_str(), "tls_failed");
    let failed = handle
        .stats()
        .tls
        .handshakes_failed(HandshakeFailure::NotTls);
    assert_eq!(failed, 1);
    end(handle);
}

#[test]
fn a_handshake_to_a_plain_port_is_just_bytes() {
    let files = Files::new();
    let server = Launch::echo().start();
    let mut client = stream(server.addr(), &files.client());
    let refused = client.write_all(b"hello").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData, "{refused}");
    drop(client);
    let mut next = tests::Client::connect(server.addr());
    next.send(b"hello");
    next.expect(b"hello");
    server.stop();
}

#[test]
fn a_handshake_that_trickles_in_has_its_time() {
    let files = Files::new();
    let timeout = Duration::from_secs(1);
    let handle = serve(
        files
            .settings()
            .set("listener.tls.handshake_timeout", timeout),
    );
    let begun = Instant::now();
    let mut client = connect(handle.local_addr()).unwrap();
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3][..], &[7; 500]].concat();
    let cut = hello.iter().find_map(|byte| {
        let sent = client.write_all(&[*byte]);
        client
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let read = client.read(&mut [0]);
        let is_open = matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock);
        (sent.is_err() || !is_open).then_some(())
    });
    assert!(cut.is_some(), "500 bytes at 50 a second take ten");
    assert!(begun.elapsed() >= timeout);
    wait_for_closed(&handle, CloseReason::TlsTimeout, 1);
    assert_eq!(CloseReason::TlsTimeout.as_str(), "tls_timeout");
    let failed = handle
        .stats()
        .tls
        .handshakes_failed(HandshakeFailure::Timeout);
    assert_eq!(failed, 1);
    end(handle);
}

#[test]
fn a_flood_of_new_keys_ends_the_session() {
    let files = Files::new();
    let handle = serve(files.settings());
    let mut client = stream(handle.local_addr(), &files.client());
    line(&mut client);
    for _ in 0..100 {
        client.conn.refresh_traffic_keys().unwrap();
        if client.write_all(b"x").is_err() {
            break; // it has seen enough of them
        }
    }
    wait_for_closed(&handle, CloseReason::TlsInvalid, 1);
    assert_eq!(CloseReason::TlsInvalid.as_str(), "tls_invalid");
    end(handle);
}

#[test]
fn a_storm_of_handshakes_leaves_turns_to_those_who_are_connected() {
    let files = Files::new();
    let most = 2;
    let settings = files
        .settings()
        .set("listener.tls.handshakes_per_turn_max", most)
        .set("listener.tls.handshake_timeout", Duration::from_secs(600));
    let handle = serve(settings);
    let (addr, client) = (handle.local_addr(), files.client());
    let mut established = stream(addr, &client);
    line(&mut established);
    let storm: Vec<_> = (0..8)
        .map(|_| {
            let files = files.client();
            thread::spawn(move || {
                // All of them say hello before any goes on.
                let mut streams: Vec<Stream> = (0..10).map(|_| stream(addr, &files)).collect();
                for stream in &mut streams {
                    stream.conn.write_tls(&mut stream.sock).unwrap();
                }
                for stream in &mut streams {
                    line(stream);
                }
            })
        })
        .collect();
    while !storm.iter().all(thread::JoinHandle::is_finished) {
        echo(&mut established, b"still here");
    }
    storm.into_iter().for_each(|thread| thread.join().unwrap());
    let tls = handle.stats().tls;
    assert_eq!(tls.handshakes_full + tls.handshakes_resumed, 81);
    assert!(tls.handshake_steps_per_turn <= most, "{tls:?}");
    assert!(tls.handshake_steps >= 2 * 81, "{tls:?}");
    end(handle);
}

// ---- memory ----

/// What a session takes, beside what a plain connection does. Measured: some 3.5 KB, of which the
/// keys of both directions, expanded, are 2 KB.
const SESSION_BYTES_MAX: u64 = 8 * 1024;

#[test]
fn an_idle_session_is_small() {
    const CONNECTIONS: u64 = 600;
    let files = Files::new();
    let server = Launch::echo()
        .set("server.shards=1")
        .set(&format!(
            "listener.tls.certificate='{}'",
            files.path("server.crt")
        ))
        .set(&format!("listener.tls.key='{}'", files.path("server.key")))
        .set("timeouts.first_byte='off'")
        .start();
    let client = files.client();
    let mut connections = Vec::new();
    let mut open = |count: u64| {
        for _ in 0..count {
            let mut stream = stream(server.addr(), &client);
            echo(&mut stream, b"hello");
            connections.push(stream);
        }
    };
    open(100); // what is there once
    let before = resident_bytes(server.pid());
    open(CONNECTIONS);
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    let each = grown / CONNECTIONS;
    println!("{each} bytes for each idle session");
    assert!(
        each <= SESSION_BYTES_MAX,
        "{each} bytes for each idle session"
    );
    server.stop();
}

// ---- opened connections ----

/// Runs `main` on one shard, and gives what it returns.
fn on_shard<T: Send + 'static, F: Future<Output = T> + 'static>(
    main: impl Fn() -> F + Send + Sync + 'static,
) -> T {
    let settings = [
        "server.shards=1".to_owned(),
        "limits.outbound_per_shard_max=10".to_owned(),
    ];
    let (results, result) = channel();
    let client = Client::start(&settings, move |_shard: ShardContext| {
        let (results, main) = (results.clone(), main());
        async move { drop(results.send(main.await)) }
    });
    let client = client.unwrap();
    let value = result.recv_timeout(BOUND).unwrap();
    client.join_within(BOUND).unwrap();
    value
}

fn trusting(files: &Files) -> ClientTls {
    ClientTls::builder()
        .roots_of_file(files.path("ca.crt"))
        .server_name(NAME)
        .build()
        .unwrap()
}

fn failure(outcome: Result<Conn, Error>) -> io::Error {
    match outcome {
        Err(Error::Connect(error)) => error,
        other => panic!("wanted a refused connect: {other:?}"),
    }
}

#[test]
fn a_connector_shakes_hands_and_resumes() {
    let files = Files::new();
    let handle = serve(files.settings());
    let (addr, tls) = (handle.local_addr(), trusting(&files));
    let told = on_shard(move || {
        let connector = Connector::new().tls(tls.clone());
        async move {
            let mut told = Vec::new();
            for _ in 0..2 {
                let mut conn = connector.connect(addr).await.unwrap();
                let line = conn.read_line(1_000).await.unwrap().unwrap();
                let info = conn.tls().unwrap();
                told.push((String::from_utf8(line.to_vec()).unwrap(), info));
                let text = vec![7_u8; 100_000];
                conn.write(&text).await.unwrap();
                let back = conn.read_exact(text.len()).await.unwrap().unwrap();
                assert!(*back == *text);
                conn.close().await.unwrap();
                let bye = conn.read_line(100).await.unwrap().unwrap();
                assert_eq!(&*bye, b"bye", "it was told of the end");
            }
            told
        }
    });
    for (index, (line, info)) in told.iter().enumerate() {
        let resumed = index == 1;
        assert!(
            line.ends_with(&format!("name=a.test certificates=0 resumed={resumed}")),
            "{line}"
        );
        assert_eq!(info.is_resumed, resumed);
        assert_eq!(
            info.peer_certificates[0],
            files.certificate("server.crt").to_vec()
        );
    }
    wait_for_closed(&handle, CloseReason::PeerClosed, 2);
    end(handle);
}

#[test]
fn a_connector_refuses_whom_it_does_not_trust() {
    let (files, others) = (Files::new(), Files::new());
    let handle = serve(files.settings());
    let addr = handle.local_addr();
    let wrong_name = ClientTls::builder()
        .roots_of_file(files.path("ca.crt"))
        .server_name("b.test")
        .build()
        .unwrap();
    for tls in [trusting(&others), wrong_name] {
        let error = on_shard(move || {
            let connector = Connector::new().tls(tls.clone());
            async move { failure(connector.connect(addr).await) }
        });
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    wait_for_closed(&handle, CloseReason::TlsFailed, 2);
    let failed = handle
        .stats()
        .tls
        .handshakes_failed(HandshakeFailure::Certificate);
    assert_eq!(failed, 2);
    end(handle);
}

#[test]
fn a_connect_has_one_timeout_with_its_handshake() {
    let files = Files::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, tls) = (silent.local_addr().unwrap(), trusting(&files));
    let error = on_shard(move || {
        let connector = Connector::new()
            .timeout(Duration::from_secs(1))
            .tls(tls.clone());
        async move { failure(connector.connect(addr).await) }
    });
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

#[test]
fn a_connector_tells_of_a_server_that_leaves_or_speaks_otherwise() {
    let files = Files::new();
    for (says, kind) in [
        (b"".as_slice(), ErrorKind::UnexpectedEof),
        (b"220 mail.a.test ESMTP\r\n", ErrorKind::InvalidData),
    ] {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, tls) = (server.local_addr().unwrap(), trusting(&files));
        let server = thread::spawn(move || {
            let mut stream = server.accept().unwrap().0;
            // All of the hello: an end with some of it unread would be a reset.
            let mut hello = [0; 4096];
            let _count = stream.read(&mut hello).unwrap();
            stream.write_all(says).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let _rest = stream.read_to_end(&mut Vec::new());
        });
        let error = on_shard(move || {
            let connector = Connector::new().tls(tls.clone());
            async move { failure(connector.connect(addr).await) }
        });
        assert_eq!(error.kind(), kind, "{error}");
        server.join().unwrap();
    }
}

#[test]
fn a_connector_speaks_with_the_server_of_openssl() {
    needs!("openssl");
    let files = Files::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let (certificate, key) = (files.path("server.crt"), files.path("server.key"));
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev", version])
            .args(["-cert", &certificate, "-key", &key])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(server.stdout.take().unwrap()).lines();
        let addr: SocketAddr = told
            .find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.to_owned()))
            .unwrap()
            .parse()
            .unwrap();
        let tls = trusting(&files);
        let said = on_shard(move || {
            let connector = Connector::new().tls(tls.clone());
            async move {
                let mut conn = connector.connect(addr).await.unwrap();
                conn.write("hello\n").await.unwrap();
                conn.read_line(100).await.unwrap().unwrap().to_vec()
            }
        });
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(said, b"olleh", "{version}");
    }
}

#[test]
fn a_pool_keeps_its_sessions() {
    let files = Files::new();
    let upstream = serve_by(files.settings(), |_: &ShardContext| {
        from_fn(async |conn: &mut Conn| {
            while let Some(line) = conn.read_line(100).await? {
                conn.write(&line.to_ascii_uppercase()).await?;
                conn.write("\n").await?;
            }
            Ok::<_, Error>(())
        })
    });
    let settings = Settings::new()
        .set("server.shards", 1)
        .set("upstream.next.addr", upstream.local_addr().to_string())
        .set("upstream.next.connections_max", 2);
    let tls = trusting(&files);
    let relay = serve_by(settings, move |shard: &ShardContext| {
        let (pool, tls) = (shard.pool("next").unwrap(), tls.clone());
        pool.set_tls(tls.clone());
        from_fn(async move |conn: &mut Conn| {
            while let Some(line) = conn.read_line(100).await? {
                let mut next = pool.get().await?;
                let request = [&*line, b"\n"].concat();
                let answer = next.exchange(&request, 100, to_line).await?;
                if *line == *b"anew" {
                    pool.set_tls(tls.clone()); // with a connection in use
                }
                next.done();
                conn.write(answer.bytes).await?;
            }
            Ok::<_, Error>(())
        })
    });
    let mut client = tests::Client::connect(relay.local_addr());
    for _ in 0..5 {
        client.send(b"hello\n");
        client.expect(b"HELLO\n");
    }
    let stats = upstream.stats();
    let handshakes = stats.tls.handshakes_full + stats.tls.handshakes_resumed;
    assert_eq!(
        (stats.accepted, handshakes),
        (1, 1),
        "one session for all of them"
    );
    client.send(b"anew\nhello\n");
    client.expect(b"ANEW\nHELLO\n");
    assert_eq!(upstream.stats().accepted, 2, "the one in use was closed");
    drop(client);
    end(relay);
    end(upstream);
}

fn to_line(bytes: &[u8]) -> corelane::Step<()> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => corelane::Step::Frame {
            value: (),
            length: end + 1,
        },
        None => corelane::Step::NeedMore,
    }
}
