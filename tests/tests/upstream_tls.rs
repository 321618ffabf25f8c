//! `[upstream.NAME.tls]`: a pool that the settings describe asks by TLS, with no code of the
//! application; whom it trusts and what it shows, at the start and by a reload. The upstreams are a
//! Redis server and OpenSSL's; what a connection that an application opens does: tls.rs.
#![allow(clippy::unwrap_used)]

mod tls_rig;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use corelane::{
    ClientTls, CloseReason, Conn, Error, Pool, ServerHandle, Settings, ShardContext, Step, from_fn,
};
use rustix::process::Signal;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use tests::{BOUND, Client, Launch, Line, Redis, Server, have, needs, skip, within};
use tls_rig::{Files, NAME, end, serve, serve_by, wait_for_closed};

/// Why a certificate that is of none in `ca` is refused.
const NOBODY_VOUCHES: &str = "the TLS handshake has failed: the peer's certificate is vouched for by nobody who is trusted here";

/// The upstream of a test, and what ping's settings say of its TLS. DIR is the directory of the files.
fn ping(files: &Files, upstream: SocketAddr, keys: &str) -> Launch {
    write_settings(files, upstream, keys);
    let file = files.path("ping.toml");
    Launch::ping()
        .set("server.shards=1")
        .set("admin.listen=\"127.0.0.1:0\"")
        .argument(&file)
}

fn write_settings(files: &Files, upstream: SocketAddr, keys: &str) {
    let directory = files.path("");
    let keys = keys.replace("DIR/", &directory);
    let text = format!(
        "[upstream.next]\naddr = '{upstream}'\nconnect_timeout = '30s'\nrequest_timeout = '30s'\n\
         [upstream.next.tls]\n{keys}"
    );
    fs::write(files.path("ping.toml"), text).unwrap();
}

/// What one PING comes to.
fn ask(server: &Server) -> String {
    let mut client = server.connect();
    client.send(b"PING\r\n");
    client.receive_line()
}

/// PINGs until one is passed on: a connect that has failed is not tried again for half a second.
fn wait_until_passed_on(server: &Server) {
    let mut last = String::new();
    within(3 * BOUND, "a PING that is passed on", || {
        last = ask(server);
        last.starts_with("+PONG ").then_some(())
    });
}

/// A PING that fails with `why`, which the log tells too, and which counts.
#[track_caller]
fn assert_fails(server: &Server, why: &str) {
    let told = ask(server);
    assert!(told.starts_with("-ERR upstream next: "), "{told}");
    assert!(told.contains(why), "no `{why}` in {told}");
    let line = server.wait_for_line(0, BOUND, why, |line| {
        line.message() == "an upstream cannot be connected to"
            && line.field("error").unwrap_or_default().contains(why)
    });
    assert_eq!(line.level(), "WARN");
    assert_eq!(line.field("upstream").as_deref(), Some("next"));
    let failed = server.metric("corelane_upstream_failures_total{upstream=\"next\"}");
    assert!(failed >= 1.0, "{failed}");
}

/// Has the server read its settings again, and waits for what comes of it.
fn reload(server: &Server, outcome: &str) -> Line {
    let from = server.log().lines().len();
    server.signal(Signal::HUP);
    server.wait_for_line(from, BOUND, outcome, |line| line.message() == outcome)
}

