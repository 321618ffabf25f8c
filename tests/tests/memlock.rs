//! Locked memory (RLIMIT_MEMLOCK): a start asks for what it takes, and what it asks for is enough.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use tests::{BOUND, Exit, Launch, needs, skip};

#[track_caller]
fn assert_refused(exit: &Exit, needles: &[&str]) {
    assert_eq!(exit.code, Some(2), "{exit:?}");
    let missing = needles
        .iter()
        .find(|needle| !exit.stderr.contains(**needle));
    assert_eq!(missing, None, "{}", exit.stderr);
}

#[test]
fn too_little_locked_memory_is_refused_with_have_need_and_remedy() {
    let exit = Launch::echo().after("ulimit -l 64").run();
    assert_refused(
        &exit,
        &["64 KiB", "512 KiB", "ulimit -l 512", "LimitMEMLOCK"],
    );
}

/// As a user of its own without any capability. What others have locked does not count then, nor
/// what the kernel has yet to free of one that has just ended.
fn unprivileged(launch: Launch) -> Launch {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let user = 100_000 + std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed);
    let [user, group] = ["reuid", "regid"].map(|id| format!("--{id}={user}"));
    let caps = ["--inh-caps=-all", "--bounding-set=-all"];
    launch.under(&["setpriv", &user, &group, "--clear-groups", caps[0], caps[1]])
}

/// Whether this is Linux 6.14 or later.
fn counts_rings() -> bool {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().unwrap().split('.');
    let mut number = || {
        numbers
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    };
    (number(), number()) >= (6, 14)
}

/// The lowest `ulimit -l` in KiB that a refusal names.
fn needed_kib(exit: &Exit) -> u64 {
    let (_, rest) = exit.stderr.split_once("run `ulimit -l ").unwrap();
    rest.split('`').next().unwrap().parse().unwrap()
}

#[test]
fn without_privileges_all_shards_and_the_admin_server_need_their_part_of_locked_memory() {
    needs!("setpriv");
    if !rustix::process::getuid().is_root() {
        skip!("needs root, to become another user");
    }
    let launch = |kib: u64| {
        let launch = Launch::echo()
            .set("server.shards=3")
            .set("admin.listen=\"127.0.0.1:0\"");
        unprivileged(launch.after(&format!("ulimit -l {kib}")))
    };
    if !counts_rings() {
        skip!("needs Linux 6.14, which counts rings as locked memory");
    }
    let refused = launch(512).run();
    assert_refused(
        &refused,
        &[
            "memlock limit is 512 KiB",
            "3 shards of 480 KiB and an admin server of 256 KiB need",
            "without CAP_IPC_LOCK",
            "LimitMEMLOCK=",
            "server.shards",
        ],
    );
    let need = needed_kib(&refused);
    assert_eq!(needed_kib(&launch(need - 1).run()), need);
    let server = launch(need).start();
    for _ in 0..20 {
        server.connect().ask(b"locked", b"locked");
    }
    assert_eq!(server.admin_get("/readyz").status, 200);
    server.stop();
}

#[test]
fn without_room_for_its_threads_it_is_refused_with_the_remedy() {
    needs!("prlimit", "setpriv");
    if !rustix::process::getuid().is_root() {
        skip!("needs root, to become another user");
    }
    // The log's, the one that hears signals, each shard's and each executor's.
    for threads in 1..=6 {
        let launch = unprivileged(Launch::echo().set("server.shards=2"));
        let exit = launch
            .under(&["prlimit", &format!("--nproc={threads}")])
            .run();
        assert_refused(&exit, &["ulimit -u", "TasksMax="]);
    }
}

#[test]
fn a_restart_needs_as_much_locked_memory_again_and_says_so() {
    needs!("setpriv");
    if !rustix::process::getuid().is_root() || !counts_rings() {
        skip!("needs root, to become another user, and Linux 6.14");
    }
    let two = |kib: u64| {
        let launch = Launch::echo().set("server.shards=2");
        unprivileged(launch.after(&format!("ulimit -l {kib}"))).start()
    };
    let once = two(1000);
    once.signal(Signal::USR2);
    once.wait_for_log("the new process fails; this one goes on", BOUND);
    let words = once.log().text();
    let told = "2 shards of 480 KiB, beside 992 KiB of the process before, need 1984 KiB";
    assert!(words.contains(told), "{words}");
    once.connect().ask(b"goes on", b"goes on");
    once.stop();
    let mut twice = two(1984);
    twice.restart();
    twice.connect().ask(b"again", b"again");
    twice.stop();
}
