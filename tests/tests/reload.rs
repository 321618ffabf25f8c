//! Reload: settings change while the server serves, all of them or none, and nobody is lost.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use corelane::{Conn, Error, Handler, ReloadError, Server as Embedded, Settings, ShardContext};
use rustix::process::Signal;
use tests::{BOUND, Client, Launch, Line, Random, Server, within};

/// A server with a settings file of its own.
struct Reloading {
    server: Server,
    file: PathBuf,
}

/// What the log says of a reload.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// `section.key OLD -> NEW`, each.
    Changed(BTreeSet<String>),
    /// What is wrong, each.
    Refused(BTreeSet<String>),
}

impl Outcome {
    fn changed(changes: &[&str]) -> Self {
        Self::Changed(changes.iter().map(|change| (*change).to_owned()).collect())
    }

    fn refused(self) -> Vec<String> {
        match self {
            Self::Refused(problems) => problems.into_iter().collect(),
            Self::Changed(changes) => panic!("it was carried out: {changes:?}"),
        }
    }
}

impl Reloading {
    fn start(launch: Launch, text: &str) -> Self {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("reload-{}-{number}.toml", std::process::id());
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&file, text).unwrap();
        let server = launch.argument(file.to_str().unwrap()).start();
        Self { server, file }
    }

    fn reload(&self, text: &str) -> Outcome {
        fs::write(&self.file, text).unwrap();
        self.hang_up()
    }

    fn hang_up(&self) -> Outcome {
        let from = self.server.log().lines().len();
        self.server.signal(Signal::HUP);
        let tells = |line: &Line| ["reloaded", "reload refused"].contains(&line.message());
        let first = self
            .server
            .wait_for_line(from, BOUND, "the end of a reload", tells);
        let lines = within(BOUND, "a line for each", || {
            let lines = self.server.log().lines().split_off(from);
            let lines: Vec<Line> = lines.into_iter().filter(tells).collect();
            (lines.len() as u64 == first.number("count").max(1)).then_some(lines)
        });
        let told = |field| lines.iter().filter_map(|line| line.field(field)).collect();
        match first.message() {
            "reloaded" => Outcome::Changed(told("change")),
            _ => Outcome::Refused(told("problem")),
        }
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.file));
    }
}

#[test]
fn a_timeout_changes_for_whoever_is_connected() {
    let reloading = Reloading::start(Launch::echo().debug(), "[timeouts]\nidle = '60s'\n");
    let server = &reloading.server;
    let (mut first, mut second) = (server.connect(), server.connect());
    first.ask(b"one", b"one");
    second.ask(b"two", b"two");
    let changed = reloading.reload("[timeouts]\nidle = '500ms'\n");
    assert_eq!(
        changed,
        Outcome::changed(&["timeouts.idle \"1m\" -> \"500ms\""])
    );
    first.expect_eof();
    second.expect_eof();
    server.wait_for_closed("idle_timeout", 2);
    let mut third = server.connect();
    third.ask(b"three", b"three");
    reloading.reload("[timeouts]\nidle = '60s'\n");
    assert!(third.is_silent_for(Duration::from_millis(1500)));
    third.ask(b"three", b"three");
}

#[test]
fn a_cap_that_comes_counts_those_who_are_there() {
    let refuse = "[limits]\non_full = 'refuse'\nrefuse_with = 'no'\n";
    let reloading = Reloading::start(Launch::echo().set("server.shards=1"), refuse);
    let mut clients = [(); 3].map(|()| reloading.server.connect());
    let echo = |client: &mut Client| client.ask(b"here", b"here");
    clients.iter_mut().for_each(echo);
    let capped = format!("{refuse}connections_per_address_max = 3\n");
    reloading.reload(&capped);
    let mut refused = reloading.server.connect();
    assert_eq!(refused.receive_all().0, b"no");
    clients.iter_mut().for_each(echo);
    reloading.reload(refuse);
    echo(&mut reloading.server.connect());
}

#[test]
fn arguments_win_over_the_file_that_is_read_again() {
    let launch = Launch::echo().set("timeouts.idle=\"9s\"");
    let reloading = Reloading::start(launch, "");
    let changed = reloading.reload("[timeouts]\nidle = '8s'\nread = '8s'\n");
    assert_eq!(
        changed,
        Outcome::changed(&["timeouts.read \"30s\" -> \"8s\""])
    );
}

