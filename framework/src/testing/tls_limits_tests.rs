//! Bounds of TLS on a shard: what they leave free, and what nobody takes from others.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use rustls::version::TLS13;

use crate::close_reason::CloseReason;
use crate::conn::connection::Conn;
use crate::handler::from_fn;
use crate::metrics::tls::HandshakeFailure;
use crate::settings::Settings;
use crate::shard::futures::sleep::sleep;
use crate::shard::handle::Shard;
use crate::testing::tls_peer::{Party, TlsPeer, VERSIONS, listener};
use crate::testing::tls_tests::{echo, some_bytes, stats};
use crate::testing::{block_on, block_on_with, serve};

/// Fails the handshakes that are under way, one of which may go on in this turn. False: none waits.
fn end_who_may_go_on() -> bool {
    Shard::with(|shard| {
        let conns = &mut shard.core().conns;
        if conns.shared.tls.waiting() == 0 {
            return false;
        }
        conns.grant_handshakes();
        for key in conns.table.occupants() {
            if let Some(mut conn) = conns.get(key).filter(|conn| conn.awaits_handshake()) {
                conn.fail(CloseReason::LifetimeExceeded);
            }
        }
        true
    })
}

#[test]
fn who_is_ended_when_its_handshake_may_go_on_takes_nobodys_turn() {
    block_on(async || {
        let mut party = Party::of(&TLS13);
        party.per_turn_max = 1;
        party.begin();
        let mut peers: Vec<TlsPeer> = (0..3).map(|_| party.connect(from_fn(echo))).collect();
        for peer in &mut peers {
            peer.push();
        }
        poll_fn(|context| {
            context.waker().wake_by_ref();
            match end_who_may_go_on() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        let mut looks = 0;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            looks += 1;
            assert!(looks < 1000, "somebody waits for a turn that never comes");
            match Shard::with(|shard| shard.core().conns.shared.tls.waiting()) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
        for peer in &mut peers {
            assert_eq!(peer.peer.closed().await, CloseReason::LifetimeExceeded);
        }
        let mut peer = party.connect(from_fn(echo));
        assert!(peer.shake_hands().await);
    });
}

#[test]
fn a_failed_handshake_is_counted_although_nobody_takes_its_alert() {
    block_on(async || {
        Party::of(&TLS13).begin();
        let mut peer = serve(from_fn(echo));
        peer.set_window(Some(0));
        peer.send(b"GET / HTTP/1.1");
        sleep(Duration::from_secs(1)).await;
        peer.reset();
        peer.closed().await;
        assert_eq!(stats().tls.handshakes_failed(HandshakeFailure::NotTls), 1);
    });
}

#[test]
fn a_wrong_record_behind_our_fin_ends_the_connection_and_sends_nothing() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let handler = from_fn(async |conn: &mut Conn| {
            conn.close().await?;
            let outcome = conn.read().await.map(drop);
            let unsent = Shard::with(|shard| shard.core().conns.shared.unsent);
            assert_eq!(unsent, 0, "no alert goes behind the FIN");
            outcome
        });
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        assert_eq!(peer.receive_to_end().await, (Vec::new(), true));
        peer.peer
            .send([[23, 3, 3, 0, 20].as_slice(), &[7; 20]].concat());
        assert_eq!(peer.peer.closed().await, CloseReason::TlsInvalid);
    });
}

#[test]
fn a_session_that_fails_says_why_behind_what_was_being_sent() {
    block_on(async || {
        for version in VERSIONS {
            let party = Party::of(version);
            party.begin();
            let mut peer = party.connect(from_fn(echo));
            assert!(peer.shake_hands().await);
            peer.peer.set_window(Some(0));
            peer.send(b"hello");
            sleep(Duration::from_millis(5)).await;
            let mut wrong = peer.seal(b"wrong");
            *wrong.last_mut().expect("it is a record") ^= 1;
            peer.peer.send(wrong);
            sleep(Duration::from_millis(5)).await;
            peer.peer.set_window(None);
            while peer.try_pull().await {}
            let failure = peer.tls.process_new_packets().map(drop);
            let alert = rustls::AlertDescription::BadRecordMac;
            assert_eq!(failure, Err(rustls::Error::AlertReceived(alert)));
            assert_eq!(peer.peer.closed().await, CloseReason::TlsInvalid);
            assert_eq!(Shard::with(|shard| shard.core().conns.shared.unsent), 0);
        }
    });
}

