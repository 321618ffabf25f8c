//! A restart by SIGUSR2: a new process takes the listeners over and the one before drains. Nobody
//! is lost, and a new process that fails changes nothing. `make restarts` has a longer load.
#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::admin::{ask, request};
use tests::listeners::come_and_go;
use tests::{
    BOUND, Client, Launch, Line, Program, Server, connect, descriptors, has_ended, within,
};

/// Requests between two restarts: 2 000, unless `CORELANE_TESTS_RESTART_REQUESTS` says otherwise.
fn requests() -> u64 {
    let given = env::var("CORELANE_TESTS_RESTART_REQUESTS").ok();
    given.map_or(2000, |given| given.parse().unwrap())
}

/// A directory of this test alone.
fn directory(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = env::temp_dir().join(format!("corelane-{name}-{process}-{number}"));
    fs::create_dir_all(&path).unwrap();
    path
}

/// Puts a script in the place of a program, at once and whole.
fn replace_by_script(program: &Path, script: &str) {
    let text = program.with_extension("text");
    fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&text, PermissionsExt::from_mode(0o755)).unwrap();
    replace_by(program, &text);
}

fn replace_by_copy(program: &Path) {
    replace_by(program, &Program::Echo.path());
}

/// By another process: one that a test beside this one starts has a copy of every descriptor for a
/// moment, and what is open to be written cannot be run (ETXTBSY).
fn replace_by(program: &Path, other: &Path) {
    let new = program.with_extension("new");
    let mut copy = Command::new("cp");
    let status = copy.args([other, new.as_path()]).status().unwrap();
    assert!(status.success());
    fs::rename(new, program).unwrap();
}

/// Waits for a line from line number `from` on.
fn wait_for(server: &Server, from: usize, message: &str) -> Line {
    server.wait_for_line(from, BOUND, message, |line| line.message() == message)
}

// ---- nobody is lost ----

#[test]
fn ten_restarts_under_load_lose_nobody() {
    const CLIENTS: u64 = 16;
    const RESTARTS: u64 = 10;
    let requests = requests();
    // Clients that a busy machine holds up for long after their connect are heard all the same.
    let launch = Launch::echo().alone().set("server.shards=2");
    let mut server = launch.set("timeouts.drain_quiet=\"5s\"").start();
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let address = server.addr();
    thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|_| {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || come_and_go(|| connect(address).unwrap(), over, answered))
        });
        let clients: Vec<_> = clients.collect();
        for restart in 1..=RESTARTS {
            let bound = BOUND + Duration::from_millis(requests);
            within(bound, "requests between the restarts", || {
                let all_live = clients.iter().all(|client| !client.is_finished());
                assert!(all_live, "a request was lost");
                (answered.load(Ordering::Relaxed) > restart * requests).then_some(())
            });
            server.restart();
        }
        over.store(true, Ordering::Relaxed);
    });
    let answered = answered.load(Ordering::Relaxed);
    println!("{answered} requests answered over {RESTARTS} restarts, none lost");
    assert!(answered > RESTARTS * requests);
    server.stop();
}

/// Under a load that goes on, whoever was overlooked is found with the next client. Here the last
/// ones come at the very moment of the handover, and nobody after them.
#[test]
fn a_burst_that_ends_with_the_handover_leaves_nobody_waiting() {
    const CLIENTS: usize = 8;
    const RESTARTS: usize = 20;
    let launch = Launch::echo().alone().set("server.shards=2");
    let mut server = launch.set("timeouts.drain_quiet=\"5s\"").start();
    let address = server.addr();
    for _ in 0..RESTARTS {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        Client::connect(address).ask(b"served", b"served");
                    }
                });
            }
            let from = server.log().lines().len();
            server.signal(Signal::USR2);
            wait_for(&server, from, "handed over; draining");
            over.store(true, Ordering::Relaxed);
        });
        server.restarted();
    }
    server.stop();
}

#[test]
fn clients_that_are_queued_at_every_shard_are_served_by_the_new_process() {
    const CLIENTS: usize = 40;
    let launch = Launch::echo().set("server.shards=2");
    let mut server = launch.set("limits.connections_max=2").start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(b"served"));
    let mut held = Vec::new();
    within(BOUND, "both shards are full", || {
        let answered = |client: &mut Client| !client.is_silent_for(Duration::from_millis(1));
        held.extend(clients.extract_if(.., |client| answered(client)));
        (held.len() == 2).then_some(())
    });
    held.iter_mut().for_each(|client| client.expect(b"served"));
    thread::scope(|scope| {
        for mut client in clients.drain(..) {
            scope.spawn(move || client.expect(b"served"));
        }
        server.restart();
    });
    held.iter_mut().for_each(Client::expect_eof);
    server.stop();
}

