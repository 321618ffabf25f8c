//! Far too many peers, most of them bad: the others notice nothing.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use tests::load::{Steady, Together, start_apart};
use tests::siege::{self, INTERVAL, LOADED, RAMP, WELL_BEHAVED};
use tests::{BOUND, Launch, raise_descriptor_limit, resident_bytes, skip, slack};

/// Both ends of every connection are on this machine, the clients' descriptors in this process.
const DESCRIPTORS_MIN: u64 = 10_000;

/// How long they wait for their answers is in `make overload`: a machine that others use says
/// nothing of it.
#[test]
fn the_well_behaved_lose_nothing_under_overload_and_memory_keeps_its_bound() {
    if raise_descriptor_limit() < DESCRIPTORS_MIN {
        skip!("needs a hard limit of 10 000 descriptors (ulimit -Hn)");
    }
    let server = siege::besieged().alone().start();
    let addresses = siege::addresses_of(&server);
    let mut steady = Steady::connect(&addresses, WELL_BEHAVED, INTERVAL);

    let begin = Instant::now();
    let crowds = siege::Crowds::come(&addresses);
    // Nothing is lost, or `ask_for` had failed.
    println!("ramp:    {}", steady.ask_for(RAMP));
    while !crowds.have_come() {
        // They stand back behind everybody else on the machine.
        assert!(begin.elapsed() < 6 * BOUND, "the crowds do not come");
        let _meanwhile = steady.ask_for(INTERVAL);
    }
    println!("loaded:  {}", steady.ask_for(LOADED));
    let held = resident_bytes(server.pid());
    let memory = server.wait_for_log("memory", BOUND);
    let bound = memory.number("memory_bound_bytes") * u64::from(slack());
    crowds.end_as_bad_as_they_were_to_be(begin.elapsed());
    assert!(held < bound, "{held} bytes resident, of {bound}");
    // Those who are still here are here to the end.
    let _after = steady.ask_for(INTERVAL);
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
