//! The admin server: metrics and health, connections listed and ended, and whoever means it ill.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tests::admin::{Answer, ask, dechunked, read, request};
use tests::{BOUND, Client, End, Launch, Server, connect, needs, slack, within};

/// The header field without which nothing is changed.
const STEER: &str = "X-Corelane-Steer: yes\r\n";

fn with_admin(launch: Launch) -> Launch {
    launch
        .set("server.shards=2")
        .set("admin.listen=\"127.0.0.1:0\"")
}

/// A server that is steered where it is looked at.
fn steered() -> Launch {
    Launch::echo()
        .debug()
        .set("server.shards=2")
        .set("admin.steer_listen=\"127.0.0.1:0\"")
}

/// The lines of a list, and its last.
fn list(server: &Server, method: &str, path: &str) -> (Vec<Value>, Value) {
    let fields = if method == "POST" { STEER } else { "" };
    let answer = ask(server.admin_addr(), &request(method, path, fields));
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut lines: Vec<Value> = dechunked(&answer.body)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    let summary = lines.pop().unwrap();
    (lines, summary)
}

fn ids(lines: &[Value]) -> Vec<String> {
    let id = |line: &Value| line["id"].as_str().unwrap().to_owned();
    lines.iter().map(id).collect()
}

fn post(server: &Server, path: &str) -> Answer {
    ask(server.admin_addr(), &request("POST", path, STEER))
}

