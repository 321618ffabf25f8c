//! What a process finds around it: file systems that are missing or hidden, as in a chroot or a
//! hardened container, standard streams that are closed or full, no environment, no directory. It
//! runs all the same, and its exit code says what became of it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tests::{BOUND, Client, Launch, Program, connect, free_address, needs, skip, within};

/// Hides the directories named in `$1` under an empty file system, then runs the rest.
const HIDE: &str =
    "for hidden in $1; do mount -t tmpfs none \"$hidden\" || exit 99; done; shift; exec \"$@\"";

fn hiding<'a>(directories: &'a str, launch: Launch) -> Launch {
    let wrapper: [&'a str; 7] = ["unshare", "-m", "sh", "-c", HIDE, "sh", directories];
    launch.under(&wrapper)
}

fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

#[test]
fn with_sys_or_proc_hidden_it_serves_and_its_check_says_so() {
    needs!("unshare", "mount");
    if !can_mount() {
        skip!("needs root, for a mount namespace");
    }
    if std::env::var_os("ASAN_OPTIONS").is_some() {
        skip!("AddressSanitizer wants /proc");
    }
    for directories in [
        "/sys",
        "/sys/devices",
        "/sys/fs",
        "/proc",
        "/proc/sys",
        "/dev",
        "/sys /proc /dev /run /tmp /var /etc",
    ] {
        let check = hiding(directories, Launch::echo().argument("--check")).run();
        assert_eq!(
            (check.code, check.stderr.as_str()),
            (Some(0), ""),
            "{directories} hidden"
        );
        let server = hiding(directories, Launch::echo()).start();
        server.connect().ask(b"hidden", b"hidden");
        server.stop();
    }
}

#[test]
fn a_shard_stays_on_its_core_where_sys_is_hidden() {
    needs!("unshare", "mount");
    if !can_mount() {
        skip!("needs root, for a mount namespace");
    }
    let server = hiding("/sys", Launch::echo().set("server.cpus=[0]")).start();
    assert_eq!(cores_of_thread(server.pid(), "shard-0"), "0");
    server.stop();
}

/// The cores that the thread called `name` may run on, as proc_pid_status(5) lists them.
fn cores_of_thread(process: u32, name: &str) -> String {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let statuses =
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap());
    let status = statuses
        .into_iter()
        .find(|status| status.starts_with(&format!("Name:\t{name}\n")))
        .expect("the thread runs");
    status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn without_an_environment_or_a_directory_it_serves() {
    needs!("env");
    let server = Launch::echo().under(&["env", "-i"]).start();
    server.connect().ask(b"no HOME", b"no HOME");
    server.stop();
    let server = Launch::echo()
        .after("cd \"$(mktemp -d)\" && rmdir \"$PWD\"")
        .start();
    server.connect().ask(b"no directory", b"no directory");
    server.stop();
}

/// Whatever is opened next takes the lowest number that is free: a listener that became number 2
/// would be logged to.
#[test]
fn closed_standard_streams_never_become_sockets() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let address = free_address();
        let listen = format!("server.listen=\"{address}\"");
        let mut server = Launch::echo()
            .set(&listen)
            .set("log.level=\"debug\"")
            .after(&format!("exec {closed}"))
            .spawn();
        within(BOUND, "the server listens", || connect(address).ok());
        for _ in 0..20 {
            Client::connect(address).ask(b"not a log line", b"not a log line");
        }
        for stream in 0..=2 {
            let target = fs::read_link(format!("/proc/{}/fd/{stream}", server.pid())).unwrap();
            let target = target.to_str().unwrap();
            assert!(
                target == "/dev/null" || target.starts_with("pipe:"),
                "{closed}: {stream} is {target}"
            );
        }
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(BOUND), Some(0), "{closed}");
    }
}

#[test]
fn the_exit_code_says_it_where_standard_streams_do_not() {
    let code = |preparation: &str, arguments: &[&str]| {
        let launch = arguments
            .iter()
            .fold(Launch::bare(Program::Echo), |launch, argument| {
                launch.argument(argument)
            });
        let exit = launch.after(preparation).run();
        assert!(
            exit.signal.is_none() && !exit.stderr.contains("panicked"),
            "{preparation}, {arguments:?}: {exit:?}"
        );
        exit.code
    };
    let answers = [
        &["--help"][..],
        &["--version"],
        &["--check"],
        &["--print-config"],
    ];
    for answer in answers {
        assert_eq!(
            code("exec >/dev/full", answer),
            Some(1),
            "{answer:?} could not be written"
        );
        assert_eq!(
            code("exec >&- 2>&-", answer),
            Some(0),
            "{answer:?} was not wanted"
        );
    }
    for refused in [&["--set", "server.shards=-1"][..], &["--frobnicate"]] {
        for preparation in [
            "exec 2>/dev/full",
            "exec 2>&-",
            "exec >/dev/full 2>/dev/full",
        ] {
            assert_eq!(
                code(preparation, refused),
                Some(2),
                "{preparation}, {refused:?}"
            );
        }
    }
}
