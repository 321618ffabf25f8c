//! `--doctor`, and what it says held against a start of the same server.
#![allow(clippy::unwrap_used)]

use std::fs;

use tests::{Cage, Exit, Launch, announce, needs, skip};

const MIB: u64 = 1 << 20;

fn doctor(launch: Launch) -> Exit {
    launch.argument("--doctor").run()
}

/// The row of a resource: its state, and all that follows its name.
fn row(exit: &Exit, resource: &str) -> (String, String) {
    let rows = exit.stdout.lines().filter_map(|line| {
        let (state, rest) = line.split_once("  ")?;
        let cells = rest.trim_start().strip_prefix(resource)?.trim();
        Some((state.to_owned(), cells.to_owned()))
    });
    let mut rows = rows.filter(|(state, _)| !state.is_empty());
    rows.next()
        .unwrap_or_else(|| panic!("no {resource} in\n{}", exit.stdout))
}

#[track_caller]
fn assert_short(exit: &Exit, resource: &str, state: &str, limit: &str, remedy: &str) {
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(2), ""), "{exit:?}");
    let (found, cells) = row(exit, resource);
    assert!(found == state && cells.contains(limit), "{found} {cells}");
    let told = format!("- {resource}: {remedy}");
    assert!(exit.stdout.contains(&told), "no {told} in\n{}", exit.stdout);
}

fn forecast(exit: &Exit) -> u32 {
    let (_, rest) = exit.stdout.split_once("\nForecast: ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// The forecast is carried, and a start with it serves; with one connection more both refuse.
fn assert_true(launch: impl Fn() -> Launch, forecast: u32) {
    let with = |connections: u32| launch().set(&format!("limits.connections_max={connections}"));
    let carried = doctor(with(forecast));
    assert_eq!(carried.code, Some(0), "{}", carried.stdout);
    let server = with(forecast).start();
    server.connect().ask(b"carried", b"carried");
    server.stop();
    assert_eq!(doctor(with(forecast + 1)).code, Some(2));
    let refused = with(forecast + 1).run();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
}

#[test]
fn few_descriptors_bind_and_the_forecast_is_what_starts() {
    let launch = || Launch::echo().set("server.shards=2").after("ulimit -n 300");
    let exit = doctor(launch().set("limits.connections_max=1000"));
    let remedy = "run `ulimit -n 500` as root, or set LimitNOFILE=500 in the unit";
    assert_short(
        &exit,
        "connections of a shard",
        "SHORT",
        "ulimit -n",
        remedy,
    );
    assert_eq!(forecast(&exit), 600);
    assert!(
        exit.stdout.contains("600") && exit.stdout.contains("(ulimit -n)"),
        "{}",
        exit.stdout
    );
    assert_true(launch, 600);
}

#[test]
fn a_control_group_binds_and_the_forecast_is_what_starts() {
    let Some(cage) = Cage::of(256 * MIB) else {
        return announce("needs root and a memory controller");
    };
    let launch = || Launch::echo().set("server.shards=1").after(&cage.entry());
    let exit = doctor(launch().set("limits.connections_max=20000"));
    assert_short(
        &exit,
        "memory, at most",
        "SHORT",
        "/memory.",
        "lower limits.connections_max",
    );
    let (_, cells) = row(&exit, "memory, at most");
    assert!(cells.contains("256 MiB"), "{cells}");
    let forecast = forecast(&exit);
    assert!((5000..20_000).contains(&forecast), "{forecast}");
    assert_true(launch, forecast);
}

#[test]
fn a_queue_shorter_than_the_settings_want_is_told() {
    needs!("unshare", "ip");
    let script = "echo 100 > /proc/sys/net/core/somaxconn && ip link set lo up; exec \"$@\"";
    let wrapper = ["unshare", "-n", "sh", "-c", script, "sh"];
    let exit = doctor(Launch::echo().under(&wrapper));
    if exit.stdout.is_empty() {
        skip!("needs root, for a network namespace");
    }
    let remedy = "run `sysctl -w net.core.somaxconn=4096`";
    assert_short(
        &exit,
        "listener.backlog",
        "CUT",
        "sysctl net.core.somaxconn",
        remedy,
    );
    let enough = doctor(Launch::echo().set("listener.backlog=100").under(&wrapper));
    assert_eq!(enough.code, Some(0), "{}", enough.stdout);
}

#[test]
fn beside_a_server_that_runs_it_opens_nothing_that_others_meet() {
    needs!("strace");
    let server = Launch::echo().start();
    let listen = format!("server.listen=\"{}\"", server.addr());
    let trace = std::env::temp_dir().join(format!("corelane-doctor-{}", std::process::id()));
    let calls = "trace=bind,listen,connect,accept4,mkdir,unlink,rename,chmod,kill";
    let traced = ["strace", "-f", "-o", trace.to_str().unwrap(), "-e", calls];
    let exit = doctor(
        Launch::echo()
            .set(&listen)
            .set("admin.listen=\"127.0.0.1:9\"")
            .under(&traced),
    );
    let called = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let port = server.addr().port();
    let note = format!("- somebody listens on port {port} now; unless that is this server");
    assert!(exit.stdout.contains(&note), "{}", exit.stdout);
    let calls: Vec<&str> = called.lines().filter(|line| line.contains('(')).collect();
    assert!(calls.is_empty(), "{calls:#?}");
    server.connect().ask(b"undisturbed", b"undisturbed");
    let counts = server.stop();
    assert_eq!(counts.accepted, 1);
}

#[test]
fn where_proc_and_sys_are_hidden_it_says_what_it_does_not_know() {
    needs!("unshare", "mount");
    if std::env::var_os("ASAN_OPTIONS").is_some() {
        skip!("AddressSanitizer wants /proc");
    }
    let hide = "mount -t tmpfs none /proc && mount -t tmpfs none /sys || exit 99; exec \"$@\"";
    let exit = doctor(Launch::echo().under(&["unshare", "-m", "sh", "-c", hide, "sh"]));
    if exit.code == Some(99) || exit.stdout.is_empty() {
        skip!("needs root, for a mount namespace");
    }
    assert_eq!(exit.code, Some(0), "{exit:?}");
    for resource in ["memory, at most", "listener.backlog"] {
        assert_eq!(row(&exit, resource).0, "?", "{}", exit.stdout);
    }
}