// ---- metrics and health ----

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    needs!("promtool");
    let server = with_admin(Launch::relay(([127, 0, 0, 1], 9).into())).start();
    let page = server.admin_get("/metrics");
    assert!(
        page.head
            .contains("Content-Type: text/plain; version=0.0.4"),
        "{}",
        page.head
    );
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.body.as_bytes())
        .unwrap();
    let said = promtool.wait_with_output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    assert!(
        said.status.success() && text.is_empty(),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

#[test]
fn what_happens_is_counted() {
    let server = with_admin(Launch::echo()).start();
    let sum = |name: &str| {
        let of = |shard| server.metric(&format!("{name}{{shard=\"{shard}\"}}"));
        of(0) + of(1)
    };
    let mut clients = [(); 3].map(|()| server.connect());
    for client in &mut clients {
        client.ask(b"hello", b"hello");
    }
    let [gone, ..] = clients;
    drop(gone);
    within(BOUND, "a connection has ended", || {
        let closed = server.metric("corelane_connections_closed_total{reason=\"peer_closed\"}");
        (closed == 1.0).then_some(())
    });
    assert_eq!(
        (
            sum("corelane_connections"),
            sum("corelane_connections_accepted_total")
        ),
        (2.0, 3.0)
    );
    let counts = [
        "corelane_received_bytes_total",
        "corelane_sent_bytes_total",
        "corelane_messages_received_total",
    ];
    within(BOUND, "what was sent is counted", || {
        let counted = counts.map(|name| server.metric(name));
        (counted == [15.0, 15.0, 3.0]).then_some(())
    });
    let turns = server.metric("corelane_turn_duration_seconds_count");
    let busy = sum("corelane_busy_seconds_total");
    assert!(
        turns >= 6.0 && busy > 0.0 && busy < BOUND.as_secs_f64(),
        "{turns} {busy}"
    );
    assert_eq!(server.metric("corelane_ready"), 1.0);
    assert!(server.metric("process_resident_memory_bytes") > 1e6);
}

/// Fault 45.
#[test]
fn it_answers_while_shards_stall_and_drain() {
    let server = with_admin(Launch::hostile().alone())
        .set("limits.unready_after=\"200ms\"")
        .start();
    server.wait_for_log("ready", BOUND);
    assert_eq!(server.admin_get("/readyz").body, "ready\n");
    let mut blocked = server.connect();
    blocked.send(b"block\n");
    server.wait_for_log("not ready", BOUND);
    let start = Instant::now();
    let [readyz, healthz, metrics] =
        ["/readyz", "/healthz", "/metrics"].map(|path| server.admin_get(path));
    assert!(
        start.elapsed() < Duration::from_millis(500) * slack(),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(readyz.status, 503);
    assert!(readyz.body.starts_with("stalled shard="), "{}", readyz.body);
    assert_eq!((healthz.status, metrics.status), (200, 200));
    assert_eq!(
        server.metric("corelane_stalls_total{shard=\"0\"}")
            + server.metric("corelane_stalls_total{shard=\"1\"}"),
        1.0
    );
    let mut holder = server.connect();
    holder.send(b"hold\n");
    within(BOUND, "the held connection is there", || {
        let listed = server.admin_get("/connections").body;
        listed.contains("\"matched\":2").then_some(())
    });
    server.signal(Signal::TERM);
    within(BOUND, "it says that it drains", || {
        let told = server.admin_get("/readyz").body;
        (told == "draining\n").then_some(())
    });
    assert_eq!(server.metric("corelane_ready"), 0.0);
}

// ---- connections ----

#[test]
fn connections_are_listed_filtered_sorted_and_explained() {
    let server = steered().start();
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask(b"a", b"a"));
    let (lines, summary) = list(&server, "GET", "/connections");
    assert_eq!((lines.len(), &summary["matched"]), (20, &Value::from(20)));
    let mut peers: Vec<String> = lines
        .iter()
        .map(|line| line["peer"].as_str().unwrap().to_owned())
        .collect();
    let mut ours: Vec<String> = clients
        .iter_mut()
        .map(|client| client.stream().local_addr().unwrap().to_string())
        .collect();
    peers.sort();
    ours.sort();
    assert_eq!(peers, ours);
    let matched = |query: &str| {
        list(&server, "GET", &format!("/connections?{query}")).1["matched"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(matched("shard=0") + matched("shard=1"), 20);
    assert_eq!(matched("network=127.0.0.0/8&phase=serving"), 20);
    assert_eq!(
        matched("network=10.0.0.0/8") + matched("phase=lingering") + matched("age_min=1h"),
        0
    );
    assert_eq!(matched("queued_bytes_min=1"), 0);
    let (few, _) = list(&server, "GET", "/connections?sort=age&limit=3");
    let ages: Vec<f64> = few
        .iter()
        .map(|line| line["age_seconds"].as_f64().unwrap())
        .collect();
    assert!(
        ages.len() == 3 && ages.is_sorted_by(|one, next| one >= next),
        "{ages:?}"
    );
    let one = &ids(&lines)[7];
    let explained: Value =
        serde_json::from_str(&server.admin_get(&format!("/connections/{one}")).body).unwrap();
    assert_eq!(explained["id"], Value::from(one.as_str()));
    assert_eq!(explained["waits_for"], "input");
    assert_eq!(explained["deadline"]["ends_as"], "idle_timeout");
    for wrong in [
        "/connections?shards=1",
        "/connections/1",
        "/connections?age_min=5",
    ] {
        assert_eq!(server.admin_get(wrong).status, 400, "{wrong}");
    }
}

/// Fault 49.
#[test]
fn a_connection_is_ended_by_its_name_and_none_that_came_later() {
    let server = steered().set("server.shards=1").start();
    let mut first = server.connect();
    first.ask(b"a", b"a");
    let name = ids(&list(&server, "GET", "/connections").0).remove(0);
    assert_eq!(
        post(&server, &format!("/connections/{name}/close?at_once=true")).status,
        200
    );
    first.expect_reset();
    server.wait_for_closed("closed_by_operator", 1);
    let mut second = server.connect();
    second.ask(b"b", b"b");
    let successor = ids(&list(&server, "GET", "/connections").0).remove(0);
    let slot = |name: &str| {
        name.split('.')
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        slot(&name),
        slot(&successor),
        "it has the slot of the first"
    );
    let answer = post(&server, &format!("/connections/{name}/close"));
    assert_eq!((answer.status, &*answer.body), (404, "gone\n"));
    second.ask(b"c", b"c");
    assert_eq!(
        post(&server, &format!("/connections/{successor}/close")).status,
        200
    );
    second.expect_eof();
    drop(second);
    server.wait_for_closed("drained", 1);
}

#[test]
fn all_that_fit_are_ended() {
    let server = steered().start();
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask(b"a", b"a"));
    assert_eq!(
        post(&server, "/connections/close").status,
        400,
        "it must say which"
    );
    let (_, summary) = list(
        &server,
        "POST",
        "/connections/close?network=127.0.0.1&at_once=true&limit=1",
    );
    assert_eq!(
        (&summary["matched"], &summary["told_to_end"]),
        (&Value::from(200), &Value::from(200))
    );
    server.wait_for_closed("closed_by_operator", 200);
    for client in &clients {
        assert_eq!(client.end(), End::Reset);
    }
}

/// Fault 50.
#[test]
fn a_list_is_whole_while_connections_come_and_go() {
    let server = steered().start();
    let (address, until) = (server.addr(), Instant::now() + Duration::from_secs(2));
    let mut stays: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    stays.iter_mut().for_each(|client| client.ask(b"a", b"a"));
    let ours: Vec<String> = stays
        .iter_mut()
        .map(|client| client.stream().local_addr().unwrap().to_string())
        .collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while Instant::now() < until {
                    let _passes = connect(address);
                }
            });
        }
        while Instant::now() < until {
            let (lines, _) = list(&server, "GET", "/connections?limit=1000000");
            let peers: Vec<&str> = lines
                .iter()
                .map(|line| line["peer"].as_str().unwrap())
                .collect();
            let missing = ours
                .iter()
                .filter(|peer| !peers.contains(&peer.as_str()))
                .count();
            assert_eq!(missing, 0);
        }
    });
}

