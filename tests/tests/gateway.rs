//! The promises of the gateway, over two shards: to programs that publish and subscribe by HTTP,
//! server-sent events and WebSocket, those that others have written among them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::iter;
use std::net::Shutdown;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tests::events::{EndOfEvents, Event, Events};
use tests::gateway::{
    ADA, BOB, Publisher, an_event, events, file, gateway, setting, socket, tokens,
    wait_for_subscribers,
};
use tests::websocket::{self, Came, Socket, frame};
use tests::{BOUND, Certificate, Server, connect, needs, skip, within};

const DIRECTORY: &str = env!("CARGO_TARGET_TMPDIR");
/// A bound for scripts of others, which take a second.
const SCRIPT_SECONDS_MAX: &str = "240";

// ---- what comes to whom ----

#[test]
fn every_subscriber_of_either_kind_has_each_message_once_and_in_the_same_order() {
    const PUBLISHERS: usize = 6;
    const MESSAGES: usize = 40;
    const EACH: usize = 6;
    let server = gateway().start();
    let mut streams: Vec<Events> = (0..EACH).map(|_| events(&server, "news")).collect();
    let mut sockets: Vec<Socket> = (0..EACH).map(|_| socket(&server, "news")).collect();
    let mut other = events(&server, "other");
    wait_for_subscribers(&server, "websocket", EACH);
    wait_for_subscribers(&server, "event_stream", EACH + 1);
    let address = server.addr();
    let publish = |publisher: usize| {
        let mut connection = Publisher::at(address);
        for number in 0..MESSAGES {
            let said = format!("{publisher} {number}");
            let told = connection.publish("news", said.as_bytes());
            assert_eq!(
                (&told["reached"], &told["closed"]),
                (&(2 * EACH).into(), &0.into())
            );
        }
    };
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || publish(publisher));
        }
    });
    let count = PUBLISHERS * MESSAGES;
    let all = |stream: &mut Events| -> Vec<Event> {
        (0..count).map(|_| stream.event().unwrap()).collect()
    };
    let heard: Vec<Vec<Event>> = streams.iter_mut().map(all).collect();
    let first = &heard[0];
    assert!(heard.iter().all(|one| one == first), "in another order");
    assert!(first.is_sorted_by(|one, next| one.id < next.id));
    let said: BTreeSet<&str> = first.iter().map(|event| &*event.data).collect();
    assert_eq!(said.len(), count);
    for publisher in 0..PUBLISHERS {
        let own = format!("{publisher} ");
        let of_one = first
            .iter()
            .filter_map(|event| event.data.strip_prefix(&own));
        let numbers: Vec<usize> = of_one.map(|number| number.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
    for socket in &mut sockets {
        first
            .iter()
            .for_each(|event| socket.expect(0x81, event.data.as_bytes()));
    }
    let told = Publisher::to(&server).publish("other", b"alone");
    assert_eq!(
        other.event(),
        an_event(&told["id"], "alone"),
        "and nothing of the news"
    );
    server.stop();
}

#[test]
fn a_message_may_have_lines_and_may_be_no_text() {
    let server = gateway().start();
    let (mut stream, mut socket) = (events(&server, "a"), socket(&server, "a"));
    wait_for_subscribers(&server, "websocket", 1);
    wait_for_subscribers(&server, "event_stream", 1);
    let mut publisher = Publisher::to(&server);
    let long = "x".repeat(16 * 1024);
    for (message, data) in [
        ("", ""),
        ("one\ntwo", "one\ntwo"),
        ("\n\nid: 7\r\ndata: mine\r", "\n\nid: 7\ndata: mine\n"),
        (": h\u{e9}llo \u{1f642}", ": h\u{e9}llo \u{1f642}"),
        (&long, &long),
    ] {
        let told = publisher.publish("a", message.as_bytes());
        assert_eq!(stream.event(), an_event(&told["id"], data));
        socket.expect(0x81, message.as_bytes());
    }
    publisher.publish("a", b"\xff\x00\n");
    let binary = stream.event().unwrap();
    assert_eq!((&*binary.name, &*binary.data), ("binary", "/wAK"));
    socket.expect(0x82, b"\xff\x00\n");
    server.stop();
}

#[test]
fn a_stream_that_comes_again_has_what_it_missed_as_far_as_it_is_retained() {
    let server = gateway().set("app.retained_messages=3").start();
    let mut publisher = Publisher::to(&server);
    let mut ids: Vec<Value> = Vec::new();
    let first = events(&server, "a");
    assert_eq!(first.last_id, Some(0), "nothing was published");
    for message in ["1", "2", "3", "4"] {
        ids.push(publisher.publish("a", message.as_bytes())["id"].take());
    }
    let again = |last: &str| {
        let fields = format!("Last-Event-ID: {last}\r\n");
        Events::open(&server, "/subscribe/a", &fields)
    };
    // On either shard.
    for _ in 0..8 {
        let mut stream = again("0");
        assert_eq!(
            stream.event(),
            an_event(&ids[1], "2"),
            "of four the last three"
        );
        assert_eq!(stream.event(), an_event(&ids[2], "3"));
        assert_eq!(stream.event(), an_event(&ids[3], "4"));
    }
    let mut behind: Vec<Events> = (0..8).map(|_| again(&ids[2].to_string())).collect();
    for stream in &mut behind {
        assert_eq!(stream.event(), an_event(&ids[3], "4"));
    }
    let mut new = events(&server, "a");
    assert_eq!(
        new.last_id,
        ids[3].as_u64(),
        "what it would come again with"
    );
    wait_for_subscribers(&server, "event_stream", 10);
    let told = publisher.publish("a", b"5");
    for stream in behind.iter_mut().chain([&mut new]) {
        assert_eq!(stream.event(), an_event(&told["id"], "5"), "each once");
    }
    server.stop();
}

/// More is retained than a connection may have unsent: it comes as its reader takes it, whole.
#[test]
fn a_long_history_waits_for_its_reader() {
    let server = gateway()
        .set("limits.write_queue_max=65536")
        .set("app.retained_messages=64")
        .start();
    let mut publisher = Publisher::to(&server);
    let message = |number: usize| format!("{number} {}", "x".repeat(16_000));
    let ids: Vec<Value> = (0..64)
        .map(|number| publisher.publish("a", message(number).as_bytes())["id"].take())
        .collect();
    let mut stream = Events::open(&server, "/subscribe/a", "Last-Event-ID: 0\r\n");
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(stream.event(), an_event(id, &message(number)));
    }
    wait_for_subscribers(&server, "event_stream", 1);
    let told = publisher.publish("a", b"new");
    assert_eq!(stream.event(), an_event(&told["id"], "new"));
    server.stop();
}

