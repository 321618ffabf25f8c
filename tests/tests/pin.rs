//! `server.pin`: on which cores shards run.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use tests::{Launch, Server, skip};

/// The cores that each shard may run on, as the kernel lists them.
fn cores(server: &Server) -> BTreeSet<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let shards =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let shards = shards.filter(|status| status.starts_with("Name:\tshard-"));
    let field = |status: String| {
        status
            .lines()
            .find_map(|line| Some(line.strip_prefix("Cpus_allowed_list:")?.trim().to_owned()))
    };
    shards.map(|status| field(status).unwrap()).collect()
}

fn cores_with(settings: &[&str]) -> BTreeSet<String> {
    let server = settings
        .iter()
        .fold(Launch::echo().set("server.shards=2"), |launch, setting| {
            launch.set(setting)
        })
        .start();
    let cores = cores(&server);
    server.connect().ask(b"served", b"served");
    server.stop();
    cores
}

/// Two cores that this process may run on, or the test skips itself.
fn two_cores() -> Option<[usize; 2]> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let mut cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    Some([cores.next()?, cores.next()?])
}

#[test]
fn shards_keep_to_a_core_where_they_are_pinned_or_their_cores_are_named() {
    let Some([first, second]) = two_cores() else {
        skip!("needs two cores")
    };
    let whole: BTreeSet<String> = [own_cores()].into();
    let each: BTreeSet<String> = [first, second].map(|core| core.to_string()).into();
    assert_eq!(cores_with(&[]), whole);
    assert_eq!(cores_with(&["server.pin=false"]), whole);
    assert_eq!(
        cores_with(&[
            "server.pin=true",
            &format!("server.cpus=[{first}, {second}]")
        ]),
        each
    );
    assert_eq!(
        cores_with(&[&format!("server.cpus=[{first}, {second}]")]),
        each
    );
    let named = cores_with(&["server.pin=false", &format!("server.cpus=[{second}]")]);
    assert_eq!(named, [second.to_string()].into());
}

fn own_cores() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap().trim().to_owned()
}