#[test]
fn a_list_is_given_without_a_shard_that_stalls() {
    let server = with_admin(Launch::hostile().alone())
        .set("admin.answer_timeout=\"300ms\"")
        .start();
    let mut blocked = server.connect();
    blocked.send(b"block\n");
    server.wait_for_log("a handler blocks its shard", BOUND);
    let (_, summary) = list(&server, "GET", "/connections");
    assert_eq!(summary["unanswered_shards"].as_array().unwrap().len(), 1);
}

// ---- where, and who ----

/// A path that nobody has.
fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("corelane-admin-{name}-{}", std::process::id()))
}

/// Fault 53.
#[test]
fn a_unix_socket_is_the_servers_user_alone_and_goes_with_the_server() {
    needs!("curl");
    let path = socket_path("own");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // a stale one
    let listen = format!("admin.listen=\"unix:{}\"", path.display());
    let mut server = Launch::echo().set(&listen).start();
    server.wait_for_log("admin listening", BOUND);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let curl = |arguments: &[&str]| {
        let said = Command::new("curl")
            .args(["-s", "--unix-socket"])
            .arg(&path)
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    assert_eq!(curl(&["http://any.name/readyz"]), "ready\n");
    let steer = [
        "-X",
        "POST",
        "-H",
        "X-Corelane-Steer: 1",
        "http://x/connections/0.0.1/close",
    ];
    assert_eq!(curl(&steer), "gone\n", "a Unix socket steers");
    let second = Launch::echo().set(&listen).run();
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    assert!(
        second.stderr.contains("another copy of this one does"),
        "{}",
        second.stderr
    );
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
    assert!(!path.exists());
}

/// Fault 53.
#[test]
fn a_place_that_cannot_be_listened_on_is_refused_at_the_start() {
    let path = socket_path("file");
    fs::write(&path, "precious").unwrap();
    let cases = [
        (
            format!("unix:{}", path.display()),
            "there is something that is no socket",
        ),
        (format!("unix:/{}", "x".repeat(107)), "at most 107 bytes"),
        (
            "unix:/nowhere/at/all".to_owned(),
            "its directory does not exist",
        ),
        ("0.0.0.0:9007".to_owned(), "not for other machines"),
    ];
    for (place, told) in cases {
        let refused = Launch::echo()
            .set(&format!("admin.listen=\"{place}\""))
            .run();
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(path).unwrap();
}

/// Fault 48.
#[test]
fn a_page_of_anybodys_in_a_browser_gets_nothing_and_changes_nothing() {
    needs!("curl");
    let server = steered().set("admin.listen=\"127.0.0.1:0\"").start();
    let mut client = server.connect();
    client.ask(b"a", b"a");
    // The one to be looked at is told of first.
    let looked_at = server.admin_addr();
    let status = |arguments: &[&str], path: &str| {
        let said = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(arguments)
            .arg(format!("http://{looked_at}{path}"))
            .output()
            .unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    assert_eq!(status(&[], "/metrics"), "200");
    assert_eq!(status(&["-H", "Host: example.org"], "/metrics"), "403");
    assert_eq!(
        status(
            &["-X", "POST", "-H", "X-Corelane-Steer: 1"],
            "/connections/close?shard=0"
        ),
        "403"
    );
    let steering = server.wait_for_line(0, BOUND, "the other one", |line| {
        line.message() == "admin listening" && line.field("addr") != Some(looked_at.to_string())
    });
    let steering = steering.field("addr").unwrap().parse().unwrap();
    let cross_site = request(
        "POST",
        "/connections/close?network=127.0.0.1",
        "Origin: http://example.org\r\n",
    );
    assert_eq!(ask(steering, &cross_site).status, 403);
    let foreign = format!(
        "POST /connections/close?network=127.0.0.1 HTTP/1.1\r\nHost: example.org\r\n{STEER}Connection: close\r\n\r\n"
    );
    assert_eq!(ask(steering, &foreign).status, 403);
    client.ask(b"b", b"b");
    let (_, summary) = {
        let answer = ask(
            steering,
            &request("POST", "/connections/close?network=127.0.0.1", STEER),
        );
        (answer.status, dechunked(&answer.body))
    };
    assert!(
        summary.ends_with("{\"matched\":1,\"told_to_end\":1,\"unanswered_shards\":[]}\n"),
        "{summary}"
    );
    client.expect_eof();
}

/// Fault 47.
#[test]
fn whoever_means_it_ill_is_answered_or_closed_and_no_shard_notices() {
    let server = with_admin(Launch::echo().alone())
        .set("admin.request_timeout=\"1s\"")
        .start();
    let admin = server.admin_addr();
    let smuggled = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let forms = [
        (
            400,
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
                smuggled.len()
            ),
        ),
        (
            413,
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{smuggled}",
                smuggled.len()
            ),
        ),
        (
            400,
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +0\r\n\r\n{smuggled}"),
        ),
        (
            400,
            format!("GET / HTTP/1.1\r\nHost: localhost\r\n\rX: y\r\n\r\n{smuggled}"),
        ),
        (
            400,
            format!("GET / HTTP/1.1\nHost: localhost\n\n{smuggled}"),
        ),
        (
            400,
            "\0\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\r\n\r\n".to_owned(),
        ),
        (
            431,
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
                "y".repeat(1 << 20)
            ),
        ),
        (
            431,
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
                "X: y\r\n".repeat(100)
            ),
        ),
    ];
    for (status, form) in forms {
        let answer = ask(admin, &form);
        let shown: String = form.chars().take(80).collect();
        // The rest of a megabyte that nobody reads may reset what was answered.
        let is_cut = answer.status == 0 && form.len() > 1 << 19;
        assert!(answer.status == status || is_cut, "{shown:?}: {answer:?}");
        assert_eq!(
            answer.body.matches("\r\nDate:").count(),
            0,
            "one answer to {shown:?}"
        );
    }
    let start = Instant::now();
    let mut dripped = connect(admin).unwrap();
    dripped
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        .unwrap();
    assert_eq!(
        read(dripped).status,
        0,
        "a header without end is not answered"
    );
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(3) * slack(),
        "{took:?}"
    );
    let idle: Vec<_> = (0..1000).map(|_| connect(admin).unwrap()).collect();
    assert_eq!(
        server.admin_get("/readyz").body,
        "ready\n",
        "beside a thousand who say nothing"
    );
    drop(idle);
    server.connect().ask(b"a", b"a");
    assert_eq!(server.stop().of("protocol_error"), 0);
}

