//! A report is never lost in silence, and what the load tester has started does not outlive it.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use rig::{
    binaries, echo_server, ended, loadtest, may_unshare, output, shell, short_run, text, wait_until,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The exit code of a short run by a shell that does `script`.
fn code(script: &str) -> Option<i32> {
    output(&mut shell(script, &short_run(echo_server())))
        .status
        .code()
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure_but_for_a_reader_that_left() {
    assert_eq!(code("exec \"$0\" \"$@\" >/dev/full"), Some(1));
    assert_eq!(
        code("exec \"$0\" \"$@\" --json >/dev/full 2>/dev/full"),
        Some(1)
    );
    assert_eq!(code("exec \"$0\" \"$@\" --html /dev/full"), Some(1));
    assert_eq!(code("set -o pipefail; \"$0\" \"$@\" | true"), Some(0));
    assert_eq!(
        code("ulimit -f 0; exec \"$0\" \"$@\" >\"$(mktemp)\""),
        Some(1),
        "a file that may not grow is no signal's end"
    );
    assert_eq!(code("exec \"$0\" --help >/dev/full"), Some(1));
}

#[test]
fn a_dead_or_full_standard_error_costs_no_report() {
    for script in [
        "exec \"$0\" \"$@\" 2>/dev/full",
        "exec \"$0\" \"$@\" 2>&-",
        "exec \"$0\" \"$@\" 2> >(true)",
    ] {
        let output = output(&mut shell(script, &short_run(echo_server())));
        assert_eq!(output.status.code(), Some(0), "{script}");
        assert!(
            text(&output.stdout).contains("3 served"),
            "{script}: {}",
            text(&output.stdout)
        );
    }
    assert_eq!(
        code("exec \"$0\" run --target nonsense 2>/dev/full"),
        Some(2)
    );
}

#[test]
fn a_standard_error_that_takes_nothing_holds_up_no_run() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let filled = writer.try_clone().unwrap();
    rustix::io::ioctl_fionbio(&filled, true).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&filled, false).unwrap();
    let output = output(
        loadtest(&[])
            .args(short_run(echo_server()))
            .stderr(Stdio::from(writer)),
    );
    drop(reader);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output.stdout).contains("3 served"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_comparison_whose_report_cannot_be_written_fails_and_does_not_panic() {
    let directory = binaries().display().to_string();
    let arguments = format!(
        "--bin-dir {directory} --servers echo --connections 1 --rounds 1 --duration 50ms --idle 0"
    );
    let compare = |redirection: &str| {
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        output(&mut shell(
            &format!("exec \"$0\" compare \"$@\" {redirection}"),
            &arguments,
        ))
    };
    for (redirection, wanted) in [
        (">/dev/full", 1),
        ("--json >/dev/full", 1),
        ("2>/dev/full", 0),
        ("> >(true)", 0),
    ] {
        let output = compare(redirection);
        assert_eq!(
            output.status.code(),
            Some(wanted),
            "{redirection}: {}",
            text(&output.stderr)
        );
        assert!(
            !text(&output.stderr).contains("panicked"),
            "{}",
            text(&output.stderr)
        );
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Whether the process has begun to handle signals.
fn handles_signals(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
    caught.is_some_and(|caught| caught >> (Signal::TERM.as_raw() - 1) & 1 == 1)
}

#[test]
fn a_hangup_that_was_ignored_stays_ignored_and_signals_that_mean_nothing_end_nothing() {
    let mut run = short_run(echo_server());
    run[6] = "1s".to_owned();
    assert_eq!(run[5], "--duration");
    let child = shell("trap '' HUP; exec \"$0\" \"$@\"", &run)
        .spawn()
        .unwrap();
    wait_until("it handles signals", || handles_signals(child.id()));
    for unmeant in [
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::PIPE,
        Signal::XFSZ,
    ] {
        signal(&child, unmeant);
    }
    let output = ended(child);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{:?} {}",
        output.status.signal(),
        text(&output.stdout)
    );
}

#[test]
fn a_hangup_that_was_not_ignored_ends_the_run_in_order() {
    let mut run = short_run(echo_server());
    run[6] = "1h".to_owned();
    let child = loadtest(&[]).args(&run).spawn().unwrap();
    wait_until("it handles signals", || handles_signals(child.id()));
    signal(&child, Signal::HUP);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

/// The processes that `pid` has started and that are there.
fn children(pid: u32) -> Vec<Pid> {
    let of_thread =
        |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists: Vec<String> = tasks.map(of_thread).collect();
    lists
        .iter()
        .flat_map(|list| list.split_whitespace())
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// A zombie that its new parent has not waited for is gone all the same.
fn is_gone(pid: Pid) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_err()
        || stat
            .rsplit(')')
            .next()
            .is_some_and(|state| state.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn no_server_outlives_a_comparison_that_is_killed() {
    let directory = binaries();
    let options = [
        "--servers",
        "echo",
        "--connections",
        "1",
        "--duration",
        "1m",
        "--idle",
        "0",
        "--bin-dir",
    ];
    let mut compare = loadtest(&["compare"])
        .args(options)
        .arg(&directory)
        .spawn()
        .unwrap();
    let servers = || children(compare.id());
    let name = |pid: Pid| {
        fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).unwrap_or_default()
    };
    wait_until("a server runs", || {
        servers()
            .first()
            .is_some_and(|server| name(*server) == "echo\n")
    });
    let started = servers();
    compare.kill().unwrap();
    compare.wait().unwrap();
    wait_until("its servers are gone", || {
        started.iter().all(|server| is_gone(*server))
    });
}

#[test]
fn sysctls_are_put_back_after_a_tuned_run_that_is_killed() {
    if !may_unshare("-mn") {
        return;
    }
    // Namespaces of its own: their sysctls, and a /run in which no other run has tuned. The
    // server's port is one that connections may get, so it is to be reserved.
    let script = "exec unshare -mn bash -c 'ip link set lo up; mount -t tmpfs none /run
        echo 7000 60000 >/proc/sys/net/ipv4/ip_local_port_range; reserved=/proc/sys/net/ipv4/ip_local_reserved_ports
        $ECHO --set server.shards=1 >/dev/null 2>&1 & server=$!
        for _ in {1..500}; do (exec 3<>/dev/tcp/127.0.0.1/7007) 2>/dev/null && break; sleep 0.02; done
        \"$0\" \"$@\" >/dev/null 2>&1 & run=$!
        for _ in {1..1000}; do [ \"$(<$reserved)\" = 7007 ] && break; sleep 0.01; done
        tuned=$(<$reserved); kill -KILL $run; wait $run
        for _ in {1..1000}; do [ -z \"$(<$reserved)$(ls /run)\" ] && break; sleep 0.01; done
        kill $server; echo tuned $tuned, left $(<$reserved)$(ls /run).' \"$0\" \"$@\"";
    let run: Vec<String> = "run --target 127.0.0.1:7007 --tune --duration 1m"
        .split(' ')
        .map(str::to_owned)
        .collect();
    let output = output(shell(script, &run).env("ECHO", binaries().join("echo")));
    assert_eq!(
        text(&output.stdout),
        "tuned 7007, left .\n",
        "{}",
        text(&output.stderr)
    );
}
