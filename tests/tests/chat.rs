//! The promises of the chat server to people with `nc`, over two shards.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::Signal;
use tests::{BOUND, Launch, Server, needs, within};

/// So many join until both shards have one; that the kernel gives all to one shard is less likely
/// than a broken machine.
const MEMBERS_MAX: usize = 40;

fn chat() -> Server {
    // nc keeps its side open for as long as its keyboard is there, and a drain waits for it.
    let patience = "timeouts.drain=\"1s\"";
    Launch::chat().set("server.shards=2").set(patience).start()
}

/// A person with `nc`. Killed on drop.
struct Person {
    nc: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<String>,
    /// Where its connection is, once it has a name.
    shard: String,
}

impl Person {
    fn connect(server: &Server) -> Self {
        let addr = server.addr();
        let mut nc = Command::new("nc")
            .args(["-N", &addr.ip().to_string(), &addr.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(nc.stdout.take().unwrap());
        let (shown, screen) = channel();
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            lines.for_each(|line| drop(shown.send(line)));
        });
        let keyboard = nc.stdin.take();
        Self {
            nc,
            keyboard,
            screen,
            shard: String::new(),
        }
    }

    /// Called `name`, in a room.
    fn joins(server: &Server, name: &str, room: &str) -> Self {
        let mut person = Self::connect(server);
        person.types(format!("/name {name}\n/join {room}\n"));
        let lines = person.sees_in_the_end(&format!("* {name} joined"));
        let guest = lines[0].strip_prefix("* guest-").unwrap();
        person.shard = guest.split('.').next().unwrap().to_owned();
        person
    }

    fn types(&mut self, text: impl AsRef<[u8]>) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(text.as_ref()).unwrap();
        keyboard.flush().unwrap();
    }

    /// The next line on the screen.
    fn line(&self) -> String {
        self.screen.recv_timeout(BOUND).expect("a line comes")
    }

    fn sees(&self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// Lines up to this one.
    fn sees_in_the_end(&self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != last) {
            lines.push(self.line());
        }
        lines
    }

    /// All that is left to come when the server has closed: nc ends once its own input does.
    fn sees_the_end(&mut self) -> Vec<String> {
        drop(self.keyboard.take());
        within(BOUND, "the end of nc", || self.nc.try_wait().unwrap());
        self.screen.iter().collect()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.nc.kill();
        let _ = self.nc.wait();
    }
}

#[test]
fn a_room_hears_what_is_said_and_another_does_not() {
    needs!("nc");
    let server = chat();
    let mut ada = Person::joins(&server, "ada", "red");
    let mut eve = Person::joins(&server, "eve", "blue");
    let mut bob = Person::joins(&server, "bob", "red");
    ada.sees("* bob joined");
    ada.types("hello\n");
    ada.sees("ada: hello");
    bob.sees("ada: hello");
    bob.types("good day\n");
    ada.sees("bob: good day");
    bob.sees("bob: good day");
    eve.types("anybody?\n");
    eve.sees("eve: anybody?");
    let _counts = server.stop();
}

