//! `--probe`, as a container asks its server: the same program with the same settings.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{BOUND, Exit, Launch, Program, within};

/// The path of a socket of this test.
fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("corelane-probe-{name}-{}", std::process::id()))
}

fn at(path: &Path) -> String {
    format!("admin.listen=\"unix:{}\"", path.display())
}

fn probe(setting: &str, question: &str) -> Exit {
    Launch::bare(Program::Echo)
        .set(setting)
        .argument(question)
        .run()
}

#[track_caller]
fn assert_answer(exit: &Exit, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(
        (exit.code, exit.stdout.as_str(), exit.stderr.as_str()),
        (Some(code), stdout, stderr)
    );
}

#[test]
fn a_server_is_ready_unless_it_stalls_or_drains_and_lives_all_the_while() {
    let path = socket("drains");
    let setting = at(&path);
    let server = Launch::hostile()
        .alone()
        .set(&setting)
        .set("limits.unready_after=\"200ms\"")
        .set("timeouts.drain_quiet=\"30s\"") // as long as its clients stay
        .start();
    server.wait_for_log("ready", BOUND);
    assert_answer(&probe(&setting, "--probe"), 0, "ready\n", "");
    assert_answer(&probe(&setting, "--probe=live"), 0, "live\n", "");
    let mut blocked = server.connect();
    blocked.send(b"block\n");
    server.wait_for_log("not ready", BOUND);
    let stalled = probe(&setting, "--probe=ready");
    let why = "echo: not ready: stalled shard=";
    assert!(
        stalled.code == Some(1) && stalled.stderr.starts_with(why),
        "{stalled:?}"
    );
    let mut holder = server.connect();
    holder.send(b"hold\n");
    within(BOUND, "the shard goes on", || {
        (probe(&setting, "--probe").code == Some(0)).then_some(())
    });
    server.signal(Signal::TERM);
    within(BOUND, "it drains", || {
        let told = probe(&setting, "--probe");
        (told.stderr == "echo: not ready: draining\n").then_some(())
    });
    assert_eq!(probe(&setting, "--probe").code, Some(1));
    assert_answer(&probe(&setting, "--probe=live"), 0, "live\n", "");
    drop(server); // before its clients, whose end would be the end of the drain
}

#[test]
fn a_server_that_has_gone_is_not_there() {
    let path = socket("gone");
    let setting = at(&path);
    Launch::echo().set(&setting).start().stop();
    let gone = probe(&setting, "--probe");
    let why = format!("echo: no answer from unix:{}: No such file", path.display());
    assert!(
        gone.code == Some(1) && gone.stderr.starts_with(&why),
        "{gone:?}"
    );
}

#[test]
fn where_nobody_listens_or_answers_it_says_so_in_time() {
    let path = socket("silent");
    let silent = UnixListener::bind(&path).unwrap();
    let began = Instant::now();
    let exit = Launch::bare(Program::Echo)
        .set(&at(&path))
        .set("admin.probe_timeout=\"200ms\"")
        .argument("--probe")
        .run();
    let why = format!(
        "echo: no answer from unix:{} within 200ms\n",
        path.display()
    );
    assert_answer(&exit, 1, "", &why);
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(silent);
    let refused = probe(&at(&path), "--probe=live");
    std::fs::remove_file(&path).unwrap();
    assert!(
        refused.code == Some(1) && refused.stderr.contains("refused"),
        "{refused:?}"
    );

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let setting = format!("admin.listen=\"{}\"", other.local_addr().unwrap());
    let answers = thread::spawn(move || {
        let mut stream = other.accept().unwrap().0;
        let _request = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"220 mail\r\n").unwrap();
    });
    let exit = probe(&setting, "--probe");
    answers.join().unwrap();
    assert!(
        exit.code == Some(1) && exit.stderr.contains("not as HTTP"),
        "{exit:?}"
    );
}

#[test]
fn without_an_admin_server_there_is_nobody_to_ask() {
    for (setting, why, remedy) in [
        (
            "server.shards=1",
            "admin.listen is \"off\"",
            "admin.listen=\"unix:/run/echo/admin.sock\"",
        ),
        (
            "admin.listen=\"[::1]:0\"",
            "admin.listen is \"[::1]:0\"",
            "like \"::1:9007\"",
        ),
    ] {
        let exit = probe(setting, "--probe");
        assert_eq!(exit.code, Some(2), "{exit:?}");
        assert!(
            exit.stderr.contains(why) && exit.stderr.contains(remedy),
            "{exit:?}"
        );
    }
}

#[test]
fn a_probe_takes_nothing_from_the_server_that_it_asks() {
    let path = socket("same");
    let setting = at(&path);
    let server = Launch::echo().set(&setting).start();
    // The settings of the server itself, its port among them.
    let listen = format!("server.listen=\"{}\"", server.addr());
    let ask = || {
        Launch::echo()
            .set(&setting)
            .set(&listen)
            .argument("--probe")
            .run()
    };
    within(BOUND, "a ready server", || {
        (ask().code == Some(0)).then_some(())
    });
    for _ in 0..20 {
        assert_answer(&ask(), 0, "ready\n", "");
    }
    server.connect().ask(b"hello", b"hello");
    let counts = server.stop();
    assert_eq!(counts.accepted, 1);
}