#[test]
fn who_is_served_by_the_process_before_is_answered_and_ended_politely() {
    let mut server = Launch::ping().set("timeouts.drain_quiet=\"2s\"").start();
    let mut busy: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    busy.iter_mut()
        .for_each(|client| client.send(b"*2\r\n$4\r\nECHO\r\n$10\r\nhello"));
    let mut silent = server.connect();
    silent.ask(b"PING\r\n", b"+PONG\r\n");
    let from = server.log().lines().len();
    server.signal(Signal::USR2);
    wait_for(&server, from, "handed over; draining");
    server.connect().ask(b"PING\r\n", b"+PONG\r\n");
    for client in &mut busy {
        client.ask(b"world\r\n", b"$10\r\nhelloworld\r\n");
        client.expect_eof();
    }
    silent.expect_eof();
    assert_eq!(server.wait_child(BOUND), Some(0));
}

#[test]
fn the_admin_server_is_handed_over_with_its_file() {
    let path = directory("admin").join("admin.sock");
    let listen = format!("admin.listen=\"unix:{}\"", path.display());
    let mut server = Launch::echo().set(&listen).start();
    let ready = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.starts_with("HTTP/1.1 200 ")
    };
    within(BOUND, "it is ready", || ready().then_some(()));
    for _ in 0..2 {
        server.restart();
        assert!(ready(), "the process before answers");
    }
    server.stop();
    assert!(!path.exists(), "the socket's file has stayed");
}

#[test]
fn the_admin_server_is_handed_over_where_it_is_steered_too() {
    let launch = Launch::echo()
        .set("admin.listen=\"127.0.0.1:0\"")
        .set("admin.steer_listen=\"127.0.0.1:0\"");
    let mut server = launch.start();
    server.restart();
    let addresses = within(BOUND, "a line of each listener", || {
        let lines = server.log().lines();
        let lines = lines.iter();
        let told = lines.filter(|line| line.message() == "admin listening");
        let told: Vec<String> = told.map(|line| line.field("addr").unwrap()).collect();
        (told.len() == 4).then_some(told)
    });
    assert_eq!(addresses[..2], addresses[2..]);
    let close = request(
        "POST",
        "/connections/0.0.1/close",
        "X-Corelane-Steer: 1\r\n",
    );
    let statuses = addresses[2..]
        .iter()
        .map(|address| ask(address.parse().unwrap(), &close).status);
    assert_eq!(statuses.collect::<Vec<_>>(), [403, 404]);
    server.stop();
}

#[test]
fn a_new_process_reads_its_settings_again_as_the_one_before_did() {
    let settings = directory("reload").join("echo.toml");
    fs::write(&settings, "").unwrap();
    let mut server = Launch::echo().argument(settings.to_str().unwrap()).start();
    server.restart();
    let mut client = server.connect();
    client.ask(b"served", b"served");
    fs::write(&settings, "[timeouts]\nidle = '500ms'\n").unwrap();
    server.signal(Signal::HUP);
    let reloaded = wait_for(&server, 0, "reloaded");
    let change = reloaded.field("change").unwrap();
    assert_eq!(change, "timeouts.idle \"5m\" -> \"500ms\"");
    client.expect_eof();
    server.restart();
    server.connect().ask(b"served", b"served");
    server.stop();
}

#[test]
fn a_program_that_was_replaced_is_the_one_that_starts() {
    let program = directory("replaced").join("echo");
    replace_by_copy(&program);
    let mut server = Launch::echo_at(&program).start();
    let inode = |pid: u32| fs::metadata(format!("/proc/{pid}/exe")).unwrap().ino();
    let before = inode(server.pid());
    replace_by_copy(&program);
    server.restart();
    let after = inode(server.pid());
    assert_ne!(before, after);
    assert_eq!(after, fs::metadata(&program).unwrap().ino());
    server.stop();
}

#[test]
fn a_program_that_was_called_by_any_text_is_found() {
    for called in ["nowhere/else", "/tmp", "/bin/sh", "echo: main", ""] {
        let script = "exec -a \"$0\" \"$@\"";
        let mut server = Launch::echo()
            .under(&["bash", "-c", script, called])
            .start();
        let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        let before = program(server.pid());
        server.restart();
        assert_eq!(program(server.pid()), before, "called {called:?}");
        server.connect().ask(b"served", b"served");
        server.stop();
    }
}

// ---- a new process that fails ----

/// A server that is asked to restart, and whose new processes fail.
struct Failing {
    server: Server,
    client: Client,
    descriptors: usize,
}

impl Failing {
    fn new(launch: Launch) -> Self {
        let server = launch.start();
        let mut client = server.connect();
        client.ask(b"before", b"before");
        let descriptors = descriptors(server.pid());
        Self {
            server,
            client,
            descriptors,
        }
    }

    /// Asks for a restart. Gives the number of the line from which on it is told of.
    fn begin(&self) -> usize {
        let from = self.server.log().lines().len();
        self.server.signal(Signal::USR2);
        from
    }

