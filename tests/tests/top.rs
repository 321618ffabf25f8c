//! `top`: what a server does, in a terminal.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use tests::terminal::Terminal;
use tests::{BOUND, Client, Launch, Program, Server, needs};

/// A command that shows `admin`, then how it ended and whether the terminal echoes again.
fn top(admin: &str) -> String {
    let program = Program::Top.path();
    let program = program.display();
    format!("{program} {admin}; echo ended $?; stty -a | grep -o -- '-*echo '; read wait")
}

fn with_admin(listen: &str) -> Server {
    let server = Launch::echo()
        .set("server.shards=2")
        .set(&format!("admin.listen=\"{listen}\""))
        .start();
    server.wait_for_log("admin listening", BOUND);
    server
}

#[test]
fn it_shows_what_the_server_does() {
    needs!("tmux");
    let server = with_admin("127.0.0.1:0");
    let mut clients: Vec<Client> = (0..7).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask(b"a", b"a"));
    clients.truncate(5);
    let command = top(&server.admin_addr().to_string());
    let terminal = Terminal::open(&command, "shows", 120, 40);
    let screen = terminal.wait_for("5 of ");
    let name = format!("echo {}", server.addr());
    for text in [&*name, "ready", "2 shards", "Turn p99<="] {
        assert!(screen.contains(text), "no {text} in\n{screen}");
    }
    let closed = terminal.wait_for("peer_closed");
    let line = closed.lines().find(|line| line.contains("peer_closed"));
    assert!(line.unwrap().contains(" 2 "), "{closed}");
    terminal.resize(60, 20);
    let narrow = terminal.wait_for("Messages/s"); // of the narrow form alone
    let mut borders = narrow.lines().filter(|line| line.starts_with('┌'));
    assert!(borders.all(|line| line.chars().count() <= 60), "{narrow}");
}

#[test]
fn it_says_that_a_server_is_gone_and_finds_the_next() {
    needs!("tmux");
    let path = std::env::temp_dir().join(format!("corelane-top-{}", std::process::id()));
    let place = format!("unix:{}", path.display());
    let terminal = Terminal::open(&top(&place), "gone", 120, 40);
    terminal.wait_for("there is no such socket");
    let mut server = with_admin(&place);
    terminal.wait_for("ready");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), Some(0));
    let screen = terminal.wait_for("server gone");
    assert!(screen.contains("2 shards"), "what it was last: {screen}");
    let next = with_admin(&place);
    let screen = terminal.wait_for(&next.addr().to_string());
    assert!(
        screen.contains("ready") && !screen.contains("gone"),
        "{screen}"
    );
    drop(next);
    let _stale = fs::remove_file(path);
}

#[test]
fn it_gives_the_terminal_back() {
    needs!("tmux");
    let server = with_admin("127.0.0.1:0");
    let admin = server.admin_addr().to_string();
    for key in ["q", "Escape", "C-c"] {
        let terminal = Terminal::open(&top(&admin), key, 80, 24);
        terminal.wait_for("ready");
        terminal.press(key);
        let screen = terminal.wait_for("\necho\n");
        assert!(screen.starts_with("ended 0\n"), "{key}: {screen}");
    }
    // Told by a signal, as by `kill` or the end of a login.
    let terminal = Terminal::open(&top(&admin), "told", 80, 24);
    terminal.wait_for("ready");
    terminal.signal(Signal::TERM);
    let screen = terminal.wait_for("\necho\n");
    assert!(screen.starts_with("ended 0\n"), "{screen}");
}

#[test]
fn a_place_that_is_none_is_refused() {
    for place in ["9007", "unix:", "nowhere"] {
        let said = Command::new(Program::Top.path())
            .arg(place)
            .output()
            .unwrap();
        let told = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(2), "{told}");
        assert!(told.contains("unix:"), "{told}");
    }
}
