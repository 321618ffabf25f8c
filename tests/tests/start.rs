//! How a server starts, or refuses to: with exit code 2, everything that is wrong at once, each
//! with what to do about it, and nothing bound.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};
use tests::{BOUND, Client, Exit, Launch, Program, Server, free_address, needs, skip, within};

/// Servers that are started two at a time: so many that some of them meet between the look whether
/// the port is free and their listeners.
const PAIRS: u32 = 20;

/// A file of the test's own.
fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let unique = format!(
        "start-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique);
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Fails unless the server refused to start and said each of `needles`.
fn assert_refused(exit: &Exit, needles: &[&str]) {
    let said = &exit.stderr;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(
        !said.contains("panicked") && !said.contains("listening"),
        "{said}"
    );
    for needle in needles {
        assert!(said.contains(needle), "no `{needle}` in:\n{said}");
    }
}

fn assert_config_refused(content: impl AsRef<[u8]>, needles: &[&str]) {
    let path = file("bad.toml", content);
    assert_refused(&Launch::bare(Program::Echo).argument(&path).run(), needles);
}

fn listen_on(address: SocketAddr) -> Launch {
    Launch::bare(Program::Echo)
        .set(&format!("server.listen=\"{address}\""))
        .set("log.format=\"json\"")
}

#[test]
fn listening_tells_the_address_and_the_shards() {
    let server = Launch::echo().set("server.shards=2").start();
    let line = server.wait_for_log("listening", BOUND);
    assert_ne!(server.addr().port(), 0);
    assert_eq!((line.level(), line.number("shards")), ("INFO", 2));
    // Each shard listens by the time it is said: no connection is refused.
    for _ in 0..100 {
        server.connect().ask(b"here", b"here");
    }
    server.stop();
}

#[test]
fn the_log_is_text_by_default() {
    let mut server = Launch::bare(Program::Echo)
        .set("server.listen=\"127.0.0.1:0\"")
        .spawn();
    server.wait_for_line(0, BOUND, "listening", |line| {
        line.text.contains("INFO")
            && line.text.contains("listening")
            && line.text.contains("127.0.0.1:")
    });
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

#[test]
fn a_port_taken_by_another_program_is_refused() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = other.local_addr().unwrap();
    assert_refused(
        &listen_on(address).run(),
        &[&address.to_string(), "server.listen"],
    );
    // With whatever else the machine lacks.
    assert_refused(
        &listen_on(address).after("ulimit -n 40").run(),
        &[&address.to_string(), "server.listen", "LimitNOFILE"],
    );
    drop(other);
}

#[test]
fn a_port_shared_by_another_program_is_refused() {
    let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    other.set_reuse_port(true).unwrap();
    other
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    other.listen(16).unwrap();
    let address = other.local_addr().unwrap().as_socket().unwrap();
    assert_refused(&listen_on(address).run(), &[&address.to_string()]);
}

#[test]
fn a_second_copy_is_refused_and_the_first_goes_on() {
    let first = Launch::echo().start();
    assert_refused(&listen_on(first.addr()).run(), &[&first.addr().to_string()]);
    for _ in 0..50 {
        first.connect().ask(b"still yours", b"still yours");
    }
    first.stop();
}

#[test]
fn of_two_servers_that_start_at_once_on_one_port_one_is_refused() {
    for _ in 0..PAIRS {
        let address = free_address();
        let mut pair: Vec<Server> = (0..2)
            .map(|_| listen_on(address).set("server.shards=2").spawn())
            .collect();
        let listens = |server: &Server| {
            server
                .log()
                .lines()
                .iter()
                .any(|line| line.message() == "listening")
        };
        let first = within(BOUND, "one that listens", || pair.iter().position(listens));
        let winner = pair.swap_remove(first);
        let mut other = pair.remove(0);
        assert_eq!(other.wait_exit(BOUND), Some(2), "both listen");
        let said = other.log().text();
        assert!(
            said.contains(&address.to_string()) && said.contains("another copy of this one does"),
            "{said}"
        );
        Client::connect(address).ask(b"mine alone", b"mine alone");
        winner.stop();
    }
}

#[test]
fn a_port_is_free_as_soon_as_its_server_is_gone() {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for round in 0..4 {
        let server = listen_on(address).start();
        address = server.addr();
        let mut client = server.connect();
        client.ask(b"x", b"x");
        // The server ends the connection first, which leaves its port in TIME_WAIT.
        if round % 2 == 0 {
            server.stop();
        } else {
            drop(server);
        }
        let _ = client.receive_all();
    }
}

/// In a network namespace of its own, in which `[::]` is for IPv6 alone unless a socket says
/// otherwise.
const V6ONLY: [&str; 5] = [
    "unshare",
    "-n",
    "sh",
    "-c",
    "echo 1 > /proc/sys/net/ipv6/bindv6only && ip link set lo up && exec \"$0\" \"$@\"",
];

/// What `act` gives in the network namespace of a process.
fn in_network_of<T: Send>(process: u32, act: impl FnOnce() -> T + Send) -> T {
    let namespace = fs::File::open(format!("/proc/{process}/ns/net")).unwrap();
    thread::scope(|scope| {
        let there = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        there.join().unwrap()
    })
}

#[test]
fn the_wildcard_of_ipv6_serves_ipv4_whatever_bindv6only_says() {
    needs!("unshare", "ip", "nsenter");
    if !Path::new("/proc/sys/net/ipv6").exists() {
        skip!("needs IPv6");
    }
    if !Command::new("unshare")
        .args(["-n", "true"])
        .status()
        .unwrap()
        .success()
    {
        skip!("needs root, for a network namespace");
    }
    let server = Launch::echo()
        .set("server.listen=\"[::]:0\"")
        .set("server.shards=2")
        .under(&V6ONLY)
        .start();
    let port = server.addr().port();
    in_network_of(server.pid(), || {
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            (0..20).for_each(|_| Client::connect(SocketAddr::new(ip, port)).ask(b"both", b"both"));
        }
    });
    // So whoever has the port for IPv4 alone is in the way, and is told of.
    let other = in_network_of(server.pid(), || {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap()
    });
    let taken = SocketAddr::from((Ipv6Addr::UNSPECIFIED, other.local_addr().unwrap().port()));
    let namespace = format!("--net=/proc/{}/ns/net", server.pid());
    assert_refused(
        &listen_on(taken).under(&["nsenter", &namespace]).run(),
        &[&taken.to_string(), "another program"],
    );
    server.stop();
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let address = SocketAddr::from(([203, 0, 113, 7], 7007));
    assert_refused(&listen_on(address).run(), &["203.0.113.7:7007"]);
}

