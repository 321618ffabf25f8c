//! Unix sockets and their files; several listeners in restarts, drains and reloads, and passed by a
//! service manager.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;
use tests::listeners::{Directory, Stream, THREE, come_and_go, other, unix};
use tests::{BOUND, Client, Exit, Launch, Line, connect, within};

// ---- the file of a Unix socket ----

const ONE: &str = "[[listener]]\nlisten = '127.0.0.1:0'\n[[listener]]\nlisten = 'unix:SOCKET'\n";

#[test]
fn a_stale_file_is_replaced_and_has_the_mode_of_the_settings() {
    let directory = Directory::new();
    drop(UnixListener::bind(directory.socket()).unwrap());
    let mode = || {
        let file = fs::symlink_metadata(directory.socket()).unwrap();
        assert!(file.file_type().is_socket());
        file.permissions().mode() & 0o777
    };
    let mut server = directory.launch(ONE).start();
    assert_eq!(mode(), 0o600);
    unix(&directory.socket()).asks("served");
    server.signal(Signal::KILL);
    assert_eq!(server.wait_exit(BOUND), None);
    assert!(directory.socket().exists(), "a stale file is there");
    let open = directory.launch(&format!("{ONE}mode = '0666'\n"));
    let server = open.after("umask 077").start();
    assert_eq!(mode(), 0o666);
    unix(&directory.socket()).asks("served");
    server.stop();
    assert!(!directory.socket().exists(), "the file has stayed");
}

fn refusal(exit: &Exit) -> &str {
    assert_eq!(exit.code, Some(2), "{}", exit.stderr);
    &exit.stderr
}

#[test]
fn a_path_that_cannot_be_listened_on_is_refused_with_its_key() {
    let directory = Directory::new();
    let path = directory.socket();
    let says = |what: &str| {
        let exit = directory.launch(ONE).run();
        let expected = format!(
            "cannot listen on unix:{} (listener.2.listen), {what}",
            path.display()
        );
        assert!(refusal(&exit).contains(&expected), "{}", exit.stderr);
    };
    let live = UnixListener::bind(&path).unwrap();
    says("another program or another copy of this one does");
    drop(live);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    says("there is something that is no socket");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let long = format!("/tmp/{}", "x".repeat(110));
    let exit = directory.launch(&ONE.replace("SOCKET", &long)).run();
    let told = refusal(&exit);
    assert!(
        told.contains("listener.2.listen: found \"unix:/tmp/xxx"),
        "{told}"
    );
    assert!(
        told.contains("help: the path has 115 bytes: choose a directory nearer to /"),
        "{told}"
    );
    let missing = "unix:/nowhere/at/all.sock";
    let exit = directory.launch(&ONE.replace("unix:SOCKET", missing)).run();
    assert!(
        refusal(&exit).contains("its directory does not exist"),
        "{}",
        exit.stderr
    );
}

#[test]
fn two_listeners_that_share_an_address_are_refused() {
    let exit = Launch::bare(tests::Program::Echo)
        .set("listener=[{listen=\"[::]:7\"},{listen=\"0.0.0.0:7\"}]")
        .run();
    let told = "listener.2.listen: 0.0.0.0:7 is listened on by the listener 1 already";
    assert!(refusal(&exit).contains(told), "{}", exit.stderr);
    let exit = Launch::echo()
        .set("listener=[{listen=\"127.0.0.1:0\"}]")
        .run();
    let told = "server.listen: the addresses are those of [[listener]]";
    assert!(refusal(&exit).contains(told), "{}", exit.stderr);
}

#[test]
fn a_port_that_is_taken_is_told_by_the_key_of_its_listener() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = Directory::new();
    let text = format!("[[listener]]\nlisten = '{address}'\n{ONE}");
    let exit = directory.launch(&text).run();
    let told = format!("cannot listen on {address}, another program");
    assert!(refusal(&exit).contains(&told), "{}", exit.stderr);
    assert!(
        exit.stderr.contains("another port in listener.1.listen"),
        "{}",
        exit.stderr
    );
    assert!(!directory.socket().exists(), "the probe's file has stayed");
}

