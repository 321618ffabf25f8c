//! Pools of connections to an upstream: their bounds and their order, and what becomes of
//! connections that end, age or are left in the middle of a request. Against a real Redis server:
//! pool.rs.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{
    Client, CloseReason, Connector, Error, Frame, Pool, ShardContext, Step, UpstreamFailure, sleep,
    spawn,
};
use futures_lite::future::poll_once;
use tests::{BOUND, free_address, within};

/// Runs `main` with the pool of an upstream at `addr`, whose settings are `keys` (and `[limits]`
/// those so named), and gives what it returns.
fn with_pool<T, F>(
    addr: SocketAddr,
    keys: &[&str],
    main: impl Fn(Pool) -> F + Send + Sync + 'static,
) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let keys = keys.iter().map(|key| {
        if key.starts_with("limits.") {
            (*key).to_owned()
        } else {
            format!("upstream.next.{key}")
        }
    });
    let settings = [
        "server.shards=1".to_owned(),
        format!("upstream.next.addr=\"{addr}\""),
    ]
    .into_iter()
    .chain(keys);
    let (results, result) = channel();
    let client = Client::start(&settings.collect::<Vec<_>>(), move |shard: ShardContext| {
        let (results, main) = (results.clone(), main(shard.pool("next").unwrap()));
        async move { drop(results.send(main.await)) }
    });
    let client = client.unwrap();
    let value = result.recv_timeout(BOUND).unwrap();
    let ended = Instant::now();
    client.join().unwrap();
    assert!(
        ended.elapsed() < BOUND / 2,
        "the pool kept its shard from ending for {:?}",
        ended.elapsed()
    );
    value
}

fn failure<T>(outcome: Result<T, Error>) -> UpstreamFailure {
    match outcome {
        Err(Error::Upstream(error)) => {
            assert!(error.to_string().starts_with("upstream next: "), "{error}");
            error.failure().clone()
        }
        Err(other) => panic!("wanted a failure of the upstream: {other}"),
        Ok(_) => panic!("wanted a failure of the upstream"),
    }
}

fn line(bytes: &[u8]) -> Step<()> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => Step::Frame {
            value: (),
            length: end + 1,
        },
        None => Step::NeedMore,
    }
}

/// One request: `word`, answered by itself.
async fn ask(pool: &Pool, word: &str) -> Result<(), Error> {
    let mut next = pool.get().await?;
    let answer: Frame<()> = next.exchange(&format!("{word}\n"), 1024, line).await?;
    next.done();
    assert_eq!(
        answer.bytes.trim_ascii(),
        word.as_bytes(),
        "another request's answer"
    );
    Ok(())
}

/// An upstream in the test's hand: it echoes lines, but for words that ask for something else.
struct Upstream {
    addr: SocketAddr,
    /// What it was told and what befell it, in order.
    events: Receiver<&'static str>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Upstream {
    fn start() -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn at(listener: TcpListener) -> Self {
        let (addr, streams) = (
            listener.local_addr().unwrap(),
            Arc::<Mutex<Vec<TcpStream>>>::default(),
        );
        let ((told, events), all) = (channel(), Arc::clone(&streams));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                all.lock().unwrap().push(stream.try_clone().unwrap());
                let told = told.clone();
                thread::spawn(move || echo(stream, &told));
            }
        });
        Self {
            addr,
            events,
            streams,
        }
    }

    /// Connections that it has accepted, ever.
    fn accepted(streams: &Mutex<Vec<TcpStream>>) -> usize {
        streams.lock().unwrap().len()
    }
}

fn echo(mut stream: TcpStream, told: &Sender<&'static str>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while matches!(lines.read_line(&mut line), Ok(1..)) {
        match line.trim_end() {
            "silence" => told.send("silence").unwrap(),
            "too much" => stream.write_all(b"too much\nand more\n").unwrap(),
            _ => stream.write_all(line.as_bytes()).unwrap(),
        }
        line.clear();
    }
    // The test may be over.
    let _ = told.send("closed");
}

