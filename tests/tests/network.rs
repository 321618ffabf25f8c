//! A peer that vanishes without a word: its link is cut, and no FIN, no reset ever comes.
//!
//! Server and client each get a network namespace of their own, so this needs root.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tests::{BOUND, Cable, Launch, Line, Server};

fn start(cable: &Cable, launch: Launch) -> Server {
    launch
        .debug()
        .set("server.shards=1")
        .set(&format!("server.listen=\"{}:0\"", Cable::SERVER))
        .set("log.stats_interval=\"1s\"")
        .under(&cable.within_server_side())
        .start()
}

fn wait_for_traffic(server: &Server, connections: u64) {
    server.wait_for_line(0, BOUND, "traffic in the stats", |line| {
        line.message() == "stats"
            && line.number("connections") == connections
            && line.number("bytes_per_second") > 0
    });
}

/// By how much the kernel may be late: it looks when it retransmits, at intervals that double from
/// a round trip measured on a busy machine.
const KERNEL_LATE_MAX: Duration = Duration::from_secs(7);

/// Fails unless the peer was found within what the start said of peers of this kind.
fn assert_within_the_bound_said(server: &Server, kind: &str, cut: Instant) {
    let taken = cut.elapsed();
    let said = server
        .wait_for_log("a silent peer is found within", BOUND)
        .field(kind)
        .unwrap();
    let seconds = said
        .strip_suffix('s')
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_else(|| panic!("{said} is not in seconds"));
    assert!(
        taken < Duration::from_secs(seconds) + KERNEL_LATE_MAX,
        "took {taken:?}, said were {said}"
    );
}

#[test]
fn a_reader_that_vanishes_is_found_by_the_user_timeout() {
    let Some(cable) = Cable::lay() else { return };
    let server = start(
        &cable,
        Launch::hostile()
            .set("socket.user_timeout=\"1s\"")
            .set("timeouts.write=\"off\""),
    );
    let client = cable.talk(server.addr(), "flood");
    wait_for_traffic(&server, 1);
    cable.cut();
    let cut = Instant::now();
    server.wait_for_closed("peer_unreachable", 1);
    assert_within_the_bound_said(&server, "vanished_while_sent_to", cut);
    drop(client);
    assert_eq!(server.stop().of("peer_unreachable"), 1);
}

#[test]
fn an_idle_peer_that_vanishes_is_found_by_keepalive() {
    let Some(cable) = Cable::lay() else { return };
    let server = start(
        &cable,
        Launch::hostile()
            .set("socket.keepalive_idle=\"1s\"")
            .set("socket.keepalive_interval=\"1s\"")
            .set("socket.keepalive_count=2")
            .set("socket.user_timeout=\"off\""),
    );
    let client = cable.talk(server.addr(), "hello");
    wait_for_traffic(&server, 1);
    cable.cut();
    let cut = Instant::now();
    server.wait_for_closed("peer_unreachable", 1);
    assert_within_the_bound_said(&server, "vanished_while_idle", cut);
    drop(client);
    assert_eq!(server.stop().of("peer_unreachable"), 1);
}

/// The peer is not gone, only out of reach for a while: it loses nothing, and nobody takes it for
/// dead.
#[test]
fn a_link_that_comes_back_in_time_costs_nobody_his_connection() {
    let Some(cable) = Cable::lay() else { return };
    let server = start(
        &cable,
        Launch::hostile()
            .set("socket.user_timeout=\"20s\"")
            .set("timeouts.write=\"20s\""),
    );
    let client = cable.talk(server.addr(), "flood");
    wait_for_traffic(&server, 1);
    cable.cut();
    let from = server.log().lines().len();
    let is_still = |line: &Line| line.message() == "stats" && line.number("bytes_per_second") == 0;
    server.wait_for_line(from, BOUND, "a second without traffic", is_still);
    cable.mend();
    let from = server.log().lines().len();
    let flows = |line: &Line| line.message() == "stats" && line.number("bytes_per_second") > 0;
    server.wait_for_line(from, BOUND, "traffic again", flows);
    drop(client);
    server.wait_for_closed("peer_reset", 1);
    assert_eq!(server.stop().closed, 1);
}
