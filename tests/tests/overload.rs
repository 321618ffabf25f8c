//! Far too many peers, most of them bad: the others notice nothing.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tests::load::{Crowd, Latencies, Steady, Together, start_apart};
use tests::{BOUND, Launch, Server, raise_descriptor_limit, resident_bytes, skip, slack};

const WELL_BEHAVED: u32 = 1000;
const LORISES: u32 = 5000;
const NEVER_READING: u32 = 1000;
const CONNECTS_PER_SECOND: u32 = 5000;
/// Both ends of every connection are on this machine, the clients' descriptors in this process.
const DESCRIPTORS_MIN: u64 = 10_000;

/// Each of the well-behaved asks twice a second.
const INTERVAL: Duration = Duration::from_millis(500);
const QUIET: Duration = Duration::from_secs(2);
/// A quiet phase with a p99 above this was none: the machine was busy with something else. So many
/// are tried. A phase in which the crowds are elsewhere counts for no more.
const QUIET_MAX: Duration = Duration::from_millis(5);
const QUIET_PHASES_MAX: usize = 10;
/// The crowds come in over three seconds. By then the first of them meet their deadlines, are ended
/// and come again.
const RAMP: Duration = Duration::from_millis(3500);
const LOADED: Duration = Duration::from_secs(2);
/// What somebody else does to the machine is in some of these phases, what the crowds do to the
/// server is in each.
const LOADED_PHASES_MAX: usize = 5;
/// The part of a crowd that is there at any time at the least, and of the connects that are made: a
/// small or busy machine makes fewer than it is told to. With less than this it is no overload, and
/// what the latency is says nothing.
const HELD_MIN: f64 = 0.6;
const STORM_MIN: f64 = 0.5;
/// By how much the p99 may be longer under overload than in quiet.
const RATIO_MAX: u32 = 3;

/// Requests while nobody else asks, in a phase that was quiet.
fn quiet_phase(steady: &mut Steady) -> Latencies {
    let mut found = Vec::new();
    for _ in 0..QUIET_PHASES_MAX {
        let quiet = steady.ask_for(QUIET);
        if quiet.at(0.99) <= QUIET_MAX {
            return quiet;
        }
        found.push(quiet.at(0.99));
    }
    panic!(
        "no phase was quiet, p99 {found:?} with nobody else there: the machine is busy, and latencies on it say nothing of the server"
    );
}

/// With what whoever expects such peers would set: bounds on what one may hold, and for how long.
fn besieged() -> Launch {
    Launch::ping()
        .after("ulimit -Sn $(ulimit -Hn)")
        .set("server.listen=\"0.0.0.0:0\"")
        .set("socket.send_buffer=16384")
        .set("socket.receive_buffer=16384")
        .set("limits.write_queue_max=65536")
        .set("limits.connections_max=10000")
        .set("limits.unread_per_shard_max=67108864")
        .set("limits.unsent_per_shard_max=67108864")
        .set("timeouts.first_byte=\"2s\"")
        .set("timeouts.read=\"3s\"")
        .set("timeouts.write=\"3s\"")
}

fn addresses_of(server: &Server) -> Vec<SocketAddr> {
    (1..=16)
        .map(|last| server.addr_at(Ipv4Addr::new(127, 0, 0, last)))
        .collect()
}

/// The lorises, those that never read, and the storm.
fn crowds(addresses: &[SocketAddr]) -> [Crowd; 3] {
    let every_second = Duration::from_secs(1);
    [
        Crowd::loris(addresses, None, LORISES, every_second),
        Crowd::never_reading(addresses, None, NEVER_READING, every_second / 10),
        Crowd::storm(addresses, None, CONNECTS_PER_SECOND),
    ]
}

/// Requests while the same crowds are at another server of this machine. Where they are slow then,
/// too, it is the machine that has not enough cores for all, and not the server that does not give
/// each his due.
fn beside(steady: &mut Steady) -> Latencies {
    let other = besieged().start();
    let _crowds = crowds(&addresses_of(&other));
    let _ramp = steady.ask_for(RAMP);
    steady.ask_for(LOADED)
}

