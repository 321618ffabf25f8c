//! A report is never lost in silence, and signals end a run in order.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::Process;
use rig::{BOUND, echo_server, ended, output, program, shell, short_run, text, wait_until};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
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

#[test]
fn a_signal_ends_a_program_whose_report_nobody_takes() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let filled = writer.try_clone().unwrap();
    rustix::io::ioctl_fionbio(&filled, true).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&filled, false).unwrap();
    let mut child = program(&[])
        .args(short_run(echo_server()))
        .stdout(Stdio::from(writer))
        .spawn()
        .unwrap();
    wait_until("it handles signals", || handles_signals(child.id()));
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed() < BOUND {
        signal(&child, Signal::TERM); // the first may end the run, and one after it the program
        thread::sleep(Duration::from_millis(50));
    }
    let status = child.try_wait().unwrap();
    child.kill().unwrap();
    drop(reader);
    let ended_by = status.and_then(|status| status.signal());
    assert_eq!(ended_by, Some(Signal::TERM.as_raw()));
}

/// A pipe with a name.
fn fifo(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("loadtest-{name}-{}", std::process::id()));
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

#[test]
fn a_page_goes_whole_into_a_pipe_with_a_reader() {
    let path = fifo("read");
    let reading = path.clone();
    let reader = thread::spawn(move || fs::read_to_string(reading).unwrap());
    let run = short_run(echo_server());
    let output = output(program(&[]).args(run).arg("--html").arg(&path));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(reader.join().unwrap().contains("</html>"));
    fs::remove_file(path).unwrap();
}

#[test]
fn a_page_is_not_held_back_for_a_reader_that_has_left() {
    let path = fifo("left");
    let at_once = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = open(&path, at_once, Mode::empty()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut run = short_run(listener.local_addr().unwrap());
    run.extend(["--html".to_owned(), path.to_str().unwrap().to_owned()]);
    let child = program(&[]).args(&run).spawn().unwrap();
    let stream = listener.accept().unwrap(); // so the command line was found to be right
    drop((reader, stream, listener));
    let output = ended(child);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write"), "{said}");
    assert!(text(&output.stdout).contains("failures"));
    fs::remove_file(path).unwrap();
}

#[test]
fn a_load_tester_that_was_stopped_says_nothing_of_the_servers_capacity() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut run = short_run(listener.local_addr().unwrap());
    let options = "--mode closed --duration 3s --warmup 0s --connections 1";
    run.splice(3.., options.split(' ').map(str::to_owned));
    let child = program(&[]).args(&run).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let pid = Pid::from_child(&child);
    let server = thread::spawn(move || {
        let (mut buffer, began, mut is_stopped) = ([0; 64], Instant::now(), false);
        while stream.read_exact(&mut buffer).is_ok() {
            // The window has opened a fifth of a second after the first request.
            if !is_stopped && began.elapsed() > Duration::from_millis(700) {
                is_stopped = true;
                kill_process(pid, Signal::STOP).unwrap();
                thread::sleep(Duration::from_secs(1)); // what is to be found out
                kill_process(pid, Signal::CONT).unwrap();
            }
            stream.write_all(&buffer).unwrap();
        }
    });
    let output = ended(child);
    server.join().unwrap();
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(
        report.contains("VOID         the load tester stood still"),
        "{report}"
    );
}
