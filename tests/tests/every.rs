//! Tickers of many connections and tasks, in servers embedded here: their ticks are spread, a stop
//! of their shard does not make them fall together, and they take little memory.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::future::pending;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{Conn, Error, Handler, Server, ServerHandle, Settings, ShardContext, every, spawn};
use futures_lite::future::{or, yield_now};
use tests::{alone, raise_descriptor_limit, resident_bytes, skip};

const PATIENCE: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_secs(1);
/// Of those that are due together a turn wakes no more: see [`corelane::Every`].
const TICKS_PER_TURN_MAX: u64 = 64;

fn serve<H: Handler>(
    connections: u32,
    factory: impl Fn() -> H + Send + Sync + 'static,
) -> ServerHandle {
    let settings = Settings::new()
        .set("server.shards", 1)
        .set("limits.connections_max", connections)
        .set("timeouts.first_byte", PATIENCE);
    let server = Server::builder()
        .settings(settings)
        .handler(move |_shard: &ShardContext| factory())
        .bind();
    let handle = server
        .unwrap_or_else(|error| panic!("{error}"))
        .spawn()
        .unwrap();
    handle.wait_ready().unwrap();
    handle
}

fn connect(server: &ServerHandle) -> TcpStream {
    let stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a byte and gives the number that comes back.
fn ask(stream: &mut TcpStream, what: u8) -> u64 {
    stream.write_all(&[what]).unwrap();
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> u64 {
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    u64::from_le_bytes(answer)
}

fn end(handle: ServerHandle) {
    handle.drain();
    assert_eq!(handle.join().outcome, Ok(()));
}

/// Sends each peer a heartbeat, and writes down when.
struct Heartbeats(Arc<Mutex<Vec<Instant>>>);

impl Handler for Heartbeats {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut heartbeat = conn.every(PERIOD);
        loop {
            let input = async { Some(conn.read().await) };
            let tick = async {
                heartbeat.tick().await;
                None
            };
            match or(input, tick).await {
                Some(input) => {
                    if input?.is_none() {
                        return Ok(());
                    }
                }
                None => {
                    self.0.lock().unwrap().push(Instant::now());
                    conn.write(".").await?;
                }
            }
        }
    }
}

/// How many of the ticks fell in each twentieth of each of the periods from `begun` on.
fn by_part(ticks: &[Instant], begun: Instant, periods: usize) -> Vec<[usize; 20]> {
    let mut counts = vec![[0; 20]; periods];
    for tick in ticks.iter().filter(|tick| **tick >= begun) {
        let part = ((*tick - begun).as_nanos() * 20 / PERIOD.as_nanos()) as usize;
        if part < 20 * periods {
            counts[part / 20][part % 20] += 1;
        }
    }
    counts
}

/// Fault 64. Of each twentieth of the period the median of several counts, so that a machine that
/// was busy with something else now and then is no matter.
#[test]
fn the_heartbeats_of_thousands_that_come_together_are_even_over_the_period() {
    const COUNT: usize = 2000;
    const PERIODS: usize = 5;
    let _turn = alone();
    let _limit = raise_descriptor_limit();
    let ticks = Arc::<Mutex<Vec<Instant>>>::default();
    let kept = Arc::clone(&ticks);
    let server = serve(COUNT as u32, move || Heartbeats(Arc::clone(&kept)));
    let mut peers: Vec<TcpStream> = (0..COUNT).map(|_| connect(&server)).collect();
    for peer in &mut peers {
        peer.read_exact(&mut [0]).unwrap(); // it is served
    }
    let begun = Instant::now();
    thread::sleep(PERIOD * (PERIODS as u32) + PERIOD / 4);
    let counts = by_part(&ticks.lock().unwrap(), begun, PERIODS);
    for part in 0..20 {
        let mut of_part: Vec<usize> = counts.iter().map(|period| period[part]).collect();
        of_part.sort_unstable();
        let median = of_part[PERIODS / 2];
        let even = COUNT / 20;
        assert!((even / 2..=even * 2).contains(&median), "{counts:?}");
    }
    let total: usize = counts.iter().flatten().sum();
    assert!(total >= COUNT * (PERIODS - 1), "{total} ticks: {counts:?}");
    drop(peers);
    end(server);
}

/// Ticks of tasks beside the connections, counted.
struct Ticking {
    count: u64,
    ticks: Rc<Cell<u64>>,
    /// Where the shard and the test meet when it begins to stand still, and when it goes on.
    stop: Arc<Barrier>,
}

impl Ticking {
    /// Stands still until told to go on, and then sees how many tick between two turns of its own.
    async fn stop(&self) -> u64 {
        self.stop.wait();
        self.stop.wait();
        self.ticks.set(0);
        let (mut before, mut most) = (0, 0);
        while self.ticks.get() < self.count {
            yield_now().await;
            most = most.max(self.ticks.get() - before);
            before = self.ticks.get();
        }
        most
    }
}

impl Handler for Ticking {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(asked) = conn.read().await? {
            let answer = match asked[0] {
                b's' => self.stop().await,
                _ => self.ticks.get(),
            };
            conn.write(&answer.to_le_bytes()).await?;
        }
        Ok(())
    }

    fn on_start(&self, _shard: &ShardContext) {
        for _ in 0..self.count {
            let ticks = Rc::clone(&self.ticks);
            let tick = async move {
                let mut every = every(PERIOD);
                loop {
                    every.tick().await;
                    ticks.set(ticks.get() + 1);
                }
            };
            drop(spawn(tick).unwrap());
        }
    }
}

