//! Memory has a bound that is told at the start and kept: by backpressure first, then by holding
//! the top holders back, then by closing them.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tests::{
    BOUND, Cage, Client, Launch, Line, Random, Server, announce, raise_descriptor_limit,
    resident_bytes, slack, within,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Memory of the control group in which servers are besieged.
const CAGE: u64 = 256 * MIB;
/// An innocent waits for no longer than this, whoever fills the shard.
const PATIENCE: Duration = Duration::from_millis(500);

/// A server of one shard, with kernel's buffers too small to hide what it holds.
fn narrow(launch: Launch) -> Launch {
    launch
        .set("server.shards=1")
        .set("socket.receive_buffer=16384")
        .set("socket.send_buffer=16384")
}

/// A connection that takes next to nothing while it is not read, and does not wait to be written.
fn unreading(server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket
        .connect_timeout(&server.addr().into(), BOUND)
        .unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// Connections that have asked for a behaviour and read nothing.
fn unreading_with(server: &Server, count: usize, behaviour: &[u8]) -> Vec<TcpStream> {
    let ask = |_| {
        let mut stream = unreading(server);
        stream.write_all(behaviour).unwrap();
        stream
    };
    (0..count).map(ask).collect()
}

/// For a while each of them sends what it can, and innocents old and new are served as ever.
fn stuff_and_ask(server: &Server, stuffers: &mut [TcpStream], time: Duration) {
    let mut old = server.connect();
    old.ask(b"echo\n?", b"?");
    let begun = Instant::now();
    while begun.elapsed() < time {
        for stuffer in &mut *stuffers {
            let _ = stuffer.write(&[b's'; 16384]);
        }
        for (innocent, word) in [(&mut old, "still"), (&mut server.connect(), "echo\nalive")] {
            let asked = Instant::now();
            innocent.ask(
                word.as_bytes(),
                word.trim_start_matches("echo\n").as_bytes(),
            );
            assert!(
                asked.elapsed() < PATIENCE * slack(),
                "an innocent waited {:?}",
                asked.elapsed()
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A long answer comes through whole, whoever fills the shard.
fn ask_much(server: &Server) {
    let message = Random::new().bytes(300_000);
    let mut client = server.connect();
    client.send(b"echo\n");
    let (mut writer, sent) = (client.stream().try_clone().unwrap(), message.clone());
    let sender = thread::spawn(move || writer.write_all(&sent));
    client.expect(&message);
    sender.join().unwrap().unwrap();
}

fn pressures(server: &Server) -> Vec<Line> {
    server
        .log()
        .lines()
        .into_iter()
        .filter(|line| line.message() == "under pressure")
        .collect()
}

/// The most of a field in the lines that tell of a shortage of `short_of`, of which there is one at
/// least.
fn most(server: &Server, short_of: &str, field: &str) -> u64 {
    let is = |line: &Line| line.field("short_of").as_deref() == Some(short_of);
    let lines = within(BOUND, short_of, || {
        Some(pressures(server)).filter(|lines| lines.iter().any(is))
    });
    lines
        .iter()
        .filter(|line| is(line))
        .map(|line| line.number(field))
        .max()
        .unwrap()
}

#[test]
fn a_shard_holds_no_more_unread_than_its_bound_and_closes_the_top_holders() {
    const STUFFERS: usize = 128;
    let server = narrow(Launch::hostile())
        .set("buffers.count=64")
        .set("limits.unread_per_shard_max=524288");
    let server = server
        .set("limits.overloaded_per_look_max=2")
        .debug()
        .start();
    let mut stuffers = unreading_with(&server, STUFFERS, b"stall\n");
    stuff_and_ask(&server, &mut stuffers, Duration::from_secs(3));
    let unread = most(&server, "unread", "unread_bytes");
    // Each may hold a buffer of its own besides, and all buffers may have been on their way.
    assert!(
        unread <= (512 + 64 * 4 + STUFFERS as u64 * 4) * KIB,
        "{unread} bytes were unread"
    );
    server.wait_for_closed("overloaded", 1);
    assert!(most(&server, "unread", "closed") <= 2);
    drop(stuffers);
    let counts = server.stop();
    assert!(
        counts.of("overloaded") < STUFFERS as u64,
        "the few top holders are enough: {counts:?}"
    );
}

#[test]
fn a_shard_holds_no_more_unsent_than_its_bound_and_whoever_reads_goes_on() {
    const FLOODS: usize = 32;
    let bounds = |launch: Launch| {
        launch
            .set("limits.unsent_per_shard_max=1048576")
            .set("timeouts.overload=\"off\"")
    };
    let server = bounds(narrow(Launch::hostile())).debug().start();
    let mut floods = unreading_with(&server, FLOODS, b"flood\n");
    stuff_and_ask(&server, &mut floods, Duration::from_secs(2));
    ask_much(&server);
    let unsent = most(&server, "unsent", "unsent_bytes");
    // Each may write into its own buffer besides.
    assert!(
        unsent <= 1024 * KIB + FLOODS as u64 * 8 * KIB,
        "{unsent} bytes were unsent"
    );
    drop(floods);
    assert_eq!(server.stop().of("overloaded"), 0, "off is off");
}

#[test]
fn handlers_that_hoard_are_held_back_and_closed_once_it_lasts() {
    const HOARDERS: usize = 16;
    let bounds = |launch: Launch| {
        launch
            .set("limits.unread_per_shard_max=524288")
            .set("limits.unsent_per_shard_max=524288")
    };
    let server = bounds(narrow(Launch::hostile()))
        .set("buffers.count=64")
        .debug()
        .start();
    let mut hoarders = unreading_with(&server, HOARDERS, b"hold\n");
    stuff_and_ask(&server, &mut hoarders, Duration::from_secs(3));
    let heap = most(&server, "held", "heap_bytes");
    assert!(
        heap < 2 * MIB,
        "{heap} bytes were held, by handlers that may hoard one MiB and their own"
    );
    server.wait_for_closed("overloaded", 1);
    drop(hoarders);
    server.stop();
}

/// The counts of what was copied as it came, and of the buffers that came free later, once neither
/// changes from one line of statistics to the next.
fn copies_at_rest(server: &Server) -> (u64, u64) {
    let mut from = server.log().lines().len();
    let mut counts = || {
        let line = server.wait_for_line(from, BOUND, "stats", |line| line.message() == "stats");
        from = server.log().lines().len();
        (
            line.field("copied_out")
                .map_or(0, |count| count.parse().unwrap()),
            line.number("copied_back"),
        )
    };
    let mut before = counts();
    within(BOUND, "an end of the copies", || {
        let after = counts();
        (std::mem::replace(&mut before, after) == after).then_some(after)
    })
}

/// Handlers that never read fill the shard's receive buffers. What they are sent is copied out of
/// them, and those who read have them.
#[test]
fn buffers_that_lie_unread_come_free_by_copies() {
    const STALLED: usize = 16;
    let server = narrow(Launch::hostile())
        .set("buffers.count=64")
        .set("log.stats_interval=\"1s\"")
        .set("timeouts.drain=\"500ms\"")
        .start();
    let mut innocent = server.connect();
    innocent.ask(b"echo\n?", b"?");
    let mut stalled = unreading_with(&server, STALLED, b"stall\n");
    for _ in 0..20 {
        stalled
            .iter_mut()
            .for_each(|stream| drop(stream.write(&[b's'; 16_384])));
        innocent.ask(b"still", b"still");
    }
    let (copied_out, copied_back) = copies_at_rest(&server);
    assert!(copied_back > 0, "no buffer came free");
    // With buffers to spare nothing is copied any more.
    (0..100).for_each(|_| innocent.ask(b"alive?", b"alive?"));
    assert_eq!(copies_at_rest(&server), (copied_out, copied_back));
    drop((innocent, stalled));
    assert_eq!(server.stop().of("overloaded"), 0);
}

#[test]
fn small_messages_that_nobody_reads_share_their_buffers() {
    const DRIPPING: usize = 40;
    let server = narrow(Launch::echo()).set("buffers.count=64").start();
    let mut dripping: Vec<TcpStream> = (0..DRIPPING).map(|_| unreading(&server)).collect();
    // More than the kernel's buffers hide, and too little for the server to stop reading.
    dripping.iter_mut().for_each(|stream| {
        assert!(
            stream
                .set_nodelay(true)
                .and_then(|()| stream.write(&[b'-'; 24_576]))
                .is_ok()
        )
    });
    thread::sleep(Duration::from_millis(300));
    let before = resident_bytes(server.pid());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        dripping
            .iter_mut()
            .for_each(|stream| drop(stream.write(&[b'.'; 16])));
        // Time to be received one by one.
        thread::sleep(Duration::from_millis(2));
    }
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(
        grown < 2 * MIB * u64::from(slack()),
        "grew by {grown} bytes"
    );
    drop(dripping);
    server.stop();
}

#[test]
fn settings_that_cannot_fit_the_memory_are_refused_with_the_sum() {
    let refused = |launch: Launch, needles: &[&str]| {
        let exit = launch.run();
        assert_eq!(exit.code, Some(2), "{exit:?}");
        needles.iter().for_each(|needle| {
            assert!(
                exit.stderr.contains(needle),
                "no {needle} in {}",
                exit.stderr
            )
        });
    };
    let huge = Launch::echo()
        .set("server.shards=1000")
        .set("buffers.count=16")
        .set("limits.recv_queue_max=8");
    let huge = huge
        .set("limits.connections_max=1000")
        .set("limits.unsent_per_shard_max=2147483648");
    refused(huge, &["1000 x 2147483648 bytes", "unsent", "has", "lower"]);
    let Some(cage) = Cage::of(CAGE) else {
        return announce("needs root and a memory controller");
    };
    let many = Launch::echo()
        .set("server.shards=1")
        .set("limits.connections_max=20000")
        .after(&cage.entry());
    refused(
        many,
        &[
            "20000 x 2 x 4096 bytes",
            "memory bound is 256 MiB",
            "limits.connections_max",
        ],
    );
}

#[test]
fn the_bound_of_the_memory_is_told_as_a_sum() {
    let checked = Launch::echo()
        .set("server.shards=2")
        .set("admin.listen=\"127.0.0.1:0\"")
        .argument("--check")
        .run();
    let (_, bound) = checked
        .stdout
        .split_once("memory_bound_bytes=")
        .expect("the bound");
    let told: u64 = bound.split_whitespace().next().unwrap().parse().unwrap();
    let admin = "admin.listen=\"127.0.0.1:0\"";
    let server = Launch::echo().set("server.shards=2").set(admin).start();
    let line = server.wait_for_log("memory", BOUND);
    let bytes = line.number("memory_bound_bytes");
    assert_eq!(told, bytes);
    assert_eq!(server.metric("corelane_memory_bound_bytes"), bytes as f64);
    let sockets = server.metric("corelane_memory_bound_sockets_bytes");
    assert_eq!(sockets, line.number("kernel_sockets_bytes") as f64);
    let sum = line.field("sum").unwrap();
    for part in [
        "receive buffers",
        "connections",
        "unread",
        "unsent",
        "log queue",
        "the kernel's sockets",
    ] {
        assert!(sum.contains(part), "{part} is not in {sum}");
    }
    assert!(resident_bytes(server.pid()) < bytes);
    server.stop();
}

/// A neighbour in the same control group takes what is left but 20 MiB: one buffer, which it holds
/// until it can write it.
fn neighbour_in(cage: &Cage) -> Child {
    let mebibytes = (CAGE - cage.used()) / MIB - 20;
    let hog = format!(
        "{}; exec dd if=/dev/zero bs={mebibytes}M count=1 status=none",
        cage.entry()
    );
    Command::new("sh")
        .args(["-c", &hog])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn leave(mut neighbour: Child) {
    drop(neighbour.stdout.take());
    neighbour.wait().unwrap();
}

#[test]
fn while_memory_is_short_nobody_new_is_let_in_and_afterwards_everybody_is() {
    const NEWCOMERS: usize = 4;
    let Some(cage) = Cage::of(CAGE) else {
        return announce("needs root and a memory controller");
    };
    let bounds = |launch: Launch| {
        launch
            .set("limits.unread_per_shard_max=1048576")
            .set("limits.unsent_per_shard_max=1048576")
    };
    // Nobody is closed, so that the shortage lasts as long as the neighbour stays.
    let launch = bounds(narrow(Launch::hostile()))
        .set("timeouts.overload=\"off\"")
        .set("limits.accepts_in_flight_max=1")
        .set("admin.listen=\"127.0.0.1:0\"");
    let server = launch.after(&cage.entry()).start();
    let short = || server.metric("corelane_memory_short");
    let left = || server.metric("corelane_memory_left_bytes{of=\"group\"}");
    assert_eq!(
        server.metric("corelane_memory_limit_bytes{of=\"group\"}"),
        CAGE as f64
    );
    assert!(short() == 0.0 && left() > CAGE as f64 / 8.0);
    let mut inside = server.connect();
    inside.ask(b"echo\n?", b"?");
    let floods = unreading_with(&server, 3, b"flood\n");
    let neighbour = neighbour_in(&cage);
    most(&server, "memory", "heap_bytes");
    let mut newcomers: Vec<Client> = (0..NEWCOMERS).map(|_| server.connect()).collect();
    newcomers
        .iter_mut()
        .for_each(|client| client.send(b"echo\n!"));
    thread::sleep(PATIENCE);
    inside.ask(b"still", b"still");
    let waiting = newcomers
        .iter()
        .filter(|client| client.is_silent_for(Duration::from_millis(1)))
        .count();
    assert!(short() == 1.0 && left() < CAGE as f64 / 8.0, "{}", left());
    // One accept was in the kernel before.
    assert!(waiting >= NEWCOMERS - 1, "{waiting} of {NEWCOMERS} wait");
    leave(neighbour);
    newcomers.iter_mut().for_each(|client| client.expect(b"!"));
    within(BOUND, "the end of the shortage in the metrics", || {
        (short() == 0.0).then_some(())
    });
    assert_eq!(cage.kills(), 0);
    drop((inside, newcomers, floods));
    server.stop();
}

#[test]
fn when_memory_nears_its_end_the_top_holders_are_closed() {
    let Some(cage) = Cage::of(CAGE) else {
        return announce("needs root and a memory controller");
    };
    let bounds = |launch: Launch| {
        launch
            .set("limits.unread_per_shard_max=1048576")
            .set("limits.unsent_per_shard_max=1048576")
    };
    let server = bounds(narrow(Launch::hostile()))
        .debug()
        .after(&cage.entry())
        .start();
    // Less than the bound of the shard, and more than a quarter of both.
    let floods = unreading_with(&server, 3, b"flood\n");
    stuff_and_ask(&server, &mut [], Duration::from_millis(500));
    assert!(pressures(&server).is_empty());
    let neighbour = neighbour_in(&cage);
    most(&server, "memory", "heap_bytes");
    server.wait_for_closed("overloaded", 1);
    stuff_and_ask(&server, &mut [], Duration::from_millis(500));
    leave(neighbour);
    let over = |line: &Line| line.field("short").as_deref() == Some("false");
    server.wait_for_line(0, BOUND, "the end of the shortage", over);
    assert_eq!(cage.kills(), 0);
    stuff_and_ask(&server, &mut [], Duration::from_millis(100));
    drop(floods);
    server.stop();
}

/// Thousands send and never read, in a control group of 256 MiB: the server stays below what it has
/// told, turns away whom it must, and serves those who behave, meanwhile and afterwards.
fn besieged(launch: Launch, request: &[u8], reply: &[u8]) {
    const BESIEGERS: usize = 2000;
    /// So many of them are let in.
    const PLACES: &str = "limits.connections_max=1600";
    let Some(cage) = Cage::of(CAGE) else {
        return announce("needs root and a memory controller");
    };
    assert!(
        raise_descriptor_limit() > 2 * BESIEGERS as u64 + 200,
        "the descriptor limit is too low"
    );
    let server = launch
        .set(PLACES)
        .set("socket.receive_buffer=16384")
        .set("socket.send_buffer=4096")
        .after(&cage.entry())
        .start();
    let bound = server
        .wait_for_log("memory", BOUND)
        .number("memory_bound_bytes");
    assert!(bound < CAGE, "the defaults fit: {bound}");
    let mut innocent = server.connect();
    innocent.ask(request, reply);
    // Each with where it stands in its requests: what the socket does not take is sent later.
    let mut besiegers: Vec<(TcpStream, usize)> =
        (0..BESIEGERS).map(|_| (unreading(&server), 0)).collect();
    let burst = request.repeat(16384 / request.len());
    let (begun, mut resident) = (Instant::now(), 0);
    // As long as it takes to fill two shards, and then on.
    let closes = |server: &Server| {
        pressures(server)
            .iter()
            .filter(|line| line.number("closed") > 0)
            .count()
    };
    while begun.elapsed() < Duration::from_secs(3)
        || (closes(&server) == 0 && begun.elapsed() < 3 * BOUND)
    {
        for (stream, at) in &mut besiegers {
            *at = (*at + stream.write(&burst[*at..]).unwrap_or(0)) % burst.len();
        }
        resident = resident.max(resident_bytes(server.pid()));
        innocent.ask(request, reply);
    }
    println!("resident {} MiB of {} MiB", resident / MIB, bound / MIB);
    // A sanitizer keeps memory of its own beside every byte.
    assert!(
        resident < bound * u64::from(slack()),
        "{resident} bytes resident, the bound is {bound}"
    );
    assert_eq!(cage.kills(), 0);
    drop(besiegers);
    let mut newcomers: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    newcomers
        .iter_mut()
        .for_each(|client| client.ask(request, reply));
    drop((innocent, newcomers));
    let counts = server.stop();
    assert!(counts.of("overloaded") > 0, "{counts:?}");
}

#[test]
fn echo_besieged_in_little_memory_closes_the_top_holders_and_lives() {
    besieged(Launch::echo(), &[b'e'; 1024], &[b'e'; 1024]);
}

#[test]
fn ping_besieged_in_little_memory_closes_the_top_holders_and_lives() {
    let text = "p".repeat(1000);
    let request = format!("*2\r\n$4\r\nECHO\r\n$1000\r\n{text}\r\n");
    besieged(
        Launch::ping(),
        request.as_bytes(),
        format!("$1000\r\n{text}\r\n").as_bytes(),
    );
}
