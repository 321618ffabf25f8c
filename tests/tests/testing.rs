//! Handlers on `corelane::testing`: a scripted peer, virtual time, no socket.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::fs;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelane::{
    CloseReason, Conn, ConnTimeouts, Connector, EndOfInput, Error, Handler, Notify, Settings,
    every, from_fn, sleep, spawn, testing, timeout,
};
use futures_lite::future::{or, try_zip};

struct Echo;

impl Handler for Echo {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(bytes) = conn.read().await? {
            conn.write(bytes).await?;
        }
        Ok(())
    }
}

/// Runs `program` and sees that it took no time to speak of.
fn at_once<T: Send, F: Future<Output = T>>(
    settings: Settings,
    program: impl FnOnce() -> F + Send,
) -> T {
    let begun = Instant::now();
    let ended = testing::block_on_with(settings, program);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    ended
}

#[test]
fn a_peer_is_answered_and_its_end_is_told() {
    at_once(Settings::new(), async || {
        let mut peers: Vec<_> = (0..20).map(|_| testing::serve(Echo)).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            let text = format!("number {number}");
            peer.send(&text);
            assert_eq!(peer.receive(text.len()).await, text.as_bytes());
        }
        for peer in &mut peers {
            peer.send("last");
            peer.finish();
            assert_eq!(peer.receive_to_end().await, b"last");
            assert_eq!(peer.closed().await, CloseReason::PeerClosed);
            assert!(!peer.was_reset());
        }
        // Slots are used again, by others.
        let mut again = testing::serve(Echo);
        again.send(vec![b'x'; 300_000]);
        assert_eq!(again.receive(300_000).await, vec![b'x'; 300_000]);
        again.reset();
        assert_eq!(again.closed().await, CloseReason::PeerReset);
    });
}

#[test]
fn time_goes_on_to_what_is_due_and_no_further() {
    let day = Duration::from_secs(86_400);
    at_once(Settings::new().set("timeouts.idle", day), async move || {
        sleep(day / 2).await;
        assert_eq!(testing::elapsed(), day / 2);
        let late = timeout(Duration::from_secs(3), std::future::pending::<()>()).await;
        assert!(late.is_err());
        assert_eq!(testing::elapsed(), day / 2 + Duration::from_secs(3));
        let mut peer = testing::serve(Echo);
        peer.send("x");
        peer.receive(1).await;
        let said = testing::elapsed();
        assert_eq!(peer.closed().await, CloseReason::IdleTimeout);
        let waited = testing::elapsed() - said;
        assert!(
            (day..day + Duration::from_secs(1)).contains(&waited),
            "{waited:?}"
        );
    });
}