#[test]
fn one_bad_key_refuses_all() {
    let reloading = Reloading::start(Launch::echo(), "");
    let mut client = reloading.server.connect();
    let bad = "[timeouts]\nidle = '1s'\nread = 'soon'\n[limits]\nwatchdogs = 1\n";
    let problems = reloading.reload(bad).refused();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains(":3:8: timeouts.read"))
    );
    assert!(problems.iter().any(|problem| problem.contains("watchdogs")));
    // As it was: from there the next one goes on.
    let changed = reloading.reload("[timeouts]\nidle = '2m'\n");
    assert_eq!(
        changed,
        Outcome::changed(&["timeouts.idle \"5m\" -> \"2m\""])
    );
    client.ask(b"still here", b"still here");
}

#[test]
fn a_key_that_needs_a_restart_refuses_all_and_is_named() {
    let reloading = Reloading::start(Launch::echo().set("server.shards=1"), "");
    let text = "[timeouts]\nidle = '1s'\n[limits]\nconnections_max = 77\n[buffers]\ncount = 512\n";
    assert_eq!(
        reloading.reload(text).refused(),
        [
            "needs a restart: buffers.count 4096 -> 512",
            "needs a restart: limits.connections_max 0 -> 77",
        ]
    );
    assert_eq!(reloading.reload(""), Outcome::changed(&[]));
}

#[test]
fn a_file_that_cannot_be_read_changes_nothing() {
    let reloading = Reloading::start(Launch::echo(), "[timeouts]\nidle = '1m'\n");
    let path = &reloading.file;
    let replace = |by: &str, command: &[&str]| {
        fs::remove_file(path).unwrap();
        if let [program, arguments @ ..] = command {
            let made = Command::new(program).args(arguments).arg(path).status();
            assert!(made.unwrap().success());
        }
        let problems = reloading.hang_up().refused();
        assert!(problems[0].contains(by), "{problems:?}");
    };
    replace("cannot be read", &[]);
    fs::write(path, "").unwrap();
    replace("no regular file", &["mkfifo"]);
    let not_text = [b"# \xff\n".as_slice(), b"[timeouts]\nidle = '1s'\n"].concat();
    fs::remove_file(path).unwrap();
    fs::write(path, not_text).unwrap();
    assert!(reloading.hang_up().refused()[0].contains("not UTF-8"));
    assert_eq!(
        reloading.reload("[timeouts]\nidle = '1m'\n"),
        Outcome::changed(&[])
    );
}

#[test]
fn a_server_that_drains_takes_no_other_settings() {
    let slow = "[timeouts]\ndrain_quiet = '5s'\n";
    let mut reloading = Reloading::start(Launch::echo(), slow);
    let mut client = reloading.server.connect();
    client.ask(b"here", b"here");
    reloading.server.signal(Signal::TERM);
    reloading.server.wait_for_log("draining", BOUND);
    let problems = reloading.reload("[timeouts]\nidle = '1s'\n").refused();
    assert_eq!(problems, ["the server drains"]);
    drop(client);
    assert_eq!(reloading.server.wait_exit(BOUND), Some(0));
}

#[test]
fn without_a_file_or_under_nohup_a_hangup_changes_nothing() {
    let server = Launch::echo().start();
    server.signal(Signal::HUP);
    let line = server.wait_for_log("reload refused", BOUND);
    assert!(line.text.contains("nothing to read again"), "{}", line.text);
    server.connect().ask(b"still here", b"still here");
    server.stop();

    let launch = Launch::echo().after("trap '' HUP");
    let mut reloading = Reloading::start(launch, "");
    fs::write(&reloading.file, "[timeouts]\nidle = '1s'\n").unwrap();
    reloading.server.signal(Signal::HUP);
    reloading.server.connect().ask(b"still here", b"still here");
    reloading.server.signal(Signal::TERM);
    assert_eq!(reloading.server.wait_exit(BOUND), Some(0));
    let lines = reloading.server.log().lines();
    assert!(
        lines
            .iter()
            .all(|line| !line.message().starts_with("reload"))
    );
}