/// A ClientHello of 64 KB, but for its end, in records of so many bytes.
fn endless_hello(record_bytes: usize) -> Vec<u8> {
    let mut hello = vec![7; 60_000];
    hello[..6].copy_from_slice(&[1, 0, 0xff, 0xf0, 3, 3]);
    let records = hello.chunks(record_bytes).map(|part| {
        let length = (part.len() as u16).to_be_bytes();
        [&[22, 3, 1], &length[..], part].concat()
    });
    records.collect::<Vec<_>>().concat()
}

#[test]
fn handshakes_without_end_hold_no_more_than_half_of_what_may_be_unread() {
    const UNREAD_MAX: u64 = 1 << 20;
    block_on(async || {
        let unread = || Shard::with(|shard| shard.core().conns.shared.unread);
        Shard::with(|shard| shard.core().conns.shared.bounds.unread_max = UNREAD_MAX);
        let party = Party::of(&TLS13);
        party.begin();
        let mut peers: Vec<_> = (0..60).map(|_| serve(from_fn(echo))).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            let hello = endless_hello([50, 16_000][number % 2]);
            for piece in hello.chunks(4000) {
                peer.send(piece);
                sleep(Duration::from_millis(1)).await;
                let (held, refused) = (unread(), stats().closed(CloseReason::TlsFailed));
                assert!(
                    held <= UNREAD_MAX / 2 + (256 << 10),
                    "{held} by {number}, {refused} refused"
                );
            }
        }
        assert!(unread() > UNREAD_MAX / 4, "it counts: {}", unread());
        let refused = stats().closed(CloseReason::TlsFailed);
        assert!((1..60).contains(&refused), "{refused}");
        let mut innocent = party.connect(from_fn(echo));
        assert!(innocent.shake_hands().await);
        innocent.send(b"as ever");
        assert_eq!(innocent.receive(7).await, b"as ever");
        for peer in &mut peers {
            peer.reset();
            peer.closed().await;
        }
        assert_eq!(unread(), 0);
    });
}

#[test]
fn much_may_come_with_the_end_of_a_handshake() {
    let settings = Settings::new()
        .set("buffers.size", 256 * 1024)
        .set("buffers.count", 64)
        .set("limits.write_queue_max", 256 * 1024);
    block_on_with(settings, async || {
        for version in VERSIONS {
            let party = Party::of(version);
            party.begin();
            let (heard, handler) = listener();
            let mut peer = party.connect(handler);
            peer.push();
            let mut last = Vec::new();
            while peer.tls.is_handshaking() {
                assert!(peer.pull().await);
                last = peer.sealed();
                if peer.tls.is_handshaking() {
                    peer.peer.send(std::mem::take(&mut last));
                }
            }
            last.extend(peer.seal(&some_bytes(200_000)));
            peer.peer.send(last);
            peer.finish();
            assert_eq!(peer.peer.closed().await, CloseReason::PeerClosed);
            assert!(heard.borrow().bytes == some_bytes(200_000));
        }
    });
}

#[test]
fn who_sends_a_large_record_at_the_least_rate_is_not_too_slow() {
    let settings = Settings::new()
        .set("limits.receive_rate_min", 1000)
        .set("limits.rate_window", Duration::from_secs(5))
        .set("timeouts.read", Duration::from_secs(60));
    block_on_with(settings, async || {
        let party = Party::of(&TLS13);
        party.begin();
        let (heard, handler) = listener();
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        peer.send(b"begins");
        let sealed = peer.seal(&some_bytes(16_000));
        for piece in sealed.chunks(750) {
            sleep(Duration::from_millis(500)).await;
            peer.peer.send(piece);
        }
        peer.finish();
        assert_eq!(peer.peer.closed().await, CloseReason::PeerClosed);
        assert_eq!(heard.borrow().bytes.len(), 16_006);
        // Less than that is.
        let (_, handler) = listener();
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        peer.send(b"begins");
        let sealed = peer.seal(&some_bytes(16_000));
        for piece in sealed.chunks(250).take(60) {
            sleep(Duration::from_millis(500)).await;
            peer.peer.send(piece);
        }
        assert_eq!(peer.peer.closed().await, CloseReason::ReceiveTooSlow);
    });
}