/// Where mailboxes have room for two a message waits between the one way of coming and the other. What
/// was published comes both ways, and what was refused neither.
#[test]
fn with_no_room_a_message_comes_to_all_or_to_nobody() {
    const PUBLISHERS: usize = 8;
    const MESSAGES: usize = 30;
    let server = gateway().set("mailbox.capacity=2").start();
    let mut streams: Vec<Events> = (0..2).map(|_| events(&server, "a")).collect();
    let mut sockets: Vec<Socket> = (0..2).map(|_| socket(&server, "a")).collect();
    wait_for_subscribers(&server, "websocket", 2);
    wait_for_subscribers(&server, "event_stream", 2);
    let address = server.addr();
    let publish = |publisher: usize| {
        let mut connection = Publisher::at(address);
        let said = (0..MESSAGES).map(|number| format!("{publisher} {number}"));
        let mut is_published = |said: &String| match connection.ask("a", said.as_bytes()) {
            (200, told) => told.contains("\"reached\":4,"),
            (503, told) => !told.contains("was not published"),
            other => panic!("{other:?}"),
        };
        said.filter(|said| is_published(said))
            .collect::<Vec<String>>()
    };
    let published: BTreeSet<String> = thread::scope(|scope| {
        let publishers = (0..PUBLISHERS).map(|publisher| scope.spawn(move || publish(publisher)));
        let publishers: Vec<_> = publishers.collect();
        let published = publishers
            .into_iter()
            .map(|publisher| publisher.join().unwrap());
        published.flatten().collect()
    });
    let mut last = Publisher::to(&server);
    within(BOUND, "the last one is published", || {
        (last.ask("a", b"last").0 == 200).then_some(())
    });
    let mut in_order: Vec<String> = Vec::new();
    for stream in &mut streams {
        let one = iter::from_fn(|| Some(stream.event().unwrap().data));
        let one: Vec<String> = one.take_while(|data| data != "last").collect();
        assert_eq!(one.len(), published.len());
        assert!(
            one.iter().all(|data| published.contains(data)),
            "one was refused"
        );
        in_order = one;
    }
    for socket in &mut sockets {
        in_order
            .iter()
            .for_each(|data| socket.expect(0x81, data.as_bytes()));
        socket.expect(0x81, b"last");
    }
    server.stop();
}

#[test]
fn a_heartbeat_comes_to_both() {
    let server = gateway().set("app.heartbeat='1s'").start();
    let (mut stream, mut socket) = (events(&server, "a"), socket(&server, "a"));
    while stream.comments == 0 {
        assert_eq!(stream.block(), Ok(None));
    }
    socket.expect(0x89, b"");
    socket.send(&frame(0x8a, b""));
    server.stop();
}