#[test]
fn an_application_takes_the_keys_that_it_says_it_does() {
    let reloading = Reloading::start(Launch::ping(), "[app]\nbulk_max = 64\n");
    let long = "x".repeat(100);
    let request = format!("*2\r\n$4\r\nECHO\r\n$100\r\n{long}\r\n");
    let mut refused = reloading.server.connect();
    refused.send(request.as_bytes());
    assert!(refused.receive_all().0.starts_with(b"-ERR Protocol error"));
    let changed = reloading.reload("[app]\nbulk_max = 128\n");
    assert_eq!(changed, Outcome::changed(&["app.bulk_max 64 -> 128"]));
    let reply = format!("$100\r\n{long}\r\n");
    let mut client = reloading.server.connect();
    client.ask(request.as_bytes(), reply.as_bytes());

    let reloading = Reloading::start(Launch::worker(), "");
    let problems = reloading.reload("[app]\ntakes_ms = 1\n").refused();
    assert_eq!(problems, ["needs a restart: app.takes_ms 0 -> 1"]);
}

#[test]
fn an_upstream_moves() {
    let upstreams = [(); 2].map(|()| Launch::ping().start());
    let section = |upstream: &Server| format!("[upstream.next]\naddr = '{}'\n", upstream.addr());
    let [before, after] = upstreams;
    let reloading = Reloading::start(Launch::ping(), &section(&before));
    let mut client = reloading.server.connect();
    let mut ask = || {
        client.send(b"PING\r\n");
        client.receive_line()
    };
    assert!(ask().starts_with("+PONG"));
    reloading.reload(&section(&after));
    assert_eq!(
        before.stop().of("peer_closed"),
        1,
        "the idle one was closed"
    );
    assert!(ask().starts_with("+PONG"));
    drop(reloading);
    after.stop();
}

#[test]
fn the_level_of_the_log_changes() {
    let mut reloading = Reloading::start(Launch::echo(), "");
    reloading.reload("[log]\nlevel = 'debug'\n");
    drop(reloading.server.connect());
    reloading.server.wait_for_log("closed", BOUND);
    let from = reloading.server.log().lines().len();
    reloading.reload("[log]\nlevel = 'info'\n");
    drop(reloading.server.connect());
    reloading.server.signal(Signal::TERM);
    assert_eq!(reloading.server.wait_exit(BOUND), Some(0));
    let lines = &reloading.server.log().lines()[from..];
    assert!(lines.iter().all(|line| line.message() != "closed"));
}

// ---- by the program around a server ----

struct Echo;

impl Handler for Echo {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(bytes) = conn.read().await? {
            conn.write(bytes).await?;
        }
        Ok(())
    }
}

#[test]
fn of_two_at_once_one_comes_after_the_other() {
    const THREADS: u64 = 4;
    const RELOADS: u64 = 50;
    let settings = Settings::new()
        .set("server.shards", 2)
        .set("limits.connections_max", 8);
    let server = Embedded::builder()
        .settings(settings.clone())
        .handler(|_shard: &ShardContext| Echo);
    let handle = server.bind().unwrap().spawn().unwrap();
    let told = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (handle, settings, told) = (&handle, &settings, &told);
            scope.spawn(move || {
                for number in 0..RELOADS {
                    let idle = Duration::from_secs(1000 + thread * RELOADS + number);
                    let changes = handle.reload(settings.clone().set("timeouts.idle", idle));
                    let [change] = &changes.unwrap()[..] else {
                        panic!("one key differs from all others");
                    };
                    let values = (change.old.clone().unwrap(), change.new.clone().unwrap());
                    told.lock().unwrap().push(values);
                }
            });
        }
    });
    // Each goes on from where another has come to: one chain through all of them.
    let mut next: BTreeMap<String, String> = told.into_inner().unwrap().into_iter().collect();
    let mut at = "\"5m\"".to_owned();
    for _ in 0..THREADS * RELOADS {
        at = next
            .remove(&at)
            .unwrap_or_else(|| panic!("nothing follows on {at}"));
    }
    assert!(next.is_empty());
    let wider = settings.set("limits.connections_max", 9);
    assert!(matches!(handle.reload(wider), Err(ReloadError::Refused(_))));
    handle.drain();
    handle.join().outcome.unwrap();
}

