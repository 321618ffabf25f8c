//! The log: whatever becomes of it and whatever peers send, it blocks nobody, stays within its
//! bounds, and tells what is missing from it.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tests::{
    BOUND, Client, Launch, Line, Log, Program, Random, connect, free_address, needs, skip, within,
};

/// Lines about one thing that a shard logs in a second, unless the settings say otherwise.
const LINES_MAX: usize = 10;
/// What no line of the log is longer than, in these tests without backtraces.
const LINE_BYTES_MAX: usize = 2048;
/// Threads that make connections, and how many each makes: together they log more than the queue of
/// 8192 lines and a pipe of 64 KiB hold.
const THREADS: usize = 4;
const CONNECTIONS: usize = 3000;

/// A server that logs to where the test says rather than to the test; found by its fixed port.
struct Mute {
    child: std::process::Child,
    address: SocketAddr,
}

impl Mute {
    /// Logs each close to `stderr`, as many as there are unless `settings` say otherwise.
    fn start(program: Program, settings: &[&str], stdout: Stdio, stderr: Stdio) -> Self {
        let address = free_address();
        let listen = format!("server.listen=\"{address}\"");
        let all = [
            &listen,
            "log.level=\"debug\"",
            "log.lines_per_reason_max=0",
            "server.shards=1",
        ];
        let mut command = Command::new(program.path());
        command.args(
            all.iter()
                .chain(settings)
                .flat_map(|setting| ["--set", setting]),
        );
        let child = command
            .env("RUST_BACKTRACE", "0")
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mute = Self { child, address };
        within(BOUND, "the server listens", || connect(address).ok());
        mute
    }

    fn echo(stderr: impl Into<Stdio>) -> Self {
        Self::start(Program::Echo, &[], Stdio::null(), stderr.into())
    }

    /// Serves more connections than the log's queue has lines; each is logged.
    fn serves_a_while(&self) {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..CONNECTIONS).for_each(|_| self.serves_one()));
            }
        });
    }

    fn serves_one(&self) {
        let mut client = Client::connect(self.address);
        client.ask(b"served?", b"served?");
        client.reset();
    }

    fn stops(&mut self) {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        let status = within(BOUND, "the server exits", || self.child.try_wait().unwrap());
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path of the test's own.
fn path(name: &str) -> PathBuf {
    let directory =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("logging-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory.join(name)
}

// ---- logs that cannot be written ----

#[test]
fn a_log_that_nobody_reads_blocks_nobody() {
    let (_unread, writer) = std::io::pipe().unwrap();
    // Standard output too: an end that says a last word there would never come.
    let mut server = Mute::start(
        Program::Echo,
        &[],
        writer.try_clone().unwrap().into(),
        writer.into(),
    );
    server.serves_a_while();
    server.stops();
}

#[test]
fn a_log_on_a_full_disk_harms_nobody() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut server = Mute::echo(full);
    server.serves_a_while();
    server.stops();
}

#[test]
fn a_log_whose_reader_has_gone_kills_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = Mute::echo(writer);
    server.serves_one();
    drop(reader);
    (0..1000).for_each(|_| server.serves_one());
    server.stops();
}

const LOSS: &str = "log lines were dropped";

/// Waits for the line that tells of a loss.
fn wait_for_loss(log: &Log) {
    assert!(
        log.find(0, BOUND, |line| line.text.contains(LOSS))
            .is_some(),
        "no loss is told:\n{}",
        log.text()
    );
}

/// Fails unless a log that is read again tells how many lines are missing, and they are as many as
/// are missing.
fn assert_losses_told(log: &str, connections: usize) {
    let told = log
        .lines()
        .rfind(|line| line.contains(LOSS))
        .expect("the loss is told");
    let dropped: usize = told
        .split("dropped=")
        .nth(1)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let closes = log
        .lines()
        .filter(|line| line.contains("closed conn="))
        .count();
    assert!(dropped > 0, "nothing was lost: {told}");
    assert!(
        dropped + closes >= connections,
        "{closes} of {connections} closes in the log, {told}"
    );
}

#[test]
fn what_a_stuck_pipe_has_cost_is_told_when_it_is_read_again() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = Mute::echo(writer);
    server.serves_a_while();
    let log = Log::collect(reader);
    wait_for_loss(&log);
    server.stops();
    log.wait_end(BOUND);
    assert_losses_told(&log.text(), THREADS * CONNECTIONS);
}