// ---- ends ----

/// Who takes nothing is closed, whatever the way, and holds nobody up.
#[test]
fn a_subscriber_that_does_not_read_is_closed_and_the_others_have_everything() {
    let server = gateway().debug().set("timeouts.write='1h'").start();
    let mut reader = events(&server, "a");
    let (mut slow_stream, slow_socket) = (events(&server, "a"), socket(&server, "a"));
    wait_for_subscribers(&server, "websocket", 1);
    wait_for_subscribers(&server, "event_stream", 2);
    let mut publisher = Publisher::to(&server);
    let mut closed = 0;
    let message = "x".repeat(16 * 1024);
    // The kernel's buffers at both ends take some megabytes before anything is unsent.
    for _ in 0..20_000 {
        let told = publisher.publish("a", message.as_bytes());
        assert_eq!(reader.event(), an_event(&told["id"], &message));
        closed += told["closed"].as_u64().unwrap();
        if closed == 2 {
            break;
        }
    }
    assert_eq!(closed, 2);
    server.wait_for_closed("slow_subscriber", 2);
    let mut last = Ok(());
    while last.is_ok() {
        last = slow_stream.event().map(drop);
    }
    assert_eq!(
        last,
        Err(EndOfEvents::Cut),
        "it is not told that it has everything"
    );
    drop(slow_socket);
    server.stop();
}

/// With `kill -9`: the kernel says that the peer is gone.
#[test]
fn a_subscriber_that_is_killed_is_gone_at_once() {
    needs!("curl");
    let server = gateway().start();
    let mut curls: Vec<Curl> = (0..4).map(|_| Curl::subscribe(&server, "a", &[])).collect();
    wait_for_subscribers(&server, "event_stream", 4);
    let mut publisher = Publisher::to(&server);
    publisher.publish_until_reached("a", 4);
    for gone in [4, 3, 2] {
        drop(curls.pop()); // by SIGKILL
        wait_for_subscribers(&server, "event_stream", gone - 1);
        publisher.publish_until_reached("a", gone as u64 - 1);
    }
    let told = publisher.publish("a", b"last");
    curls[0].wait_for(&format!("id: {}", told["id"]));
    server.stop();
}

#[test]
fn a_half_closed_stream_ends_whole() {
    let server = gateway().start();
    let mut stream = events(&server, "a");
    stream.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.event(), Err(EndOfEvents::Whole));
    wait_for_subscribers(&server, "event_stream", 0);
    server.stop();
}

#[test]
fn a_drain_says_1001_to_websockets_and_ends_streams_whole() {
    let mut server = gateway().start();
    let mut streams: Vec<Events> = (0..8).map(|_| events(&server, "a")).collect();
    let mut sockets: Vec<Socket> = (0..8).map(|_| socket(&server, "a")).collect();
    wait_for_subscribers(&server, "websocket", 8);
    wait_for_subscribers(&server, "event_stream", 8);
    let told = Publisher::to(&server).publish("a", b"last");
    server.signal(Signal::TERM);
    for stream in &mut streams {
        assert_eq!(stream.event(), an_event(&told["id"], "last"));
        assert_eq!(stream.event(), Err(EndOfEvents::Whole));
    }
    for socket in &mut sockets {
        socket.expect(0x81, b"last");
        match socket.came() {
            Came::Frame(0x88, said) => assert_eq!(&said[..2], 1001_u16.to_be_bytes()),
            other => panic!("{other:?}"),
        }
        socket.send(&websocket::close(1001, ""));
    }
    drop((streams, sockets));
    assert_eq!(server.wait_exit(2 * BOUND), Some(0));
    server.counts().assert_balanced();
}

/// Whoever publishes is answered all the while, and a subscriber that comes again has what it missed.
#[test]
fn a_restart_keeps_serving() {
    let mut server = gateway().start();
    let mut stream = events(&server, "a");
    wait_for_subscribers(&server, "event_stream", 1);
    let told = Publisher::to(&server).publish("a", b"before");
    assert_eq!(stream.event(), an_event(&told["id"], "before"));
    let (address, is_over) = (server.addr(), AtomicBool::new(false));
    let published = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut published = 0;
            while !is_over.load(Ordering::Relaxed) {
                Publisher::at(address).publish("b", b"meanwhile");
                published += 1;
            }
            published
        });
        server.signal(Signal::USR2);
        let end = loop {
            if let Err(end) = stream.event() {
                break end;
            }
        };
        assert_eq!(end, EndOfEvents::Whole, "the process before drains");
        server.restarted();
        is_over.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    assert!(published > 0);
    let told = Publisher::to(&server).publish("a", b"while away");
    let fields = format!("Last-Event-ID: {}\r\n", stream.last_id.unwrap());
    let mut stream = Events::open(&server, "/subscribe/a", &fields);
    assert_eq!(
        stream.event(),
        an_event(&told["id"], "while away"),
        "numbers grow over a restart"
    );
    Publisher::to(&server).publish_until_reached("a", 1);
    server.stop();
}

