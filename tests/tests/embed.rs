//! Servers inside a program: the builder, its handle, and what a handler is told beside its
//! connections.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use corelane::{
    Client, CloseReason, Conn, ConnInfo, Error, Handler, ProblemKind, Server, ServerError,
    ServerHandle, Settings, ShardContext,
};
use futures_lite::future::block_on;

const PATIENCE: Duration = Duration::from_secs(10);

fn settings(shards: u32) -> Settings {
    Settings::new()
        .set("server.shards", shards)
        .set("limits.connections_max", 64)
}

/// Answers every line with a word of its own, and writes down what it is told.
struct Witness {
    word: &'static str,
    told: Arc<Mutex<Vec<String>>>,
}

impl Witness {
    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }
}

impl Handler for Witness {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(100).await? {
            if &*line == b"fail" {
                return Err(Error::handler("on purpose"));
            }
            conn.write(self.word).await?;
        }
        Ok(())
    }

    fn on_start(&self, shard: &ShardContext) {
        self.tell(format!("start {}/{}", shard.id, shard.shards));
    }

    fn on_close(&self, conn: ConnInfo, reason: CloseReason) {
        self.tell(format!("close {} {reason}", conn.peer_addr));
        if self.word == "panics\n" {
            panic!("in on_close, on purpose");
        }
    }

    fn on_drain(&self) {
        self.tell("drain".to_owned());
    }
}

fn start(word: &'static str, shards: u32) -> (ServerHandle, Arc<Mutex<Vec<String>>>) {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&told);
    let factory = move |_shard: &ShardContext| Witness {
        word,
        told: Arc::clone(&kept),
    };
    let server = Server::builder()
        .settings(settings(shards))
        .handler(factory)
        .bind()
        .unwrap();
    let handle = server.spawn().unwrap();
    handle.wait_ready().unwrap();
    (handle, told)
}

fn ask(stream: &mut TcpStream, answer: &str) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"ask\n").unwrap();
    let mut got = vec![0; answer.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, answer.as_bytes());
}

fn connect(handle: &ServerHandle) -> TcpStream {
    TcpStream::connect(handle.local_addr()).unwrap()
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what} has not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_handler_is_told_of_start_ends_and_drain_once_each() {
    let (handle, told) = start("yes\n", 2);
    let mut client = connect(&handle);
    ask(&mut client, "yes\n");
    let polite = client.local_addr().unwrap();
    drop(client);
    wait_for("the first close", || handle.stats().closed_total() == 1);
    let mut client = connect(&handle);
    client.write_all(b"fail\n").unwrap();
    let failed = client.local_addr().unwrap();
    wait_for("the second close", || handle.stats().closed_total() == 2);
    let open = connect(&handle);
    wait_for("the third", || handle.stats().connections == 1);
    let last = open.local_addr().unwrap();
    handle.drain();
    drop(open);
    let ended = handle.join();
    assert_eq!(ended.outcome, Ok(()));
    assert_eq!((ended.stats.accepted, ended.stats.closed_total()), (3, 3));
    assert_eq!(ended.stats.closed(CloseReason::HandlerFailed), 1);
    let told = told.lock().unwrap();
    let count = |what: &str| told.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(
        (count("start 0/2"), count("start 1/2"), count("drain")),
        (1, 1, 2),
        "{told:?}"
    );
    assert!(
        told.contains(&format!("close {polite} peer_closed")),
        "{told:?}"
    );
    assert!(
        told.contains(&format!("close {failed} handler_failed")),
        "{told:?}"
    );
    assert_eq!(count(&format!("close {last} ")), 1, "{told:?}");
    assert_eq!((count("close"), count("start")), (3, 2), "{told:?}");
}

#[test]
fn a_hook_that_panics_harms_nobody() {
    let (handle, told) = start("panics\n", 1);
    let mut staying = connect(&handle);
    ask(&mut staying, "panics\n");
    for ends in 1..=3 {
        ask(&mut connect(&handle), "panics\n");
        wait_for("the end", || handle.stats().closed_total() == ends);
    }
    ask(&mut staying, "panics\n");
    handle.drain();
    drop(staying);
    assert_eq!(handle.join().outcome, Ok(()));
    let told = told.lock().unwrap();
    assert_eq!(
        told.iter().filter(|line| line.starts_with("close")).count(),
        4,
        "{told:?}"
    );
}

#[test]
fn servers_in_one_process_do_not_know_each_other() {
    let ((one, _), (two, _)) = (start("one\n", 1), start("two\n", 2));
    assert_ne!(one.local_addr(), two.local_addr());
    let (mut first, mut second) = (connect(&one), connect(&two));
    ask(&mut first, "one\n");
    ask(&mut second, "two\n");
    let address = one.local_addr();
    one.drain();
    drop(first);
    assert_eq!(one.join().outcome, Ok(()));
    assert!(
        TcpStream::connect(address).is_err(),
        "its port is free again"
    );
    ask(&mut second, "two\n");
    assert_eq!(two.shard_stats().len(), 2);
    two.drain();
    drop(second);
    assert_eq!(two.join().outcome, Ok(()));
}