// ---- random files ----

/// Keys with values that disturb nobody who speaks all the time, or need a restart, or are wrong.
const KEYS: [(&str, &[&str]); 44] = [
    ("timeouts.first_byte", &["'30s'", "'1m'", "'off'"]),
    ("timeouts.read", &["'30s'", "'40s'", "'off'", "'1ms'"]),
    ("timeouts.request", &["'off'", "'20s'", "'1h'"]),
    ("timeouts.write", &["'30s'", "'25s'", "'off'"]),
    ("timeouts.idle", &["'5m'", "'1m'", "'off'", "'later'"]),
    ("timeouts.lifetime", &["'off'", "'1d'", "'20s'"]),
    ("timeouts.overload", &["'1s'", "'2s'", "'off'"]),
    ("timeouts.drain", &["'10s'", "'9s'"]),
    ("timeouts.drain_quiet", &["'250ms'", "'300ms'"]),
    ("timeouts.restart", &["'30s'", "'1m'"]),
    ("timeouts.close", &["'2s'", "'3s'", "0"]),
    ("timeouts.reclaim", &["'250ms'", "'1s'"]),
    ("timeouts.accept_pause_min", &["'100ms'", "'2s'"]),
    ("timeouts.accept_pause_max", &["'1600ms'", "'5s'"]),
    ("limits.recv_queue_max", &["8", "1", "64", "100000"]),
    (
        "limits.write_queue_max",
        &["262144", "65536", "1048576", "1"],
    ),
    ("limits.receive_rate_min", &["0", "1"]),
    ("limits.send_rate_min", &["0", "1"]),
    ("limits.rate_window", &["'10s'", "'1s'"]),
    ("limits.gather_completions_max", &["8", "1", "9"]),
    ("limits.reads_per_turn_max", &["128", "1"]),
    ("limits.expired_per_turn_max", &["4", "100"]),
    ("limits.overloaded_per_look_max", &["256", "1"]),
    ("limits.watchdog", &["'100ms'", "'1s'", "'off'"]),
    ("limits.unready_after", &["'1s'", "'5s'", "'off'"]),
    ("limits.on_full", &["'wait'", "'refuse'", "'panic'"]),
    ("limits.refuse_with", &["''", "'full, \"alas\"'"]),
    ("limits.connections_per_address_max", &["0", "100"]),
    ("limits.address_prefix_v6", &["64", "48", "0"]),
    ("limits.accepts_per_second_max", &["0", "1000"]),
    ("limits.accepts_burst_max", &["0", "10"]),
    ("limits.connections_max", &["1000", "2000"]),
    ("limits.reclaim", &["false", "true", "'no'"]),
    ("limits.accepts_in_flight_max", &["16", "8"]),
    ("limits.turn_completions_max", &["1024", "64"]),
    ("log.stats_interval", &["'0s'", "'1s'"]),
    ("log.lines_per_reason_max", &["10", "1"]),
    ("mailbox.messages_per_turn_max", &["1024", "1"]),
    ("mailbox.capacity", &["1024", "64"]),
    ("topic.deliveries_per_turn_max", &["512", "1"]),
    ("buffers.count", &["4096", "1024"]),
    ("server.shards", &["2", "3"]),
    ("upstream.one.idle_max", &["8", "1", "9"]),
    ("upstream.one.addr", &["'127.0.0.1:1'", "'127.0.0.1:2'"]),
];
/// Keys of [`KEYS`] that a file changes at most.
const CHANGES_MAX: usize = 6;

/// Each key with its value, in TOML.
type Values = BTreeMap<String, String>;

/// What the server itself makes of a file; none: it is wrong.
fn values(file: &str) -> Option<Values> {
    let exit = Launch::bare(tests::Program::Echo)
        .set("server.listen=\"127.0.0.1:0\"")
        .argument(file)
        .argument("--print-config")
        .run();
    if exit.code != Some(0) {
        return None;
    }
    let mut values = Values::new();
    let mut section = "";
    for line in exit.stdout.lines() {
        match line.split_once(" = ") {
            Some((key, value)) => {
                values.insert(format!("{section}.{key}"), value.to_owned());
            }
            None => section = line.trim_matches(['[', ']']),
        }
    }
    Some(values)
}

