//! A server under a service manager: what it tells it by sd_notify(3), and the listeners that it
//! takes from it by sd_listen_fds(3).
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use tests::admin::{ask, request};
use tests::{BOUND, Client, Exit, Launch, Program, Server, needs, within};

// ---- what it tells ----

/// A service manager, as far as it listens.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("corelane-manager-{process}-{number}"));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        Self { socket, path }
    }

    /// `launch` under this manager, with `variables` beside.
    fn starts(&self, launch: Launch, variables: &str) -> Launch {
        let socket = self.path.display();
        launch.after(&format!("export NOTIFY_SOCKET={socket} {variables}"))
    }

    /// What it is told next.
    fn hear(&self) -> String {
        let mut bytes = [0; 1000];
        let length = self.socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Waits until it is told `state`.
    fn hear_of(&self, state: &str) {
        within(BOUND, state, || (self.hear() == state).then_some(()));
    }

    /// What it is told until `end`, but for the status.
    fn states_until(&self, end: &str) -> Vec<String> {
        let mut states = vec![];
        while states.last().is_none_or(|state| state != end) {
            let state = self.hear();
            if !state.starts_with("STATUS=") {
                states.push(state);
            }
        }
        states
    }

    /// Whether it is told `state` within `time`.
    fn hears_within(&self, time: Duration, state: &str) -> bool {
        let until = Instant::now() + time;
        self.socket.set_nonblocking(true).unwrap();
        let mut heard = false;
        while Instant::now() < until && !heard {
            let mut bytes = [0; 1000];
            match self.socket.recv(&mut bytes) {
                Ok(length) => heard = &bytes[..length] == state.as_bytes(),
                Err(_none) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        self.socket.set_nonblocking(false).unwrap();
        heard
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[test]
fn ready_and_stopping_are_told_once_each() {
    let manager = Manager::new();
    let mut server = manager
        .starts(Launch::echo().set("server.shards=2"), "")
        .start();
    assert_eq!(manager.states_until("READY=1"), ["READY=1"]);
    manager.hear_of("STATUS=ready: 0 connections on 2 shards");
    server.signal(Signal::TERM);
    assert_eq!(manager.states_until("STOPPING=1"), ["STOPPING=1"]);
    manager.hear_of("STATUS=draining: 0 connections on 2 shards");
    assert_eq!(server.wait_exit(BOUND), Some(0));
}

#[test]
fn a_start_that_is_refused_is_never_ready() {
    let manager = Manager::new();
    let launch = Launch::echo().set("server.shards=-1");
    assert_eq!(manager.starts(launch, "").run().code, Some(2));
    assert!(!manager.hears_within(Duration::from_millis(100), "READY=1"));
}

#[test]
fn a_service_manager_that_cannot_be_reached_harms_nothing() {
    let server = Launch::echo()
        .after("export NOTIFY_SOCKET=/nowhere/at/all")
        .start();
    let line = server.wait_for_log("NOTIFY_SOCKET cannot be reached", BOUND);
    assert_eq!(line.level(), "WARN");
    server.connect().ask(b"served", b"served");
    server.stop();
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let manager = Manager::new();
    let name = format!("corelane-reloads-{}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    fs::write(&file, "").unwrap();
    let launch = Launch::echo().argument(file.to_str().unwrap());
    let server = manager.starts(launch, "").start();
    manager.hear_of("READY=1");
    for text in ["[timeouts]\nidle = '9s'\n", "[nothing]\n"] {
        fs::write(&file, text).unwrap();
        server.signal(Signal::HUP);
        let states = manager.states_until("READY=1");
        let begins = states[0].starts_with("RELOADING=1\nMONOTONIC_USEC=");
        assert!(begins && states.len() == 2, "{states:?}");
    }
    server.stop();
    fs::remove_file(file).unwrap();
}

#[test]
fn a_restart_makes_the_new_process_the_service() {
    let manager = Manager::new();
    let micros = GRANTED.as_micros();
    let variables = format!("WATCHDOG_USEC={micros} WATCHDOG_PID=$$");
    let mut server = manager.starts(Launch::echo(), &variables).start();
    manager.hear_of("READY=1");
    server.restart();
    let states = manager.states_until(&format!("MAINPID={}", server.pid()));
    assert!(
        !states.iter().any(|state| state == "STOPPING=1"),
        "{states:?}"
    );
    for _ in 0..3 {
        manager.hear_of("WATCHDOG=1"); // by the new one: none other is there
    }
    server.signal(Signal::TERM);
    manager.hear_of("STOPPING=1");
    server.log().wait_end(BOUND);
}

// ---- the watchdog ----

/// What the watchdog grants, in the environment's microseconds; it is told in half of it.
const GRANTED: Duration = Duration::from_millis(400);
/// How long the handler `block` keeps its shard.
const BLOCKED: Duration = Duration::from_secs(1);

#[test]
fn the_watchdog_is_told_at_rest_and_under_load_and_not_while_a_shard_stalls() {
    let manager = Manager::new();
    let micros = GRANTED.as_micros();
    let launch = manager.starts(
        Launch::hostile().alone().set("server.shards=2"),
        &format!("WATCHDOG_USEC={micros} WATCHDOG_PID=$$"),
    );
    let server = launch.start();
    manager.hear_of("READY=1");
    for _ in 0..3 {
        assert!(
            manager.hears_within(GRANTED, "WATCHDOG=1"),
            "a server at rest makes progress"
        );
    }
    let mut busy = server.connect();
    busy.send(b"echo\n");
    for _ in 0..3 {
        manager.hear_of("WATCHDOG=1");
        busy.ask(b"served", b"served");
    }
    let mut blocked = server.connect();
    blocked.send(b"block\n");
    let stall = Instant::now();
    // Half of what is granted has to pass before the stall is one.
    while stall.elapsed() < GRANTED {
        manager.hears_within(GRANTED - stall.elapsed(), "WATCHDOG=1");
    }
    let silent = BLOCKED - GRANTED - Duration::from_millis(100);
    assert!(
        !manager.hears_within(silent, "WATCHDOG=1"),
        "a shard stalls, and all is said to be well"
    );
    manager.hear_of("WATCHDOG=1");
    assert!(stall.elapsed() >= BLOCKED - Duration::from_millis(50));
    drop((busy, blocked));
    server.stop();
}

#[test]
fn the_watchdog_of_another_process_is_not_ours() {
    let manager = Manager::new();
    let micros = GRANTED.as_micros();
    let variables = format!("WATCHDOG_USEC={micros} WATCHDOG_PID=1");
    let server = manager.starts(Launch::echo(), &variables).start();
    manager.hear_of("READY=1");
    assert!(!manager.hears_within(2 * GRANTED, "WATCHDOG=1"));
    server.stop();
}

// ---- the listeners that it takes ----

/// A listener of the service manager's, on a free port of 127.0.0.1 or on `address`.
fn listener(address: Option<SocketAddr>, shares: bool) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(shares).unwrap();
    let address = address.unwrap_or(([127, 0, 0, 1], 0).into());
    socket.bind(&address.into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

fn copy(descriptor: &TcpListener) -> OwnedFd {
    descriptor.try_clone().unwrap().into()
}

/// Many clients, so that each listener and each shard gets some.
fn assert_serves(server: &Server) {
    let clients = (0..60).map(|_| server.connect());
    let mut clients: Vec<Client> = clients.collect();
    clients
        .iter_mut()
        .for_each(|client| client.ask(b"served", b"served"));
}

#[test]
fn one_listener_serves_every_shard_whether_it_shares_its_port_or_not() {
    for shares in [true, false] {
        let manager = listener(None, shares);
        let launch = Launch::echo().set("server.shards=2");
        let server = launch.pass("echo.socket", copy(&manager)).start();
        assert_eq!(server.addr(), manager.local_addr().unwrap());
        assert_serves(&server);
        server.stop();
    }
}

#[test]
fn each_shard_takes_a_listener_and_the_admin_server_its_own() {
    let first = listener(None, true);
    let second = listener(first.local_addr().ok(), true);
    let path = std::env::temp_dir().join(format!("corelane-admin-{}", std::process::id()));
    let admin = UnixListener::bind(&path).unwrap();
    let steering = listener(None, false);
    let steered = steering.local_addr().unwrap();
    let launch = Launch::echo()
        .set("server.shards=2")
        .set("server.listen=\"127.0.0.1:7007\"");
    let server = launch
        .pass("echo", first)
        .pass("admin", admin)
        .pass("echo", second)
        .pass("steer", steering)
        .start();
    let other = server.wait_for_log(
        "the service manager's address counts, not server.listen",
        BOUND,
    );
    assert_eq!(other.field("listen").as_deref(), Some("127.0.0.1:7007"));
    assert_serves(&server);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Of a life of that slot that is not to come here.
    let close = request(
        "POST",
        "/connections/0.0.999/close",
        "X-Corelane-Steer: 1\r\n",
    );
    assert_eq!(ask(steered, &close).status, 404, "it steers");
    server.stop();
    assert!(path.exists(), "the file is the service manager's");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_listener_that_is_passed_gets_the_options_of_the_settings() {
    let manager = listener(None, false);
    let launch = Launch::echo().set("socket.user_timeout=\"77s\"");
    let server = launch.pass("echo", copy(&manager)).start();
    let socket = Socket::from(manager);
    let timeout = socket.tcp_user_timeout().unwrap();
    assert_eq!(timeout, Some(Duration::from_secs(77)));
    assert!(socket.tcp_nodelay().unwrap());
    server.stop();
}

#[test]
fn who_connects_while_the_service_is_down_is_served_by_the_next_process() {
    let manager = listener(None, true);
    let launch = || Launch::echo().set("server.shards=1");
    let server = launch().pass("echo", copy(&manager)).start();
    assert_serves(&server);
    server.stop();
    let mut queued: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(manager.local_addr().unwrap()).unwrap())
        .collect();
    let server = launch().pass("echo", copy(&manager)).start();
    for stream in &mut queued {
        stream.write_all(b"served").unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let mut reply = [0; 6];
        stream.read_exact(&mut reply).unwrap();
    }
    drop(queued);
    server.stop();
}

#[test]
fn listeners_of_the_service_manager_survive_a_restart_and_a_stop() {
    let manager = listener(None, true);
    let launch = Launch::echo().set("server.shards=2");
    let mut server = launch.pass("echo", copy(&manager)).start();
    for _ in 0..2 {
        server.restart();
        assert_serves(&server);
    }
    let address = server.addr();
    server.stop();
    TcpStream::connect(address).expect("the service manager listens still");
}

fn refusal(exit: &Exit) -> &str {
    assert_eq!(exit.code, Some(2), "{}", exit.stderr);
    &exit.stderr
}

#[test]
fn listeners_that_are_not_as_they_should_be_are_refused_by_name() {
    let echo = || Launch::echo().set("server.shards=1");
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let path = std::env::temp_dir().join(format!("corelane-wrong-{}", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    let anywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let file = fs::File::open("/dev/null").unwrap();
    for (launch, which, why) in [
        (
            echo().pass("quiet", silent),
            "descriptor 3 of LISTEN_FDS (quiet)",
            "it does not listen",
        ),
        (
            echo().pass("udp", datagrams),
            "descriptor 3 of LISTEN_FDS (udp)",
            "it is no TCP socket",
        ),
        (
            echo().pass("unix", unix),
            "descriptor 3 of LISTEN_FDS (unix)",
            "it is no TCP socket",
        ),
        (
            echo().pass("file", file),
            "descriptor 3 of LISTEN_FDS (file)",
            "it is no TCP socket",
        ),
        (
            echo()
                .pass("one", listener(None, true))
                .pass("other", listener(None, true)),
            "descriptor 4 of LISTEN_FDS (other)",
            "the first one's is another",
        ),
        (
            echo().pass("admin", anywhere),
            "descriptor 3 of LISTEN_FDS (admin)",
            "neither a loopback address nor a path",
        ),
    ] {
        let exit = launch.run();
        let said = refusal(&exit);
        assert!(said.contains(which) && said.contains(why), "{said}");
    }
    fs::remove_file(path).unwrap();
}

#[test]
fn a_wrong_count_or_another_process_is_refused() {
    let first = listener(None, true);
    let second = listener(first.local_addr().ok(), true);
    let launch = Launch::echo().set("server.shards=1");
    let exit = launch.pass("one", first).pass("two", second).run();
    assert!(
        refusal(&exit).contains("cannot take 2 sockets of one listener, server.shards comes to 1"),
        "{}",
        exit.stderr
    );
    for (variables, why) in [
        (
            "LISTEN_PID=1 LISTEN_FDS=1",
            "cannot take LISTEN_PID, it is `1`",
        ),
        ("LISTEN_FDS=1", "cannot take LISTEN_PID, it is not set"),
        (
            "LISTEN_PID=$$ LISTEN_FDS=many",
            "cannot take LISTEN_FDS, it is `many`",
        ),
        (
            "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=one",
            "cannot take LISTEN_FDNAMES, it has 1 names for 2",
        ),
        (
            "LISTEN_PID=$$ LISTEN_FDS=1",
            "cannot take descriptor 3 of LISTEN_FDS (unknown), it is no TCP socket",
        ),
    ] {
        let launch = Launch::echo().after(&format!("exec 3<&-; export {variables}"));
        let exit = launch.run();
        assert!(refusal(&exit).contains(why), "{}", exit.stderr);
    }
}

// ---- the units ----

#[test]
fn the_units_are_taken_by_systemd_and_called_safe() {
    needs!("systemd-analyze");
    let directory = std::env::temp_dir().join(format!("corelane-units-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let program = Program::Echo.path();
    for name in ["echo.service", "echo.socket"] {
        // It looks for the program, which is installed nowhere.
        let unit = fs::read_to_string(ours.join(name)).unwrap();
        let unit = unit.replace("/usr/local/bin/corelane-echo", program.to_str().unwrap());
        fs::write(directory.join(name), unit).unwrap();
    }
    let analyze = |words: &[&str], units: &[&str]| {
        let units = units.iter().map(|name| directory.join(name));
        let mut command = Command::new("systemd-analyze");
        let output = command.args(words).args(units).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
    };
    analyze(&["verify"], &["echo.service", "echo.socket"]);
    analyze(
        &["security", "--offline=yes", "--threshold=20"],
        &["echo.service"],
    );
    fs::remove_dir_all(directory).unwrap();
}