#[test]
fn redis_is_asked_by_tls_and_shown_a_certificate() {
    needs!("redis-server");
    let (files, others) = (Files::new(), Files::new());
    let Some(redis) = Redis::start_by_tls(Path::new(&files.path(""))) else {
        skip!("needs redis-server with TLS");
    };
    let shown = "certificate = 'DIR/client.crt'\nkey = 'DIR/client.key'\n";
    for versions in ["['1.2']", "['1.3']"] {
        let keys = format!("ca = 'DIR/ca.crt'\n{shown}versions = {versions}\n");
        let server = ping(&files, redis.addr(), &keys).start();
        for _ in 0..3 {
            let told = ask(&server);
            assert!(told.starts_with("+PONG "), "{versions}: {told}");
        }
        server.stop();
    }

    // It asks for a certificate: one that shows none is refused, by TLS 1.2 in the handshake. By an
    // alert, or by the reset that comes behind it and may be there first.
    let keys = "ca = 'DIR/ca.crt'\nversions = ['1.2']\n";
    let server = ping(&files, redis.addr(), keys).start();
    assert_fails(&server, "the TLS handshake");
    write_settings(&files, redis.addr(), &format!("{keys}{shown}"));
    reload(&server, "reloaded");
    wait_until_passed_on(&server);
    server.stop();

    // By TLS 1.3 with its first answer.
    let keys = "ca = 'DIR/ca.crt'\nversions = ['1.3']\n";
    let server = ping(&files, redis.addr(), keys).start();
    let told = ask(&server);
    let refused = "-ERR upstream next: the connection ended before the answer: ";
    assert!(told.starts_with(refused), "{told}");
    // Unless the reset behind the alert was there first.
    if told.contains("tls_invalid") {
        let failed = "the TLS session of an outbound connection has failed";
        let line = server.wait_for_line(0, BOUND, failed, |line| line.message() == failed);
        let why = line.field("why").unwrap();
        assert!(why.contains("wants a certificate of us"), "{why}");
    }
    server.stop();

    let theirs = format!("ca = '{}'\n{shown}", others.path("ca.crt"));
    let server = ping(&files, redis.addr(), &theirs).start();
    assert_fails(&server, NOBODY_VOUCHES);
    server.stop();
}

/// `openssl s_server` that answers each PING.
struct Openssl {
    child: Child,
    addr: SocketAddr,
}

impl Openssl {
    fn start(files: &Files, arguments: &[&str]) -> Self {
        let paths = ["server.crt", "server.key", "ca.crt"].map(|name| files.path(name));
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", &paths[0]])
            .args(["-key", &paths[1], "-CAfile", &paths[2]])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, told) = channel();
        thread::spawn(move || {
            // Its stdin stays open with this thread: it ends with that.
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if let Some(addr) = line.trim().strip_prefix("ACCEPT ") {
                    let _first = tell.send(addr.parse().unwrap());
                }
                if line.trim() == "PING" {
                    stdin.write_all(b"+PONG\n").unwrap();
                }
            }
        });
        let addr = told.recv_timeout(3 * BOUND).unwrap();
        Self { child, addr }
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn openssl_is_asked_by_the_name_of_the_settings() {
    needs!("openssl");
    let files = Files::new();
    let verifies = [
        "-Verify",
        "1",
        "-verify_return_error",
        "-servername",
        NAME,
        "-servername_fatal",
        "-alpn",
        "y,x",
    ];
    for version in ["-tls1_2", "-tls1_3"] {
        // Its second certificate is for the name that the settings say.
        let second = [files.path("server.crt"), files.path("server.key")];
        let by_name = ["-cert2", &second[0], "-key2", &second[1], version];
        let upstream = Openssl::start(&files, &[&verifies[..], &by_name].concat());
        let keys = "ca = 'DIR/ca.crt'\nserver_name = 'a.test'\nalpn = ['x']\n\
             certificate = 'DIR/client.crt'\nkey = 'DIR/client.key'\n";
        let server = ping(&files, upstream.addr, keys).start();
        for _ in 0..3 {
            let told = ask(&server);
            assert!(told.starts_with("+PONG "), "{version}: {told}");
        }
        server.stop();
    }
}

#[test]
fn who_is_not_whom_the_settings_say_is_not_asked() {
    let (files, others) = (Files::new(), Files::new());
    let upstream = serve(files.settings());
    let theirs = format!("ca = '{}'\n", others.path("ca.crt"));
    for (count, (keys, why)) in (1..).zip([
        (theirs.as_str(), NOBODY_VOUCHES),
        ("", NOBODY_VOUCHES),
        (
            "ca = 'DIR/ca.crt'\nserver_name = 'b.test'\n",
            "and not for b.test",
        ),
        (
            "ca = 'DIR/ca.crt'\nserver_name = '10.0.0.1'\n",
            "and not for 10.0.0.1",
        ),
    ]) {
        let server = ping(&files, upstream.local_addr(), keys).start();
        assert_fails(&server, why);
        wait_for_closed(&upstream, CloseReason::TlsFailed, count);
        server.stop();
    }
    end(upstream);
}