#[test]
fn a_proxy_may_stand_before_it() {
    let server = gateway()
        .set("listener.proxy='v1'")
        .set("listener.proxy_trusted=['127.0.0.0/8']")
        .start();
    let mut stream = connect(server.addr()).unwrap();
    stream
        .write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        .unwrap();
    let mut events = Events::on(stream, "/subscribe/a", "");
    events.begin();
    let mut publisher = Publisher::to(&server);
    publisher
        .stream
        .write_all(b"PROXY TCP4 192.0.2.3 192.0.2.2 1 2\r\n")
        .unwrap();
    publisher.publish_until_reached("a", 1);
    events.event().unwrap();
    server.stop();
}

// ---- clients that others have written ----

/// `curl` with a stream. Killed on drop.
struct Curl {
    process: Child,
    lines: Receiver<String>,
}

impl Curl {
    fn subscribe(server: &Server, topic: &str, arguments: &[&str]) -> Self {
        let url = format!("http://{}/subscribe/{topic}", server.addr());
        Self::of(&url, arguments)
    }

    fn of(url: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new("curl")
            .args(["-sN", url])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || {
            let mut read = output.lines().map_while(Result::ok);
            read.all(|line| tell.send(line).is_ok())
        });
        Self { process, lines }
    }

    fn wait_for(&self, line: &str) {
        within(BOUND, line, || {
            let next = self.lines.try_recv().ok()?;
            (next == line).then_some(())
        });
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn curl_publishes_and_subscribes() {
    needs!("curl");
    let path = file(DIRECTORY, "tokens-of-curl", &tokens());
    let mut server = gateway().set(&setting("app.tokens_file", &path)).start();
    let header = format!("Authorization: Bearer {ADA}");
    let mut subscriber = Curl::subscribe(&server, "a", &["-H", &header]);
    subscriber.wait_for("id: 0");
    wait_for_subscribers(&server, "event_stream", 1);
    let publish = |arguments: &[&str]| {
        let url = format!("http://{}/publish/a", server.addr());
        let output = Command::new("curl")
            .args(["-s", "-w", "%{http_code}", &url])
            .args(arguments)
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let said = publish(&["-H", &header, "-d", "hello"]);
    assert!(
        said.contains("\"reached\":1") && said.ends_with("200"),
        "{said}"
    );
    subscriber.wait_for("data: hello");
    assert!(publish(&["-d", "hello"]).ends_with("401"));
    server.signal(Signal::TERM);
    let status = within(BOUND, "the end of curl", || {
        subscriber.process.try_wait().unwrap()
    });
    assert!(status.success(), "the stream is whole: {status}");
    assert_eq!(server.wait_exit(2 * BOUND), Some(0));
    server.counts().assert_balanced();
}

#[test]
fn curl_publishes_and_subscribes_by_tls() {
    needs!("curl");
    let certificate = Certificate::of("127.0.0.1");
    let [file, key] = certificate.settings();
    let server = gateway().set(&file).set(&key).start();
    let url = |path: &str| format!("https://{}{path}", server.addr());
    let trusts = ["--cacert", certificate.path().to_str().unwrap()];
    let subscriber = Curl::of(&url("/subscribe/a"), &trusts);
    subscriber.wait_for("id: 0");
    wait_for_subscribers(&server, "event_stream", 1);
    let mut publish = Command::new("curl");
    publish.args(["-sS", "-d", "hello", &url("/publish/a")]);
    let output = publish.args(trusts).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\"reached\":1"), "{output:?}");
    subscriber.wait_for("data: hello");
    drop(subscriber);
    server.stop();
}

#[test]
fn the_library_of_python_subscribes_with_a_token() {
    needs!("timeout");
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients");
    let python = clients.join("python/bin/python");
    if !clients.join("python/bin/websockets").exists() {
        skip!("needs websockets: make clients");
    }
    let path = file(DIRECTORY, "tokens-of-python", &tokens());
    let server = gateway().set(&setting("app.tokens_file", &path)).start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/gateway_py.py");
    let output = Command::new("timeout")
        .arg(SCRIPT_SECONDS_MAX)
        .arg(python)
        .arg(script)
        .args([&server.addr().port().to_string(), ADA, BOB])
        .output()
        .unwrap();
    let (said, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{err}");
    server.stop();
}
