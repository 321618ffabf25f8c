//! Connections that a shard opens itself, against servers that we know and one that misbehaves.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use corelane::{Client, CloseReason, Connector, Error, ShardContext, sleep, spawn};
use futures_lite::future::poll_once;
use tests::{BOUND, Launch, free_address};

/// Runs `main` on one shard that may open `outbound` connections, and gives what it returns.
fn on_shard<T: Send + 'static, F: Future<Output = T> + 'static>(
    outbound: u32,
    main: impl Fn() -> F + Send + Sync + 'static,
) -> T {
    let settings = [
        "server.shards=1".to_owned(),
        format!("limits.outbound_per_shard_max={outbound}"),
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

fn refusal(outcome: Result<corelane::Conn, Error>) -> io::ErrorKind {
    match outcome {
        Err(Error::Connect(error)) => error.kind(),
        other => panic!("wanted a refused connect: {other:?}"),
    }
}

#[test]
fn a_client_is_echoed_and_leaves_politely() {
    let server = Launch::echo().start();
    let addr = server.addr();
    let echoed = on_shard(1, move || async move {
        let mut conn = Connector::new().connect(addr).await.unwrap();
        assert_eq!(conn.peer_addr(), addr);
        let text = vec![7_u8; 100_000];
        conn.write(&text).await.unwrap();
        let back = conn.read_exact(text.len()).await.unwrap().unwrap();
        *back == *text
    });
    assert!(echoed);
    let counts = server.stop();
    assert_eq!(counts.of("peer_closed"), 1);
}

#[test]
fn who_speaks_first_may_still_be_spoken_to_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let greeter = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(b"hello\n").unwrap();
        let mut back = [0; 6];
        stream.read_exact(&mut back).unwrap();
        back
    });
    on_shard(1, move || async move {
        let mut conn = Connector::new().speaks_first().connect(addr).await.unwrap();
        let line = conn.read_line(100).await.unwrap().unwrap();
        conn.write(&line).await.unwrap();
        conn.write("\n").await.unwrap();
    });
    assert_eq!(&greeter.join().unwrap(), b"hello\n");
}

#[test]
fn many_connections_come_and_go_within_their_bound() {
    const ROUNDS: u32 = 50;
    const AT_ONCE: u32 = 200;
    let server = Launch::echo().start();
    let addr = server.addr();
    let served = on_shard(AT_ONCE, move || async move {
        let (done, finished) = channel();
        for number in 0..AT_ONCE {
            let done = done.clone();
            spawn(async move {
                for round in 0..ROUNDS {
                    let mut conn = connect_when_there_is_room(addr).await;
                    let word = format!("{number}/{round}");
                    conn.write(&word).await.unwrap();
                    let back = conn.read_exact(word.len()).await.unwrap().unwrap();
                    assert_eq!(*back, *word.as_bytes());
                }
                done.send(()).unwrap();
            })
            .unwrap();
        }
        drop(done);
        all(&finished).await
    });
    assert_eq!(served, AT_ONCE);
    assert_eq!(server.stop().of("peer_closed"), u64::from(ROUNDS * AT_ONCE));
}

