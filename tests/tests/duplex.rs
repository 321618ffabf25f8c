//! Full duplex: the two halves of a connection at once, and a proxy between two. Every byte is
//! checked.
//!
//! `make duplex` is this file with a gigabyte each way (`CORELANE_TESTS_DUPLEX_MB`).
#![allow(clippy::unwrap_used)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::duplex::{FROM_CLIENT, FROM_SERVER, PIECE, both_ways, rate, receive, send, upstream};
use tests::{
    BOUND, Client, End, Launch, Redis, connect, free_address, needs, reset, resident_bytes, slack,
    within,
};

/// Bytes each way, unless `CORELANE_TESTS_DUPLEX_MB` says otherwise.
const BYTES: u64 = 16 << 20;
/// What curl fetches: as much, at most this.
const FILE_MAX: u64 = 200 << 20;
/// What a client sends before it reads.
const BEFORE_READING: u64 = 50 << 20;
/// What a peer of a reset has received before it: more than the buffers of both ends hold would be
/// another test.
const HALF_ANSWER: u64 = 100_000;
/// Connections whose clients read nothing.
const SLOW: usize = 50;
/// What the proxy may hold unsent for each of them.
const WRITE_QUEUE_MAX: u64 = 64 * 1024;

fn bytes() -> u64 {
    let megabytes = std::env::var("CORELANE_TESTS_DUPLEX_MB")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    megabytes.map_or(BYTES, |megabytes| megabytes << 20)
}

/// Printed with `--nocapture`, as `make duplex` has it.
fn tell(what: &str, bytes: u64, start: Instant) {
    println!("{what:<36} {}", rate(bytes, start));
}

fn both_ways_through_halves(how: &str) {
    let server = Launch::duplex().debug().start();
    let (bytes, start) = (bytes(), Instant::now());
    let mut stream = connect(server.addr()).unwrap();
    stream
        .write_all(format!("{how} {bytes}\n").as_bytes())
        .unwrap();
    both_ways(&stream, FROM_CLIENT, FROM_SERVER, bytes).unwrap();
    tell(how, 2 * bytes, start);
    drop(stream);
    // The server has checked what it received: else it had failed.
    server.wait_for_closed("peer_closed", 1);
    drop(server.stop());
}

#[test]
fn both_halves_at_once_lose_nothing_whoever_writes_first() {
    both_ways_through_halves("split write_first");
}

#[test]
fn both_halves_at_once_lose_nothing_whoever_reads_first() {
    both_ways_through_halves("split read_first");
}

#[test]
fn the_halves_of_futures_lite_lose_nothing_whoever_writes_first() {
    both_ways_through_halves("streams write_first");
}

#[test]
fn the_halves_of_futures_lite_lose_nothing_whoever_reads_first() {
    both_ways_through_halves("streams read_first");
}

/// What its upstream has to say of each connection, in the order in which they end.
fn upstream_telling<T: Send + 'static>(
    serve: impl Fn(TcpStream) -> T + Send + Sync + 'static,
) -> (SocketAddr, Receiver<T>) {
    let (said, hears): (Sender<T>, _) = channel();
    let said = Mutex::new(said);
    let addr = upstream(move |stream| {
        let outcome = serve(stream);
        let _ = said.lock().unwrap().send(outcome);
    });
    (addr, hears)
}

#[test]
fn a_proxy_passes_both_ways_at_once_and_loses_nothing() {
    let bytes = bytes();
    let (addr, outcome) =
        upstream_telling(move |stream| both_ways(&stream, FROM_SERVER, FROM_CLIENT, bytes));
    let proxy = Launch::proxy(addr).start();
    let start = Instant::now();
    both_ways(
        &connect(proxy.addr()).unwrap(),
        FROM_CLIENT,
        FROM_SERVER,
        bytes,
    )
    .unwrap();
    outcome.recv_timeout(BOUND).unwrap().unwrap();
    tell("copy_bidirectional", 2 * bytes, start);
    assert_eq!(proxy.stop().of("peer_closed"), 1);
}