// ---- restart, drain, reload ----

#[test]
fn restarts_under_load_lose_nobody_at_any_listener() {
    const CLIENTS: usize = 4;
    const RESTARTS: u64 = 5;
    const REQUESTS: u64 = 1000;
    let directory = Directory::new();
    let launch = directory.launch(THREE).alone();
    let mut server = launch.set("timeouts.drain_quiet=\"5s\"").start();
    let (public, dual) = (server.addr(), other(&server, "dual"));
    let dual = SocketAddr::from((Ipv6Addr::LOCALHOST, dual.port()));
    let path = directory.socket();
    let over = AtomicBool::new(false);
    let answered = [(); 3].map(|()| AtomicU64::new(0));
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let (over, [one, two, three], path) = (&over, &answered, &path);
            clients.push(scope.spawn(move || come_and_go(|| connect(public).unwrap(), over, one)));
            clients.push(scope.spawn(move || come_and_go(|| connect(dual).unwrap(), over, two)));
            clients.push(scope.spawn(move || come_and_go(|| unix(path), over, three)));
        }
        for restart in 1..=RESTARTS {
            within(BOUND, "requests between the restarts", || {
                let all_live = clients.iter().all(|client| !client.is_finished());
                assert!(all_live, "a request was lost");
                let least = answered
                    .iter()
                    .map(|count| count.load(Ordering::Relaxed))
                    .min();
                (least.unwrap() > restart * REQUESTS).then_some(())
            });
            server.restart();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(path.exists(), "the file is the new process's");
    server.stop();
    within(BOUND, "the file goes with the last process", || {
        (!path.exists()).then_some(())
    });
}

/// All shards of both processes wait at one socket: whoever is woken for a client and takes its accept
/// back must not leave that client alone. Nobody comes after the last ones.
#[test]
fn a_burst_at_a_unix_socket_that_ends_with_the_handover_leaves_nobody_waiting() {
    const CLIENTS: usize = 8;
    const RESTARTS: usize = 10;
    let directory = Directory::new();
    let launch = directory.launch(ONE).alone().set("server.shards=3");
    let mut server = launch.set("timeouts.drain_quiet=\"5s\"").start();
    let path = directory.socket();
    for _ in 0..RESTARTS {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        unix(&path).asks("served");
                    }
                });
            }
            let from = server.log().lines().len();
            server.signal(Signal::USR2);
            let handed_over = |line: &Line| line.message() == "handed over; draining";
            server.wait_for_line(from, BOUND, "handed over", handed_over);
            over.store(true, Ordering::Relaxed);
        });
        server.restarted();
    }
    server.stop();
}

#[test]
fn a_restart_takes_no_listener_away_and_may_add_one() {
    let directory = Directory::new();
    let mut server = directory.launch(ONE).start();
    let text = "[[listener]]\nlisten = '127.0.0.1:0'\n";
    directory.file(text);
    server.signal(Signal::USR2);
    let failed = server.wait_for_log("the new process fails; this one goes on", BOUND);
    assert!(failed.text.contains("2"), "{}", failed.text);
    assert!(
        server
            .log()
            .text()
            .contains("there is no listener 2: set it back")
    );
    unix(&directory.socket()).asks("served");
    let more = format!("{ONE}[[listener]]\nname = 'more'\nlisten = '127.0.0.1:0'\n");
    directory.file(&more);
    let from = server.log().lines().len();
    server.restart();
    let line = server.wait_for_line(from, BOUND, "listening", |line| {
        line.message() == "listening"
    });
    let others = line.field("others").unwrap();
    let (_, address) = others.split_once(" more=").unwrap();
    connect(address.parse().unwrap()).unwrap().asks("served");
    unix(&directory.socket()).asks("served");
    server.stop();
}

