//! A comparison is judged before a server is started, its report is never lost in silence, and no
//! server outlives it.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/rig/mod.rs"]
mod rig;

use procfs::process::Process;
use rig::{binaries, output, program, shell, text, wait_until};

#[test]
fn a_comparison_whose_report_cannot_be_written_fails_and_does_not_panic() {
    let directory = binaries().display().to_string();
    let arguments = format!(
        "--bin-dir {directory} --servers echo --connections 1 --rounds 1 --duration 50ms --idle 0"
    );
    let compare = |redirection: &str| {
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        output(&mut shell(
            &format!("exec \"$0\" \"$@\" {redirection}"),
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

/// The processes that `pid` has started and that are there.
fn children(pid: u32) -> Vec<Process> {
    let tasks = Process::new(pid.cast_signed()).and_then(|process| process.tasks());
    let tasks = tasks.into_iter().flatten().flatten();
    let pids = tasks.filter_map(|task| task.children().ok()).flatten();
    pids.filter_map(|pid| Process::new(pid.cast_signed()).ok())
        .collect()
}

/// A zombie that its new parent has not waited for is gone all the same.
fn is_gone(process: &Process) -> bool {
    let stat = process.stat();
    stat.map_or(true, |stat| matches!(stat.state, 'Z' | 'X'))
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
    let mut compare = program(&[]).args(options).arg(&directory).spawn().unwrap();
    let servers = || children(compare.id());
    let is_echo = |process: &Process| process.stat().is_ok_and(|stat| stat.comm == "echo");
    wait_until("a server runs", || servers().first().is_some_and(is_echo));
    let started = servers();
    compare.kill().unwrap();
    compare.wait().unwrap();
    wait_until("its servers are gone", || started.iter().all(is_gone));
}

#[test]
fn a_comparison_is_judged_before_a_server_is_started() {
    for wrong in [
        "--duration 0s",
        "--rounds 0",
        "--payload 0",
        "--connections 0",
        "--servers echo,echo",
        "--html /nonexistent/x.html",
    ] {
        let output = output(program(&[]).args(wrong.split_whitespace()));
        assert_eq!(
            output.status.code(),
            Some(2),
            "{wrong}: {}",
            text(&output.stderr)
        );
    }
}