#[test]
fn every_deadline_ends_its_peer_with_its_reason() {
    let settings = Settings::new()
        .set("timeouts.first_byte", Duration::from_secs(2))
        .set("timeouts.read", Duration::from_secs(3))
        .set("timeouts.write", Duration::from_secs(4))
        .set("timeouts.lifetime", Duration::from_secs(500));
    at_once(settings, async || {
        let lines = || from_fn(async |conn: &mut Conn| conn.read_line(100).await.map(drop));
        let mut silent = testing::serve(Echo);
        assert_eq!(silent.closed().await, CloseReason::FirstByteTimeout);
        let mut trickles = testing::serve(lines());
        let begun = testing::elapsed();
        for _ in 0..4 {
            trickles.send("a");
            sleep(Duration::from_millis(900)).await;
        }
        assert_eq!(trickles.closed().await, CloseReason::ReadTimeout);
        assert!(testing::elapsed() - begun < Duration::from_millis(3900));
        let mut deaf = testing::serve(Echo);
        deaf.set_window(Some(10));
        deaf.send([b'x'; 100]);
        assert_eq!(deaf.closed().await, CloseReason::WriteTimeout);
        assert!(deaf.was_reset());
        assert_eq!(deaf.receive_to_end().await, [b'x'; 10]);
        let mut old = testing::serve(Echo);
        let begun = testing::elapsed();
        while testing::elapsed() - begun < Duration::from_secs(499) {
            old.send("x");
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(old.closed().await, CloseReason::LifetimeExceeded);
    });
}

#[test]
fn a_peer_that_does_not_read_holds_up_its_handler_alone() {
    let settings = Settings::new().set("limits.write_queue_max", 65_536);
    at_once(settings, async || {
        let written = Rc::new(Cell::new(0_usize));
        let count = Rc::clone(&written);
        let mut peer = testing::serve(from_fn(async move |conn: &mut Conn| {
            for _ in 0..1000 {
                conn.write(&[b'x'; 1000]).await?;
                count.set(count.get() + 1000);
            }
            Ok(())
        }));
        peer.set_window(Some(5000));
        sleep(Duration::from_secs(1)).await;
        let held = written.get();
        assert!((65_000..80_000).contains(&held), "{held}");
        let mut other = testing::serve(Echo);
        other.send("still");
        assert_eq!(other.receive(5).await, b"still");
        peer.receive(5000).await;
        peer.set_window(None);
        assert_eq!(peer.receive_to_end().await.len(), 995_000);
        assert_eq!(written.get(), 1_000_000);
    });
}

/// How much comes of a frame of `length` bytes whose write is dropped while the peer has taken no more
/// than `window` bytes of the 4 096 before it.
fn left_of_a_dropped_write(length: usize, window: usize) -> usize {
    let settings = Settings::new().set("limits.write_queue_max", 4096);
    at_once(settings, async move || {
        let mut peer = testing::serve(from_fn(async move |conn: &mut Conn| {
            let frame = conn.read_exact(length).await?.unwrap();
            conn.write(&[b'-'; 4096]).await?;
            let write = async { conn.write(frame).await.map(|()| true) };
            let tick = async {
                sleep(Duration::from_secs(1)).await;
                Ok(false)
            };
            assert!(!or(write, tick).await?, "there is no room for all of it");
            conn.write("|").await
        }));
        peer.set_window(Some(window));
        peer.send(vec![b'x'; length]);
        sleep(Duration::from_secs(5)).await;
        peer.set_window(None);
        let said = peer.receive_to_end().await;
        assert_eq!(said.last(), Some(&b'|'));
        said.iter().filter(|byte| **byte == b'x').count()
    })
}

#[test]
fn a_dropped_write_leaves_a_part_of_what_is_longer_than_a_buffer_alone() {
    assert_eq!(left_of_a_dropped_write(2000, 0), 0);
    let part = left_of_a_dropped_write(20_000, 3000);
    assert!((1..20_000).contains(&part), "{part}");
}

#[test]
fn errors_and_panics_of_a_handler_are_reasons() {
    at_once(Settings::new(), async || {
        let mut fails = testing::serve(from_fn(async |_: &mut Conn| Err(Error::handler("no"))));
        assert_eq!(fails.closed().await, CloseReason::HandlerFailed);
        let mut panics = testing::serve(from_fn(async |_: &mut Conn| panic!("on purpose")));
        assert_eq!(panics.closed().await, CloseReason::HandlerPanicked);
        assert!(panics.was_reset());
        let refused = Connector::new().connect(([127, 0, 0, 1], 9).into()).await;
        assert!(matches!(refused, Err(Error::Connect(_))));
    });
}

#[test]
fn both_ends_of_a_pair_are_the_programs() {
    at_once(Settings::new(), async || {
        let (mut conn, mut peer) = testing::pair();
        let answer = async {
            let request = conn.read_exact(4).await?.expect("it comes");
            conn.write(request).await?;
            conn.flush().await?;
            assert!(conn.read().await?.is_none());
            assert_eq!(conn.end_of_input(), Some(EndOfInput::Peer));
            Ok::<_, Error>(())
        };
        let script = async {
            for byte in [b"a", b"b", b"c", b"d"] {
                peer.send(byte);
                sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(peer.receive(4).await, b"abcd");
            peer.finish();
            Ok(())
        };
        try_zip(answer, script).await.unwrap();
        drop(conn);
        assert_eq!(peer.closed().await, CloseReason::PeerClosed);

        let (mut conn, _peer) = testing::pair();
        conn.set_timeouts(ConnTimeouts::new().read(Some(Duration::from_secs(1))));
        let began = testing::elapsed();
        let error = conn.read_line(10).await.unwrap_err();
        assert!(
            matches!(error, Error::Closed(CloseReason::FirstByteTimeout)),
            "{error}"
        );
        assert!(testing::elapsed() - began >= Duration::from_secs(10));
    });
}

#[test]
fn tasks_and_shared_bytes_work_as_on_a_server() {
    at_once(Settings::new(), async || {
        let news: Arc<[u8]> = Arc::from(&[b'n'; 10_000][..]);
        let fresh = Rc::new(Notify::new());
        let tell = |fresh: &Rc<Notify>| {
            let (fresh, news) = (Rc::clone(fresh), Arc::clone(&news));
            from_fn(async move |conn: &mut Conn| {
                fresh.notified().await;
                conn.write(Arc::clone(&news)).await
            })
        };
        let mut peers: Vec<_> = (0..5).map(|_| testing::serve(tell(&fresh))).collect();
        sleep(Duration::from_secs(1)).await;
        let told = spawn(async move {
            sleep(Duration::from_secs(1)).await;
            fresh.notify_all();
            7
        });
        for peer in &mut peers {
            assert_eq!(peer.receive_to_end().await, &*news);
            peer.finish();
            assert_eq!(peer.closed().await, CloseReason::HandlerClosed);
        }
        assert_eq!(told.unwrap().await.unwrap(), 7);
        assert_eq!(Arc::strong_count(&news), 1);
    });
}

/// An echo that writes a dot each second, and down when that was.
async fn beat(conn: &mut Conn, beats: &RefCell<Vec<Duration>>) -> Result<(), Error> {
    let mut heartbeat = conn.every(Duration::from_secs(1));
    loop {
        let input = async { Some(conn.read().await) };
        let tick = async {
            heartbeat.tick().await;
            None
        };
        match or(input, tick).await {
            Some(input) => match input? {
                Some(bytes) => conn.write(bytes).await?,
                None => return Ok(()),
            },
            None => {
                beats.borrow_mut().push(testing::elapsed());
                conn.write(".").await?;
            }
        }
    }
}

#[test]
fn a_heartbeat_comes_once_a_second_whatever_its_peer_says_meanwhile() {
    at_once(Settings::new(), async || {
        let beats = Rc::<RefCell<Vec<Duration>>>::default();
        let kept = Rc::clone(&beats);
        let mut peer = testing::serve(from_fn(async move |conn: &mut Conn| {
            beat(conn, &kept).await
        }));
        for _ in 0..100 {
            peer.send("x");
            sleep(Duration::from_millis(117)).await;
        }
        peer.finish();
        let told = peer.receive_to_end().await;
        let count = |what| told.iter().filter(|byte| **byte == what).count();
        assert_eq!((count(b'x'), count(b'.')), (100, 11));
        let beats = beats.borrow();
        assert!(
            beats
                .windows(2)
                .all(|two| two[1] - two[0] == Duration::from_secs(1)),
            "{beats:?}"
        );
    });
}

#[test]
fn a_heartbeat_puts_off_the_deadline_of_silence_and_not_that_of_the_first_byte() {
    let settings = Settings::new()
        .set("timeouts.first_byte", Duration::from_secs(5))
        .set("timeouts.idle", Duration::from_secs(10));
    at_once(settings, async || {
        let handler = || from_fn(async |conn: &mut Conn| beat(conn, &RefCell::default()).await);
        let mut spoke = testing::serve(handler());
        let mut silent = testing::serve(handler());
        spoke.send("x");
        assert_eq!(silent.closed().await, CloseReason::FirstByteTimeout);
        sleep(Duration::from_secs(60)).await;
        spoke.finish();
        assert_eq!(spoke.closed().await, CloseReason::PeerClosed);
        assert!(spoke.receive_to_end().await.len() > 60);
    });
}

#[test]
fn connections_that_come_together_beat_evenly_over_the_period() {
    at_once(Settings::new(), async || {
        sleep(Duration::from_millis(12_345)).await;
        let came = testing::elapsed();
        let beats = Rc::<RefCell<Vec<Duration>>>::default();
        let handler = || {
            let kept = Rc::clone(&beats);
            from_fn(async move |conn: &mut Conn| beat(conn, &kept).await)
        };
        let peers: Vec<_> = (0..200).map(|_| testing::serve(handler())).collect();
        sleep(Duration::from_secs(1)).await;
        let mut counts = [0; 20];
        for beat in &*beats.borrow() {
            counts[((*beat - came).as_millis() as usize / 50).min(19)] += 1;
        }
        assert_eq!(counts.iter().sum::<usize>(), peers.len());
        assert!(
            counts.iter().all(|count| (8..=12).contains(count)),
            "{counts:?}"
        );
    });
}

#[test]
fn a_ticker_that_nobody_waited_for_says_how_many_periods_have_passed() {
    at_once(Settings::new(), async || {
        let period = Duration::from_millis(500);
        let mut ticker = every(period);
        assert_eq!(ticker.tick().await, 1);
        let first = testing::elapsed();
        assert!(first <= period);
        sleep(period * 7 + period / 2).await;
        assert_eq!(ticker.tick().await, 7, "at once");
        assert_eq!(testing::elapsed(), first + period * 7 + period / 2);
        assert_eq!(ticker.tick().await, 1);
        assert_eq!(
            testing::elapsed(),
            first + period * 8,
            "where it would have come"
        );
        assert!(timeout(period / 2, ticker.tick()).await.is_err());
        assert_eq!(ticker.tick().await, 1, "none is lost with the wait for it");
        assert_eq!(testing::elapsed(), first + period * 9);
    });
}

#[test]
fn a_program_that_fails_or_is_stuck_says_so() {
    let failed = catch_unwind(|| testing::block_on(async || panic!("as it is to")));
    assert_eq!(
        failed.unwrap_err().downcast_ref::<&str>(),
        Some(&"as it is to")
    );
    let stuck = catch_unwind(|| testing::block_on(std::future::pending::<()>));
    let text = *stuck.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("what can never happen"), "{text}");
    let early = catch_unwind(|| {
        testing::block_on(async || {
            let mut peer = testing::serve(from_fn(async |conn: &mut Conn| conn.write("ab").await));
            peer.receive(3).await
        })
    });
    let text = *early.unwrap_err().downcast::<String>().unwrap();
    assert!(
        text.contains("3 bytes were expected") && text.contains("\"ab\""),
        "{text}"
    );
}

#[test]
fn no_socket_is_opened_and_no_ring_is_made() {
    let open = at_once(Settings::new(), async || {
        let mut peer = testing::serve(Echo);
        peer.send("x");
        assert_eq!(peer.receive(1).await, b"x");
        let open = fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap);
        let targets = open.filter_map(|file| fs::read_link(file.path()).ok());
        targets
            .map(|target| target.display().to_string())
            .collect::<Vec<_>>()
    });
    assert!(
        open.iter().any(|target| target.contains("eventfd")),
        "{open:?}"
    );
    let kernels = open
        .iter()
        .find(|target| target.contains("socket") || target.contains("uring"));
    assert_eq!(kernels, None);
}