#[test]
fn what_a_closed_pipe_has_cost_is_told_to_the_next_reader() {
    needs!("mkfifo");
    const CLOSED: usize = 100;
    let path = path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    // One that could write as well, or its opening would wait for a writer.
    let first = File::options().read(true).write(true).open(&path).unwrap();
    let mut server = Mute::echo(File::options().write(true).open(&path).unwrap());
    drop(first);
    (0..CLOSED).for_each(|_| server.serves_one());
    let log = Log::collect(File::open(&path).unwrap());
    wait_for_loss(&log);
    server.stops();
    log.wait_end(BOUND);
    assert_losses_told(&log.text(), CLOSED);
}

/// A file on a disk of 64 KiB that goes when nobody has it open any more.
fn file_on_a_small_disk() -> Option<File> {
    let disk = path("disk");
    fs::create_dir_all(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "small"])
        .arg(&disk)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return None;
    }
    let file = File::options()
        .create(true)
        .read(true)
        .append(true)
        .open(disk.join("log"));
    assert!(
        Command::new("umount")
            .arg("--lazy")
            .arg(&disk)
            .status()
            .unwrap()
            .success()
    );
    Some(file.unwrap())
}

#[test]
fn what_a_full_disk_has_cost_is_told_when_there_is_room_again() {
    let Some(mut file) = file_on_a_small_disk() else {
        skip!("needs the right to mount");
    };
    const CLOSED: usize = 2000;
    let mut server = Mute::echo(file.try_clone().unwrap());
    (0..CLOSED).for_each(|_| server.serves_one());
    let mut log = String::new();
    within(BOUND, "the disk is full", || {
        (file.metadata().unwrap().len() >= 64 * 1024).then_some(())
    });
    file.rewind().unwrap();
    file.read_to_string(&mut log).unwrap();
    file.set_len(0).unwrap();
    server.serves_one();
    let mut later = String::new();
    within(BOUND, "the loss is told", || {
        later.clear();
        file.rewind().unwrap();
        file.read_to_string(&mut later).unwrap();
        later.contains(LOSS).then_some(())
    });
    server.stops();
    assert_losses_told(&(log + &later), CLOSED);
}

#[test]
fn a_refusal_that_cannot_be_told_is_one_all_the_same() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = Command::new(Program::Echo.path())
        .args(["--set", "server.shards=-1"])
        .stderr(full)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

// ---- what peers can do to it ----

/// What a peer sends that wants lines of its own in the log, and the terminal of whoever reads it.
fn garbage(random: &mut Random) -> Vec<u8> {
    const FORGED: &[u8] = b"\n2030-01-01T00:00:00Z  INFO corelane: forged\r\n{\"forged\":1}\n\x1b]0;owned\x07\x1b[2J\xe2\x80\xae\x00\xff";
    let length = 1 + random.below(3000);
    [FORGED, &random.bytes(length)].concat()
}