#[test]
fn a_drain_serves_whoever_waits_at_a_unix_socket() {
    let directory = Directory::new();
    let launch = directory.launch(ONE).set("server.shards=1");
    let mut server = launch.set("limits.connections_max=1").start();
    let mut first = unix(&directory.socket());
    first.asks("first");
    let mut queued: Vec<UnixStream> = (0..10).map(|_| unix(&directory.socket())).collect();
    for stream in &mut queued {
        stream.write_all(b"queued").unwrap();
    }
    server.signal(Signal::TERM);
    within(BOUND, "nobody else comes", || {
        (!directory.socket().exists()).then_some(())
    });
    drop(first);
    for mut stream in queued {
        stream.hears("queued");
    }
    assert_eq!(server.wait_exit(BOUND), Some(0));
    server.counts().assert_balanced();
}

#[test]
fn a_key_of_one_listener_changes_while_it_serves() {
    let directory = Directory::new();
    let capped = |cap: u32| {
        format!(
            "[server]\nshards = 1\n[[listener]]\nname = 'public'\nlisten = '127.0.0.1:0'\n\
             connections_per_address_max = {cap}\nrefuse_with = 'no'\n\
             [[listener]]\nname = 'private'\nlisten = '127.0.0.1:0'\n"
        )
    };
    let server = directory.launch(&capped(1)).start();
    let private = other(&server, "private");
    let mut clients = vec![server.connect()];
    clients[0].ask(b"served", b"served");
    server.connect().expect(b"no");
    directory.file(&capped(2));
    server.signal(Signal::HUP);
    let line = server.wait_for_log("reloaded", BOUND);
    let change = "listener.public.connections_per_address_max 1 -> 2";
    assert_eq!(line.field("change").as_deref(), Some(change));
    within(BOUND, "it is in force", || {
        let mut client = server.connect();
        client.send(b"served");
        (client.receive(2) == b"se").then(|| clients.push(client))
    });
    server.connect().expect(b"no");
    let mut others: Vec<Client> = (0..5).map(|_| Client::connect(private)).collect();
    others
        .iter_mut()
        .for_each(|client| client.ask(b"served", b"served"));
    directory.file(&capped(2).replace("'private'\n", "'private'\nbacklog = 9\n"));
    server.signal(Signal::HUP);
    let line = server.wait_for_log("reload refused", BOUND);
    let problem = "needs a restart: listener.private.backlog 4096 -> 9";
    assert_eq!(line.field("problem").as_deref(), Some(problem));
    drop((clients, others));
    server.stop();
}

// ---- what it is passed ----

#[test]
fn sockets_of_the_service_manager_are_for_the_listeners_of_their_names() {
    let directory = Directory::new();
    let manager = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = directory.0.join("manager.sock");
    let local = UnixListener::bind(&path).unwrap();
    let text = THREE.replace("unix:SOCKET", &format!("unix:{}", path.display()));
    let launch = || directory.launch(&text);
    let mut server = launch()
        .pass("private", local.try_clone().unwrap())
        .pass("public", manager.try_clone().unwrap())
        .start();
    assert_eq!(server.addr(), manager.local_addr().unwrap());
    let dual = SocketAddr::from((Ipv6Addr::LOCALHOST, other(&server, "dual").port()));
    for _ in 0..2 {
        for _ in 0..10 {
            unix(&path).asks("served");
            connect(dual).unwrap().asks("served");
            server.connect().ask(b"served", b"served");
        }
        server.restart();
    }
    server.stop();
    assert!(path.exists(), "the file is the service manager's");
    let mut waits = unix(&path);
    waits.write_all(b"served").unwrap();
    let server = launch()
        .pass("private", local.try_clone().unwrap())
        .pass("public", manager.try_clone().unwrap())
        .start();
    waits.hears("served");
    drop(waits);
    server.stop();
    let exit = launch().pass("secret", local).run();
    let told = "cannot take descriptor 3 of LISTEN_FDS (secret), no [[listener]] is called that: \
                they are public, dual, private";
    assert!(refusal(&exit).contains(told), "{}", exit.stderr);
    let exit = launch().pass("private", manager).run();
    assert!(
        refusal(&exit).contains("it is no Unix stream socket"),
        "{}",
        exit.stderr
    );
}