#[test]
fn a_connection_is_used_again() {
    let upstream = Upstream::start();
    let streams = Arc::clone(&upstream.streams);
    with_pool(upstream.addr, &[], |pool| async move {
        for number in 0..100 {
            ask(&pool, &format!("number {number}")).await.unwrap();
        }
        drop(pool.get().await.unwrap()); // not used, so it may go back
        assert_eq!((pool.in_use(), pool.idle()), (0, 1));
    });
    assert_eq!(Upstream::accepted(&streams), 1);
}

#[test]
fn connections_and_the_queue_for_them_have_bounds() {
    let upstream = Upstream::start();
    let streams = Arc::clone(&upstream.streams);
    with_pool(
        upstream.addr,
        &["connections_max=2", "waiting_max=1"],
        |pool| async move {
            let (one, two) = (pool.get().await.unwrap(), pool.get().await.unwrap());
            let mut third = Box::pin(pool.get());
            assert!(poll_once(&mut third).await.is_none());
            assert_eq!((pool.in_use(), pool.waiting()), (2, 1));
            let fourth = failure(poll_once(Box::pin(pool.get())).await.expect("at once"));
            assert!(
                matches!(fourth, UpstreamFailure::Full { waiting_max: 1 }),
                "{fourth}"
            );
            drop(one);
            let third = third.await.unwrap();
            assert_eq!(pool.in_use(), 2);
            drop((two, third));
            assert_eq!((pool.in_use(), pool.waiting(), pool.idle()), (0, 0, 2));
        },
    );
    assert_eq!(Upstream::accepted(&streams), 2);
}

#[test]
fn a_wait_for_a_connection_ends_at_its_timeout() {
    let upstream = Upstream::start();
    let (failure, waited) = with_pool(
        upstream.addr,
        &["connections_max=1", "connect_timeout=\"300ms\""],
        |pool| async move {
            let _held = pool.get().await.unwrap();
            let begun = Instant::now();
            let outcome = failure(pool.get().await).to_string();
            assert_eq!(pool.waiting(), 0);
            (outcome, begun.elapsed())
        },
    );
    assert_eq!(failure, "no connection came free within 300ms");
    assert!(
        waited >= Duration::from_millis(300) && waited < BOUND / 2,
        "{waited:?}"
    );
}

#[test]
fn nobody_fails_for_a_pause_of_the_shard() {
    let upstream = Upstream::start();
    let served = with_pool(
        upstream.addr,
        &["connections_max=1", "connect_timeout=\"200ms\""],
        |pool| async move {
            let (told, outcomes) = channel();
            let held = pool.get().await.unwrap();
            for _ in 0..5 {
                let (pool, told) = (pool.clone(), told.clone());
                spawn(async move { told.send(ask(&pool, "hello").await.is_ok()).unwrap() })
                    .unwrap();
            }
            drop(told);
            while pool.waiting() < 5 {
                sleep(Duration::from_millis(1)).await;
            }
            thread::sleep(Duration::from_millis(700)); // as if another process had the core
            drop(held);
            while pool.waiting() + pool.in_use() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            outcomes.iter().collect::<Vec<_>>()
        },
    );
    assert_eq!(served, [true; 5]);
}

