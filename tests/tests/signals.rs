//! Signals: SIGTERM and SIGINT end a server, as tests/shutdown.rs has it, and SIGUSR2 restarts it
//! (tests/handover.rs). No other ends one, neither by itself nor by what the kernel does with it.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{BOUND, Client, Launch, Server, connect, free_address, within};

/// Signals of signal(7) that end a process by default though nothing is wrong with it, and those
/// that it ignores anyway.
const HARMLESS: [Signal; 16] = [
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::PIPE,
    Signal::ALARM,
    Signal::STKFLT,
    Signal::CHILD,
    Signal::CONT,
    Signal::URG,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
];

#[test]
fn no_signal_but_sigterm_and_sigint_ends_it() {
    let server = Launch::echo().start();
    let mut client = server.connect();
    for signal in HARMLESS {
        server.signal(signal);
        client.ask(b"still here", b"still here");
    }
    // Those without a name, which only kill(1) can send.
    let all = format!(
        "for signal in $(seq 34 64); do kill -s $signal {} || exit 1; done",
        server.pid()
    );
    assert!(
        Command::new("bash")
            .args(["-c", &all])
            .status()
            .unwrap()
            .success()
    );
    client.ask(b"still here", b"still here");
    drop(client);
    server.stop();
}

#[test]
fn a_storm_of_signals_disturbs_neither_a_busy_server_nor_one_at_rest() {
    const FOR: Duration = Duration::from_secs(1);
    let server = Launch::echo().start();
    for busy in [true, false] {
        let (address, until) = (server.addr(), Instant::now() + FOR);
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while busy && Instant::now() < until {
                    client.ask(b"undisturbed", b"undisturbed");
                }
            });
            while Instant::now() < until {
                [Signal::USR1, Signal::HUP, Signal::ALARM]
                    .into_iter()
                    .for_each(|signal| server.signal(signal));
            }
        });
        server.connect().ask(b"undisturbed", b"undisturbed");
    }
    server.stop();
}

#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let ignored = |server: &Server| {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    };
    let bit = |signal: Signal| 1_u64 << (signal.as_raw() - 1);
    let server = Launch::echo().after("trap '' HUP USR1").start();
    for (signal, is_ignored) in [
        (Signal::HUP, true),
        (Signal::USR1, true),
        (Signal::USR2, false),
    ] {
        assert_eq!(
            ignored(&server) & bit(signal) != 0,
            is_ignored,
            "{signal:?}"
        );
    }
    for signal in [Signal::HUP, Signal::USR1] {
        server.signal(signal);
        server.connect().ask(b"under nohup", b"under nohup");
    }
    server.stop();
}

// ---- a log at RLIMIT_FSIZE ----

fn log_file() -> PathBuf {
    let directory =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("signals-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory.join("log")
}

#[test]
fn a_log_that_reaches_the_limit_of_a_files_size_is_one_that_cannot_be_written() {
    const LIMIT: u64 = 8 * 512; // a shell counts in blocks of 512 bytes
    let path = log_file();
    File::create(&path).unwrap();
    let address = free_address();
    let limited = format!("ulimit -f 8; exec 2>>{}", path.display());
    let mut server = Launch::echo()
        .debug()
        .set(&format!("server.listen=\"{address}\""))
        .after(&limited)
        .spawn();
    within(BOUND, "the server listens", || connect(address).ok());
    for _ in 0..200 {
        Client::connect(address).ask(b"served", b"served");
    }
    within(BOUND, "the log is at its limit", || {
        (fs::metadata(&path).unwrap().len() == LIMIT).then_some(())
    });
    // Room again, as a rotation that copies and truncates makes it: the loss is told. Lines that
    // waited meanwhile may fill it once more.
    within(BOUND, "the loss is told", || {
        let log = fs::read_to_string(&path).unwrap();
        if log.len() as u64 == LIMIT {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(0)
                .unwrap();
        }
        log.contains("log lines were dropped").then_some(())
    });
    Client::connect(address).ask(b"served", b"served");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

#[test]
fn a_refusal_that_the_limit_of_a_files_size_swallows_is_one_all_the_same() {
    let path = log_file();
    let exit = Launch::echo()
        .set("server.shards=-1")
        .after(&format!("ulimit -f 0; exec 2>>{}.refused", path.display()))
        .run();
    assert_eq!((exit.code, exit.signal), (Some(2), None));
}
