//! The baseline servers bear what the comparison, and rude clients, do to them; and a comparison of
//! all of them.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;
use tests::Certificate;

/// Far longer than anything here takes; a bound, not a pause.
const BOUND: Duration = Duration::from_secs(30);
const RESETS: usize = 300;
/// Turns enough that each server answers in some of them.
const LONG: &str = "1s";
/// More than a socket's buffers at both ends hold.
const FLOOD_BYTES_MAX: usize = 64 << 20;
const BASELINES: [&str; 5] = ["raw_uring", "raw_epoll", "tokio", "monoio", "glommio"];
/// Baselines that speak HTTP, WebSocket or TLS, and a package of ours that does.
const FRAMED: [&str; 5] = [
    "baseline_epoll_http",
    "baseline_hyper",
    "baseline_tokio_rustls",
    "baseline_tokio_websocket",
    "servers",
];
/// Built by `make`, where there is a Go compiler.
const OPTIONAL: &str = "go_netpoller";

/// `target/release`, say: what `make test` names, else where the comparison under test was built.
fn profile_directory() -> PathBuf {
    env::var_os("CORELANE_TESTS_BIN").map_or_else(
        || {
            Path::new(env!("CARGO_BIN_EXE_compare"))
                .parent()
                .unwrap()
                .to_owned()
        },
        PathBuf::from,
    )
}

/// The binary of a baseline, of echo, or of the comparison, built first if it is not there.
fn binary(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    BUILD.call_once(|| {
        let packages = BASELINES.map(|name| format!("baseline_{name}"));
        let missing = |package: &&str| {
            let program = if *package == "servers" {
                "http_echo"
            } else {
                package
            };
            !profile_directory().join(program).exists()
        };
        let missing: Vec<&str> = packages
            .iter()
            .map(String::as_str)
            .chain(FRAMED)
            .chain(["echo", "compare"])
            .filter(missing)
            .collect();
        if missing.is_empty() {
            return;
        }
        let mut cargo = Command::new(env::var_os("CARGO").unwrap());
        cargo
            .arg("build")
            .args(missing.iter().flat_map(|package| ["--package", package]));
        for profile in ["release", "tests"] {
            if profile_directory().ends_with(profile) {
                cargo.args(["--profile", profile]);
            }
        }
        assert!(cargo.status().unwrap().success());
    });
    profile_directory().join(name)
}

/// A running baseline; dropped, it is killed.
struct Server(Child, SocketAddr);

