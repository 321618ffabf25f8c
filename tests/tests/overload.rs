//! Far too many peers, most of them bad: the others notice nothing.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tests::load::{Crowd, Steady};
use tests::{Launch, raise_descriptor_limit, skip, slack};

const WELL_BEHAVED: u32 = 1000;
const LORISES: u32 = 5000;
const NEVER_READING: u32 = 1000;
const CONNECTS_PER_SECOND: u32 = 5000;
/// Both ends of every connection are on this machine, the clients' descriptors in this process.
const DESCRIPTORS_MIN: u64 = 10_000;

/// Each of the well-behaved asks twice a second.
const INTERVAL: Duration = Duration::from_millis(500);
const QUIET: Duration = Duration::from_secs(2);
/// The crowds come in over three seconds. By then the first of them meet their deadlines, are ended and come again.
const RAMP: Duration = Duration::from_millis(3500);
const LOADED: Duration = Duration::from_secs(4);
/// By how much the p99 may be longer under overload.
const RATIO_MAX: u32 = 3;
/// A quiet p99 below this counts as this: where a shard has nothing else to do, what a timer and the scheduler do is most of it.
const QUIET_MIN: Duration = Duration::from_millis(1);

#[test]
fn the_well_behaved_keep_their_latency_under_overload() {
    if raise_descriptor_limit() < DESCRIPTORS_MIN {
        skip!("needs a hard limit of 10 000 descriptors (ulimit -Hn)");
    }
    let server = Launch::ping()
        .alone()
        .after("ulimit -Sn $(ulimit -Hn)")
        .set("server.listen=\"0.0.0.0:0\"")
        // What whoever expects such peers would set: bounds on what one may hold, and for how long.
        .set("socket.send_buffer=16384")
        .set("socket.receive_buffer=16384")
        .set("limits.write_queue_max=65536")
        .set("timeouts.first_byte=\"2s\"")
        .set("timeouts.read=\"3s\"")
        .set("timeouts.write=\"3s\"")
        .start();
    // Many addresses, for the ports that a storm leaves behind.
    let addresses: Vec<SocketAddr> = (1..=16).map(|last| server.addr_at(Ipv4Addr::new(127, 0, 0, last))).collect();
    let mut steady = Steady::connect(&addresses, WELL_BEHAVED, INTERVAL);
    let _warm = steady.ask_for(INTERVAL);
    let quiet = steady.ask_for(QUIET);

    let every_second = Duration::from_secs(1);
    let lorises = Crowd::loris(&addresses, None, LORISES, every_second);
    let never_reading = Crowd::never_reading(&addresses, None, NEVER_READING, every_second / 10);
    let storm = Crowd::storm(&addresses, None, CONNECTS_PER_SECOND);
    let ramp = steady.ask_for(RAMP);
    let _ = steady.take_lag();
    let loaded = steady.ask_for(LOADED);
    let lag = steady.take_lag();
    let (lorises, never_reading, storm) = (lorises.end(), never_reading.end(), storm.end());
    println!("quiet:   {quiet}\nramp:    {ramp}\nloaded:  {loaded}\nlag:     {lag}");
    println!("lorises: {lorises:?}\nnever reading: {never_reading:?}\nstorm:   {storm:?}");

    // What the server itself had to say: of a shard that was kept busy, or kept from its core.
    server.log().lines().iter().filter(|line| line.level() == "WARN").for_each(|line| println!("{}", line.text));
    // It was as bad as it says, or the latency says nothing.
    let seconds = (RAMP + LOADED).as_secs_f64();
    assert!(lorises.connects >= u64::from(LORISES) && never_reading.connects >= u64::from(NEVER_READING));
    assert!(storm.connects as f64 > 0.9 * seconds * f64::from(CONNECTS_PER_SECOND), "only {} connects", storm.connects);
    let most = RATIO_MAX * slack() * quiet.at(0.99).max(QUIET_MIN);
    assert!(loaded.at(0.99) <= most, "p99 {:?} under overload, {:?} in quiet", loaded.at(0.99), quiet.at(0.99));

    // Nothing is lost, or `ask_for` had failed; and those who are still here are here to the end.
    let _after = steady.ask_for(INTERVAL);
    drop(steady);
    let counts = server.stop();
    assert!(counts.of("read_timeout") > 0 && counts.of("write_timeout") > 0, "{counts:?}");
    assert_eq!(counts.of("handler_panicked"), 0, "{counts:?}");
}