#[test]
fn a_port_that_does_not_speak_tls_is_told() {
    let files = Files::new();
    let greeter = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = greeter.local_addr().unwrap();
    thread::spawn(move || {
        for stream in greeter.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"220 mail.a.test ESMTP\r\n").unwrap();
            drop(stream.read(&mut [0; 4096])); // or its end would be a reset
        }
    });
    let server = ping(&files, addr, "ca = 'DIR/ca.crt'\n").start();
    assert_fails(&server, "what came is no TLS");
    server.stop();

    // It waits for the rest of a request: nothing but the time says so.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = ping(&files, silent.local_addr().unwrap(), "ca = 'DIR/ca.crt'\n")
        .set("upstream.next.connect_timeout=\"500ms\"")
        .start();
    assert_fails(
        &server,
        "connected, but no TLS handshake within 500ms: is that a port for TLS?",
    );
    server.stop();

    if !have("redis-server") {
        skip!("needs redis-server");
    }
    // Which of the two depends on whether there is a line's end among the bytes of the hello.
    let redis = Redis::start();
    let server = ping(&files, redis.addr(), "ca = 'DIR/ca.crt'\n")
        .set("upstream.next.connect_timeout=\"500ms\"")
        .start();
    let told = ask(&server);
    assert!(
        told.contains("is that a port for TLS?") || told.contains("what came is no TLS"),
        "{told}"
    );
    server.stop();
}

#[test]
fn files_are_judged_before_the_start() {
    let files = Files::new();
    let anywhere = "127.0.0.1:1".parse().unwrap();
    let both = "ca = 'DIR/none.pem'\ncertificate = 'DIR/client.crt'\nkey = 'DIR/server.key'\n";
    let told = [
        "none.pem (upstream.next.tls.ca), it does not exist: put it there, or name another file here",
        "server.key (upstream.next.tls.key), it is not the key of the certificate: ",
    ];
    for arguments in [&[][..], &["--check"], &["--doctor"]] {
        let launch = ping(&files, anywhere, both);
        let launch = arguments
            .iter()
            .fold(launch, |launch, argument| launch.argument(argument));
        let exit = launch.run();
        assert_eq!(exit.code, Some(2), "{exit:?}");
        let said = format!("{}{}", exit.stderr, exit.stdout);
        assert!(told.iter().all(|text| said.contains(text)), "{said}");
    }
    let fine = "ca = 'DIR/ca.crt'\ncertificate = 'DIR/client.crt'\nkey = 'DIR/client.key'\n";
    let examined = ping(&files, anywhere, fine).argument("--doctor").run();
    let is_row = |line: &str| {
        line.starts_with("ok ")
            && line.contains(" upstream.next.tls ")
            && line.contains("ca, certificate, key")
    };
    assert!(examined.stdout.lines().any(is_row), "{}", examined.stdout);
    let checked = ping(&files, anywhere, fine).argument("--check").run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn files_and_keys_change_while_it_serves_and_bad_ones_do_not() {
    let (files, others) = (Files::new(), Files::new());
    let upstream = ponger(&files);
    let right = fs::read(files.path("ca.crt")).unwrap();
    fs::copy(others.path("ca.crt"), files.path("trusted.crt")).unwrap();
    let keys = "ca = 'DIR/trusted.crt'\ncertificate = 'DIR/client.crt'\nkey = 'DIR/client.key'\n";
    let server = ping(&files, upstream.local_addr(), keys).start();
    let count = |outcome: &str| {
        server.metric(&format!(
            "corelane_tls_reloads_total{{outcome=\"{outcome}\"}}"
        ))
    };
    let left = "corelane_tls_certificate_expires_seconds{upstream=\"next\"}";
    assert!(server.metric(left) > 0.0);
    assert_fails(&server, NOBODY_VOUCHES);

    // A file that changes is in force by itself.
    fs::write(files.path("part"), &right).unwrap();
    fs::rename(files.path("part"), files.path("trusted.crt")).unwrap();
    let tells = |line: &Line| {
        let certificate = line.field("certificate").unwrap_or_default();
        line.message() == "a certificate is in force"
            && certificate.contains("trusted.crt (upstream.next.tls.ca) vouches for the upstream")
    };
    server.wait_for_line(0, 3 * BOUND, "the other file", tells);
    wait_until_passed_on(&server);
    assert_eq!([count("changed"), count("failed")], [1.0, 0.0]);

    // One that cannot be used is not, by a reload either.
    let from = server.log().lines().len();
    fs::write(files.path("part"), "damaged").unwrap();
    fs::rename(files.path("part"), files.path("trusted.crt")).unwrap();
    let stays = "files of TLS have changed, and those before stay in force";
    let line = server.wait_for_line(from, 3 * BOUND, stays, |line| line.message() == stays);
    let problem = line.field("problem").unwrap();
    let told = "trusted.crt (upstream.next.tls.ca), it has no certificate in PEM";
    assert!(problem.contains(told), "{problem}");
    let line = reload(&server, "reload refused");
    let problem = line.field("problem").unwrap();
    assert!(problem.contains(told), "{problem}");
    assert!(ask(&server).starts_with("+PONG "));

    // Another name is in force with the next connect, and so is the right one again.
    fs::write(files.path("trusted.crt"), &right).unwrap();
    let named = |name: &str| format!("{keys}server_name = '{name}'\n");
    write_settings(&files, upstream.local_addr(), &named("b.test"));
    reload(&server, "reloaded");
    within(BOUND, "a PING that fails", || {
        ask(&server).contains("and not for b.test").then_some(())
    });
    write_settings(&files, upstream.local_addr(), &named(NAME));
    reload(&server, "reloaded");
    wait_until_passed_on(&server);

    // The table itself neither comes nor goes.
    fs::write(
        files.path("ping.toml"),
        format!("[upstream.next]\naddr = '{}'\n", upstream.local_addr()),
    )
    .unwrap();
    let line = reload(&server, "reload refused");
    let problem = line.field("problem").unwrap();
    assert!(
        problem.starts_with("needs a restart: upstream.next.tls.ca "),
        "{problem}"
    );
    server.stop();
    end(upstream);
}

/// An address whose queue is full, and whoever is in it: the kernel drops further SYNs, which come again.
fn full_queue() -> (SocketAddr, TcpListener, TcpStream) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&anywhere.into()).unwrap();
    listener.listen(0).unwrap();
    let listener = TcpListener::from(listener);
    let addr = listener.local_addr().unwrap();
    (addr, listener, TcpStream::connect(addr).unwrap())
}