impl Server {
    fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    fn start_with(name: &str, files: &[String]) -> Self {
        let mut command = Command::new(binary(&format!("baseline_{name}")));
        let mut child = command
            .args(["127.0.0.1:0", &core()])
            .args(files)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addr = line
            .trim()
            .strip_prefix("listening ")
            .unwrap_or_else(|| panic!("{name} said {line:?}"));
        Self(child, addr.parse().unwrap())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.1).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn core() -> String {
    core_affinity::get_core_ids().unwrap()[0].id.to_string()
}

fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Writes until nobody takes any more.
fn flood(stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while sent < FLOOD_BYTES_MAX {
        match stream.write(&[7; 64 << 10]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it takes whatever is sent");
}

fn assert_echoes_to_the_end(mut stream: TcpStream) {
    let sent: Vec<u8> = (0..100_000_u32)
        .map(|number| number.to_le_bytes()[1])
        .collect();
    let mut writer = stream.try_clone().unwrap();
    let expected = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(
        received == expected,
        "{} bytes came back, not the same",
        received.len()
    );
}

fn assert_survives_rude_clients(name: &str) {
    let server = Server::start(name);
    let rude: Vec<TcpStream> = (0..RESETS).map(|_| server.connect()).collect();
    for mut stream in rude {
        stream.write_all(&[7; 5000]).unwrap();
        reset(stream);
    }
    let mut deaf = server.connect();
    flood(&mut deaf);
    assert_echoes_to_the_end(server.connect());
    reset(deaf);
    assert_echoes_to_the_end(server.connect());
}

#[test]
fn every_baseline_survives_resets_and_a_peer_that_never_reads() {
    BASELINES
        .iter()
        .for_each(|name| assert_survives_rude_clients(name));
    if profile_directory()
        .join(format!("baseline_{OPTIONAL}"))
        .exists()
    {
        assert_survives_rude_clients(OPTIONAL);
    }
}

fn compare(arguments: &[&str]) -> Output {
    compare_for("100ms", arguments)
}

fn compare_for(duration: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(profile_directory().join("compare"));
    command.args(["--cpu-server", &core(), "--cpu-client", &core()]);
    command.args([
        "--rounds",
        "2",
        "--duration",
        duration,
        "--warmup",
        "20ms",
        "--idle",
        "0",
    ]);
    command.args(arguments).output().unwrap()
}

#[test]
fn a_comparison_measures_every_server_under_every_load() {
    binary("echo");
    let page = env::temp_dir().join(format!("loadtest-compare-{}.html", std::process::id()));
    let output = compare(&[
        "--connections",
        "1,10x4",
        "--json",
        "--html",
        page.to_str().unwrap(),
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(comparison["rounds"], 2);
    for (index, pipeline) in [1, 4].into_iter().enumerate() {
        let case = &comparison["cases"][index];
        assert_eq!(case["pipeline"], pipeline);
        let servers: Vec<_> = case["servers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["server"].as_str().unwrap())
            .collect();
        for name in BASELINES.iter().chain(&["echo"]) {
            assert!(servers.contains(name), "no {name} in {servers:?}");
        }
        for row in case["servers"].as_array().unwrap() {
            assert_eq!(row["rounds"].as_array().unwrap().len(), 2, "{row}");
            assert!(row["ratio"]["median"].as_f64().unwrap() > 0.0, "{row}");
        }
    }
    let written = fs::read_to_string(&page).unwrap();
    fs::remove_file(page).unwrap();
    for needed in BASELINES.iter().chain(&[
        "echo",
        "<h2>1 connections</h2>",
        "<h2>10 connections, 4 requests in one go</h2>",
        "Complete",
    ]) {
        assert!(written.contains(needed), "the page does not name {needed}");
    }
}

#[test]
fn servers_by_http_and_websocket_are_compared_and_a_bound_that_breaks_is_an_error() {
    binary("echo");
    for (suite, connections, servers) in [
        ("http", "10x4", ["http_echo", "epoll_http", "hyper"]),
        (
            "websocket",
            "2",
            ["websocket_echo", "echo", "tokio_websocket"],
        ),
    ] {
        let arguments = ["--suite", suite, "--connections", connections, "--json"];
        let output = compare_for(LONG, &arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{suite}: {said}");
        let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(comparison["suite"], suite);
        for case in comparison["cases"].as_array().unwrap() {
            for (row, name) in case["servers"].as_array().unwrap().iter().zip(servers) {
                assert_eq!(row["server"], name);
                assert!(row["ratio"]["median"].as_f64().unwrap() > 0.0, "{row}");
            }
        }
    }
    // In the place of hyper one that takes less than ours, of which ours is not below 0.8.
    let directory = env::temp_dir().join(format!("loadtest-bound-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let epoll = "baseline_epoll_http";
    for (name, program) in [
        ("http_echo", "http_echo"),
        (epoll, epoll),
        ("baseline_hyper", epoll),
    ] {
        symlink(binary(program), directory.join(name)).unwrap();
    }
    let arguments = [
        "--suite",
        "http",
        "--connections",
        "100x16",
        "--assert",
        "--bin-dir",
        directory.to_str().unwrap(),
    ];
    let output = compare_for(LONG, &arguments);
    fs::remove_dir_all(&directory).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("of hyper, not below 0.8"), "{said}");
}

#[test]
fn servers_by_http_websocket_and_tls_survive_garbage_and_resets() {
    binary("echo");
    let certificate = Certificate::of("127.0.0.1");
    for name in ["epoll_http", "hyper", "tokio_websocket", "tokio_rustls"] {
        let server = Server::start_with(name, &files(&certificate));
        let rude: Vec<TcpStream> = (0..RESETS).map(|_| server.connect()).collect();
        for mut stream in rude {
            drop(stream.write_all(&[7; 5000]));
            reset(stream);
        }
        // What is no request is answered, or just ended: either says that it is there.
        let mut stream = server.connect();
        stream.write_all(b"no request\r\n\r\n").unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(
            ended.as_ref().err().is_none_or(is_reset),
            "{name}: {ended:?}"
        );
    }
}

fn files(certificate: &Certificate) -> [String; 2] {
    [certificate.path(), certificate.key()].map(|file| file.display().to_string())
}

#[test]
fn servers_by_tls_are_compared_with_a_certificate_and_refused_without() {
    binary("echo");
    let made = Certificate::of("127.0.0.1");
    let [certificate, key] = files(&made);
    let arguments = [
        "--suite",
        "tls",
        "--connections",
        "10x4",
        "--payload",
        "16384",
        "--json",
        "--certificate",
        &certificate,
        "--key",
        &key,
    ];
    let output = compare_for(LONG, &arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    for case in comparison["cases"].as_array().unwrap() {
        let servers = case["servers"].as_array().unwrap().iter();
        let servers: Vec<&Value> = servers.map(|row| &row["server"]).collect();
        assert_eq!(servers, ["echo_tls", "tokio_rustls"]);
    }
    let output = compare(&["--suite", "tls"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--certificate"));
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_comparison_is_named_and_ends_it() {
    let echo = binary("echo");
    let directory = env::temp_dir().join(format!("loadtest-dies-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    symlink(echo, directory.join("echo")).unwrap();
    let mortal = format!(
        "#!/bin/sh\n'{}' \"$@\" &\nsleep 2\nkill -9 $!\n",
        binary("baseline_tokio").display()
    );
    fs::write(directory.join("baseline_tokio"), mortal).unwrap();
    fs::set_permissions(
        directory.join("baseline_tokio"),
        Permissions::from_mode(0o755),
    )
    .unwrap();
    let begun = Instant::now();
    let bin_dir = directory.to_str().unwrap();
    let output = compare_for(
        "60s",
        &[
            "--bin-dir",
            bin_dir,
            "--servers",
            "echo,tokio",
            "--connections",
            "10",
        ],
    );
    fs::remove_dir_all(&directory).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("tokio failed under load")
            && (said.contains("closed_early") || said.contains("reset")),
        "{said}"
    );
    assert!(
        begun.elapsed() < BOUND,
        "it went on for {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_comparison_that_cannot_be_made_is_refused() {
    let refused = |arguments: &[&str]| {
        let output = compare(arguments);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--bin-dir", "/nowhere"]).contains("cargo build --release -p echo"));
    assert!(
        refused(&["--bin-dir", "/nowhere", "--servers", "go_netpoller"])
            .contains("make baseline-go")
    );
    binary("echo");
    assert!(
        refused(&[
            "--servers",
            "echo,raw_uring",
            "--connections",
            "1",
            "--assert"
        ])
        .contains("--assert is about")
    );
    assert!(
        refused(&[
            "--suite",
            "http",
            "--servers",
            "http_echo,hyper",
            "--assert"
        ])
        .contains("--assert is about http_echo, epoll_http, hyper")
    );
    assert!(refused(&["--suite", "websocket", "--servers", "tokio"]).contains("websocket_echo"));
    assert!(refused(&["--connections", "100x0"]).contains("100x16"));
    assert!(refused(&["--html", "/nowhere/page.html"]).contains("mkdir -p /nowhere"));
}