#[test]
fn waiters_are_served_in_their_order_and_one_that_leaves_loses_nothing() {
    let upstream = Upstream::start();
    let order = with_pool(upstream.addr, &["connections_max=1"], |pool| async move {
        let (told, order) = channel();
        let held = pool.get().await.unwrap();
        let mut leaves = Box::pin(pool.get());
        assert!(poll_once(&mut leaves).await.is_none());
        let mut takes_fright = Box::pin(pool.get());
        assert!(poll_once(&mut takes_fright).await.is_none());
        for number in 0..5 {
            let (pool, told) = (pool.clone(), told.clone());
            spawn(async move {
                let next = pool.get().await.unwrap();
                told.send(number).unwrap();
                drop(next);
            })
            .unwrap();
        }
        drop(told);
        while pool.waiting() < 7 {
            sleep(Duration::from_millis(1)).await;
        }
        drop(leaves); // in the middle of its wait
        drop(held);
        drop(takes_fright); // with the place in its hand already
        while pool.waiting() + pool.in_use() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        order.iter().collect::<Vec<_>>()
    });
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn the_connection_used_last_is_used_next_and_the_others_age() {
    let upstream = Upstream::start();
    with_pool(
        upstream.addr,
        &["idle_timeout=\"400ms\""],
        |pool| async move {
            let (one, two, three) = (
                pool.get().await.unwrap(),
                pool.get().await.unwrap(),
                pool.get().await.unwrap(),
            );
            let last = two.id();
            drop((one, three));
            drop(two);
            assert_eq!(pool.idle(), 3);
            let begun = Instant::now();
            while pool.idle() > 1 {
                assert!(
                    begun.elapsed() < BOUND / 2,
                    "the spare ones are still there"
                );
                let next = pool.get().await.unwrap();
                assert_eq!(next.id(), last);
                drop(next);
                sleep(Duration::from_millis(20)).await;
            }
            assert!(
                begun.elapsed() >= Duration::from_millis(400),
                "aged after {:?}",
                begun.elapsed()
            );
            assert_eq!(pool.get().await.unwrap().id(), last);
        },
    );
    within(BOUND, "the aged connections are closed", || {
        upstream.events.try_recv().ok()
    });
}

#[test]
fn no_more_are_kept_than_may_be_idle() {
    let upstream = Upstream::start();
    with_pool(upstream.addr, &["idle_max=1"], |pool| async move {
        let (one, two) = (pool.get().await.unwrap(), pool.get().await.unwrap());
        let last = two.id();
        drop((one, two));
        assert_eq!(pool.idle(), 1);
        assert_eq!(pool.get().await.unwrap().id(), last);
    });
    let upstream = Upstream::start();
    with_pool(upstream.addr, &["idle_max=0"], |pool| async move {
        ask(&pool, "once").await.unwrap();
        assert_eq!(pool.idle(), 0);
    });
}

#[test]
fn one_that_the_upstream_closed_is_not_met() {
    let upstream = Upstream::start();
    let streams = Arc::clone(&upstream.streams);
    with_pool(upstream.addr, &["connections_max=1"], move |pool| {
        let streams = Arc::clone(&streams);
        async move {
            for round in 1..=20 {
                ask(&pool, "hello").await.unwrap();
                let last = streams
                    .lock()
                    .unwrap()
                    .last()
                    .unwrap()
                    .shutdown(std::net::Shutdown::Both);
                last.unwrap();
                gone(&pool).await;
                assert_eq!(Upstream::accepted(&streams), round);
            }
        }
    });
}

#[test]
fn one_on_which_something_unasked_for_is_said_is_not_met() {
    let upstream = Upstream::start();
    let streams = Arc::clone(&upstream.streams);
    with_pool(upstream.addr, &["connections_max=1"], move |pool| {
        let streams = Arc::clone(&streams);
        async move {
            ask(&pool, "hello").await.unwrap();
            streams.lock().unwrap()[0]
                .write_all(b"by the way\n")
                .unwrap();
            gone(&pool).await;
            ask(&pool, "hello again").await.unwrap();
            ask(&pool, "too much").await.unwrap(); // and more behind the answer, which must not be the next one's
            ask(&pool, "still there?").await.unwrap();
        }
    });
}

/// Waits until the shard has noticed that the idle connections are of no use.
async fn gone(pool: &Pool) {
    let begun = Instant::now();
    while pool.idle() > 0 {
        assert!(begun.elapsed() < BOUND / 2, "it is not noticed");
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn one_left_in_the_middle_of_a_request_is_closed_at_once() {
    let upstream = Upstream::start();
    let streams = Arc::clone(&upstream.streams);
    with_pool(upstream.addr, &["connections_max=1"], |pool| async move {
        let begun = Instant::now();
        for _ in 0..100 {
            let mut next = pool.get().await.unwrap();
            next.write("an answer to nobody\n").await.unwrap();
            next.flush().await.unwrap();
            drop(next);
            ask(&pool, "the answer to me").await.unwrap();
            let mut next = pool.get().await.unwrap();
            assert!(
                poll_once(Box::pin(next.exchange("an answer to nobody\n", 1024, line)))
                    .await
                    .is_none()
            );
            drop(next);
        }
        // Lingering for an end of the upstream's, of which it has no thought, each would take
        // `timeouts.close`: two seconds.
        assert!(begun.elapsed() < BOUND / 2, "{:?}", begun.elapsed());
        assert_eq!((pool.in_use(), pool.idle()), (0, 0));
    });
    within(BOUND, "the upstream has seen an end", || {
        upstream.events.try_recv().ok()
    });
    assert_eq!(Upstream::accepted(&streams), 200);
}

#[test]
fn a_request_that_is_done_too_early_spoils_nothing() {
    let upstream = Upstream::start();
    with_pool(upstream.addr, &["connections_max=1"], |pool| async move {
        let mut next = pool.get().await.unwrap();
        next.write("written and not sent\n").await.unwrap();
        next.done();
        assert_eq!(pool.idle(), 0);
        ask(&pool, "hello").await.unwrap();
        let mut next = pool.get().await.unwrap();
        next.write("sent and not read\n").await.unwrap();
        next.flush().await.unwrap();
        next.done();
        gone(&pool).await; // when its answer comes
        ask(&pool, "hello again").await.unwrap();
    });
}

#[test]
fn an_answer_that_does_not_come_is_told_and_its_connection_not_used_again() {
    let upstream = Upstream::start();
    let (text, waited) = with_pool(
        upstream.addr,
        &["connections_max=1", "request_timeout=\"300ms\""],
        |pool| async move {
            let begun = Instant::now();
            let text = failure(ask(&pool, "silence").await).to_string();
            let waited = begun.elapsed();
            ask(&pool, "hello").await.unwrap();
            (text, waited)
        },
    );
    assert_eq!(text, "no answer within 300ms");
    assert!(
        waited >= Duration::from_millis(300) && waited < BOUND / 2,
        "{waited:?}"
    );
}

#[test]
fn a_request_that_the_upstream_does_not_take_ends_at_its_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (failure, waited) = with_pool(
        listener.local_addr().unwrap(),
        &["request_timeout=\"300ms\""],
        |pool| async move {
            let request = vec![b'x'; 16 << 20]; // more than the kernel takes for someone who does not read
            let mut next = pool.get().await.unwrap();
            let begun = Instant::now();
            (
                failure(next.exchange(&request, 1024, line).await).to_string(),
                begun.elapsed(),
            )
        },
    );
    assert_eq!(failure, "no answer within 300ms");
    assert!(
        waited >= Duration::from_millis(300) && waited < BOUND / 2,
        "{waited:?}"
    );
}

#[test]
fn an_end_in_the_middle_of_a_request_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"half an ans").unwrap();
        BufReader::new(stream)
            .read_line(&mut String::new())
            .unwrap();
    });
    let failure = with_pool(addr, &[], |pool| async move {
        failure(ask(&pool, "hello").await)
    });
    assert!(
        matches!(
            failure,
            UpstreamFailure::Lost(CloseReason::PeerClosed | CloseReason::PeerReset)
        ),
        "{failure}"
    );
}

