//! Latencies of one connection while others are rude, set beside those of a quiet phase of the same
//! run.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::load::{start_apart, yield_to_others};
use crate::{Client, Launch, Server};

/// How many times the quiet phase's p99 a connection may come to.
const TIMES_MAX: u32 = 3;
/// A quiet p99 below this counts as this: a shard with much to do is not the only one that wants
/// the core, and has to let others at it.
const FLOOR: Duration = Duration::from_millis(5);
/// A quiet median below this counts as this: what it costs to wake a shard, not what it has to do,
/// is most of it.
const FLOOR_USUAL: Duration = Duration::from_micros(200);

/// The time that 99 of 100 questions stay within.
///
/// # Panics
/// When nothing was asked.
#[must_use]
pub fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() * 99).div_ceil(100) - 1]
}

/// How long each of `count` questions took.
pub fn time(count: usize, mut ask: impl FnMut()) -> Vec<Duration> {
    let once = |_| {
        let start = Instant::now();
        ask();
        start.elapsed()
    };
    (0..count).map(once).collect()
}

/// Fails the test unless the p99 of `loaded` is within three times that of `quiet`.
///
/// # Panics
/// When it is not.
pub fn assert_kept(quiet: Vec<Duration>, loaded: Vec<Duration>) {
    let (quiet, loaded) = (p99(quiet), p99(loaded));
    println!("p99 {quiet:?} quiet, {loaded:?} loaded");
    assert!(
        loaded <= most(quiet, FLOOR),
        "p99 {loaded:?}, more than {TIMES_MAX} times the {quiet:?} of the quiet phase"
    );
}

/// Fails the test unless the median of `loaded` is within three times that of `quiet`.
///
/// # Panics
/// When it is not.
pub fn assert_usual_kept(quiet: &[Duration], loaded: &[Duration]) {
    let (quiet, loaded) = (median(quiet), median(loaded));
    println!("median {quiet:?} quiet, {loaded:?} loaded");
    assert!(
        loaded <= most(quiet, FLOOR_USUAL),
        "median {loaded:?}, more than {TIMES_MAX} times the {quiet:?} of the quiet phase"
    );
}

/// Fails the test unless a connection of ping keeps its latency, the usual and the longest, while
/// another of its shard sends `flood` again and again: quiet is while the flood goes to another
/// server. The shard has a core of its own, as far as there are two.
///
/// # Panics
/// When it does not, in none of three rounds: what the scheduler of a busy machine does to one is
/// not there three times.
pub fn assert_kept_beside(flood: Vec<u8>) {
    const ASKED: usize = 800;
    const ROUNDS: usize = 3;
    let elsewhere = Launch::ping().alone().set("server.shards=1").start();
    let server = start_apart(Launch::ping());
    let mut other = server.connect();
    let mut found = Vec::new();
    let holds = (0..ROUNDS).any(|_| {
        let [quiet, loaded] = [&elsewhere, &server].map(|target| {
            let hog = Hog::on(target, flood.clone());
            let times = time(ASKED, || other.ask(b"PING\r\n", b"+PONG\r\n"));
            hog.stop();
            times
        });
        let (usual, longest) = ([median(&quiet), median(&loaded)], [p99(quiet), p99(loaded)]);
        found.push((usual, longest));
        usual[1] <= most(usual[0], FLOOR_USUAL) && longest[1] <= most(longest[0], FLOOR)
    });
    println!("median and p99, quiet and beside the flood: {found:?}");
    assert!(
        holds,
        "median and p99, quiet and beside the flood: {found:?}"
    );
    drop(other);
    server.stop();
    elsewhere.stop();
}

/// How long it may take at most where it took `quiet` without load.
fn most(quiet: Duration, floor: Duration) -> Duration {
    quiet.max(floor) * TIMES_MAX * crate::slack()
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

/// A connection that sends the same bytes without end and takes whatever comes back. It loads the
/// machine alike whichever server it is let loose on, so that a quiet phase is one in which it is
/// busy with another server.
#[derive(Debug)]
pub struct Hog {
    client: Client,
    sender: JoinHandle<()>,
    /// Whether it came to the end of the stream.
    receiver: JoinHandle<bool>,
}

impl Hog {
    /// Sends `requests` to `server` again and again.
    ///
    /// # Panics
    /// When the connection cannot be shared with a thread.
    #[must_use]
    pub fn on(server: &Server, requests: Vec<u8>) -> Self {
        let mut client = server.connect();
        let mut writer = client.stream().try_clone().unwrap();
        let mut reader = client.stream().try_clone().unwrap();
        let sender = thread::spawn(move || {
            yield_to_others();
            while writer.write_all(&requests).is_ok() {}
        });
        let receiver = thread::spawn(move || {
            yield_to_others();
            let mut replies = vec![0; 1 << 20];
            loop {
                match reader.read(&mut replies) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        });
        Self {
            client,
            sender,
            receiver,
        }
    }

    /// Ends it, once the server has seen to all that it has sent.
    ///
    /// # Panics
    /// When one of its threads has, or the server does not close.
    pub fn stop(mut self) {
        assert!(!self.sender.is_finished(), "the server has ended it");
        self.client.stream().shutdown(Shutdown::Write).unwrap();
        self.sender.join().unwrap();
        assert!(self.receiver.join().unwrap(), "the server does not close");
    }
}
