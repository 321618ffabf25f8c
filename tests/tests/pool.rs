//! A pool against a real Redis server, which is killed, paused and started again meanwhile. The
//! rules of a pool one by one: pool_rules.rs.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{Client, Conn, Connector, ShardContext, sleep, spawn};
use tests::{BOUND, Launch, Redis, Server, descriptors, needs, slack, within};

/// The upstream's connections in these tests, per shard.
const UPSTREAM_CONNECTIONS: u64 = 8;
/// Clients that ask without end.
const RESTLESS: u64 = 100;
/// So long without a failure is calm: clients that are refused ask every 5 ms.
const CALM: Duration = Duration::from_millis(100);
/// An upstream that is back must be found within this: half a second, on a machine that does nothing else.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// What the clients have seen so far.
#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    /// Clients that have ended.
    ended: AtomicU64,
    /// Requests that the relay gave up because it was told to.
    given_up: AtomicU64,
    /// The relay's words for failures, and how many there were of each.
    failures: Mutex<BTreeMap<String, u64>>,
    /// An answer that was another request's.
    crossed: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Seen {
    fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    fn failures(&self, beginning: &str) -> u64 {
        let failures = self.failures.lock().unwrap();
        failures
            .iter()
            .filter(|(failure, _)| failure.starts_with(beginning))
            .map(|(_, count)| count)
            .sum()
    }

    fn note(&self, request: &str, answer: &str) {
        if answer == request {
            self.answers.fetch_add(1, Ordering::Relaxed);
        } else if answer == "!given up"
            && ["hurry ", "abandon "]
                .iter()
                .any(|word| request.starts_with(word))
        {
            self.given_up.fetch_add(1, Ordering::Relaxed);
        } else if let Some(failure) = answer.strip_prefix("!upstream next: ") {
            *self
                .failures
                .lock()
                .unwrap()
                .entry(failure.to_owned())
                .or_default() += 1;
        } else {
            self.crossed
                .lock()
                .unwrap()
                .get_or_insert_with(|| format!("{request:?} was answered with {answer:?}"));
        }
    }

    fn assert_nothing_crossed(&self) {
        assert_eq!(*self.crossed.lock().unwrap(), None);
    }
}