/// The keys that docs/settings.md says need a restart.
fn need_restart() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
    let text = fs::read_to_string(path).unwrap();
    let keys = text.split("\n### ").skip(1);
    let keys = keys.filter(|key| key.contains("\n- Change: needs a restart."));
    let names = keys.map(|key| key.lines().next().unwrap());
    names.map(|name| name.replace(".NAME.", ".one.")).collect()
}

fn random_file(random: &mut Random, valid: &BTreeMap<&str, &str>) -> String {
    let mut chosen = valid.clone();
    for _ in 0..random.below(CHANGES_MAX) {
        let (key, choices) = KEYS[random.below(KEYS.len())];
        chosen.insert(key, choices[random.below(choices.len())]);
    }
    let lines = chosen
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"));
    let mut text: String = lines.collect();
    if random.below(10) == 0 {
        text.truncate(random.below(text.len())); // as an editor leaves it that is writing it
    }
    text
}

/// What must come of a reload from `before` to `after`. A section neither comes nor goes.
fn expected(before: &Values, after: &Values, restart: &BTreeSet<String>) -> Outcome {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let (mut changes, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for key in keys {
        let values = [before, after].map(|values| values.get(key));
        let [old, new] = values.map(|value| value.map_or("not set", String::as_str));
        if old == new {
            continue;
        }
        let change = format!("{key} {old} -> {new}");
        if restart.contains(key) || values.contains(&None) {
            refused.insert(format!("needs a restart: {change}"));
        } else {
            changes.insert(change);
        }
    }
    if refused.is_empty() {
        Outcome::Changed(changes)
    } else {
        Outcome::Refused(refused)
    }
}

/// `CORELANE_TESTS_RELOADS` says how many; 100 unless it does.
#[test]
fn random_files_under_load_are_taken_whole_or_not_at_all_and_nobody_is_lost() {
    const CLIENTS: usize = 8;
    let reloads = env::var("CORELANE_TESTS_RELOADS").ok();
    let reloads: u32 = reloads.map_or(100, |text| text.parse().unwrap());
    let (mut random, restart) = (Random::new(), need_restart());
    let mut valid: BTreeMap<&str, &str> =
        KEYS.iter().map(|(key, values)| (*key, values[0])).collect();
    valid.insert("limits.on_full", "'refuse'"); // with spare places from the start
    let text = |valid: &BTreeMap<&str, &str>| -> String {
        let lines = valid
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"));
        lines.collect()
    };
    let mut reloading = Reloading::start(Launch::echo(), &text(&valid));
    let file = reloading.file.to_str().unwrap().to_owned();
    let mut in_force = values(&file).unwrap();
    let (mut taken, mut refused) = (0, 0);
    let over = Arc::<AtomicBool>::default();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (address, over) = (reloading.server.addr(), Arc::clone(&over));
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while !over.load(Ordering::Relaxed) {
                    client.ask(&[b'x'; 2000], &[b'x'; 2000]);
                }
            });
        }
        let _over = Over(&over);
        for number in 0..reloads {
            let text = random_file(&mut random, &valid);
            let outcome = reloading.reload(&text);
            let Some(after) = values(&file) else {
                assert!(
                    matches!(outcome, Outcome::Refused(_)),
                    "{number}: {outcome:?}\n{text}"
                );
                refused += 1;
                continue;
            };
            let expected = expected(&in_force, &after, &restart);
            assert_eq!(outcome, expected, "{number}:\n{text}");
            match outcome {
                Outcome::Changed(_) => {
                    in_force = after;
                    taken += 1;
                }
                Outcome::Refused(_) => refused += 1,
            }
        }
    });
    println!("{taken} taken, {refused} refused");
    assert!(taken > reloads / 20 && refused > reloads / 20);
    reloading.server.signal(Signal::TERM);
    assert_eq!(reloading.server.wait_exit(2 * BOUND), Some(0));
    let counts = reloading.server.counts();
    counts.assert_balanced();
    assert_eq!(counts.of("peer_closed"), CLIENTS as u64, "{counts:?}");
}

/// Ends the load, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
