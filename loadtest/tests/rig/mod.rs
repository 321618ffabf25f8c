//! What tests of the load tester's own binary, and of the comparison's, share.
#![allow(clippy::unwrap_used, dead_code)]

use std::borrow::BorrowMut;
use std::env;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything here takes; a bound, not a pause.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The binary of the package that is tested.
pub(crate) const PROGRAM: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

/// The servers that are started, and their packages.
const SERVERS: [(&str, &str); 3] = [
    ("echo", "echo"),
    ("http_echo", "servers"),
    ("websocket_echo", "servers"),
];

/// The directory of the binaries: the one that `make test` names, else that of the program, with
/// servers built first if they are not there.
pub(crate) fn binaries() -> PathBuf {
    if let Some(given) = env::var_os("CORELANE_TESTS_BIN") {
        return given.into();
    }
    let directory = Path::new(PROGRAM).parent().unwrap().to_owned();
    let mut servers = SERVERS.iter();
    if servers.any(|(server, _)| !directory.join(server).exists()) {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap());
        cargo.arg("build");
        cargo.args(SERVERS.map(|(_, package)| ["--package", package]).concat());
        if directory.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
    }
    directory
}

/// An echo server, a thread for each connection, until the process ends.
pub(crate) fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The program with these arguments.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A short run in a mode that a busy machine cannot make void.
pub(crate) fn short_run(target: SocketAddr) -> Vec<String> {
    let options = "--mode idle --duration 200ms --warmup 0s --connections 3"
        .split(' ')
        .map(str::to_owned);
    ["run".to_owned(), "--target".to_owned(), target.to_string()]
        .into_iter()
        .chain(options)
        .collect()
}

/// A shell that does `script`, in which "$0" is the program and "$@" are `arguments`.
pub(crate) fn shell(script: &str, arguments: &[String]) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", script, PROGRAM]).args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// How it ends, and what it says: within the bound.
pub(crate) fn ended(child: Child) -> Output {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    receiver
        .recv_timeout(BOUND)
        .expect("it ends in time")
        .unwrap()
}

pub(crate) fn output(mut command: impl BorrowMut<Command>) -> Output {
    ended(command.borrow_mut().spawn().unwrap())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `is_so`.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < BOUND, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Steps aside, and says why, unless `unshare` with these flags works here: it wants root and
/// util-linux.
pub(crate) fn may_unshare(flags: &str) -> bool {
    let may = Command::new("unshare")
        .args([flags, "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !may {
        tests::announce("needs root and unshare, for namespaces of its own");
    }
    may
}

/// Steps aside, and says why, unless these programs are here.
pub(crate) fn have(tools: &[&str]) -> bool {
    let missing: Vec<&str> = tools
        .iter()
        .copied()
        .filter(|tool| !tests::have(tool))
        .collect();
    if !missing.is_empty() {
        tests::announce(&format!("needs {}", missing.join(", ")));
    }
    missing.is_empty()
}