#[test]
fn many_connections_through_a_proxy_are_not_mixed_up() {
    let (addr, outcomes) = upstream_telling(|mut stream| {
        let mut seed = [0; 8];
        stream.read_exact(&mut seed)?;
        let seed = u64::from_le_bytes(seed);
        both_ways(&stream, seed, seed + 1, 1 << 20)
    });
    let proxy = Launch::proxy(addr).start();
    let proxied = proxy.addr();
    let clients = (0..30_u64).map(|number| {
        thread::spawn(move || {
            let (mut stream, seed) = (connect(proxied).unwrap(), number * 2);
            stream.write_all(&seed.to_le_bytes()).unwrap();
            both_ways(&stream, seed + 1, seed, 1 << 20)
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().unwrap().unwrap();
    }
    assert!((0..30).all(|_| outcomes.recv_timeout(BOUND).unwrap().is_ok()));
    assert_eq!(proxy.stop().of("peer_closed"), 30);
}

#[test]
fn a_half_close_of_the_client_is_passed_on_and_it_is_still_answered() {
    let (addr, heard) = upstream_telling(|mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        stream.write_all(b"answer").unwrap();
        request
    });
    let proxy = Launch::proxy(addr).start();
    let mut client = proxy.connect();
    client.send(b"question");
    client.half_close();
    assert_eq!(client.receive_all(), (b"answer".to_vec(), End::Eof));
    assert_eq!(heard.recv_timeout(BOUND).unwrap(), b"question");
    assert_eq!(proxy.stop().of("peer_closed"), 1);
}

#[test]
fn a_half_close_of_the_upstream_is_passed_on_and_it_still_hears() {
    let (addr, heard) = upstream_telling(|mut stream| {
        stream.write_all(b"greeting").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut request = Vec::new();
        stream.read_to_end(&mut request).map(|_| request).unwrap()
    });
    let proxy = Launch::proxy(addr).start();
    let mut client = proxy.connect();
    assert_eq!(client.receive_all(), (b"greeting".to_vec(), End::Eof));
    client.send(b"a last word");
    client.half_close();
    assert_eq!(heard.recv_timeout(BOUND).unwrap(), b"a last word");
    drop(client);
    drop(proxy.stop());
}

/// Reads until the end and tells which it was.
fn end_of(stream: TcpStream) -> (usize, ErrorKind) {
    let (mut stream, mut received) = (stream, Vec::new());
    match stream.read_to_end(&mut received) {
        Ok(_) => (received.len(), ErrorKind::UnexpectedEof),
        Err(error) => (received.len(), error.kind()),
    }
}

/// An upstream that sends half of an answer and resets once it was heard that the half has arrived.
fn upstream_that_resets() -> (SocketAddr, Sender<()>) {
    let (go, goes) = channel();
    let goes = Mutex::new(goes);
    let addr = upstream(move |mut stream: TcpStream| {
        stream.write_all(&vec![b'~'; HALF_ANSWER as usize]).unwrap();
        goes.lock().unwrap().recv_timeout(BOUND).unwrap();
        reset(stream).unwrap();
    });
    (addr, go)
}

#[test]
fn half_an_answer_of_an_upstream_that_resets_does_not_look_whole() {
    for half_closed in [false, true] {
        let (addr, go) = upstream_that_resets();
        let proxy = Launch::proxy(addr).debug().start();
        let mut client = proxy.connect();
        if half_closed {
            client.half_close();
        }
        assert_eq!(
            client.receive(HALF_ANSWER as usize).len(),
            HALF_ANSWER as usize
        );
        go.send(()).unwrap();
        assert_eq!(
            client.receive_all(),
            (Vec::new(), End::Reset),
            "half-closed: {half_closed}"
        );
        proxy.wait_for_closed("aborted", 1);
        drop(proxy.stop());
    }
}

#[test]
fn half_a_request_of_a_client_that_resets_does_not_look_whole() {
    for answered in [false, true] {
        let (addr, ended) = upstream_telling(move |mut stream| {
            if answered {
                stream.write_all(b"answer").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            }
            end_of(stream)
        });
        let proxy = Launch::proxy(addr).debug().start();
        let mut client = proxy.connect();
        client.send(&[b'~'; HALF_ANSWER as usize]);
        if answered {
            client.expect(b"answer");
        }
        client.reset();
        let (_, end) = ended.recv_timeout(BOUND).unwrap();
        assert_eq!(end, ErrorKind::ConnectionReset, "answered: {answered}");
        proxy.wait_for_closed("peer_reset", 1);
        drop(proxy.stop());
    }
}

#[test]
fn who_is_cut_by_a_drain_takes_nothing_half_for_whole() {
    let (addr, ended) = upstream_telling(|mut stream| {
        stream.write_all(b"half").unwrap();
        let heard = end_of(stream.try_clone().unwrap());
        // It has not said all that it has to say.
        let error = within(BOUND, "the cut", || {
            thread::sleep(Duration::from_millis(50));
            stream.write_all(b"~").err()
        });
        (heard, error.kind())
    });
    let mut proxy = Launch::proxy(addr).set("timeouts.drain=\"300ms\"").start();
    let mut client = proxy.connect();
    client.send(b"question");
    client.expect(b"half");
    proxy.signal(Signal::TERM);
    assert_eq!(client.receive_all().1, End::Reset);
    // The drain ended what the client says, as its own FIN would have; the rest was cut.
    let (heard, cut) = ended.recv_timeout(BOUND).unwrap();
    assert_eq!(heard, (b"question".len(), ErrorKind::UnexpectedEof));
    assert!(
        matches!(cut, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{cut}"
    );
    assert_eq!(proxy.wait_exit(BOUND), Some(0));
    assert_eq!(proxy.counts().of("drain_cut"), 1);
}

#[test]
fn an_upstream_that_is_down_is_told_to_the_client_by_a_reset_and_in_the_log() {
    let proxy = Launch::proxy(free_address()).debug().start();
    let mut client = proxy.connect();
    assert_eq!(client.receive_all(), (Vec::new(), End::Reset));
    proxy.wait_for_closed("handler_failed", 1);
    proxy.wait_for_line(0, BOUND, "why", |line| {
        line.text.contains("cannot connect") && line.text.contains("refused")
    });
    drop(proxy.stop());
}

/// An upstream that sends without end; how much it has sent in all.
fn upstream_without_end() -> (SocketAddr, Arc<AtomicU64>) {
    let sent = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&sent);
    let addr = upstream(move |mut stream: TcpStream| {
        let piece = vec![b'~'; PIECE as usize];
        while let Ok(length) = stream.write(&piece) {
            counter.fetch_add(length as u64, Ordering::Relaxed);
        }
    });
    (addr, sent)
}

#[test]
fn a_proxy_whose_clients_read_nothing_reads_no_further_and_its_memory_is_bounded() {
    let (addr, sent) = upstream_without_end();
    let proxy = Launch::proxy(addr)
        .set("server.shards=1")
        .set(&format!("limits.write_queue_max={WRITE_QUEUE_MAX}"))
        .set("socket.send_buffer=65536")
        .set("socket.receive_buffer=65536")
        .start();
    let before = resident_bytes(proxy.pid());
    let clients: Vec<Client> = (0..SLOW).map(|_| proxy.connect()).collect();
    let mut last = 0;
    within(2 * BOUND, "an end of what the upstream can send", || {
        thread::sleep(Duration::from_millis(500));
        let now = sent.load(Ordering::Relaxed);
        let stands = now > 0 && now == last;
        last = now;
        stands.then_some(())
    });
    // Unsent up to the bound, and unread up to its own, in buffers of which some are hardly filled;
    // and what the shard has of it all.
    let held = resident_bytes(proxy.pid()).saturating_sub(before);
    let bound = SLOW as u64 * 3 * WRITE_QUEUE_MAX + (20 << 20);
    assert!(
        held < bound * u64::from(slack()),
        "{} KiB held for {SLOW} slow clients",
        held / 1024
    );
    // Whoever reads is served.
    let mut clients = clients;
    let received = clients[0].receive(4 << 20);
    assert!(received.iter().all(|byte| *byte == b'~'));
    clients.into_iter().for_each(Client::reset);
    drop(proxy.stop());
}

#[test]
fn a_client_that_sends_all_before_it_reads_is_answered_if_its_upstream_reads_first() {
    let (addr, outcome) = upstream_telling(|stream| {
        receive(&stream, FROM_CLIENT, BEFORE_READING)?;
        send(&stream, FROM_SERVER, BEFORE_READING)
    });
    let proxy = Launch::proxy(addr).start();
    let (stream, start) = (connect(proxy.addr()).unwrap(), Instant::now());
    send(&stream, FROM_CLIENT, BEFORE_READING).unwrap();
    receive(&stream, FROM_SERVER, BEFORE_READING).unwrap();
    outcome.recv_timeout(BOUND).unwrap().unwrap();
    tell("50 MB sent before it reads", 2 * BEFORE_READING, start);
    assert_eq!(proxy.stop().of("peer_closed"), 1);
}

/// All buffers on the way fill up: client, proxy and upstream wait for each other. What must end it
/// is a limit, and the log must name it.
#[test]
fn a_client_that_sends_all_before_it_reads_an_echo_is_ended_by_a_limit_that_the_log_names() {
    let (addr, ended) = upstream_telling(|mut stream| -> io::Result<u64> {
        let mut from = stream.try_clone()?;
        io::copy(&mut from, &mut stream)
    });
    let proxy = Launch::proxy(addr)
        .debug()
        .set("timeouts.write=\"1s\"")
        .set("socket.send_buffer=65536")
        .set("socket.receive_buffer=65536")
        .start();
    let stream = connect(proxy.addr()).unwrap();
    let before = resident_bytes(proxy.pid());
    let sent = send(&stream, FROM_CLIENT, BEFORE_READING);
    let error = sent.expect_err("more than all buffers hold");
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
    assert!(resident_bytes(proxy.pid()) < before + (16 << 20) * u64::from(slack()));
    let line = proxy.wait_for_line(0, BOUND, "the limit", |line| {
        line.text.contains("limits.write_queue_max")
    });
    assert_eq!(line.level(), "WARN");
    assert!(line.text.contains("timeouts.write"), "{}", line.text);
    proxy.wait_for_closed("write_timeout", 1);
    ended
        .recv_timeout(BOUND)
        .unwrap()
        .expect_err("the upstream sees no clean end");
    drop(proxy.stop());
}

#[test]
fn redis_benchmark_through_a_proxy_is_served() {
    needs!("redis-server", "redis-benchmark");
    let redis = Redis::start();
    let proxy = Launch::proxy(redis.addr()).start();
    let port = proxy.addr().port().to_string();
    for flags in [
        ["-c", "50", "-P", "1", "-d", "3"],
        ["-c", "20", "-P", "16", "-d", "3000"],
    ] {
        let mut benchmark = Command::new("redis-benchmark");
        benchmark
            .args([
                "-p",
                &port,
                "-n",
                "5000",
                "-q",
                "-t",
                "ping,set,get,lrange_100",
            ])
            .args(flags);
        let output = benchmark.output().unwrap();
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success() && !stderr.to_lowercase().contains("error"),
            "{stdout}{stderr}"
        );
        assert!(stdout.contains("LRANGE_100"), "{stdout}");
    }
    let counts = proxy.stop();
    assert!(
        counts.of("peer_closed") + counts.of("peer_reset") + counts.of("aborted")
            == counts.accepted,
        "{counts:?}"
    );
}

/// Serves one file to whoever asks.
fn serve_file(mut stream: TcpStream, length: u64) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    stream.write_all(
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    )?;
    send(&stream, FROM_SERVER, length)
}

#[test]
fn curl_fetches_a_file_through_a_proxy() {
    needs!("curl");
    let length = bytes().min(FILE_MAX);
    let proxy = Launch::proxy(upstream(move |stream| serve_file(stream, length))).start();
    let (url, start) = (format!("http://{}/file", proxy.addr()), Instant::now());
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--noproxy",
        "*",
        "--max-time",
        "100",
        &url,
    ])
    .stdin(Stdio::null());
    let mut curl = curl.stdout(Stdio::piped()).spawn().unwrap();
    let outcome = receive(curl.stdout.take().unwrap(), FROM_SERVER, length);
    assert!(curl.wait().unwrap().success());
    outcome.unwrap();
    tell("curl of a file", length, start);
    drop(proxy.stop());
}