/// A connection that was let go keeps its place until the peer's FIN has come.
async fn connect_when_there_is_room(addr: SocketAddr) -> corelane::Conn {
    loop {
        match Connector::new().connect(addr).await {
            Ok(conn) => return conn,
            Err(Error::Connect(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
                sleep(Duration::from_millis(1)).await
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn all(finished: &Receiver<()>) -> u32 {
    let mut count = 0;
    loop {
        match finished.try_recv() {
            Ok(()) => count += 1,
            Err(std::sync::mpsc::TryRecvError::Empty) => sleep(Duration::from_millis(2)).await,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return count,
        }
    }
}

#[test]
fn a_connect_that_fails_says_why() {
    let closed = free_address();
    let kinds = on_shard(1, move || async move {
        let refused = refusal(Connector::new().connect(closed).await);
        let foreign: IpAddr = "192.0.2.1".parse().unwrap(); // TEST-NET-1 (RFC 5737): not an address of this machine
        let source = refusal(Connector::new().source(foreign).connect(closed).await);
        (refused, source)
    });
    assert_eq!(
        kinds,
        (
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::AddrNotAvailable
        )
    );
}

#[test]
fn a_connect_that_nobody_answers_ends_at_its_timeout() {
    // A queue of one that is full: the kernel drops further SYNs.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(addr).unwrap();
    let (kind, waited) = on_shard(8, move || async move {
        let begun = Instant::now();
        let outcome = Connector::new()
            .timeout(Duration::from_millis(500))
            .connect(addr)
            .await;
        (refusal(outcome), begun.elapsed())
    });
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(
        waited >= Duration::from_millis(500) && waited < BOUND,
        "{waited:?}"
    );
}

#[test]
fn the_source_address_is_the_one_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let accept = std::thread::spawn(move || listener.accept().unwrap().1);
    on_shard(1, move || async move {
        let mut conn = Connector::new()
            .source("127.0.0.9".parse().unwrap())
            .connect(addr)
            .await
            .unwrap();
        conn.close().await.unwrap();
    });
    assert_eq!(
        accept.join().unwrap().ip(),
        "127.0.0.9".parse::<IpAddr>().unwrap()
    );
}

#[test]
fn an_answer_that_does_not_come_ends_at_the_read_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // It drips a byte now and then: what counts is the whole answer.
    let drip = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let begun = Instant::now();
        while begun.elapsed() < BOUND && stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _reset_or_end = stream.read(&mut [0; 1]);
    });
    let (reason, waited) = on_shard(1, move || async move {
        let mut conn = Connector::new().connect(addr).await.unwrap();
        let begun = Instant::now();
        conn.set_read_deadline(Some(Duration::from_millis(400)));
        match conn.read_line(1 << 20).await {
            Err(Error::Closed(reason)) => (reason, begun.elapsed()),
            other => panic!("wanted the end of the connection: {other:?}"),
        }
    });
    assert_eq!(reason, CloseReason::ReadTimeout);
    assert!(
        waited >= Duration::from_millis(400) && waited < BOUND / 2,
        "{waited:?}"
    );
    drip.join().unwrap();
}

#[test]
fn a_bound_on_connections_holds_and_is_named() {
    let server = Launch::echo().start();
    let addr = server.addr();
    let text = on_shard(2, move || async move {
        let connector = Connector::new();
        let (_one, _two) = (
            connector.connect(addr).await.unwrap(),
            connector.connect(addr).await.unwrap(),
        );
        connector.connect(addr).await.unwrap_err().to_string()
    });
    assert!(
        text.contains("all 2 connections") && text.contains("limits.outbound_per_shard_max"),
        "{text}"
    );
}

#[test]
fn a_connect_that_is_dropped_is_taken_back() {
    let server = Launch::echo().start();
    let addr = server.addr();
    on_shard(1, move || async move {
        for _ in 0..100 {
            let connect = Connector::new().connect(addr);
            poll_once(connect).await;
            let mut conn = connect_when_there_is_room(addr).await;
            conn.write("x").await.unwrap();
            assert!(conn.read().await.unwrap().is_some());
        }
    });
}

#[test]
fn a_bound_on_connects_that_wait_holds_and_is_named() {
    // Nobody accepts: a queue of one that is full, and the kernel drops further SYNs.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(addr).unwrap();
    let limits = [
        "outbound_per_shard_max=8",
        "connects_in_flight_max=1",
        "connects_waiting_max=2",
    ];
    let settings: Vec<String> = limits
        .iter()
        .map(|limit| format!("limits.{limit}"))
        .chain(["server.shards=1".to_owned()])
        .collect();
    let (results, result) = channel();
    let client = Client::start(&settings, move |_shard| {
        let results = results.clone();
        async move {
            let mut connects: Vec<_> = (0..3)
                .map(|_| Box::pin(Connector::new().connect(addr)))
                .collect();
            for connect in &mut connects {
                assert!(
                    poll_once(connect).await.is_none(),
                    "one is on its way, two wait, all of one task"
                );
            }
            let refused = Connector::new().connect(addr).await.unwrap_err();
            connects.pop();
            let room_again = poll_once(Connector::new().connect(addr)).await.is_none();
            drop(results.send((refused.to_string(), room_again, refusal(Err(refused)))));
        }
    });
    let (said, room_again, kind) = result.recv_timeout(BOUND).unwrap();
    client.unwrap().join_within(BOUND).unwrap();
    assert!(
        said.contains("2 connects") && said.contains("limits.connects_waiting_max"),
        "{said}"
    );
    assert_eq!((room_again, kind), (true, io::ErrorKind::QuotaExceeded));
}

#[test]
fn sleepers_wake_in_their_order_and_not_early() {
    let slept = on_shard(0, || async {
        let (done, finished) = channel();
        let begun = Instant::now();
        for milliseconds in [40_u64, 5, 20, 0, 5] {
            let done = done.clone();
            spawn(async move {
                sleep(Duration::from_millis(milliseconds)).await;
                done.send((milliseconds, begun.elapsed())).unwrap();
            })
            .unwrap();
        }
        sleep(Duration::from_millis(60)).await;
        drop(done);
        finished.iter().collect::<Vec<_>>()
    });
    assert_eq!(
        slept.iter().map(|(wanted, _)| *wanted).collect::<Vec<_>>(),
        [0, 5, 5, 20, 40]
    );
    assert!(
        slept
            .iter()
            .all(|(wanted, elapsed)| *elapsed >= Duration::from_millis(*wanted)),
        "{slept:?}"
    );
}

#[test]
fn a_spawned_task_that_panics_ends_alone() {
    let value = on_shard(0, || async {
        spawn(async { panic!("on purpose") }).unwrap();
        sleep(Duration::from_millis(20)).await;
        7
    });
    assert_eq!(value, 7);
}

#[test]
fn a_program_that_ends_as_its_shard_goes_to_rest_ends_the_shard() {
    // A shard waits in its ring for 50 milliseconds before it parks. A task that blocks it for longer has the
    // end of that time and the program's own fall together.
    let settings = ["server.shards=1".to_owned()];
    let client = Client::start(&settings, |_shard| async {
        spawn(async {
            sleep(Duration::from_millis(40)).await;
            std::thread::sleep(Duration::from_millis(40));
        })
        .unwrap();
        sleep(Duration::from_millis(55)).await;
    });
    client.unwrap().join_within(BOUND).unwrap();
}

#[test]
fn a_client_whose_program_panics_says_so() {
    let settings = ["server.shards=1".to_owned()];
    let client = Client::start(&settings, |_shard| async { panic!("on purpose") }).unwrap();
    let error = client.join_within(BOUND).unwrap_err();
    assert!(error.contains("panicked"), "{error}");
}

#[test]
fn settings_that_are_wrong_are_told_all_at_once() {
    let settings = [
        "server.shards=2000".to_owned(),
        "buffers.count=17".to_owned(),
    ];
    let problems = Client::start(&settings, |_shard| async {}).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:#?}");
}

/// Runs the test of this name again in a network namespace of its own, where it finds this set.
const ALONE_IN_NAMESPACE: &str = "CORELANE_TESTS_NAMESPACE";

#[test]
fn a_connect_that_meets_itself_is_refused_and_leaves_the_port_free() {
    if std::env::var_os(ALONE_IN_NAMESPACE).is_some() {
        return meet_oneself();
    }
    let may = Command::new("unshare")
        .args(["-n", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !may || !tests::have("ip") {
        tests::skip!("needs root, unshare and ip, for a network namespace of its own");
    }
    let mut command = Command::new("unshare");
    command
        .args(["-n", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "a_connect_that_meets_itself_is_refused_and_leaves_the_port_free",
        ])
        .env(ALONE_IN_NAMESPACE, "1");
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Connects to a port where nobody listens and that the kernel hands out: there are so few that the
/// connects get it, too.
fn meet_oneself() {
    const PORT: u16 = 40_004;
    const CONNECTS: u32 = 300;
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40005").unwrap();
    let targets = ["127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1"]
        .map(|ip| SocketAddr::new(ip.parse().unwrap(), PORT));
    // What the kernel does by itself: or this would show nothing.
    let meets_itself = |_| {
        let met = std::net::TcpStream::connect(targets[0]);
        met.is_ok_and(|stream| {
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .is_ok()
        })
    };
    assert!((0..CONNECTS).any(meets_itself), "no connect has met itself");
    let kinds = on_shard(1, move || async move {
        let mut kinds = std::collections::BTreeSet::new();
        for number in 0..CONNECTS as usize {
            let outcome = Connector::new()
                .connect(targets[number % targets.len()])
                .await;
            kinds.insert(outcome.map_or_else(
                |error| format!("{error}"),
                |conn| format!("connected to {}", conn.peer_addr()),
            ));
        }
        kinds
    });
    assert_eq!(kinds.len(), 1, "{kinds:?}");
    assert!(kinds.first().unwrap().contains("refused"), "{kinds:?}");
    drop(TcpListener::bind(targets[0]).expect("the port is free at once"));
}
