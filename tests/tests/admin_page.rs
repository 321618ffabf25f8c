//! The numbers as JSON, as events, and as a page in a browser.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use serde_json::Value;
use tests::admin::{ask, request};
use tests::browser::{Page, element, sha256};
use tests::{BOUND, Launch, Server, connect, needs, slack, within};

/// A program's name that would be markup.
const MARKUP: &str = "<b>x<img src=x onerror=document.title=7>";

fn with_admin(launch: Launch) -> Launch {
    launch
        .set("server.shards=2")
        .set("admin.listen=\"127.0.0.1:0\"")
}

fn stats(server: &Server) -> Value {
    let answer = server.admin_get("/stats");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// A stream of events, behind its header.
struct Watch<S: Read>(BufReader<S>);

impl Watch<TcpStream> {
    /// Its header, too.
    fn begin(server: &Server) -> (Self, String) {
        let stream = connect(server.admin_addr()).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        Self::of(stream)
    }
}

impl<S: Read + Write> Watch<S> {
    fn of(mut stream: S) -> (Self, String) {
        let asks = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(asks.as_bytes()).unwrap();
        let (mut watch, mut head) = (Self(BufReader::new(stream)), String::new());
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(watch.0.read_line(&mut head).unwrap(), 0, "{head}");
        }
        (watch, head)
    }

    /// The next one.
    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

fn sum(of: &Value, key: &str) -> f64 {
    let shards = of["shards"].as_array().unwrap();
    shards
        .iter()
        .map(|shard| shard[key].as_f64().unwrap())
        .sum()
}

#[test]
fn the_numbers_are_those_of_the_metrics() {
    let server = with_admin(Launch::relay(([127, 0, 0, 1], 9).into())).start();
    let mut clients = [(); 3].map(|()| server.connect());
    clients.iter_mut().for_each(|client| client.send(b"half"));
    let [gone, ..] = &mut clients;
    gone.stream().shutdown(Shutdown::Both).unwrap();
    within(BOUND, "a connection has ended", || {
        (sum(&stats(&server), "closed") == 1.0).then_some(())
    });
    let told = stats(&server);
    let metric = |name: &str| server.metric(&format!("corelane_{name}"));
    for (key, name) in [
        ("connections", "connections"),
        ("accepted", "connections_accepted_total"),
        ("tasks", "tasks"),
        ("stalls", "stalls_total"),
    ] {
        for shard in 0..2 {
            let of_shard = metric(&format!("{name}{{shard=\"{shard}\"}}"));
            assert_eq!(told["shards"][shard][key], of_shard as u64, "{key}");
        }
    }
    for (key, name) in [
        ("messages", "messages_received_total"),
        ("received_bytes", "received_bytes_total"),
        ("sent_bytes", "sent_bytes_total"),
        ("unread_bytes", "unread_bytes"),
        ("unsent_bytes", "unsent_bytes"),
    ] {
        assert_eq!(told["total"][key], metric(name) as u64, "{key}");
    }
    for key in [
        "connections",
        "closed",
        "messages",
        "received_bytes",
        "turns",
    ] {
        assert_eq!(told["total"][key].as_f64(), Some(sum(&told, key)), "{key}");
    }
    for (reason, count) in told["closed_by_reason"].as_object().unwrap() {
        let counted = metric(&format!("connections_closed_total{{reason=\"{reason}\"}}"));
        assert_eq!(*count, counted as u64, "{reason}");
    }
    let next = &told["upstreams"]["next"];
    let failed = metric("upstream_failures_total{upstream=\"next\"}");
    assert_eq!(next["failed"], failed as u64);
    assert_eq!(told["connections_max"], metric("connections_max") as u64);
    assert_eq!(told["ready"], true);
    let turns = told["total"]["turns"].as_f64().unwrap();
    assert!(turns > 0.0 && turns <= metric("turn_duration_seconds_count"));
    let at_most = &told["total"]["turn_seconds_at_most"];
    let [p50, p99, max] = ["p50", "p99", "max"].map(|key| at_most[key].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{at_most}");
    assert!(told["resident_bytes"].as_u64() > Some(1 << 20), "{told}");
}

#[test]
fn events_come_each_second_until_the_drain() {
    // Neither the time for a request nor that for silence ends a stream.
    let mut server = with_admin(Launch::echo())
        .set("admin.request_timeout=\"300ms\"")
        .set("admin.idle_timeout=\"300ms\"")
        .start();
    let (mut watch, head) = Watch::begin(&server);
    assert!(head.contains("Content-Type: text/event-stream"), "{head}");
    let mut client = server.connect();
    let events: Vec<Value> = (0..4)
        .map(|_| {
            client.ask(b"a", b"a");
            watch.next()
        })
        .collect();
    let uptime = |event: &Value| event["uptime_seconds"].as_f64().unwrap();
    for pair in events.windows(2) {
        let (window, between) = (
            pair[1]["window_seconds"].as_f64().unwrap(),
            uptime(&pair[1]) - uptime(&pair[0]),
        );
        assert!(pair[0]["time"].as_str() < pair[1]["time"].as_str());
        assert!((between - window).abs() < 0.01, "{window} {between}");
        assert!((1.0..BOUND.as_secs_f64()).contains(&window), "{window}");
        let counts = ["accepted", "messages"].map(|key| {
            let of = |event: &Value| event["total"][key].as_u64().unwrap();
            (of(&pair[0]), of(&pair[1]))
        });
        assert!(counts.iter().all(|(before, now)| before <= now));
    }
    server.signal(Signal::TERM);
    let mut rest = String::new();
    watch.0.read_to_string(&mut rest).unwrap();
    let last = rest.lines().rfind(|line| line.starts_with("data: "));
    let last: Value = serde_json::from_str(&last.unwrap()[6..]).unwrap();
    assert_eq!(last["unready_because"], "draining");
    assert_eq!(last["closed_by_reason"]["drained"], 1);
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

/// Fault 47.
#[test]
fn only_so_many_may_watch() {
    let server = with_admin(Launch::echo()).start();
    let mut watches: Vec<_> = (0..32)
        .map(|_| {
            let (watch, head) = Watch::begin(&server);
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            watch
        })
        .collect();
    assert_eq!(server.admin_get("/events").status, 503);
    assert_eq!(server.admin_get("/readyz").status, 200);
    watches.pop();
    within(BOUND, "one that has gone makes room", || {
        let (_, head) = Watch::begin(&server);
        head.starts_with("HTTP/1.1 200 ").then_some(())
    });
    watches.iter_mut().for_each(|watch| drop(watch.next()));
    let small = with_admin(Launch::echo())
        .set("admin.connections_max=2")
        .start();
    let (mut watch, _) = Watch::begin(&small);
    assert_eq!(small.admin_get("/events").status, 503);
    within(
        BOUND,
        "who was refused has gone, and its place is free",
        || (small.admin_get("/readyz").status == 200).then_some(()),
    );
    watch.next();
}

/// Fault 47.
#[test]
fn a_watcher_that_takes_nothing_is_given_up() {
    let path = std::env::temp_dir().join(format!("corelane-watch-{}", std::process::id()));
    let mut launch = Launch::echo()
        .set("server.shards=1")
        .set("admin.request_timeout=\"1s\"")
        .set(&format!("admin.listen=\"unix:{}\"", path.display()));
    // So many that two events are more than the socket holds.
    for number in 0..900 {
        let name = format!("{number:a>64}");
        launch = launch
            .set(&format!("upstream.{name}.addr=\"127.0.0.1:9\""))
            .set(&format!("upstream.{name}.connections_max=1"));
    }
    let server = launch.start();
    server.wait_for_log("admin listening", BOUND);
    let (watch, _) = Watch::of(UnixStream::connect(&path).unwrap());
    within(BOUND * slack(), "it is closed, with nothing read", || {
        let mut fds = [PollFd::new(watch.0.get_ref(), PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).unwrap();
        fds[0].revents().contains(PollFlags::HUP).then_some(())
    });
    let mut stream = watch.0;
    let mut taken = Vec::new();
    let _reset = stream.read_to_end(&mut taken);
    let taken = String::from_utf8(taken).unwrap();
    assert!(taken.contains("data: "), "{taken}");
    assert!(!taken.ends_with("\r\n0\r\n\r\n"), "it was cut");
}

#[test]
fn a_shard_that_is_blocked_is_busy() {
    let server = with_admin(Launch::hostile().alone())
        .set("limits.unready_after=\"200ms\"")
        .start();
    let (mut watch, _) = Watch::begin(&server);
    let mut blocked = server.connect();
    blocked.send(b"block\n");
    let told = server.wait_for_line(0, BOUND, "a stall", |line| {
        line.field("reason").as_deref() == Some("stalled")
    });
    let shard: usize = told.field("shard").unwrap().parse().unwrap();
    // It blocks for a second, which is within two windows.
    let mut seconds = [0.0; 2];
    for _ in 0..4 {
        let event = watch.next();
        let window = event["window_seconds"].as_f64().unwrap();
        for (shard, seconds) in seconds.iter_mut().enumerate() {
            *seconds += event["shards"][shard]["busy"].as_f64().unwrap() * window;
        }
    }
    let (blocked, free) = (seconds[shard], seconds[1 - shard]);
    assert!(blocked > 0.95 && free < blocked / 2.0, "{blocked} {free}");
}

// ---- the page ----

/// The page as a browser gets it: header and text.
fn page(server: &Server) -> (String, String) {
    let fields = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let answer = ask(server.admin_addr(), &request("GET", "/", fields));
    assert_eq!(answer.status, 200);
    (answer.head, answer.body)
}

#[test]
fn the_page_loads_nothing_and_runs_only_its_own_script() {
    needs!("basenc", "sha256sum");
    let server = with_admin(Launch::echo()).start();
    let (head, page) = page(&server);
    let policy = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Security-Policy: "))
        .unwrap();
    for name in ["script", "style"] {
        let directive = format!("{name}-src 'sha256-{}';", sha256(element(&page, name)));
        assert!(policy.contains(&directive), "page.rs lacks {directive}");
    }
    for directive in [
        "default-src 'none';",
        "connect-src 'self';",
        "base-uri 'none';",
        "form-action 'none';",
        "frame-ancestors 'none';",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("-inline"), "{policy}");
    // The one is a name, not a place.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for outside in [
        "http:", "https:", "//www", " src=", "url(", "@import", "<link",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    for markup in ["innerHTML", "outerHTML", "insertAdjacent", "document.write"] {
        assert!(!page.contains(markup), "{markup}");
    }
}

#[test]
fn whoever_is_no_browser_gets_text() {
    let server = with_admin(Launch::echo()).start();
    let text = server.admin_get("/");
    assert!(text.head.contains("Content-Type: text/plain"), "{text:?}");
    assert_eq!(text.body, server.admin_get("/help").body);
    for path in ["/stats", "/events", "/metrics", "/connections"] {
        assert!(text.body.contains(path), "{path}");
    }
}

/// Fault 46.
#[test]
fn a_browser_shows_the_numbers_and_no_text_breaks_the_page() {
    needs!("chromium", "bash");
    let named = format!("exec -a '{MARKUP}' \"$0\" \"$@\"");
    let mut server = with_admin(Launch::echo().under(&["bash", "-c", &named])).start();
    let mut client = server.connect();
    client.ask(b"a", b"a");
    let url = format!("http://{}/", server.admin_addr());
    let mut page = Page::open(&url, "page");
    page.wait_for("document.querySelector('#state')?.textContent === 'Ready'");
    page.wait_for("document.querySelector('.tile .value').textContent === '1 '");
    page.wait_for("document.querySelectorAll('#shards tr').length === 2");
    page.wait_for("document.querySelector('.tile path:last-child').getAttribute('d') !== ''");
    let name = page.run("document.querySelector('#program').textContent");
    assert_eq!(name, MARKUP);
    assert_eq!(
        page.run("document.querySelectorAll('img, h1 b b').length"),
        0
    );
    assert_eq!(page.run("document.title === '7'"), false);
    page.wait_for("document.querySelector('#shards td:nth-child(5)').textContent !== '–'");
    let found: &[String] = page.complaints();
    assert!(found.is_empty(), "{found:?}");
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
    page.wait_for("document.querySelector('#state').textContent.startsWith('Server gone')");
}

#[test]
fn a_page_that_may_not_watch_asks_instead() {
    needs!("chromium");
    let server = with_admin(Launch::echo()).start();
    let watches: Vec<_> = (0..32).map(|_| Watch::begin(&server)).collect();
    let mut page = Page::open(&format!("http://{}/", server.admin_addr()), "asks");
    page.wait_for("document.querySelector('#state')?.textContent === 'Ready'");
    let mut client = server.connect();
    client.ask(b"a", b"a");
    page.wait_for("document.querySelector('.tile .value').textContent === '1 '");
    drop(watches);
}

#[test]
fn a_query_of_the_numbers_is_whole_under_http_1_0() {
    let server = with_admin(Launch::echo()).start();
    let answer = ask(server.admin_addr(), "GET /stats HTTP/1.0\r\n\r\n");
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(told["shards"].as_array().unwrap().len(), 2);
    let head = ask(server.admin_addr(), &request("HEAD", "/events", ""));
    assert_eq!((head.status, &*head.body), (200, ""));
}