/// Passes on what either says, until both have ended.
fn pass_on(one: &TcpStream, other: &TcpStream) {
    for (from, to) in [(one, other), (other, one)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
    }
}

#[test]
fn a_connect_on_its_way_shakes_hands_as_its_upstream_was_described() {
    let (files, others) = (Files::new(), Files::new());
    let (first, second) = (ponger(&files), ponger(&others));
    let (addr, way, in_queue) = full_queue();
    let server = ping(&files, addr, "ca = 'DIR/ca.crt'\n")
        .set("upstream.next.connect_timeout=\"2m\"")
        .start();
    let mut client = server.connect();
    client.send(b"PING\r\n");
    within(BOUND, "a connect on its way", || {
        let used = "corelane_upstream_connections{upstream=\"next\",state=\"used\"}";
        (server.metric(used) == 1.0).then_some(())
    });

    let keys = format!("ca = '{}'\n", others.path("ca.crt"));
    write_settings(&files, second.local_addr(), &keys);
    reload(&server, "reloaded");
    wait_until_passed_on(&server);
    assert_eq!(handshakes(&second), (1, 0), "it is in force");

    // There is room: the next SYN of the first gets through.
    let (queued, _) = way.accept().unwrap();
    drop((queued, in_queue));
    way.set_nonblocking(true).unwrap();
    let (conn, _) = within(6 * BOUND, "the connect", || way.accept().ok());
    conn.set_nonblocking(false).unwrap();
    pass_on(&conn, &TcpStream::connect(first.local_addr()).unwrap());
    drop(conn);
    let told = client.receive_line();
    assert!(told.starts_with("+PONG "), "{told}");
    assert_eq!(handshakes(&first), (1, 0));
    server.stop();
    end(first);
    end(second);
}