#[test]
fn a_dead_upstream_is_told_and_left_alone_for_a_moment_and_found_again() {
    let addr = free_address();
    with_pool(addr, &[], move |pool| async move {
        let first = failure(pool.get().await);
        assert!(
            matches!(&first, UpstreamFailure::Connect { error, .. } if error.kind() == ErrorKind::ConnectionRefused),
            "{first}"
        );
        let (mut tried, mut spared, begun) = (0, 0, Instant::now());
        while begun.elapsed() < Duration::from_secs(2) {
            match failure(pool.get().await) {
                UpstreamFailure::Connect { .. } => tried += 1,
                UpstreamFailure::Down { .. } => spared += 1,
                other => panic!("{other}"),
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert!(
            (3..=8).contains(&tried) && spared > 100,
            "{tried} connects, {spared} spared"
        );
        let upstream = Upstream::at(TcpListener::bind(addr).unwrap());
        let back = Instant::now();
        while let Err(error) = ask(&pool, "hello").await {
            assert!(
                back.elapsed() < Duration::from_secs(1),
                "a second after the upstream is back: {error}"
            );
            sleep(Duration::from_millis(1)).await;
        }
        ask(&pool, "and from now on").await.unwrap();
        drop(upstream);
    });
}

/// An address where nobody answers: the queue of one is full, and the kernel drops further SYNs.
fn silent() -> (SocketAddr, (socket2::Socket, TcpStream)) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    (addr, (listener, TcpStream::connect(addr).unwrap()))
}

#[test]
fn a_connect_that_waits_for_its_turn_ends_at_its_timeout_too() {
    let ((silent, _kept), upstream) = (silent(), Upstream::start());
    let keys = [
        "connect_timeout=\"300ms\"",
        "limits.connects_in_flight_max=1",
        "limits.outbound_per_shard_max=1",
    ];
    let waited = with_pool(upstream.addr, &keys, move |pool| async move {
        let mut in_the_way = Box::pin(Connector::new().connect(silent));
        assert!(poll_once(&mut in_the_way).await.is_none());
        let begun = Instant::now();
        let failure = failure(pool.get().await);
        assert!(
            matches!(&failure, UpstreamFailure::Connect { error, .. } if error.kind() == ErrorKind::TimedOut),
            "{failure}"
        );
        begun.elapsed()
    });
    assert!(
        waited >= Duration::from_millis(300) && waited < BOUND / 2,
        "{waited:?}"
    );
}

#[test]
fn a_connect_that_nobody_answers_ends_at_its_timeout() {
    let (addr, _kept) = silent();
    let (failure, waited) = with_pool(addr, &["connect_timeout=\"300ms\""], |pool| async move {
        let begun = Instant::now();
        (failure(pool.get().await), begun.elapsed())
    });
    assert!(
        matches!(&failure, UpstreamFailure::Connect { error, .. } if error.kind() == ErrorKind::TimedOut),
        "{failure}"
    );
    assert!(
        waited >= Duration::from_millis(300) && waited < BOUND / 2,
        "{waited:?}"
    );
}

#[test]
fn a_connect_that_is_dropped_leaves_its_place_to_the_next() {
    let upstream = Upstream::start();
    with_pool(upstream.addr, &["connections_max=1"], |pool| async move {
        for turns in 0..200_u64 {
            let mut dropped = Box::pin(pool.get());
            if poll_once(&mut dropped).await.is_none() {
                // At another stage of the connect each time.
                sleep(Duration::from_micros(10 * (turns % 20))).await;
            }
            drop(dropped);
            ask(&pool, "hello").await.unwrap();
            let mut next = pool.get().await.unwrap();
            next.set_read_deadline(None); // touched: it is not used again
        }
    });
}

#[test]
fn requests_in_tasks_that_end_anyhow_leave_nothing_behind() {
    const TASKS: u64 = 200;
    let upstream = Upstream::start();
    let streams = Arc::clone(&upstream.streams);
    with_pool(
        upstream.addr,
        &["connections_max=4", "idle_timeout=\"200ms\""],
        |pool| async move {
            let (told, ends) = channel();
            for number in 0..TASKS {
                let (pool, told) = (pool.clone(), told.clone());
                spawn(async move {
                    for round in 0..20 {
                        let word = format!("{number}/{round}");
                        let outcome = if (number + round) % 3 == 0 {
                            let patience = Duration::from_micros(100 * (round + number % 7));
                            let cut = async {
                                sleep(patience).await;
                                Ok(())
                            };
                            futures_lite::future::or(ask(&pool, &word), cut).await
                        } else {
                            ask(&pool, &word).await
                        };
                        outcome.unwrap();
                    }
                    told.send(()).unwrap();
                })
                .unwrap();
            }
            drop(told);
            let mut ended = 0;
            while ended < TASKS {
                sleep(Duration::from_millis(2)).await;
                ended += ends.try_iter().count() as u64;
            }
            assert_eq!((pool.in_use(), pool.waiting()), (0, 0));
            gone(&pool).await;
        },
    );
    let open = || {
        streams
            .lock()
            .unwrap()
            .iter()
            .filter(|stream| stream.peek(&mut [0]).is_ok_and(|length| length > 0))
            .count()
    };
    let accepted = Upstream::accepted(&streams);
    for _ in 0..accepted {
        upstream
            .events
            .recv_timeout(BOUND)
            .expect("every connection has an end");
    }
    assert_eq!(open(), 0);
}

#[test]
fn a_name_that_is_not_in_the_settings_has_no_pool() {
    let client = Client::start(
        &["server.shards=1".to_owned()],
        |shard: ShardContext| async move {
            assert!(shard.pool("next").is_none());
        },
    );
    client.unwrap().join().unwrap();
}