/// A connection whose kernel takes next to nothing for its peer.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

#[test]
fn a_reader_that_takes_nothing_is_given_up() {
    let server = with_admin(Launch::echo())
        .set("admin.request_timeout=\"1s\"")
        .start();
    let mut slow = narrow(server.admin_addr());
    // Far more answers than the buffers of both ends hold.
    let ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(4000);
    slow.set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let _blocked = slow.write_all(ask.as_bytes());
    thread::sleep(Duration::from_secs(3));
    let answers = read(slow).body.matches("HTTP/1.1 200 OK").count();
    assert!(answers < 3999, "it was cut");
    assert_eq!(server.admin_get("/readyz").status, 200);
}

#[test]
fn slowhttptest_does_not_close_it() {
    needs!("slowhttptest");
    let server = with_admin(Launch::echo().alone())
        .set("admin.request_timeout=\"1s\"")
        .start();
    let url = format!("http://{}/metrics", server.admin_addr());
    for attack in ["-H", "-B", "-X"] {
        let mut attacker = Command::new("slowhttptest")
            .args([
                attack, "-c", "200", "-r", "200", "-i", "1", "-l", "3", "-u", &url,
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            let start = Instant::now();
            assert_eq!(server.admin_get("/readyz").status, 200, "under {attack}");
            assert!(
                start.elapsed() < Duration::from_secs(2) * slack(),
                "under {attack}: {:?}",
                start.elapsed()
            );
            thread::sleep(Duration::from_millis(50));
        }
        let _over = attacker.kill();
        attacker.wait().unwrap();
    }
}

/// Names of an operator, texts of peers: fault 46.
#[test]
fn no_text_breaks_a_line() {
    let server = with_admin(Launch::hostile()).debug().start();
    let mut client = server.connect();
    client.send(b"quote\n\"} corelane_ready 7 <script>\r\n");
    let page = server.admin_get("/metrics");
    for line in page.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let is_plain = |char: char| char.is_ascii_alphanumeric() || "_{}=\",.+".contains(char);
        assert!(name.chars().all(is_plain), "{line}");
    }
    assert!(!page.body.contains("<script"));
}