#[test]
fn a_bound_server_has_its_address_and_serves_once_it_is_spawned() {
    let factory = |_shard: &ShardContext| Witness {
        word: "late\n",
        told: Arc::default(),
    };
    let bound = Server::builder()
        .settings(settings(1))
        .handler(factory)
        .bind()
        .unwrap();
    let address = bound.local_addr();
    assert_ne!(address.port(), 0);
    let mut early = TcpStream::connect(address).unwrap();
    let handle = bound.spawn().unwrap();
    block_on(handle.ready()).unwrap();
    ask(&mut early, "late\n");
    handle.drain();
    handle.drain();
    drop(early);
    assert_eq!(handle.join().outcome, Ok(()));
}

#[test]
fn every_problem_of_a_start_comes_with_its_remedy() {
    let factory = |_shard: &ShardContext| Witness {
        word: "",
        told: Arc::default(),
    };
    let wrong = Settings::new()
        .set("server.shard", 2)
        .set("timeouts.idle", "5 minutes");
    let error = Server::builder()
        .settings(wrong)
        .handler(factory)
        .bind()
        .unwrap_err();
    let problems = error.problems();
    assert_eq!(problems.len(), 2, "{error}");
    assert!(
        problems
            .iter()
            .all(|problem| problem.kind == ProblemKind::Settings)
    );
    assert!(
        problems[0]
            .remedy
            .as_ref()
            .unwrap()
            .contains("server.shards"),
        "{error}"
    );
    assert!(
        problems[1].remedy.as_ref().unwrap().contains("5m"),
        "{error}"
    );

    let taken = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let settings = settings(1).set("server.listen", taken.local_addr().unwrap());
    let error = Server::builder()
        .settings(settings)
        .handler(factory)
        .bind()
        .unwrap_err();
    let [problem] = error.problems() else {
        panic!("{error}")
    };
    assert_eq!(problem.kind, ProblemKind::Machine);
    assert!(
        problem.what.contains("cannot listen on") && problem.remedy.is_some(),
        "{error}"
    );
}

#[test]
fn a_factory_that_fails_or_panics_is_told_to_whoever_waits() {
    let fails = |shard: &ShardContext| match shard.id.0 {
        1 => Err("no table"),
        _ => Ok(Witness {
            word: "",
            told: Arc::default(),
        }),
    };
    let handle = Server::builder()
        .settings(settings(2))
        .handler(fails)
        .bind()
        .unwrap();
    let handle = handle.spawn().unwrap();
    let error = handle.wait_ready().unwrap_err();
    assert!(
        matches!(&error, ServerError::ShardNotStarted { shard, why } if shard.0 == 1 && why.contains("no table")),
        "{error}"
    );
    assert_eq!(block_on(handle.ready()), Err(error.clone()));
    assert_eq!(handle.join().outcome, Err(error));

    let panics = |_shard: &ShardContext| -> Witness { panic!("no memory") };
    let handle = Server::builder()
        .settings(settings(1))
        .handler(panics)
        .bind()
        .unwrap();
    let error = handle.spawn().unwrap().join().outcome.unwrap_err();
    assert!(error.to_string().contains("no memory"), "{error}");
}

/// The masks of signals that are caught and ignored (proc_pid_status(5)).
fn signal_masks() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let masks = status
        .lines()
        .filter(|line| line.starts_with("SigCgt") || line.starts_with("SigIgn"));
    masks.map(str::to_owned).collect()
}

#[test]
fn signals_and_log_stay_the_programs_own() {
    let before = signal_masks();
    let (handle, _) = start("quiet\n", 1);
    ask(&mut connect(&handle), "quiet\n");
    assert_eq!(signal_masks(), before);
    assert!(
        !tracing::dispatcher::has_been_set(),
        "a subscriber was installed"
    );
    handle.drain();
    assert_eq!(handle.join().outcome, Ok(()));
}

#[test]
fn a_client_has_settings_and_errors_of_the_same_kind() {
    let wrong = Settings::new().set("server.shards", "many");
    let error = Client::with_settings(&wrong, async |_| ()).unwrap_err();
    assert_eq!(error.problems()[0].kind, ProblemKind::Settings);
    let shards = Arc::<Mutex<Vec<u32>>>::default();
    let told = Arc::clone(&shards);
    let settings = Settings::new().set("server.shards", 2);
    let client = Client::with_settings(&settings, move |shard| {
        told.lock().unwrap().push(shard.id.0);
        async {}
    });
    client.unwrap().join().unwrap();
    let mut shards = shards.lock().unwrap().clone();
    shards.sort_unstable();
    assert_eq!(shards, [0, 1]);
}