/// Fault 64.
#[test]
fn after_a_stop_of_the_shard_no_turn_wakes_more_than_it_may_and_others_are_answered_between() {
    const COUNT: u64 = 2000;
    let _turn = alone();
    let stop = Arc::new(Barrier::new(2));
    let kept = Arc::clone(&stop);
    let server = serve(8, move || Ticking {
        count: COUNT,
        ticks: Rc::default(),
        stop: Arc::clone(&kept),
    });
    let (mut stopper, mut other) = (connect(&server), connect(&server));
    ask(&mut stopper, b'?');
    ask(&mut other, b'?');
    let stopped = thread::spawn(move || ask(&mut stopper, b's'));
    stop.wait();
    other.write_all(b"?").unwrap();
    thread::sleep(PERIOD + PERIOD / 5);
    stop.wait();
    let ticked_before = answer(&mut other);
    let most = stopped.join().unwrap();
    assert!(most > 1, "they were not due together");
    assert!(most <= TICKS_PER_TURN_MAX, "{most} ticks in one turn");
    assert!(
        ticked_before <= 2 * TICKS_PER_TURN_MAX,
        "answered after {ticked_before} ticks"
    );
    end(server);
}

/// Spawns a hundred thousand tasks that wait for a tick of theirs or, to compare, do not wait.
struct Hoard;

impl Handler for Hoard {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(asked) = conn.read().await? {
            let waits = asked[0] == b'w';
            for _batch in 0..100 {
                for _ in 0..1000 {
                    let task = async move {
                        let mut hourly = every(Duration::from_secs(3600));
                        if !waits {
                            pending::<()>().await;
                        }
                        hourly.tick().await;
                    };
                    drop(spawn(task)?);
                }
                yield_now().await; // and they are polled
            }
            conn.write(&100_000_u64.to_le_bytes()).await?;
        }
        Ok(())
    }
}

#[test]
fn a_ticker_that_waits_takes_48_bytes_at_most() {
    if std::env::var_os("ASAN_OPTIONS").is_some() {
        skip!("AddressSanitizer keeps memory of its own beside every byte");
    }
    let _turn = alone();
    let server = serve(8, || Hoard);
    let mut client = connect(&server);
    let resident = || resident_bytes(std::process::id());
    let mut grown = |what| {
        let before = resident();
        ask(&mut client, what);
        resident().saturating_sub(before)
    };
    let (bare, waiting) = (grown(b'b'), grown(b'w'));
    println!("100 000 tasks: {bare} bytes; that wait for a tick: {waiting}");
    let each = waiting.saturating_sub(bare) / 100_000;
    assert!((8..=48).contains(&each), "{each} bytes a ticker");
    drop(client);
    end(server);
}