#[test]
fn who_names_the_members_on_all_shards_and_presence_is_told() {
    needs!("nc");
    let server = chat();
    let mut ada = Person::joins(&server, "ada", "red");
    let mut others = Vec::new();
    while others.iter().all(|other: &Person| other.shard == ada.shard) {
        assert!(others.len() < MEMBERS_MAX, "all are on shard {}", ada.shard);
        let name = format!("m{}", others.len());
        others.push(Person::joins(&server, &name, "red"));
        ada.sees(&format!("* {name} joined"));
    }
    ada.types("/who\n");
    let named: BTreeSet<String> = [ada.line(), ada.line()]
        .iter()
        .flat_map(|line| {
            let (_, names) = line.rsplit_once(": ").unwrap();
            names.split(", ").map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(named.len(), others.len() + 1, "{named:?}");
    assert!(named.contains("ada"), "{named:?}");
    drop(others.remove(0));
    ada.sees("* m0 left");
    let _counts = server.stop();
}

#[test]
fn who_joins_later_hears_what_was_said_last_and_nothing_twice() {
    needs!("nc");
    let server = chat();
    let mut ada = Person::joins(&server, "ada", "red");
    ada.types("one\ntwo\nthree\n");
    ada.sees_in_the_end("ada: three");
    let mut bob = Person::connect(&server);
    bob.types("/join red\n");
    // What is on its way to the other shard at that moment comes behind the notice of joining.
    let is_said = |line: &String| !line.starts_with("* ");
    let said = || std::iter::repeat_with(|| bob.line()).find(is_said);
    let heard = [said(), said(), said()].map(Option::unwrap);
    assert_eq!(heard, ["ada: one", "ada: two", "ada: three"]);
    ada.types("four\n");
    assert_eq!(said().unwrap(), "ada: four");
    let _counts = server.stop();
}

#[test]
fn who_is_too_fast_is_told_and_not_heard() {
    needs!("nc");
    let server = chat();
    let mut ada = Person::joins(&server, "ada", "red");
    let mut bob = Person::joins(&server, "bob", "red");
    bob.types("x\n".repeat(40));
    bob.sees_in_the_end("! too fast: wait");
    ada.sees("* bob joined");
    let heard = (0..6).take_while(|_| ada.line() == "bob: x").count();
    assert_eq!(heard, 6);
    ada.types("still here\n");
    ada.sees_in_the_end("ada: still here");
    let _counts = server.stop();
}

#[test]
fn nobody_writes_to_anothers_terminal() {
    needs!("nc");
    let server = chat();
    let mut ada = Person::joins(&server, "ada", "red");
    let mut bob = Person::joins(&server, "bob", "red");
    bob.types(b"\x1b[2J\x07\xff\n/name \x1b[31m\n/join \x9b\n");
    ada.sees("* bob joined");
    ada.sees("bob: \u{fffd}[2J\u{fffd}\u{fffd}");
    // What he is told himself may overtake what the room hears.
    let told = [bob.line(), bob.line(), bob.line()];
    let count = |wanted: &str| told.iter().filter(|line| line.starts_with(wanted)).count();
    let counts = (
        count("! a name is "),
        count("bob: \u{fffd}[2J\u{fffd}\u{fffd}"),
    );
    assert_eq!(counts, (2, 1), "{told:?}");
    ada.types("next\n");
    ada.sees("ada: next");
    let _counts = server.stop();
}

#[test]
fn quit_closes_and_the_room_is_told() {
    needs!("nc");
    let server = chat();
    let ada = Person::joins(&server, "ada", "red");
    let mut bob = Person::joins(&server, "bob", "red");
    bob.types("bye\n/quit\n");
    ada.sees("* bob joined");
    ada.sees("bob: bye");
    ada.sees("* bob left");
    let heard = bob.sees_the_end();
    assert!(heard.iter().all(|line| line == "bob: bye"), "{heard:?}");
    assert_eq!(server.stop().of("handler_closed"), 1);
}

#[test]
fn a_line_that_is_too_long_is_told_and_closed() {
    needs!("nc");
    let server = chat();
    let mut ada = Person::connect(&server);
    ada.types("x".repeat(1025));
    ada.sees("! the frame is longer than 1024 bytes");
    assert!(ada.sees_the_end().is_empty());
    assert_eq!(server.stop().of("protocol_error"), 1);
}

#[test]
fn a_drain_closes_all() {
    needs!("nc");
    let mut server = chat();
    let mut people = ["ada", "bob"].map(|name| Person::joins(&server, name, "red"));
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(2 * BOUND), Some(0));
    assert_eq!(server.counts().of("drained"), 2);
    people
        .iter_mut()
        .for_each(|person| drop(person.sees_the_end()));
}