/// As many clients of the relay, each with so many requests at most.
fn load(relay: SocketAddr, clients: u64, requests: u64, seen: &Arc<Seen>) -> Client {
    let settings = [
        "server.shards=1".to_owned(),
        format!("limits.outbound_per_shard_max={clients}"),
    ];
    let seen = Arc::clone(seen);
    let client = Client::start(&settings, move |_shard: ShardContext| {
        let seen = Arc::clone(&seen);
        async move {
            for number in 0..clients {
                let seen = Arc::clone(&seen);
                spawn(async move {
                    let mut conn = Connector::new().connect(relay).await.unwrap();
                    for request in 0..requests {
                        if seen.stop.load(Ordering::Relaxed) {
                            break;
                        }
                        ask(&mut conn, number, request, &seen).await;
                    }
                    seen.ended.fetch_add(1, Ordering::Relaxed);
                })
                .unwrap();
            }
            while seen.ended.load(Ordering::Relaxed) < clients {
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
    client.unwrap()
}

async fn ask(conn: &mut Conn, client: u64, number: u64, seen: &Seen) {
    // Of many lengths, so that a mistake of one byte would show.
    let padding = "x".repeat((client * 31 + number * 17) as usize % 700);
    // Some are given up, in the queue or on their connections.
    let hurry = match (client + number) % 16 {
        0 => format!("hurry {} ", (client * 7919 + number * 104_729) % 40_000),
        8 => "abandon ".to_owned(),
        _ => String::new(),
    };
    let request = format!("{hurry}client {client} request {number} {padding}.");
    conn.write(&request).await.unwrap();
    conn.write("\n").await.unwrap();
    let answer = conn
        .read_line(64 * 1024)
        .await
        .unwrap()
        .expect("the relay goes on");
    let answer = str::from_utf8(&answer).unwrap();
    seen.note(&request, answer);
    if answer.starts_with("!upstream") {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Connections that the server has accepted so far, that of this question included.
fn received(redis: &Redis) -> u64 {
    let stats = redis.ask("INFO stats");
    let count = stats
        .lines()
        .find_map(|line| line.strip_prefix("total_connections_received:"));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn every_answer_belongs_to_its_request() {
    const CLIENTS: u64 = 1000;
    const REQUESTS: u64 = 100;
    needs!("redis-server");
    let redis = Redis::start();
    let relay = Launch::relay(redis.addr())
        .set("server.shards=1")
        .set(&format!(
            "upstream.next.connections_max={UPSTREAM_CONNECTIONS}"
        ))
        // The machine may be slow: nobody shall fail for that.
        .set("upstream.next.connect_timeout=\"1m\"")
        .set("upstream.next.request_timeout=\"1m\"")
        .alone()
        .start();
    let before = received(&redis);
    let (seen, begun) = (Arc::<Seen>::default(), Instant::now());
    load(relay.addr(), CLIENTS, REQUESTS, &seen).join().unwrap();
    let (answers, given_up) = (seen.answers(), seen.given_up.load(Ordering::Relaxed));
    let connections = received(&redis) - before - 1;
    println!(
        "{answers} answers, {given_up} given up, {connections} connections in {:?}",
        begun.elapsed()
    );
    seen.assert_nothing_crossed();
    assert_eq!(
        (answers + given_up, seen.failures("")),
        (CLIENTS * REQUESTS, 0)
    );
    assert!(given_up >= CLIENTS * REQUESTS / 16, "{given_up}");
    // One that was given up on its connection has cost it, and nothing else has.
    assert!(
        (UPSTREAM_CONNECTIONS..=UPSTREAM_CONNECTIONS + given_up).contains(&connections),
        "{connections}"
    );
    let counts = relay.stop();
    assert_eq!(counts.of("peer_closed"), CLIENTS);
    within(BOUND, "the relay's connections are closed", || {
        (redis.clients() == 0).then_some(())
    });
}

#[test]
fn an_upstream_may_be_killed_paused_and_started_again_under_load() {
    needs!("redis-server");
    let mut redis = Redis::start();
    let relay = Launch::relay(redis.addr())
        .set("server.shards=2")
        .set("upstream.next.connect_timeout=\"500ms\"")
        .set("upstream.next.request_timeout=\"400ms\"")
        .set("upstream.next.idle_timeout=\"500ms\"")
        .alone()
        .start();
    relay.connect().ask(b"hello\n", b"hello\n");
    let base = at_rest(&redis, &relay, None);
    let seen = Arc::<Seen>::default();
    let clients = load(relay.addr(), RESTLESS, u64::MAX, &seen);
    within(BOUND, "the load runs", || {
        (seen.answers() > 1000).then_some(())
    });
    assert_eq!(seen.failures(""), 0);

    for _ in 0..20 {
        assert_ne!(redis.ask("CLIENT KILL TYPE normal"), ":0");
        wait_back(&seen, "after its connections were closed");
    }
    // A request that was under way then is lost, for who knows whether it was carried out; no other
    // is.
    let ended = seen.failures("the connection ended before the answer: ");
    assert_eq!(ended, seen.failures(""), "{:?}", seen.failures);
    assert!(
        ended <= 20 * 2 * UPSTREAM_CONNECTIONS,
        "{:?}",
        seen.failures
    );

    for _ in 0..3 {
        assert_eq!(redis.ask("CLIENT PAUSE 900"), "+OK");
        let timeouts = seen.failures("no answer within 400ms");
        within(BOUND, "the pause is felt", || {
            (seen.failures("no answer within 400ms") > timeouts).then_some(())
        });
        within(BOUND, "the pause is over", || {
            (redis.ask("PING") == "+PONG").then_some(())
        });
        wait_back(&seen, "after a pause");
    }

    for _ in 0..3 {
        let refused = seen.failures("cannot connect to ");
        redis.kill();
        within(BOUND, "the death is felt", || {
            (seen.failures("cannot connect to ") > refused).then_some(())
        });
        thread::sleep(Duration::from_millis(700)); // longer than the pool leaves it alone
        redis.start_again();
        wait_back(&seen, "after a restart");
    }

    let failed = seen.failures("");
    let answered = seen.answers();
    within(BOUND, "calm", || {
        (seen.answers() > answered + 2000).then_some(())
    });
    assert_eq!(
        seen.failures(""),
        failed,
        "failures while all is well: {:?}",
        seen.failures
    );
    seen.stop.store(true, Ordering::Relaxed);
    clients.join().unwrap();
    seen.assert_nothing_crossed();
    let known = [
        "the connection ended before the answer: ",
        "no answer within ",
        "no connection came free within ",
        "cannot connect to ",
    ];
    let known = known
        .into_iter()
        .chain(["down, the last connect to "])
        .map(|beginning| seen.failures(beginning))
        .sum::<u64>();
    println!(
        "{} answers, failures: {:#?}",
        seen.answers(),
        seen.failures.lock().unwrap()
    );
    assert_eq!(known, seen.failures(""));
    at_rest(&redis, &relay, Some(base));
    relay.stop();
}

/// Fails the test unless answers come again in time, more of them than may have been under
/// way, and failures no more: on all shards, each of which has to find out by itself.
fn wait_back(seen: &Seen, when: &str) {
    let (begun, answers) = (Instant::now(), seen.answers());
    within(BACK_WITHIN * slack(), when, || {
        (seen.answers() > answers + RESTLESS).then_some(())
    });
    let mut failures = u64::MAX;
    let mut calm_since = Instant::now();
    within(BACK_WITHIN * slack(), when, || {
        let now = seen.failures("");
        if now != failures {
            (failures, calm_since) = (now, Instant::now());
        }
        (calm_since.elapsed() > CALM).then_some(())
    });
    println!("back {:?} {when}", calm_since - begun);
}

/// Waits until the idle connections have aged away, and for as many descriptors as there were;
/// gives how many there are.
fn at_rest(redis: &Redis, relay: &Server, base: Option<usize>) -> usize {
    within(BOUND, "no connection is left", || {
        (redis.clients() == 0).then_some(())
    });
    let open = || descriptors(relay.pid());
    within(BOUND, "no descriptor is left", || {
        base.is_none_or(|base| open() == base).then_some(())
    });
    open()
}