#[test]
fn a_handshake_that_fails_leaves_its_place_to_the_next() {
    let files = Files::new();
    let upstream = ponger(&files);
    let ponger = upstream.local_addr();
    for (greeting, why) in [
        (&b""[..], "no TLS handshake within 3s"),
        (b"220 mail.a.test ESMTP\r\n", "what came is no TLS"),
        (b"\x15\x03\x03\0\x02\x02\x28", "(alert handshake_failure)"),
        (b"\x14\x03\x03\0\x01\x01", "a record came out of turn"),
    ] {
        let way = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = ping(&files, way.local_addr().unwrap(), "ca = 'DIR/ca.crt'\n")
            .set("upstream.next.connections_max=1")
            .set("upstream.next.connect_timeout=\"3s\"")
            .set("timeouts.close=\"10m\"")
            .start();
        thread::spawn(move || {
            // It stays open as long as the thread.
            let (mut first, _) = way.accept().unwrap();
            first.write_all(greeting).unwrap();
            for conn in way.incoming() {
                pass_on(&conn.unwrap(), &TcpStream::connect(ponger).unwrap());
            }
        });
        assert_fails(&server, why);
        wait_until_passed_on(&server);
        server.stop();
    }
    end(upstream);
}

/// A connection of an upstream: its session, and what that goes over.
type Session = StreamOwned<ServerConnection, TcpStream>;

/// The next connection to `way`, behind its handshake.
fn accept(way: &TcpListener, config: &Arc<ServerConfig>) -> Session {
    let (socket, _) = way.accept().unwrap();
    let session = ServerConnection::new(Arc::clone(config)).unwrap();
    StreamOwned::new(session, socket)
}

fn answer_ping(session: &mut Session) {
    session.read_exact(&mut [0; 14]).unwrap();
    session.write_all(b"+PONG\r\n").unwrap();
}

/// Of what an upstream says unasked the first bytes may be there, and the rest comes behind a request.
#[test]
fn a_record_that_has_begun_while_nobody_asks_is_no_answer() {
    let files = Files::new();
    let chain = vec![CertificateDer::from_pem_file(files.path("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(files.path("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let way = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = ping(&files, way.local_addr().unwrap(), "ca = 'DIR/ca.crt'\n").start();
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut first = accept(&way, &config);
        answer_ping(&mut first);
        told.recv().unwrap();
        first
            .conn
            .writer()
            .write_all(b"-ERR of another\r\n")
            .unwrap();
        let mut record = Vec::new();
        first.conn.write_tls(&mut record).unwrap();
        let (begins, rest) = record.split_at(record.len() / 2);
        first.sock.write_all(begins).unwrap();
        // Its end, or the next request.
        if first
            .sock
            .read(&mut [0; 4096])
            .is_ok_and(|bytes| bytes > 30)
        {
            first.sock.write_all(rest).unwrap();
        }
        let mut second = accept(&way, &config);
        answer_ping(&mut second);
        drop(second.read(&mut [0; 1])); // its end
    });
    assert!(ask(&server).starts_with("+PONG "));
    let received = || server.metric("corelane_received_bytes_total");
    let before = received();
    tell.send(()).unwrap();
    within(BOUND, "half a record", || {
        (received() > before).then_some(())
    });
    let told = ask(&server);
    assert!(told.starts_with("+PONG "), "{told}");
    server.stop();
}

/// A server with TLS that answers each request of an array of one, PING, and lines by themselves.
fn ponger(files: &Files) -> ServerHandle {
    serve_by(files.settings(), |_: &ShardContext| {
        from_fn(async |conn: &mut Conn| {
            while let Some(line) = conn.read_line(100).await? {
                match &*line {
                    b"*1" | b"$4" | b"*1\r" | b"$4\r" => {}
                    b"PING" | b"PING\r" => conn.write("+PONG\r\n").await?,
                    line => {
                        conn.write(line).await?;
                        conn.write("\n").await?;
                    }
                }
            }
            Ok::<_, Error>(())
        })
    })
}

fn to_line(bytes: &[u8]) -> Step<()> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => Step::Frame {
            value: (),
            length: end + 1,
        },
        None => Step::NeedMore,
    }
}

/// A server of one shard that passes lines on to the upstream of its settings; to one in which
/// `begins` has done something to the pool.
fn relay(
    files: &Files,
    upstream: SocketAddr,
    begins: impl Fn(&Pool) + Send + Sync + 'static,
) -> ServerHandle {
    serve_by(
        relay_settings(files, upstream),
        move |shard: &ShardContext| {
            let pool = shard.pool("next").unwrap();
            begins(&pool);
            from_fn(async move |conn: &mut Conn| {
                while let Some(line) = conn.read_line(100).await? {
                    let mut next = pool.get().await?;
                    let request = [&*line, b"\n"].concat();
                    let answer = next.exchange(&request, 100, to_line).await?;
                    if *line == *b"last" {
                        drop(next); // and with it its connection
                    } else {
                        next.done();
                    }
                    conn.write(answer.bytes).await?;
                }
                Ok::<_, Error>(())
            })
        },
    )
}

