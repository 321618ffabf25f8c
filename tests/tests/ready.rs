//! Whether a server can be given work, and what its lines of statistics say: at the start, with a
//! shard that stalls, with one that dies, at the end.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{BOUND, Client, End, Launch, Line, Server, connect, free_address, within};

/// How much later than its bound something is told at most: the control thread looks every 50 ms,
/// and machines get busy.
const LATE_MAX: Duration = Duration::from_millis(400);
/// How long the handler `block` keeps its shard.
const BLOCKED: Duration = Duration::from_secs(1);

/// The messages that tell of readiness, each with its reason, in their order.
fn readiness(server: &Server) -> Vec<String> {
    let told = |line: &Line| match line.message() {
        "ready" => Some("ready".to_owned()),
        "not ready" => Some(format!("not ready: {}", line.field("reason").unwrap())),
        _ => None,
    };
    server.log().lines().iter().filter_map(told).collect()
}

fn wait_for_stats(
    server: &Server,
    from: usize,
    what: &str,
    wanted: impl Fn(&Line) -> bool,
) -> Line {
    server.wait_for_line(from, BOUND, &format!("stats with {what}"), |line| {
        line.message() == "stats" && wanted(line)
    })
}

#[test]
fn a_server_is_ready_while_all_its_shards_listen_and_none_drains() {
    let mut server = Launch::echo().start();
    server.wait_for_log("ready", BOUND);
    let messages: Vec<String> = server
        .log()
        .lines()
        .iter()
        .map(|line| line.message().to_owned())
        .collect();
    let listens = messages.iter().position(|message| message == "listening");
    assert!(
        listens < messages.iter().position(|message| message == "ready"),
        "{messages:?}"
    );
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
    assert_eq!(readiness(&server), ["ready", "not ready: draining"]);
}

#[test]
fn a_shard_that_stalls_makes_the_server_unready_until_it_moves_on() {
    const UNREADY_AFTER: Duration = Duration::from_millis(400);
    let server = Launch::hostile()
        .alone()
        .set("server.shards=2")
        .set("limits.unready_after=\"400ms\"")
        .set("log.stats_interval=\"1s\"")
        .start();
    wait_for_stats(&server, 0, "ready=true", |line| {
        line.field("ready").as_deref() == Some("true") && line.number("stalls") == 0
    });
    let mut blocked = server.connect();
    let start = Instant::now();
    blocked.send(b"block\n");
    let unready = server.wait_for_log("not ready", BOUND);
    let after = unready.at.duration_since(start);
    assert!(
        after >= UNREADY_AFTER && after <= UNREADY_AFTER + LATE_MAX,
        "not ready after {after:?}"
    );
    assert_eq!(
        (unready.level(), unready.field("reason").as_deref()),
        ("WARN", Some("stalled"))
    );
    let shard = unready.number("shard");
    let from = server.log().lines().len();
    blocked.expect(format!("blocked {shard}\n").as_bytes());
    let ready = server.wait_for_line(from, BOUND, "ready", |line| line.message() == "ready");
    let after = ready.at.duration_since(start);
    assert!(
        after <= BLOCKED + LATE_MAX,
        "ready again only after {after:?}"
    );
    // The stall is counted, once and for its shard.
    wait_for_stats(&server, from, "the stall", |line| {
        line.number("stalls") == 1 && line.field("ready").as_deref() == Some("true")
    });
    let of_shards = server
        .log()
        .lines()
        .into_iter()
        .rev()
        .filter(|line| line.message() == "shard stats")
        .take(2);
    let stalls: BTreeSet<(u64, u64)> = of_shards
        .map(|line| (line.number("shard"), line.number("stalls")))
        .collect();
    assert_eq!(stalls, BTreeSet::from([(shard, 1), (1 - shard, 0)]));
    drop(blocked);
    server.stop();
}