#[test]
fn an_address_that_nobody_connects_to_is_refused() {
    for group in ["224.0.0.1", "255.255.255.255", "[ff02::1]"] {
        let content = format!("[server]\nlisten = \"{group}:7007\"\n");
        assert_config_refused(content, &["bad.toml:2:10", group, "127.0.0.1:7007"]);
        let content = format!("[[listener]]\nlisten = \"{group}:7007\"\n");
        assert_config_refused(content, &["bad.toml:2:10", group]);
    }
}

#[test]
fn a_unix_socket_in_the_place_of_an_address_is_told_where_it_goes() {
    assert_config_refused(
        "[server]\nlisten = \"unix:/run/echo.sock\"\n",
        &[
            "bad.toml:2:10",
            "[[listener]]",
            "listen = \"unix:/run/echo.sock\"",
        ],
    );
}

#[test]
fn a_typo_is_refused_with_its_place_and_the_expected_keys() {
    assert_config_refused(
        "[server]\nshards = 1\n\n[timeouts]\nidel = \"5m\"\n",
        &["bad.toml:5:1", "idel", "idle"],
    );
    assert_config_refused(
        "[servre]\nshards = 1\n",
        &["bad.toml:1", "servre", "server"],
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_place_and_its_range() {
    let (time, shards) = (
        "expected a duration from 100ms to 365d",
        "expected a whole number of shards from 1 to 1024",
    );
    assert_config_refused(
        "[timeouts]\nidle = \"5 minutes\"\n",
        &["bad.toml:2:8", "timeouts.idle: found \"5 minutes\"", time],
    );
    assert_config_refused(
        "[timeouts]\nidle = 300\n",
        &["bad.toml:2:8", "timeouts.idle: found 300", time],
    );
    assert_config_refused(
        "[timeouts]\ndrain = \"off\"\n",
        &["bad.toml:2:9", "timeouts.drain: found \"off\"", time],
    );
    assert_config_refused(
        "[timeouts]\nidle = \"0s\"\n",
        &["bad.toml:2:8", "timeouts.idle: found \"0s\"", time],
    );
    assert_config_refused(
        "[listener]\nbacklog = 0\n",
        &[
            "bad.toml:2:11",
            "listener.backlog: found 0",
            "from 1 to 65535",
        ],
    );
    assert_config_refused(
        "[server]\nshards = -1\n",
        &["bad.toml:2:10", "server.shards: found -1", shards],
    );
    assert_config_refused(
        "[server]\nshards = 1.5\n",
        &["bad.toml:2:10", "server.shards: found 1.5", shards],
    );
    assert_config_refused(
        "[server]\nlisten = \"localhost\"\n",
        &[
            "bad.toml:2:10",
            "server.listen",
            "expected an IP address and a port",
        ],
    );
    assert_config_refused(
        "[buffers]\ncount = 1000\n",
        &[
            "bad.toml:2:9",
            "buffers.count",
            "from 16 to 32768, and a power of two",
        ],
    );
    assert_config_refused("[server\nshards = 1\n", &["bad.toml:1"]);
}

#[test]
fn everything_wrong_is_told_at_once() {
    assert_config_refused(
        "[server]\nshards = -1\nlisten = 7\n[timeouts]\nidle = \"x\"\nidel = 1\n[log]\nlevel = \"loud\"\n",
        &[
            "server.shards",
            "server.listen",
            "timeouts.idle",
            "idel",
            "log.level",
        ],
    );
    let exit = Launch::bare(Program::Ping)
        .set("app.inline_max=1")
        .set("app.bulk_max=0")
        .set("server.shards=-1")
        .run();
    assert_refused(&exit, &["app.inline_max", "app.bulk_max", "server.shards"]);
}

#[test]
fn a_file_that_is_no_settings_file_is_refused() {
    assert_refused(
        &Launch::bare(Program::Echo)
            .argument("no/such/file.toml")
            .run(),
        &["no/such/file.toml"],
    );
    assert_refused(&Launch::bare(Program::Echo).argument("/").run(), &["/"]);
    assert_config_refused(b"[server]\nlisten = \"\xff\xfe\"\n", &["bad.toml", "UTF-8"]);
    assert_config_refused(vec![0; 100], &["bad.toml"]);
    let start = Instant::now();
    assert_config_refused(vec![b'#'; 64 << 20], &["bad.toml"]);
    assert!(start.elapsed().as_secs() < 5, "took {:?}", start.elapsed());
}

#[test]
fn a_byte_order_mark_is_no_mistake() {
    let path = file("bom.toml", "\u{feff}[server]\nshards = 1\n");
    let exit = Launch::bare(Program::Echo)
        .argument(&path)
        .argument("--check")
        .run();
    assert_eq!(exit.code, Some(0), "{exit:?}");
    // Nor does it count as a column.
    assert_config_refused("\u{feff}[sevrer]\n", &["bad.toml:1:2", "sevrer"]);
}

#[test]
fn a_set_that_is_none_is_refused() {
    for set in [
        "server.shards",
        "shards=1",
        "server.shards=",
        "server.listen=127.0.0.1:0",
        "=",
        "",
    ] {
        assert_refused(&Launch::bare(Program::Echo).set(set).run(), &["--set"]);
    }
}

#[test]
fn contradictions_are_refused_with_the_arithmetic() {
    let refused = |sets: &[&str], needles: &[&str]| {
        let launch = sets
            .iter()
            .fold(Launch::echo(), |launch, set| launch.set(set));
        assert_refused(&launch.run(), needles);
    };
    refused(
        &["limits.connections_max=3", "server.shards=4"],
        &["limits.connections_max", "3", "4"],
    );
    refused(
        &["buffers.profile=\"large\"", "limits.write_queue_max=4096"],
        &["buffers.size", "65536", "4096"],
    );
    refused(
        &["buffers.count=16", "limits.recv_queue_max=9"],
        &["limits.recv_queue_max", "16"],
    );
    refused(
        &["timeouts.first_byte=\"10s\"", "timeouts.lifetime=\"5s\""],
        &["timeouts.first_byte", "10s", "5s"],
    );
    refused(&["server.cpus=[900]"], &["900"]);
}

#[test]
fn a_descriptor_limit_too_low_is_refused_with_the_remedy() {
    let exit = Launch::echo().after("ulimit -n 40").run();
    assert_refused(&exit, &["40", "ulimit -n", "LimitNOFILE"]);
    let exit = Launch::echo()
        .set("server.shards=1")
        .set("limits.connections_max=5000")
        .after("ulimit -n 1000")
        .run();
    assert_refused(&exit, &["5000", "1000", "ulimit -n"]);
}

#[test]
fn a_refused_start_binds_nothing() {
    needs!("strace");
    let trace = file("trace", "");
    let strace = ["strace", "-f", "-o", &trace, "-e", "trace=bind,listen"];
    let few = Launch::echo().after("ulimit -n 40"); // the settings are fine, the machine is not
    let [wrong, check, print] = ["--set=server.shards=-1", "--check", "--print-config"]
        .map(|argument| Launch::echo().argument(argument));
    for launch in [few, wrong, check, print] {
        let _ = launch.under(&strace).run();
        let trace = fs::read_to_string(&trace).unwrap();
        assert!(
            !trace.contains("bind(") && !trace.contains("listen("),
            "{trace}"
        );
    }
}

#[test]
fn check_tells_good_from_bad() {
    let good = Launch::echo().argument("--check").run();
    assert_eq!((good.code, good.stderr.as_str()), (Some(0), ""));
    assert_refused(
        &Launch::echo()
            .set("server.shards=-1")
            .argument("--check")
            .run(),
        &["shards"],
    );
}

#[test]
fn printed_settings_are_read_back_the_same() {
    for program in [Program::Echo, Program::Ping] {
        let bare = || Launch::bare(program).argument("--print-config");
        let default = bare().run();
        assert_eq!((default.code, default.stderr.as_str()), (Some(0), ""));
        let changed = bare()
            .set("server.cpus=[0]")
            .set("timeouts.idle=\"off\"")
            .set("buffers.count=64")
            .run();
        assert_ne!(changed.stdout, default.stdout);
        for printed in [default, changed] {
            let path = file("printed.toml", &printed.stdout);
            let again = bare().argument(&path).run();
            assert_eq!(
                (again.code, again.stdout),
                (Some(0), printed.stdout),
                "{}",
                again.stderr
            );
        }
    }
}

#[test]
fn the_shipped_settings_are_the_built_in_ones() {
    for (program, name) in [(Program::Echo, "echo.toml"), (Program::Ping, "ping.toml")] {
        let shipped = format!("{}/../configs/{name}", env!("CARGO_MANIFEST_DIR"));
        let built_in = Launch::bare(program).argument("--print-config").run();
        let read = Launch::bare(program)
            .argument(&shipped)
            .argument("--print-config")
            .run();
        assert_eq!(
            (read.code, read.stdout),
            (Some(0), built_in.stdout),
            "{}",
            read.stderr
        );
    }
}

#[test]
fn a_set_wins_over_the_file_and_a_later_one_over_an_earlier() {
    let path = file(
        "file.toml",
        "[server]\nshards = 3\n[log]\nlevel = \"warn\"\n",
    );
    let printed = Launch::bare(Program::Echo)
        .argument(&path)
        .set("server.shards=4")
        .set("server.shards=5")
        .argument("--print-config")
        .run();
    let settings: toml::Table = printed.stdout.parse().unwrap();
    assert_eq!(settings["server"]["shards"].as_integer(), Some(5));
    assert_eq!(settings["log"]["level"].as_str(), Some("warn"));
}

#[test]
fn help_and_version_succeed_and_an_unknown_flag_does_not() {
    for flag in ["--help", "--version"] {
        let exit = Launch::bare(Program::Echo).argument(flag).run();
        assert_eq!(exit.code, Some(0), "{exit:?}");
        assert!(exit.stdout.contains("echo"), "{exit:?}");
    }
    assert_refused(
        &Launch::bare(Program::Echo).argument("--frobnicate").run(),
        &["--frobnicate"],
    );
}

/// Runs the server with a system call tampered with (strace(1)).
fn with_tampered_call(call: &str, tampering: &str) -> Exit {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:{tampering}");
    Launch::echo()
        .under(&[
            "strace",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ])
        .run()
}

#[test]
fn without_io_uring_it_is_refused_with_the_cause() {
    needs!("strace");
    let causes = [
        ("EPERM", "io_uring is forbidden", "seccomp"),
        ("ENOSYS", "io_uring is missing", "CONFIG_IO_URING=y"),
        ("ENOMEM", "there is no memory for an io_uring", "ulimit -l"),
    ];
    for (error, cause, remedy) in causes {
        let exit = with_tampered_call("io_uring_setup", &format!("error={error}"));
        assert_refused(&exit, &[cause, remedy]);
        assert_eq!(
            exit.stderr.lines().count(),
            1,
            "one cause, one message: {}",
            exit.stderr
        );
    }
}

#[test]
fn with_io_uring_switched_off_by_sysctl_it_is_refused_with_the_sysctl() {
    needs!("strace");
    needs!("unshare");
    const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
    if !Path::new(SYSCTL).exists() {
        skip!("needs Linux 6.6, which has the sysctl");
    }
    if !Command::new("unshare")
        .args(["-m", "true"])
        .status()
        .unwrap()
        .success()
    {
        skip!("needs root, for a mount namespace");
    }
    // Seen by this process alone; what the kernel would answer then, strace does.
    let mount = format!(
        "mount --bind {} {SYSCTL} && exec \"$@\"",
        file("disabled", "2\n")
    );
    let strace = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=io_uring_setup",
        "-e",
        "inject=io_uring_setup:error=EPERM",
    ];
    let exit = Launch::echo()
        .under(
            &[
                &["unshare", "-m", "sh", "-c", &mount, "sh"],
                strace.as_slice(),
            ]
            .concat(),
        )
        .run();
    assert_refused(
        &exit,
        &[
            "kernel.io_uring_disabled is 2",
            "sysctl -w kernel.io_uring_disabled=0",
        ],
    );
}

/// What the kernel answers is written over: `bytes` at the beginning of what argument `number`
/// points to.
fn poked(call: &str, number: u32, bytes: &[u8]) -> Exit {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    with_tampered_call(call, &format!("poke_exit=@arg{number}={hex}:when=1"))
}

#[test]
fn a_feature_that_the_kernel_lacks_is_named_with_the_version_that_has_it() {
    needs!("strace");
    // struct io_uring_params (linux/io_uring.h): both sizes, flags, two numbers, features.
    let features = [
        (1, "IORING_FEAT_NODROP", "5.5"),
        (2, "IORING_FEAT_SUBMIT_STABLE", "5.5"),
        (5, "IORING_FEAT_FAST_POLL", "5.7"),
    ];
    for (bit, name, version) in features
        .into_iter()
        .chain([(8, "IORING_FEAT_EXT_ARG", "5.11")])
    {
        let words: [u32; 6] = [8, 64, 0x3288, 0, 0, 0x127 & !(1 << bit)];
        let exit = poked("io_uring_setup", 2, &words.map(u32::to_le_bytes).concat());
        assert_refused(&exit, &[name, &format!("boot Linux {version} or later")]);
    }
}

#[test]
fn an_operation_that_the_kernel_lacks_is_named_with_the_version_that_has_it() {
    needs!("strace");
    const OPERATIONS: u8 = 48;
    let operations = [
        (6, "IORING_OP_POLL_ADD", "5.1"),
        (9, "IORING_OP_SENDMSG", "5.3"),
        (11, "IORING_OP_TIMEOUT", "5.4"),
        (13, "IORING_OP_ACCEPT", "5.5"),
        (14, "IORING_OP_ASYNC_CANCEL", "5.5"),
        (16, "IORING_OP_CONNECT", "5.5"),
        (19, "IORING_OP_CLOSE", "5.6"),
        (20, "IORING_OP_FILES_UPDATE", "5.6"),
        (26, "IORING_OP_SEND", "5.6"),
        (27, "IORING_OP_RECV", "5.6"),
        (34, "IORING_OP_SHUTDOWN", "5.11"),
        (47, "multishot IORING_OP_RECV", "6.0"),
    ];
    for (missing, name, version) in operations {
        // struct io_uring_probe (linux/io_uring.h): the last operation, how many, 14 bytes, and of
        // each its number, a byte, flags, 4 bytes.
        let all = (0..OPERATIONS)
            .flat_map(|number| [number, 0, u8::from(number != missing), 0, 0, 0, 0, 0]);
        let probe: Vec<u8> = [OPERATIONS - 1, OPERATIONS]
            .into_iter()
            .chain([0; 14])
            .chain(all)
            .collect();
        let exit = poked("io_uring_register", 3, &probe);
        assert_refused(
            &exit,
            &[
                &format!("operation {name} is missing"),
                &format!("boot Linux {version} or later"),
            ],
        );
    }
}

#[test]
fn a_kernel_without_the_rings_tables_is_refused() {
    needs!("strace");
    for (call, what) in [
        (1, "an io_uring"),
        (2, "a table of direct descriptors"),
        (3, "a ring of receive buffers"),
    ] {
        let exit = with_tampered_call("io_uring_register", &format!("error=EINVAL:when={call}"));
        assert_refused(&exit, &[&format!("{what} was refused"), "Invalid argument"]);
    }
}

#[test]
fn a_kernel_too_old_is_refused_with_the_version_that_will_do() {
    needs!("setarch");
    let exit = Launch::echo().under(&["setarch", "--uname-2.6"]).run();
    assert_refused(&exit, &["Linux 2.6", "Linux 6.1"]);
}

#[test]
fn a_shard_that_cannot_start_ends_the_process() {
    let exit = Launch::hostile().set("app.panic_at_start=true").run();
    assert!(matches!(exit.code, Some(1 | 2)), "{exit:?}");
    assert!(!exit.stderr.contains("listening"), "{}", exit.stderr);
}

#[test]
fn shards_follow_the_allowed_cores() {
    needs!("taskset");
    let server = Launch::echo().under(&["taskset", "-c", "0"]).start();
    assert_eq!(server.wait_for_log("listening", BOUND).number("shards"), 1);
    Client::connect(server.addr()).ask(b"one", b"one");
    server.stop();
    let server = Launch::echo().set("server.cpus=[0]").start();
    assert_eq!(server.wait_for_log("listening", BOUND).number("shards"), 1);
    server.stop();
}

#[test]
fn more_shards_than_cores_start_with_one_warning() {
    needs!("taskset");
    let server = Launch::echo()
        .set("server.shards=4")
        .under(&["taskset", "-c", "0"])
        .start();
    assert_eq!(server.wait_for_log("listening", BOUND).number("shards"), 4);
    let warnings = server
        .log()
        .lines()
        .iter()
        .filter(|line| line.level() == "WARN")
        .count();
    assert_eq!(warnings, 1, "{}", server.log().text());
    for _ in 0..40 {
        server.connect().ask(b"four", b"four");
    }
    server.stop();
}

#[test]
fn a_core_outside_the_allowed_ones_is_refused() {
    needs!("taskset");
    let exit = Launch::echo()
        .set("server.cpus=[1]")
        .under(&["taskset", "-c", "0"])
        .run();
    assert_refused(&exit, &["server.cpus", "core 1", "core 0"]);
}

#[test]
fn a_start_says_within_what_time_a_silent_peer_is_found() {
    let server = Launch::echo()
        .set("timeouts.first_byte=\"7s\"")
        .set("timeouts.request=\"90s\"")
        .set("timeouts.idle=\"off\"")
        .set("socket.keepalive_idle=\"20s\"")
        .set("socket.keepalive_interval=\"5s\"")
        .set("socket.keepalive_count=3")
        .set("socket.user_timeout=\"40s\"")
        .start();
    let line = server.wait_for_log("a silent peer is found within", BOUND);
    let said = [
        "first_byte",
        "request",
        "write",
        "idle",
        "vanished_while_idle",
        "vanished_while_sent_to",
    ]
    .map(|name| line.field(name).unwrap());
    // The user timeout overrides three probes, and makes a fourth of them.
    assert_eq!(said, ["7s", "90s", "30s", "off", "40s", "40s"]);
    server.stop();
}
