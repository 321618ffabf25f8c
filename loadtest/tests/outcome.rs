//! A report is never lost in silence, and signals end a run in order.
#![allow(clippy::unwrap_used)]

mod rig;

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use procfs::process::Process;
use rig::{echo_server, ended, output, program, shell, short_run, text, wait_until};
use rustix::process::{Pid, Signal, kill_process};

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
        program(&[])
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

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Whether the process has begun to handle signals.
fn handles_signals(pid: u32) -> bool {
    let process = Process::new(pid.cast_signed());
    let status = process.and_then(|process| process.status());
    status.is_ok_and(|status| status.sigcgt >> (Signal::TERM.as_raw() - 1) & 1 == 1)
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
    let child = program(&[]).args(&run).spawn().unwrap();
    wait_until("it handles signals", || handles_signals(child.id()));
    signal(&child, Signal::HUP);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}
