//! No shard sleeps while there is something to do for it, however oddly the machine gives it time.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Client, Launch, Random};

const CLIENTS: usize = 24;
const LOAD: Duration = Duration::from_secs(8);
/// Longest time for which a process is stopped, and for which it runs then.
const STOPPED_MAX: usize = 6000;
const RUNNING_MAX: usize = 12_000;

/// Stops the process again and again for a moment, until told that it is over.
fn stop_and_continue(process: Pid, over: &AtomicBool) {
    let mut random = Random::new();
    let mut stops = 0;
    while !over.load(Ordering::Relaxed) {
        kill_process(process, Signal::STOP).unwrap();
        thread::sleep(Duration::from_micros(random.below(STOPPED_MAX) as u64));
        kill_process(process, Signal::CONT).unwrap();
        thread::sleep(Duration::from_micros(random.below(RUNNING_MAX) as u64));
        stops += 1;
    }
    assert!(stops > 100, "only {stops} stops");
}

/// Asks until `until`, with pauses in which a shard may go to rest. An answer that does not come within ten seconds fails it.
fn ask(address: SocketAddr, seed: usize, until: Instant) -> usize {
    let mut client = Client::connect(address);
    let mut random = Random::new();
    let mut asked = 0;
    while Instant::now() < until {
        let line = format!("client {seed} request {asked}\n");
        client.ask(line.as_bytes(), line.as_bytes());
        if random.below(8) == 0 {
            thread::sleep(Duration::from_micros(random.below(8000) as u64));
        }
        asked += 1;
    }
    asked
}

/// Both are shards: the server, and the one in between, which is its client.
#[test]
fn processes_that_are_stopped_and_continued_under_load_leave_no_shard_asleep() {
    let server = Launch::ping().alone().start();
    let client =
        Launch::relay(server.addr()).set("upstream.next.request_timeout=\"1m\"").set("upstream.next.connect_timeout=\"1m\"").start();
    let (address, over) = (client.addr(), AtomicBool::new(false));
    let asked: usize = thread::scope(|scope| {
        let processes = [&server, &client].map(|server| Pid::from_raw(server.pid() as i32).unwrap());
        let stoppers = processes.map(|process| {
            scope.spawn({
                let over = &over;
                move || stop_and_continue(process, over)
            })
        });
        let until = Instant::now() + LOAD;
        let askers: Vec<_> = (0..CLIENTS).map(|seed| scope.spawn(move || ask(address, seed, until))).collect();
        let asked: Vec<_> = askers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        stoppers.into_iter().for_each(|stopper| stopper.join().unwrap());
        asked.into_iter().map(Result::unwrap).sum()
    });
    println!("{asked} requests");
    client.stop();
    server.stop();
}
