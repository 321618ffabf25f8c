//! What the command line says is judged before the first connect.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rig::{echo_server, have, may_unshare, output, program, shell, short_run, text};

/// A refusal takes milliseconds; a busy machine may add to that.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// Exit code 2 at once, with `named` in the reason; and nobody has connected.
fn assert_refused(options: &str, named: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let began = Instant::now();
    let output = output(program(&["run", "--target", &target]).args(options.split_whitespace()));
    let took = began.elapsed();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{options}: {said}");
    assert!(said.contains(named), "{options}: {said}");
    assert!(took < REFUSED_WITHIN, "{options} took {took:?}");
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "{options}: somebody has connected"
    );
}

#[test]
fn zero_absurd_and_contradictory_values_are_refused_before_the_first_connect() {
    for zero in ["interval", "duration", "timeout", "rest"] {
        assert_refused(&format!("--{zero} 0s"), zero);
    }
    for zero in [
        "rate",
        "connections",
        "payload",
        "pipeline",
        "shards",
        "connects-in-flight",
    ] {
        assert_refused(&format!("--{zero} 0"), zero);
    }
    assert_refused("--timeout 2h", "--timeout");
    assert_refused("--interval 30s --duration 1s", "--interval");
    assert_refused("--connections 10000000 --interval 1ms", "--interval");
    assert_refused("--connections 1000000 --rate 1", "--rate");
    assert_refused("--mode closed --interval 1s", "--interval");
    assert_refused("--mode storm --cycles 5 --duration 1s", "--duration");
    assert_refused("--mode storm --rest 1s", "--rest");
}

#[test]
fn addresses_processes_and_paths_that_are_not_there_are_refused_before_the_first_connect() {
    assert_refused("--source 192.0.2.77", "--source");
    assert_refused("--source ::1", "families");
    assert_refused("--server-pid 4294967295", "--server-pid");
    assert_refused("--html /nonexistent/x.html", "/nonexistent");
    assert_refused("--html /proc/x.html", "/proc/x.html");
    assert_refused("--html /", "cannot write");
    assert_refused("--cpus 9999", "9999");
}

#[test]
fn a_process_that_is_another_than_the_server_is_observed_with_a_warning() {
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let (mut run, pid) = (short_run(echo_server()), other.id().to_string());
    run.extend(["--server-pid".to_owned(), pid.clone()]);
    let warned = output(program(&[]).args(&run));
    other.kill().unwrap();
    other.wait().unwrap();
    let said = text(&warned.stderr);
    assert_eq!(warned.status.code(), Some(0), "{said}");
    let warning = format!("warning: --server-pid {pid} (sleep) does not listen at");
    assert!(said.contains(&warning), "{said}");
}

#[test]
fn a_name_stands_for_all_its_addresses() {
    if !may_unshare("-m") {
        return;
    }
    let hosts = std::env::temp_dir().join(format!("loadtest-hosts-{}", std::process::id()));
    fs::write(
        &hosts,
        "::1 somewhere\n127.0.0.9 somewhere\n127.0.0.1 somewhere\n",
    )
    .unwrap();
    let target = echo_server();
    let mut run = short_run(target);
    run[2] = format!("somewhere:{}", target.port());
    let script = format!(
        "mount --bind {} /etc/hosts && exec \"$0\" \"$@\"",
        hosts.display()
    );
    let output = output(shell(
        &format!("exec unshare -m bash -c '{script}' \"$0\" \"$@\""),
        &run,
    ));
    fs::remove_file(&hosts).unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(
        text(&output.stdout).contains(&format!("to {target}")),
        "the report names the address: {}",
        text(&output.stdout)
    );
}

#[test]
fn a_path_need_not_be_utf_8() {
    let name = [
        format!("loadtest-{}-", std::process::id()).as_bytes(),
        b"\xe9.html",
    ]
    .concat();
    let page: PathBuf = std::env::temp_dir().join(std::ffi::OsStr::from_bytes(&name));
    let output = output(
        program(&[])
            .args(short_run(echo_server()))
            .arg("--html")
            .arg(&page),
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(fs::read_to_string(&page).unwrap().contains("</html>"));
    fs::remove_file(&page).unwrap();
}

#[test]
fn nobody_is_taken_for_the_server() {
    if !may_unshare("-n") || !have(&["ip"]) {
        return;
    }
    // Six ports, every other of which the kernel tries first: each connect has one chance in three
    // to meet itself.
    let script = "exec unshare -n bash -c 'ip link set lo up; echo 40000 40005 >/proc/sys/net/ipv4/ip_local_port_range
        for _ in {1..15}; do \"$0\" \"$@\" >/dev/null && exit 9; done; exit 0' \"$0\" \"$@\"";
    let run = short_run("127.0.0.1:40004".parse().unwrap());
    let output = output(&mut shell(script, &run));
    assert_eq!(
        output.status.code(),
        Some(0),
        "one was served by itself: {}",
        text(&output.stderr)
    );
}

#[test]
fn what_the_machine_is_short_of_is_refused_with_the_commands_that_mend_it() {
    if !may_unshare("-n") || !have(&["ip", "sysctl"]) {
        return;
    }
    // 101 ports for each of at most 256 destinations. What is told to be typed is typed, and then
    // nothing is in the way but that nobody listens.
    let script = "exec unshare -n bash -c 'ip link set lo up; echo 40000 40100 >/proc/sys/net/ipv4/ip_local_port_range
        told=$(\"$0\" \"$@\" 2>&1); echo \"$?\"; echo \"$told\"
        grep -o \"`sysctl[^`]*`\" <<<\"$told\" | tr -d \"`\" | bash >/dev/null
        \"$0\" \"$@\" 2>&1; echo \"$?\"' \"$0\" \"$@\"";
    let script = script.replace('`', "\\`");
    let run = "run --target 127.0.0.1:40050 --connections 30000"
        .split(' ')
        .map(str::to_owned);
    let said = text(&output(shell(&script, &run.collect::<Vec<_>>())).stdout);
    let command = "run `sysctl -w net.ipv4.ip_local_reserved_ports=40050 \
                   net.ipv4.ip_local_port_range=\"1024 65535\"` as root";
    assert!(said.starts_with("2\n") && said.contains(command), "{said}");
    let mended = said.split_once("25856\n").expect("the refusal's end").1;
    assert!(
        mended.contains("Connection refused") && mended.ends_with("\n1\n"),
        "{said}"
    );
}