/// Floods a server that logs to a file of the test's own, and gives that file, and how long it
/// took.
fn flooded(program: Program, format: &str, first_lines: &[&[u8]]) -> (Vec<u8>, Duration) {
    const FLOOD: usize = 1500;
    let path = path(&format!("{program:?}-{format}.log"));
    let format = format!("log.format=\"{format}\"");
    let mut server = Mute::start(
        program,
        &[&format, "log.lines_per_reason_max=10"],
        Stdio::null(),
        File::create(&path).unwrap().into(),
    );
    let mut random = Random::new();
    let start = Instant::now();
    for round in 0..FLOOD {
        let mut stream = connect(server.address).unwrap();
        // The server may have closed it before all is sent.
        let _ = stream.write_all(
            &[
                first_lines[round % first_lines.len()],
                &garbage(&mut random),
            ]
            .concat(),
        );
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let taken = start.elapsed();
    server.stops();
    (fs::read(&path).unwrap(), taken)
}

const QUOTED: [&[u8]; 2] = [b"quote\n", b"exclaim\n"];

#[test]
fn what_peers_send_is_escaped_and_cut_in_the_log() {
    for format in ["text", "json"] {
        let (log, _) = flooded(Program::Hostile, format, &QUOTED);
        let strange = log.iter().find(|byte| !matches!(byte, b' '..=b'~' | b'\n'));
        assert_eq!(
            strange,
            None,
            "in the {format} log:\n{}",
            log.escape_ascii()
        );
        let log = String::from_utf8(log).unwrap();
        assert!(
            log.lines()
                .any(|line| line.contains("forged") && line.contains("the handler failed")),
            "{log}"
        );
        assert!(
            log.lines()
                .any(|line| line.contains("forged") && line.contains("the handler panicked")),
            "{log}"
        );
        for line in log.lines() {
            let begins = if format == "text" {
                line.as_bytes()[0].is_ascii_digit()
            } else {
                line.starts_with("{\"timestamp\"")
            };
            assert!(begins && !line.starts_with("2030"), "forged: {line}");
            assert!(line.len() <= LINE_BYTES_MAX, "{} bytes: {line}", line.len());
        }
    }
}

/// Lines of the log about `subject` with the event `message`, and how many it says were held back.
fn logged(lines: &[Line], message: &str, subject: &str) -> (usize, u64) {
    let of_subject = |line: &&Line| {
        line.field("reason")
            .is_none_or(|reason| format!("closed {reason}") == subject)
    };
    let shown = lines
        .iter()
        .filter(|line| line.message() == message)
        .filter(of_subject)
        .count();
    let held_back = lines.iter().filter(|line| {
        line.message() == "held back" && line.field("subject").as_deref() == Some(subject)
    });
    (shown, held_back.map(|line| line.number("more")).sum())
}

#[test]
fn a_flood_of_garbage_is_bounded_in_the_log_and_counted() {
    for (program, first_lines, reason) in [
        (Program::Ping, &[&b"*1\r\n$"[..]][..], "protocol_error"),
        (Program::Hostile, &QUOTED[..1], "handler_failed"),
    ] {
        let (log, taken) = flooded(program, "json", first_lines);
        let log = Log::collect(std::io::Cursor::new(log));
        log.wait_end(BOUND);
        let lines = log.lines();
        let counts = tests::Counts::from(
            lines
                .iter()
                .find(|line| line.message() == "drained")
                .unwrap(),
        );
        assert!(counts.of(reason) >= 1000, "{counts:?}");
        let intervals = taken.as_millis() as usize / 875 + 2;
        let subject = format!("closed {reason}");
        let (shown, held_back) = logged(&lines, "closed", &subject);
        assert!(
            shown > 0 && shown <= LINES_MAX * intervals,
            "{shown} lines in {taken:?}"
        );
        assert_eq!(
            shown as u64 + held_back,
            counts.of(reason),
            "shown and held back"
        );
        if program == Program::Hostile {
            let (shown, held_back) = logged(&lines, "the handler failed", "handler failed");
            assert!(
                shown > 0 && shown <= LINES_MAX * intervals,
                "{shown} lines in {taken:?}"
            );
            assert_eq!(
                shown as u64 + held_back,
                counts.of(reason),
                "shown and held back"
            );
        }
    }
}

#[test]
fn what_was_held_back_is_told_though_nothing_more_happens() {
    const CLOSED: u64 = 50;
    let server = Launch::echo()
        .set("server.shards=1")
        .set("log.level=\"debug\"")
        .set("log.lines_per_reason_max=3")
        .start();
    (0..CLOSED).for_each(|_| server.connect().reset());
    let of_resets = |line: &Line| line.field("subject").as_deref() == Some("closed peer_reset");
    let told = server.wait_for_line(0, BOUND, "held back", |line| {
        line.message() == "held back" && of_resets(line)
    });
    assert_eq!(told.level(), "DEBUG");
    let counts = server.stop();
    assert_eq!(counts.of("peer_reset"), CLOSED);
}

#[test]
fn an_outbound_connection_says_why_it_ended() {
    let echo = Launch::echo().start();
    let proxy = Launch::proxy(echo.addr()).debug().start();
    let mut client = proxy.connect();
    client.send(b"hello");
    assert_eq!(client.receive(5), b"hello");
    drop(client);
    let ended = proxy.wait_for_log("outbound connection closed", BOUND);
    assert_eq!(ended.field("reason").as_deref(), Some("peer_closed"));
    assert_eq!(ended.field("error"), None);
    proxy.stop();
}

#[test]
fn a_connect_that_failed_says_its_error() {
    // A port that is taken, or the proxy might get it, and at which nobody listens.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    taken.bind(&any.into()).unwrap();
    let address = taken.local_addr().unwrap().as_socket().unwrap();
    let proxy = Launch::proxy(address).debug().start();
    // The proxy may have reset it before it is connected.
    drop(connect(proxy.addr()));
    let ended = proxy.wait_for_log("outbound connection closed", BOUND);
    let error = ended.field("error").unwrap();
    assert!(error.contains("refused"), "{error}");
    assert_eq!(ended.field("reason"), None, "it never was a connection");
    proxy.stop();
}

#[test]
fn what_is_not_logged_is_not_held_back() {
    let server = Launch::echo()
        .set("server.shards=1")
        .set("log.stats_interval=\"1s\"")
        .start();
    (0..100).for_each(|_| server.connect().reset());
    let closed = |line: &Line| line.message() == "stats" && line.number("closed") == 100;
    let stats = server.wait_for_line(0, BOUND, "stats with all closes", closed);
    assert_eq!(stats.field("log_lines_held_back"), None, "{}", stats.text);
    server.stop();
}