    /// All is as it was, and the log says `why`.
    fn goes_on(&mut self, from: usize, why: &str) {
        let told = wait_for(
            &self.server,
            from,
            "the new process fails; this one goes on",
        );
        let said = told.field("why").unwrap();
        assert!(said.contains(why), "{said}");
        self.client.ask(b"goes on", b"goes on");
        (0..20).for_each(|_| self.server.connect().ask(b"goes on", b"goes on"));
        let (pid, before) = (self.server.pid(), self.descriptors);
        within(BOUND, "the descriptors are as before", || {
            (descriptors(pid) == before).then_some(())
        });
    }
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let directory = directory("fails");
    let (program, settings) = (directory.join("echo"), directory.join("echo.toml"));
    replace_by_copy(&program);
    fs::write(&settings, "").unwrap();
    let launch = Launch::echo_at(&program).argument(settings.to_str().unwrap());
    let mut failing = Failing::new(launch.set("server.shards=2").set("timeouts.restart=\"1s\""));

    fs::write(&settings, "[server]\nshards = -1\n[nothing]\n").unwrap();
    let from = failing.begin();
    failing.goes_on(from, "exit status: 2");
    fs::write(&settings, "").unwrap();

    for (script, why) in [
        ("exit 3", "exit status: 3"),
        ("kill -9 $$", "signal: 9"),
        ("exec sleep 100", "not ready within 1s"),
        ("exec 0</dev/null; exec sleep 100", "did not end"),
        ("echo 'no socket' >&0; exec sleep 100", "another version"),
    ] {
        replace_by_script(&program, script);
        let from = failing.begin();
        failing.goes_on(from, why);
    }
    fs::remove_file(&program).unwrap();
    let from = failing.begin();
    failing.goes_on(from, "cannot be started");

    replace_by_copy(&program);
    drop(failing.client);
    failing.server.restart();
    failing.server.connect().ask(b"at last", b"at last");
    failing.server.stop();
}

#[test]
fn a_new_process_that_is_killed_at_any_step_changes_nothing() {
    let mut failing = Failing::new(Launch::echo().alone().set("server.shards=2"));
    let step = Duration::from_millis(1);
    let mut killed = 0;
    // A little later each time, until one is too late.
    loop {
        let from = failing.begin();
        let starts = wait_for(&failing.server, from, "a new process starts");
        thread::sleep(step * killed);
        let pid = Pid::from_raw(starts.number("pid").try_into().unwrap()).unwrap();
        // Fails if it has failed by itself.
        let _gone = kill_process(pid, Signal::KILL);
        let outcome = failing
            .server
            .wait_for_line(from, BOUND, "its end", |line| {
                [
                    "handed over; draining",
                    "the new process fails; this one goes on",
                ]
                .contains(&line.message())
            });
        if outcome.message() == "handed over; draining" {
            break;
        }
        failing.goes_on(from, "signal: 9");
        killed += 1;
    }
    assert!(killed > 1, "the first one was ready before it was killed");
    assert_eq!(failing.server.wait_child(BOUND), Some(0));
}

#[test]
fn of_two_restarts_at_once_one_is_refused() {
    let program = directory("twice").join("echo");
    replace_by_copy(&program);
    let mut failing = Failing::new(Launch::echo_at(&program).set("timeouts.restart=\"1s\""));
    replace_by_script(&program, "exec sleep 100");
    let from = failing.begin();
    wait_for(&failing.server, from, "a new process starts");
    failing.server.signal(Signal::USR2);
    let refused = wait_for(&failing.server, from, "no restart");
    assert_eq!(
        refused.field("why").unwrap(),
        "another new process starts already"
    );
    failing.goes_on(from, "not ready within 1s");
    drop(failing.client);
    failing.server.stop();
}

#[test]
fn sigterm_during_a_restart_ends_both() {
    let program = directory("ends").join("echo");
    replace_by_copy(&program);
    let mut server = Launch::echo_at(&program).start();
    replace_by_script(&program, "exec sleep 100");
    server.signal(Signal::USR2);
    let starts = server.wait_for_log("a new process starts", BOUND);
    let new = u32::try_from(starts.number("pid")).unwrap();
    let address = server.addr();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
    assert!(has_ended(new), "the new process outlives the one before");
    assert!(connect(address).is_err(), "somebody listens still");
}

#[test]
fn settings_that_want_other_listeners_are_refused_but_for_more_shards() {
    let settings = directory("shards").join("echo.toml");
    let write = |text: &str| fs::write(&settings, text).unwrap();
    write("[server]\nshards = 2\n");
    let launch = Launch::echo().argument(settings.to_str().unwrap());
    let mut failing = Failing::new(launch);
    write("[server]\nshards = 1\n");
    let from = failing.begin();
    failing.goes_on(from, "exit status: 2");
    let said = failing.server.log().text();
    assert!(
        said.contains("cannot take 2 sockets of one listener"),
        "{said}"
    );
    write("[server]\nshards = 3\n");
    drop(failing.client);
    failing.server.restart();
    let clients: Vec<Client> = (0..60).map(|_| failing.server.connect()).collect();
    clients
        .into_iter()
        .for_each(|mut client| client.ask(b"served", b"served"));
    failing.server.stop();
}