#[test]
fn a_stall_shorter_than_its_bound_makes_nobody_unready() {
    for bound in ["\"3s\"", "\"off\""] {
        let server = Launch::hostile()
            .set(&format!("limits.unready_after={bound}"))
            .start();
        let mut blocked = server.connect();
        blocked.send(b"block\n");
        server.wait_for_log("a handler blocks its shard", BOUND);
        blocked.receive(b"blocked 0\n".len());
        thread::sleep(Duration::from_millis(150)); // it would be told by now
        assert_eq!(readiness(&server), ["ready"], "unready_after = {bound}");
        drop(blocked);
        server.stop();
    }
}

#[test]
fn readiness_needs_no_watchdog() {
    let server = Launch::hostile()
        .set("limits.watchdog=\"off\"")
        .set("limits.unready_after=\"200ms\"")
        .start();
    let mut blocked = server.connect();
    blocked.send(b"block\n");
    server.wait_for_log("not ready", BOUND);
    blocked.receive(b"blocked 0\n".len());
    assert!(
        !server.log().text().contains("a handler blocks its shard"),
        "{}",
        server.log().text()
    );
    drop(blocked);
    server.stop();
}

#[test]
fn a_blocked_shard_is_named_with_the_connection_that_it_serves() {
    let server = Launch::hostile().debug().set("server.shards=1").start();
    let mut others: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    others
        .iter_mut()
        .for_each(|client| client.ask(b"alive?\n", b"alive?\n"));
    let mut blocked = server.connect();
    let peer = blocked.stream().local_addr().unwrap().to_string();
    blocked.send(b"block\n");
    let named = server.wait_for_log("a handler blocks its shard", BOUND);
    drop((others, blocked));
    let closed = server.wait_for_line(0, BOUND, "its close", |line| {
        line.message() == "closed" && line.field("peer").as_ref() == Some(&peer)
    });
    assert_eq!(named.field("conn"), closed.field("conn"));
    server.stop();
}

// ---- a shard that dies ----

/// Asks again and again until the server ends the connection, which must not be in the middle of a
/// reply. Tells its own address, and which end that was.
fn ask_until_the_end(address: SocketAddr) -> (SocketAddr, End) {
    let mut client = Client::connect(address);
    let own = client.stream().local_addr().unwrap();
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < BOUND, "still served");
        let sent = std::io::Write::write_all(client.stream(), b"alive?\n");
        let mut reply = [0; 7];
        let read = sent.and_then(|()| std::io::Read::read(client.stream(), &mut reply));
        match read {
            Ok(7) => thread::sleep(Duration::from_millis(1)),
            Ok(0) => return (own, End::Eof),
            Ok(part) => panic!("{part} bytes of a reply"),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) =>
            {
                return (own, End::Reset);
            }
            Err(error) => panic!("neither answered nor ended: {error}"),
        }
    }
}

/// The peers whose connections `shard` is said to have ended with `reason`.
fn closed(server: &Server, shard: u64, reason: &str) -> BTreeSet<String> {
    let is = |line: &Line| {
        line.message() == "closed"
            && line.number("shard") == shard
            && line.field("reason").as_deref() == Some(reason)
    };
    server
        .log()
        .lines()
        .iter()
        .filter(|line| is(line))
        .map(|line| line.field("peer").unwrap())
        .collect()
}

#[test]
fn a_shard_that_dies_is_told_the_others_drain_and_the_process_exits_with_1() {
    const CLIENTS: usize = 16;
    for death in ["shard=panic+300@1", "shard=EIO+300@1"] {
        let mut server = Launch::faulty(death).debug().set("server.shards=2").start();
        let address = server.addr();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| thread::spawn(move || ask_until_the_end(address)))
            .collect();
        let died = server.wait_for_log("a shard died; the others drain", BOUND);
        assert_eq!((died.level(), died.number("shard")), ("ERROR", 1));
        let why = died.field("why").unwrap();
        assert!(
            if death.contains("panic") {
                why.contains("panicked: failpoint, at ")
            } else {
                why.contains("os error 5")
            },
            "{why}"
        );
        let ended: Vec<(SocketAddr, End)> = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        assert_eq!(server.wait_exit(BOUND), Some(1));
        assert_eq!(readiness(&server), ["ready", "not ready: shard_died"]);
        // Those of the other shard were told the end as by any drain.
        let drained = closed(&server, 0, "drained");
        assert!(
            !drained.is_empty() && drained.len() < CLIENTS,
            "{drained:?}"
        );
        for (peer, end) in ended
            .iter()
            .filter(|(peer, _)| drained.contains(&peer.to_string()))
        {
            assert_eq!(*end, End::Eof, "{peer}");
        }
    }
}

