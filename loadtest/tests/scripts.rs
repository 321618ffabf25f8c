//! What `make loadtest`, `make compare-chat` and `make compare-tls` run.
#![allow(clippy::unwrap_used)]

mod rig;

use std::env;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rig::{binaries, have, text};

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// One test at a time has ports that a script would try.
static PORTS: Mutex<()> = Mutex::new(());

fn script(binaries: &Path, [program, protocol]: [&str; 2], report: &Path) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest.sh");
    let mut command = Command::new(script);
    command
        .arg(binaries)
        .args([program, "10", "2s", "1000"])
        .arg(report)
        .args(["--protocol", protocol, "--warmup", "20ms", "--json"]);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn port(report: &str) -> u16 {
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["connections"]["served"], 10, "{report}");
    assert!(
        !report["server_shards"].as_array().unwrap().is_empty(),
        "the server names its shards"
    );
    report["load"]["target"]
        .as_str()
        .unwrap()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap()
}

#[test]
fn the_servers_port_is_none_that_connections_get_and_none_in_use() {
    let _alone = PORTS.lock();
    let range: Vec<u16> = fs::read_to_string(RANGE)
        .unwrap()
        .split_whitespace()
        .map(|port| port.parse().unwrap())
        .collect();
    if range[0] <= 1024 && range[1] == u16::MAX {
        eprintln!("not run: every port of this machine is for connections");
        return;
    }
    let binaries = binaries();
    // The first that the script tries, if nobody has it already.
    let _taken = TcpListener::bind(("127.0.0.1", range[0] - 1));
    let scripts: Vec<Child> = (0..2)
        .map(|number| script(&binaries, ["echo", "echo"], &report(number)))
        .collect();
    let mut ports = Vec::new();
    for (number, script) in (0..).zip(scripts) {
        let output = script.wait_with_output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        ports.push(port(&String::from_utf8(output.stdout).unwrap()));
        assert!(!told.contains("ip_local_port_range"), "{told}");
        assert!(
            fs::read_to_string(report(number))
                .unwrap()
                .contains("</html>")
        );
        fs::remove_file(report(number)).unwrap();
    }
    assert!(
        ports[0] != ports[1] && !ports.contains(&(range[0] - 1)),
        "{ports:?}"
    );
    assert!(
        ports
            .iter()
            .all(|port| !(range[0]..=range[1]).contains(port)),
        "{ports:?}"
    );
}

#[test]
fn a_server_of_each_protocol_is_loaded() {
    let _alone = PORTS.lock();
    let binaries = binaries();
    for (number, spoken) in (2..).zip([["http_echo", "http"], ["websocket_echo", "websocket"]]) {
        let output = script(&binaries, spoken, &report(number))
            .wait_with_output()
            .unwrap();
        fs::remove_file(report(number)).unwrap();
        let json = String::from_utf8(output.stdout).unwrap();
        port(&json);
        let found: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(found["failures"], serde_json::json!([]), "{spoken:?}");
        assert_eq!(found["load"]["protocol"], spoken[1]);
    }
}

fn report(number: u32) -> PathBuf {
    let name = format!("loadtest-script-{}-{number}.html", std::process::id());
    env::temp_dir().join(name)
}

/// Programs that stand for the load tester and for both chats, by name. A chat tells an address,
/// and by that the load tester what it says of it.
const STAND_INS: [(&str, &str); 3] = [
    (
        "loadtest",
        r#"case "$*" in
launch*) shift 4 && exec "$@" ;;
*:1\ *) p99=30 cpu="$CHAT_CPU" shards=", 2 shards" ;;
*) p99=40 cpu=6.00 shards= ;;
esac
echo "latency      us: p50 10, p90 20, p99 $p99, p99.9 50, p99.99 60, max 70"
echo "server       chat (7): 0.10 cores, 1.0 MB resident, $cpu us per delivery$shards""#,
    ),
    ("chat", "echo listening 127.0.0.1:1 && exec sleep 60"),
    (
        "baseline_tokio_chat",
        "echo listening 127.0.0.1:2 && exec sleep 60",
    ),
];

#[test]
fn a_chat_is_compared_by_what_the_reports_say() {
    let directory = stand_ins("chats", &STAND_INS);
    let compare = |cpu| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compare-chat.sh");
        let mut command = Command::new(script);
        command.arg(&directory).args(["1s", "2", "--assert"]);
        command.env("CHAT_CPU", cpu).output().unwrap()
    };
    for (cpu, code, ratio) in [("5.00", 0, "0.833"), ("7.50", 1, "1.250")] {
        let output = compare(cpu);
        let (told, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{told}{errors}");
        for part in [ratio, "0.750"] {
            let ratios = told.matches(&format!("ratio {part}")).count();
            assert_eq!(ratios, 2, "of either case: {told}");
        }
    }
    fs::remove_dir_all(directory).unwrap();
}

/// The same for `make compare-tls`. Of ours, whose port is 7487, the load tester says so many
/// handshakes.
const TLS_STAND_INS: [(&str, &str); 4] = [
    (
        "loadtest",
        r#"case "$*" in
launch*) shift 4 && exec "$@" ;;
*:7487\ *) rate="$HANDSHAKES" ;;
*) rate=1000 ;;
esac
echo "handshakes   9 full (9/s), 0 resumed (0/s); $rate/s per core of the server"
echo "latency      us: p50 10, p90 20, p99 40, p99.9 50, p99.99 60, max 70""#,
    ),
    (
        "compare",
        r#"case "$*" in *--assert*) exit "$ECHOES" ;; esac"#,
    ),
    ("echo", "exec sleep 60"),
    ("baseline_tokio_rustls", "exec sleep 60"),
];

#[test]
fn tls_is_compared_by_what_the_comparison_and_the_reports_say() {
    if !have(&["openssl"]) {
        return;
    }
    let directory = stand_ins("tls", &TLS_STAND_INS);
    for (echoes, handshakes, code) in [("0", "1000", 0), ("0", "900", 1), ("1", "1200", 1)] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compare-tls.sh");
        let mut command = Command::new(script);
        command.arg(&directory).args(["1", "1s", "--assert"]);
        command.envs([("ECHOES", echoes), ("HANDSHAKES", handshakes)]);
        let output = command.output().unwrap();
        let (told, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{told}{errors}");
        assert!(
            told.contains("arrive      40"),
            "p99 is told: {told}{errors}"
        );
    }
    fs::remove_dir_all(directory).unwrap();
}

/// A directory with them.
fn stand_ins(of: &str, programs: &[(&str, &str)]) -> PathBuf {
    let name = format!("loadtest-{of}-{}", std::process::id());
    let directory = env::temp_dir().join(name);
    fs::create_dir(&directory).unwrap();
    for (name, does) in programs {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
    }
    directory
}