#[test]
fn the_well_behaved_keep_their_latency_under_overload() {
    if raise_descriptor_limit() < DESCRIPTORS_MIN {
        skip!("needs a hard limit of 10 000 descriptors (ulimit -Hn)");
    }
    let server = besieged().alone().start();
    // Many addresses, for the ports that a storm leaves behind.
    let addresses = addresses_of(&server);
    let mut steady = Steady::connect(&addresses, WELL_BEHAVED, INTERVAL);
    let _warm = steady.ask_for(INTERVAL);
    let quiet = quiet_phase(&mut steady);
    println!("quiet:   {quiet}");
    let most = RATIO_MAX * slack() * quiet.at(0.99);

    let begin = Instant::now();
    let crowds = crowds(&addresses);
    println!("ramp:    {}", steady.ask_for(RAMP));
    let mut found = Vec::new();
    let holds = (0..LOADED_PHASES_MAX).any(|_| {
        let loaded = steady.ask_for(LOADED);
        println!("loaded:  {loaded}\nlag:     {}", steady.take_lag());
        found.push(loaded.at(0.99));
        loaded.at(0.99) <= most
    });
    let (held, bound) = (
        resident_bytes(server.pid()),
        server
            .wait_for_log("memory", BOUND)
            .number("memory_bound_bytes"),
    );
    println!(
        "memory:  {} MiB resident, {} MiB bound",
        held >> 20,
        bound >> 20
    );
    let seconds = begin.elapsed().as_secs_f64();
    let (lorises, never_reading, storm) = crowds.map(Crowd::end).into();
    println!("lorises: {lorises:?}\nnever reading: {never_reading:?}\nstorm:   {storm:?}");

    // What the server itself had to say: of a shard that was kept busy, or kept from its core.
    server
        .log()
        .lines()
        .iter()
        .filter(|line| line.level() == "WARN")
        .for_each(|line| println!("{}", line.text));
    // It was as bad as it says, or the latency says nothing.
    for (crowd, size) in [(lorises, LORISES), (never_reading, NEVER_READING)] {
        let fewest = crowd.fewest.unwrap_or_default();
        assert!(
            fewest as f64 >= HELD_MIN * f64::from(size),
            "only {fewest} of {size} were there"
        );
    }
    assert!(
        storm.connects as f64 > STORM_MIN * seconds * f64::from(CONNECTS_PER_SECOND),
        "only {} connects",
        storm.connects
    );
    assert!(
        held < bound * u64::from(slack()),
        "{held} bytes resident, of {bound}"
    );
    // Nothing is lost, or `ask_for` had failed; and those who are still here are here to the end.
    let _after = steady.ask_for(INTERVAL);
    if !holds {
        let beside = beside(&mut steady);
        println!("beside:  {beside}");
        let most = RATIO_MAX * slack() * beside.at(0.99).min(QUIET_MAX);
        assert!(
            found.iter().any(|found| *found <= most),
            "p99 {found:?} under overload, {:?} in quiet, most {most:?}",
            quiet.at(0.99)
        );
    }
    drop(steady);
    let counts = server.stop();
    assert!(
        counts.of("read_timeout") > 0 && counts.of("write_timeout") > 0,
        "{counts:?}"
    );
    assert_eq!(counts.of("handler_panicked"), 0, "{counts:?}");
}

/// Peers that come together.
const TOGETHER: usize = 3000;
/// How many of them may be ended between two answers. A turn ends a few, and an answer takes some
/// turns.
const ENDED_BETWEEN_MAX: usize = 600;

/// Peers that come to a server of `launch` together, say `what`, and are ended for `reason`;
/// another is answered meanwhile.
fn answered_between_ends(launch: Launch, what: &[u8], reason: &str) {
    let server = start_apart(launch.alone());
    let mut other = server.connect();
    other.ask(b"PING\r\n", b"+PONG\r\n");
    let came = Together::assert_between(&server, TOGETHER, what, ENDED_BETWEEN_MAX, || {
        other.ask(b"PING\r\n", b"+PONG\r\n")
    });
    drop(other);
    assert_eq!(server.stop().of(reason), came as u64);
}

#[test]
fn while_peers_that_came_together_are_ended_the_others_are_answered_in_between() {
    if raise_descriptor_limit() < DESCRIPTORS_MIN {
        skip!("needs a hard limit of 10 000 descriptors (ulimit -Hn)");
    }
    answered_between_ends(
        Launch::ping().set("timeouts.first_byte=\"1s\""),
        b"",
        "first_byte_timeout",
    );
}

#[test]
fn while_peers_that_are_found_too_slow_together_are_ended_the_others_are_answered_in_between() {
    if raise_descriptor_limit() < DESCRIPTORS_MIN {
        skip!("needs a hard limit of 10 000 descriptors (ulimit -Hn)");
    }
    let rated = Launch::ping()
        .set("limits.receive_rate_min=1000")
        .set("limits.rate_window=\"1s\"")
        .set("timeouts.read=\"off\"");
    answered_between_ends(rated, b"P", "receive_too_slow");
}
