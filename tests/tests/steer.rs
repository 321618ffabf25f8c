//! `server.steer`: to which shard the kernel gives a new client.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tests::{Client, Launch, Server, skip};

/// Clients of a core: by the hash they would all come to one shard once in 2^40 runs.
const CLIENTS: usize = 40;

/// Two cores that this process may run on.
fn two_cores() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(None).unwrap();
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    Some([cores.next()?, cores.next()?])
}

fn launch(cores: &[usize], shards: usize) -> Launch {
    Launch::echo()
        .set(&format!("server.cpus={cores:?}"))
        .set(&format!("server.shards={shards}"))
        .set("admin.listen=\"127.0.0.1:0\"")
}

/// Clients come and go whose packets that core handles: on the loopback interface it is the sender's.
fn come_from(core: usize, addr: SocketAddr) {
    let come = move || {
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).unwrap();
        for _ in 0..CLIENTS {
            Client::connect(addr).ask(b"steered", b"steered");
        }
    };
    thread::spawn(come).join().unwrap();
}

/// How many of the clients of that core each shard has got.
fn got(core: usize, server: &Server, shards: usize) -> Vec<usize> {
    let accepted = || {
        let of = |shard| format!("corelane_connections_accepted_total{{shard=\"{shard}\"}}");
        (0..shards).map(move |shard| server.metric(&of(shard)) as usize)
    };
    let before: Vec<usize> = accepted().collect();
    come_from(core, server.addr());
    accepted()
        .zip(before)
        .map(|(now, before)| now - before)
        .collect()
}

#[test]
fn clients_come_to_the_shard_of_their_core() {
    let Some([one, other]) = two_cores() else {
        skip!("needs two cores")
    };
    let steered =
        |cores: [usize; 2], shards| launch(&cores, shards).set("server.steer=\"cpu\"").start();
    let server = steered([other, one], 2);
    assert_eq!(got(one, &server, 2), [0, CLIENTS]);
    assert_eq!(got(other, &server, 2), [CLIENTS, 0]);
    server.stop();
    // Several shards of a core share its clients.
    let server = steered([one, other], 4);
    for (core, [first, second], rest) in [(one, [0, 2], [1, 3]), (other, [1, 3], [0, 2])] {
        let got = got(core, &server, 4);
        assert_eq!(got[first] + got[second], CLIENTS, "{got:?}");
        assert!(got[first] > 0 && got[second] > 0, "{got:?}");
        assert_eq!(rest.map(|shard| got[shard]), [0, 0], "{got:?}");
    }
    server.stop();
}

#[test]
fn clients_of_a_core_without_a_shard_and_unsteered_ones_are_spread_by_the_hash() {
    let Some([one, other]) = two_cores() else {
        skip!("needs two cores")
    };
    let elsewhere = launch(&[other], 2).set("server.steer=\"cpu\"").start();
    let unsteered = launch(&[one, other], 2).start();
    for server in [elsewhere, unsteered] {
        let got = got(one, &server, 2);
        assert!(got[0] > 0 && got[1] > 0, "{got:?}");
        server.stop();
    }
}

#[test]
fn a_restart_steers_anew_as_the_settings_are_then() {
    let Some([one, other]) = two_cores() else {
        skip!("needs two cores")
    };
    let path = std::env::temp_dir().join(format!("corelane-steer-{}.toml", std::process::id()));
    let steer = |how: &str| fs::write(&path, format!("[server]\nsteer = \"{how}\"\n")).unwrap();
    steer("cpu");
    let mut server = launch(&[one, other], 2)
        .argument(path.to_str().unwrap())
        .start();
    assert_eq!(got(one, &server, 2), [CLIENTS, 0]);
    server.restart();
    assert_eq!(got(one, &server, 2), [CLIENTS, 0]);
    steer("hash");
    server.restart();
    let got = got(one, &server, 2);
    assert!(got[0] > 0 && got[1] > 0, "{got:?}");
    fs::remove_file(&path).unwrap();
    server.stop();
}

#[test]
fn shards_without_cores_of_their_own_cannot_be_steered_to() {
    let exit = Launch::echo().set("server.steer=\"cpu\"").run();
    assert_eq!(exit.code, Some(2), "{exit:?}");
    for word in [
        "server.steer",
        "no shard keeps to a core",
        "server.pin to true",
    ] {
        assert!(exit.stderr.contains(word), "{}", exit.stderr);
    }
    let pinned = Launch::echo()
        .set("server.steer=\"cpu\"")
        .set("server.pin=true");
    let server = pinned.start();
    server.connect().ask(b"served", b"served");
    server.stop();
}