fn relay_settings(files: &Files, upstream: SocketAddr) -> Settings {
    Settings::new()
        .set("server.shards", 1)
        .set("upstream.next.addr", upstream.to_string())
        .set("upstream.next.connections_max", 2)
        .set("upstream.next.tls.ca", files.path("ca.crt"))
}

fn handshakes(upstream: &ServerHandle) -> (u64, u64) {
    let tls = &upstream.stats().tls;
    (tls.handshakes_full, tls.handshakes_resumed)
}

#[test]
fn a_pool_of_the_settings_keeps_its_sessions_and_goes_on_from_them() {
    let files = Files::new();
    let upstream = ponger(&files);
    let server = relay(&files, upstream.local_addr(), |_| {});
    let mut client = Client::connect(server.local_addr());
    for _ in 0..5 {
        client.ask(b"hello\n", b"hello\n");
    }
    assert_eq!(handshakes(&upstream), (1, 0), "one for all of them");
    client.ask(b"last\n", b"last\n");
    client.ask(b"hello\n", b"hello\n");
    assert_eq!(handshakes(&upstream), (1, 1), "by a ticket");

    // What a reload does not change keeps its connections, and what it does closes them.
    let settings = relay_settings(&files, upstream.local_addr());
    let same = settings.clone().set("upstream.next.idle_timeout", "5s");
    assert_eq!(server.reload(same.clone()).unwrap().len(), 1);
    client.ask(b"hello\n", b"hello\n");
    assert_eq!(handshakes(&upstream), (1, 1));
    let other = same.set("upstream.next.tls.tickets", false);
    assert_eq!(server.reload(other).unwrap().len(), 1);
    for full in [2, 3] {
        client.ask(b"last\n", b"last\n");
        assert_eq!(handshakes(&upstream), (full, 1), "each anew");
    }
    drop(client);
    end(server);
    end(upstream);
}

#[test]
fn a_program_without_a_listener_asks_by_tls_too() {
    let files = Files::new();
    let upstream = ponger(&files);
    let (tell, told) = channel();
    let settings = relay_settings(&files, upstream.local_addr());
    let program = corelane::Client::with_settings(&settings, move |shard: ShardContext| {
        let (pool, tell) = (shard.pool("next").unwrap(), tell.clone());
        async move {
            let mut next = pool.get().await.unwrap();
            let answer = next.exchange("hello\n", 100, to_line).await.unwrap();
            next.done();
            tell.send(answer.bytes.to_vec()).unwrap();
        }
    });
    assert_eq!(told.recv_timeout(BOUND).unwrap(), b"hello\n");
    program.unwrap().join_within(BOUND).unwrap();
    assert_eq!(handshakes(&upstream), (1, 0));
    end(upstream);
    let missing = settings.set("upstream.next.tls.ca", files.path("none.pem"));
    let refused = corelane::Client::with_settings(&missing, |_| async {}).unwrap_err();
    let told = refused.to_string();
    assert!(
        told.contains("none.pem (upstream.next.tls.ca), it does not exist"),
        "{told}"
    );
}

#[test]
fn what_the_application_sets_goes_over_the_settings() {
    let (files, others) = (Files::new(), Files::new());
    let upstream = ponger(&files);
    let own = ClientTls::builder()
        .roots_of_file(files.path("ca.crt"))
        .server_name(NAME)
        .build()
        .unwrap();
    let server = relay(&others, upstream.local_addr(), move |pool| {
        pool.set_tls(own.clone());
    });
    let mut client = Client::connect(server.local_addr());
    client.ask(b"hello\n", b"hello\n");
    let settings = relay_settings(&others, upstream.local_addr());
    let named = settings.set("upstream.next.tls.server_name", "b.test");
    assert_eq!(server.reload(named).unwrap().len(), 1);
    client.ask(b"last\n", b"last\n");
    client.ask(b"hello\n", b"hello\n");
    drop(client);
    end(server);
    end(upstream);
}
