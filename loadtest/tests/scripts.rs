//! What `make loadtest` runs.
#![allow(clippy::unwrap_used)]

mod rig;

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rig::binaries;

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

fn script(binaries: &Path, report: &Path) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest.sh");
    let mut command = Command::new(script);
    command
        .arg(binaries)
        .args(["10", "2s", "1000"])
        .arg(report)
        .args(["--warmup", "20ms", "--json"]);
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
        "echo names its shards"
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
    let report = |number: u32| {
        env::temp_dir().join(format!(
            "loadtest-script-{}-{number}.html",
            std::process::id()
        ))
    };
    // The first that the script tries, if nobody has it already.
    let _taken = TcpListener::bind(("127.0.0.1", range[0] - 1));
    let scripts: Vec<Child> = (0..2)
        .map(|number| script(&binaries, &report(number)))
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