#[test]
fn a_dead_shard_leaves_no_listener_and_a_first_signal_then_cuts_nobody() {
    let mut server = Launch::faulty("shard=panic+100@1")
        .set("server.shards=2")
        .set("timeouts.drain=\"5s\"")
        .start();
    // Half-sent requests hold up the drain of the shard that lives.
    let mut held: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    held.iter_mut().for_each(|client| client.send(b"half a "));
    let address = server.addr();
    within(BOUND, "the shard has died", || {
        let _ = connect(address);
        server
            .log()
            .find(0, Duration::ZERO, |line| line.message() == "not ready")
    });
    within(Duration::from_secs(2), "nobody listens any more", || {
        connect(address)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            .then_some(())
    });
    server.signal(Signal::TERM);
    server.wait_for_log("draining", BOUND);
    let answered = held.iter_mut().filter_map(|client| {
        let sent = std::io::Write::write_all(client.stream(), b"request\n").is_ok();
        sent.then(|| client.receive_all().0)
            .filter(|reply| reply == b"half a request\n")
    });
    assert!(answered.count() > 0, "those of the other shard were cut");
    assert_eq!(server.wait_exit(BOUND), Some(1));
}

// ---- statistics ----

#[test]
fn what_fails_at_accepts_and_receives_is_in_the_statistics() {
    let faults = "accept=ECONNABORTED*3;accept=ENFILE*2;receive=ENOBUFS*4";
    let server = Launch::faulty(faults)
        .set("server.shards=1")
        .set("limits.accepts_in_flight_max=1")
        .set("log.stats_interval=\"1s\"")
        .start();
    server.connect().ask(b"at last\n", b"at last\n");
    let has = |line: &Line, name: &str, count: &str| line.field(name).as_deref() == Some(count);
    let line = wait_for_stats(&server, 0, "what failed", |line| {
        has(line, "accepts_aborted", "3")
    });
    assert!(
        has(&line, "accepts_failed", "2") && line.field("buffers_exhausted").is_some(),
        "{}",
        line.text
    );
    server.stop();
}

#[test]
fn what_is_asked_of_upstreams_is_in_the_statistics() {
    let upstream = Launch::ping().start();
    let next = format!("upstream.next.addr=\"{}\"", upstream.addr());
    let nobody = free_address();
    let gone = format!("upstream.gone.addr=\"{nobody}\"");
    let server = Launch::ping()
        .set("server.shards=1")
        .set(&next)
        .set(&gone)
        .set("log.stats_interval=\"1s\"")
        .start();
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(b"PING\r\n");
        assert!(client.receive_line().starts_with("+PONG "));
    }
    let line = wait_for_stats(&server, 0, "a connect", |line| {
        line.field("connected").as_deref() == Some("1")
    });
    let counts = ["outbound", "outbound_idle"].map(|name| line.field(name).unwrap_or_default());
    assert_eq!(counts, ["1", "1"], "{}", line.text);
    assert_eq!(
        line.field("upstreams").unwrap(),
        "gone: in_use=0 waiting=0 failed=0, next: in_use=0 waiting=0 failed=0"
    );
    drop(upstream);
    let from = server.log().lines().len();
    let left = wait_for_stats(&server, from, "none open", |line| {
        line.field("outbound").is_none()
    });
    assert_eq!(left.field("outbound_idle"), None, "{}", left.text);
    client.send(b"PING\r\n");
    assert!(client.receive_line().starts_with("-ERR upstream next: "));
    wait_for_stats(&server, from, "a failure", |line| {
        line.field("upstreams").unwrap().ends_with("failed=1")
    });
    drop(client);
    server.stop();
}
