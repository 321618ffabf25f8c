//! TLS on a shard, against the library's own client.

use std::time::Duration;

use proptest::prelude::*;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::close_reason::CloseReason;
use crate::conn::connection::Conn;
use crate::conn::tls_info::TlsVersion;
use crate::error::Error;
use crate::handler::{Handler, from_fn};
use crate::metrics::Snapshot;
use crate::metrics::tls::HandshakeFailure;
use crate::settings::Settings;
use crate::shard::conns::{Delivery, EndOfInput};
use crate::shard::futures::sleep::sleep;
use crate::shard::handle::Shard;
use crate::testing::tls_peer::{Party, TlsPeer, VERSIONS, listener};
use crate::testing::{block_on, block_on_with, elapsed, serve};

pub(super) async fn echo(conn: &mut Conn) -> Result<(), Error> {
    while let Some(bytes) = conn.read().await? {
        conn.write(bytes).await?;
    }
    Ok(())
}

pub(super) fn stats() -> Snapshot {
    Shard::with(|shard| shard.metrics.read())
}

/// Bytes that are not all alike.
pub(super) fn some_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn an_echo_says_what_it_hears() {
    for version in VERSIONS {
        block_on(async || {
            let party = Party::of(version);
            party.begin();
            let mut peer = party.connect(from_fn(echo));
            assert!(peer.shake_hands().await);
            for length in [1, 64, 4095, 16_384, 16_385, 200_000] {
                let bytes = some_bytes(length);
                peer.send(&bytes);
                assert_eq!(peer.receive(length).await, bytes, "{length}");
            }
            peer.finish();
            assert_eq!(peer.receive_to_end().await, (Vec::new(), true));
            assert_eq!(peer.peer.closed().await, CloseReason::PeerClosed);
            let tls = stats().tls;
            assert_eq!((tls.handshakes_full, tls.handshakes_resumed), (1, 0));
        });
    }
}

#[test]
fn a_handler_is_told_of_its_session_and_of_resumption() {
    for (version, told) in [(&TLS12, TlsVersion::V1_2), (&TLS13, TlsVersion::V1_3)] {
        block_on(async || {
            let party = Party::of(version);
            party.begin();
            for resumes in [false, true] {
                let (heard, handler) = listener();
                let mut peer = party.connect(handler);
                assert!(peer.shake_hands().await);
                peer.send(b"x");
                sleep(Duration::from_secs(1)).await;
                peer.finish();
                assert!(peer.receive_to_end().await.1, "with its tickets");
                let info = heard.borrow().info.clone().expect("there is a session");
                assert_eq!((info.version, info.is_resumed), (told, resumes));
                assert_eq!(info.alpn.as_deref(), Some(b"echo".as_slice()));
                assert_eq!(info.server_name.as_deref(), Some("server.test"));
                assert!(info.cipher_suite.contains("AES"), "{info:?}");
                assert!(info.peer_certificates.is_empty());
            }
            let tls = stats().tls;
            assert_eq!((tls.handshakes_full, tls.handshakes_resumed), (1, 1));
        });
    }
}

#[test]
fn the_name_that_a_client_asks_for_is_known_however_many_records_say_it() {
    for version in VERSIONS {
        block_on(async || {
            let party = Party::of(version);
            party.begin();
            let (heard, handler) = listener();
            let mut peer = party.connect(handler);
            let hello = peer.sealed();
            let (header, message) = hello.split_at(5);
            for part in message.chunks(50) {
                let record = [&header[..3], &[0, part.len() as u8], part].concat();
                peer.peer.send(record);
            }
            assert!(peer.shake_hands().await);
            peer.finish();
            assert!(peer.receive_to_end().await.1);
            let info = heard.borrow().info.clone().expect("there is a session");
            assert_eq!(info.server_name.as_deref(), Some("server.test"));
        });
    }
}

#[test]
fn the_end_of_a_session_is_told_apart_from_a_mere_fin() {
    for version in VERSIONS {
        block_on(async || {
            let party = Party::of(version);
            party.begin();
            for (says_so, end) in [(true, EndOfInput::Peer), (false, EndOfInput::Truncated)] {
                let (heard, handler) = listener();
                let mut peer = party.connect(handler);
                assert!(peer.shake_hands().await);
                peer.send(b"the whole of it");
                if says_so {
                    peer.finish();
                } else {
                    peer.peer.finish();
                }
                assert_eq!(peer.peer.closed().await, CloseReason::PeerClosed);
                let heard = heard.borrow();
                assert_eq!(heard.bytes, b"the whole of it");
                assert_eq!(heard.end, Some(end));
            }
        });
    }
}

#[test]
fn an_end_of_the_session_ends_input_before_the_fin() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let (heard, handler) = listener();
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        peer.tls.send_close_notify();
        peer.push();
        peer.peer.send(b"whatever comes behind it");
        assert!(peer.receive_to_end().await.1);
        assert_eq!(heard.borrow().end, Some(EndOfInput::Peer));
    });
}

#[test]
fn what_a_handler_gives_up_has_no_end() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let handler = from_fn(async |conn: &mut Conn| {
            conn.write("half of it").await?;
            conn.flush().await?;
            conn.abort();
            Ok::<_, Error>(())
        });
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        assert_eq!(peer.receive_to_end().await, (b"half of it".to_vec(), false));
        assert!(peer.peer.was_reset());
    });
}

#[test]
fn a_handler_that_closes_its_side_goes_on_reading() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let handler = from_fn(async |conn: &mut Conn| {
            conn.write("all").await?;
            conn.close().await?;
            let refused = conn.write("more").await;
            assert!(refused.is_err(), "nothing is written behind the end");
            let heard = conn.read().await?.expect("the peer goes on");
            assert_eq!(&*heard, b"yes");
            Ok::<_, Error>(())
        });
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        assert_eq!(peer.receive_to_end().await, (b"all".to_vec(), true));
        peer.send(b"yes");
        peer.finish();
        assert_eq!(peer.peer.closed().await, CloseReason::PeerClosed);
    });
}

#[test]
fn replies_to_what_came_together_share_records() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let lines = from_fn(async |conn: &mut Conn| {
            while let Some(line) = conn.read_line(100).await? {
                conn.write(&line.to_ascii_uppercase()).await?;
            }
            Ok::<_, Error>(())
        });
        let mut peer = party.connect(lines);
        assert!(peer.shake_hands().await);
        peer.send(b"first\n");
        assert_eq!(peer.receive(5).await, b"FIRST");
        peer.send(b"one\ntwo\nthree\n");
        let sealed = peer.peer.receive_some().await;
        let length = 5 + "ONETWOTHREE".len() + 1 + 16;
        assert_eq!(sealed.len(), length, "one record");
    });
}

#[test]
fn a_peer_that_takes_little_gets_everything() {
    for version in VERSIONS {
        block_on(async || {
            let party = Party::of(version);
            party.begin();
            let handler = from_fn(async |conn: &mut Conn| {
                let bytes = some_bytes(1_000_000);
                for piece in bytes.chunks(7_001) {
                    conn.write(piece).await?;
                }
                Ok::<_, Error>(())
            });
            let mut peer = party.connect(handler);
            assert!(peer.shake_hands().await);
            peer.peer.set_window(Some(10_000));
            let (received, is_whole) = peer.receive_to_end().await;
            assert!(is_whole && received == some_bytes(1_000_000));
        });
    }
}

#[test]
fn what_is_read_and_written_through_halves_is_secure_too() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let handler = from_fn(async |conn: &mut Conn| {
            let (mut reader, mut writer) = conn.split();
            while let Some(bytes) = reader.read().await? {
                writer.write(bytes).await?;
            }
            writer.close().await
        });
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        peer.send(b"hello");
        assert_eq!(peer.receive(5).await, b"hello");
        peer.finish();
        assert_eq!(peer.receive_to_end().await, (Vec::new(), true));
    });
}

#[test]
fn what_others_send_goes_out_in_the_session_and_not_before_there_is_one() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let mut peer = party.connect(from_fn(echo));
        let deliver = |text: &[u8]| {
            Shard::with(|shard| {
                let mut core = shard.core();
                let key = core.conns.table.occupants()[0];
                let id = core.conns.shared.conn_id(key);
                core.conns.deliver(id, text.into())
            })
        };
        assert_eq!(deliver(b"too early"), Delivery::Gone);
        assert!(peer.shake_hands().await);
        peer.send(b"hello");
        assert_eq!(peer.receive(5).await, b"hello");
        assert_eq!(deliver(b"news"), Delivery::Queued);
        assert_eq!(peer.receive(4).await, b"news");
    });
}

// ---- hostile peers ----

#[test]
fn plain_text_is_answered_by_an_alert_and_an_end() {
    block_on(async || {
        Party::of(&TLS13).begin();
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            b"G",
            &[22, 2, 0],
            &[0x80, 9],
        ] {
            let mut peer = serve(from_fn(echo));
            peer.send(bytes);
            assert_eq!(peer.receive_to_end().await[..5], [21, 3, 3, 0, 2]);
            assert_eq!(peer.closed().await, CloseReason::TlsFailed);
            assert!(!peer.was_reset());
        }
        assert_eq!(stats().tls.handshakes_failed(HandshakeFailure::NotTls), 4);
    });
}

#[test]
fn a_handshake_has_its_time_however_it_trickles_in() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let mut peer = party.connect(from_fn(echo));
        let hello = peer.sealed();
        for byte in &hello[..hello.len() - 1] {
            peer.peer.send([*byte]);
            sleep(Duration::from_millis(500)).await;
            if elapsed() > Duration::from_secs(20) {
                break;
            }
        }
        assert_eq!(peer.peer.closed().await, CloseReason::TlsTimeout);
        let mut silent = serve(from_fn(echo));
        let begun = elapsed();
        assert_eq!(silent.closed().await, CloseReason::TlsTimeout);
        let lasted = elapsed() - begun;
        assert!(lasted >= Duration::from_secs(10) && lasted < Duration::from_secs(11));
        assert_eq!(stats().tls.handshakes_failed(HandshakeFailure::Timeout), 2);
    });
}

#[test]
fn a_client_that_shares_no_protocol_is_told_so() {
    block_on(async || {
        let mut party = Party::of(&TLS12);
        party.begin();
        let mut client = (*party.client).clone();
        client.alpn_protocols = vec![b"other".to_vec()];
        party.client = client.into();
        let mut peer = party.connect(from_fn(echo));
        peer.push();
        let answer = peer.peer.receive_to_end().await;
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 120], "no_application_protocol");
        assert_eq!(peer.peer.closed().await, CloseReason::TlsFailed);
        let failed = stats()
            .tls
            .handshakes_failed(HandshakeFailure::NoSharedProtocol);
        assert_eq!(failed, 1);
    });
}

#[test]
fn a_client_that_does_not_trust_the_server_is_counted() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let mut peer = party.connect(from_fn(echo));
        peer.push();
        let _flight = peer.peer.receive_some().await;
        peer.peer.send([21, 3, 3, 0, 2, 2, 48]); // unknown_ca, before there are keys
        assert_eq!(peer.peer.closed().await, CloseReason::TlsFailed);
        let failed = stats().tls.handshakes_failed(HandshakeFailure::Certificate);
        assert_eq!(failed, 1, "{:?}", stats().tls);
    });
}

#[test]
fn a_record_that_trickles_in_is_cut_as_a_frame_is() {
    let settings = Settings::new()
        .set("timeouts.read", Duration::from_secs(5))
        .set("timeouts.idle", Duration::from_secs(60));
    block_on_with(settings, async || {
        let party = Party::of(&TLS13);
        party.begin();
        let mut peer = party.connect(from_fn(echo));
        assert!(peer.shake_hands().await);
        peer.send(b"first");
        peer.receive(5).await;
        let begun = elapsed();
        let sealed = peer.seal(&[b'x'; 100]);
        for byte in &sealed[..sealed.len() - 1] {
            peer.peer.send([*byte]);
            sleep(Duration::from_millis(500)).await;
            if elapsed() > begun + Duration::from_secs(8) {
                break;
            }
        }
        assert_eq!(peer.peer.closed().await, CloseReason::ReadTimeout);
        assert!(elapsed() - begun < Duration::from_secs(9));
    });
}

#[test]
fn a_record_without_a_bound_of_its_own_is_cut_by_what_bounds_the_silence() {
    let settings = Settings::new()
        .set_toml("timeouts.read='off'")
        .set("timeouts.first_byte", Duration::from_secs(20))
        .set("timeouts.idle", Duration::from_secs(5));
    block_on_with(settings, async || {
        let party = Party::of(&TLS13);
        party.begin();
        for (first, reason) in [
            (&b""[..], CloseReason::FirstByteTimeout),
            (b"first", CloseReason::IdleTimeout),
        ] {
            let mut peer = party.connect(from_fn(echo));
            assert!(peer.shake_hands().await);
            if !first.is_empty() {
                peer.send(first);
                assert_eq!(peer.receive(first.len()).await, first);
            }
            let sealed = peer.seal(b"half");
            peer.peer.send(&sealed[..sealed.len() / 2]);
            assert_eq!(peer.peer.closed().await, reason);
        }
    });
}

#[test]
fn a_record_without_data_begins_no_request() {
    let settings = Settings::new()
        .set("timeouts.request", Duration::from_secs(1))
        .set("timeouts.idle", Duration::from_secs(60));
    block_on_with(settings, async || {
        let party = Party::of(&TLS13);
        party.begin();
        let mut peer = party.connect(from_fn(echo));
        assert!(peer.shake_hands().await);
        sleep(Duration::from_secs(3)).await;
        peer.send(b"hello");
        assert_eq!(peer.receive(5).await, b"hello");
        peer.tls.refresh_traffic_keys().expect("it is 1.3");
        peer.push();
        sleep(Duration::from_secs(10)).await;
        peer.send(b"again");
        assert_eq!(peer.receive(5).await, b"again");
    });
}

#[test]
fn a_flood_of_new_keys_ends_the_connection() {
    block_on(async || {
        let party = Party::of(&TLS13);
        party.begin();
        let (heard, handler) = listener();
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        for _ in 0..40 {
            peer.tls.refresh_traffic_keys().expect("it is 1.3");
            peer.send(b"x"); // rustls alone would count anew
        }
        assert_eq!(peer.peer.closed().await, CloseReason::TlsInvalid);
        assert!(heard.borrow().bytes.len() < 40);
        // One now and then is in order.
        let mut peer = party.connect(from_fn(echo));
        assert!(peer.shake_hands().await);
        for _ in 0..100 {
            sleep(Duration::from_secs(1)).await;
            peer.tls.refresh_traffic_keys().expect("it is 1.3");
            peer.send(b"x");
            assert_eq!(peer.receive(1).await, b"x");
        }
    });
}

#[test]
fn renegotiation_is_refused() {
    block_on(async || {
        let party = Party::of(&TLS12);
        party.begin();
        let mut peer = party.connect(from_fn(echo));
        assert!(peer.shake_hands().await);
        // A ClientHello that is none of the session's records.
        peer.peer.send([22, 3, 3, 0, 4, 1, 0, 0, 0]);
        assert_eq!(peer.peer.closed().await, CloseReason::TlsInvalid);
    });
}

/// The beginning of a connection to the `end` of its stream, as the client sends it: its handshake,
/// which the server answers, and some records.
async fn served(version: &'static SupportedProtocolVersion, handler: impl Handler) -> TlsPeer {
    let party = Party::of(version);
    party.begin();
    let mut peer = party.connect(handler);
    assert!(peer.shake_hands().await);
    peer
}

#[test]
fn a_fin_may_come_at_every_byte() {
    for version in VERSIONS {
        block_on(async || {
            let mut length = usize::MAX;
            let mut end = 0;
            while end <= length {
                let (heard, handler) = listener();
                let mut peer = served(version, handler).await;
                let first = peer.seal(b"first");
                let mut stream = [first.clone(), peer.seal(b"second")].concat();
                let data = stream.len();
                peer.tls.send_close_notify();
                stream.extend(peer.sealed());
                length = stream.len();
                peer.peer.send(&stream[..end]);
                peer.peer.finish();
                assert_eq!(peer.peer.closed().await, CloseReason::PeerClosed, "{end}");
                let heard = heard.borrow();
                let told = match end {
                    _ if end < first.len() => b"".as_slice(),
                    _ if end < data => b"first",
                    _ => b"firstsecond",
                };
                assert_eq!(heard.bytes, told, "{end}");
                let whole = end == length;
                let expected = if whole {
                    EndOfInput::Peer
                } else {
                    EndOfInput::Truncated
                };
                assert_eq!(heard.end, Some(expected), "{end}");
                end += 1;
            }
        });
    }
}

#[test]
fn a_fin_may_come_at_every_byte_of_the_handshake() {
    for version in VERSIONS {
        block_on(async || {
            let party = Party::of(version);
            party.begin();
            let hello = party.connect(from_fn(echo)).sealed();
            for end in 0..hello.len() {
                let mut peer = serve(from_fn(echo));
                peer.send(&hello[..end]);
                peer.finish();
                assert_eq!(peer.closed().await, CloseReason::PeerClosed, "{end}");
            }
            sleep(Duration::from_secs(20)).await; // the one who gave the hello has its time, too
            assert_eq!(stats().tasks, 0);
        });
    }
}

#[test]
fn a_wrong_byte_is_found_wherever_it_is() {
    for version in VERSIONS {
        block_on(async || {
            // The version's second byte says nothing (RFC 8446, 5.1).
            for at in (0..).filter(|at| *at != 2) {
                let (heard, handler) = listener();
                let mut peer = served(version, handler).await;
                let first = peer.seal(b"first");
                let mut second = peer.seal(b"second");
                if at == second.len() {
                    break;
                }
                second[at] ^= 0x40;
                peer.peer.send(first);
                sleep(Duration::from_millis(1)).await;
                peer.peer.send(second);
                // Whole records more, for one whose length it was.
                let more = peer.seal(&[0; 17_000]);
                peer.peer.send(&more);
                let more = peer.seal(&[0; 17_000]);
                peer.peer.send(&more);
                assert_eq!(peer.peer.closed().await, CloseReason::TlsInvalid, "{at}");
                assert_eq!(heard.borrow().bytes, b"first", "{at}");
            }
        });
    }
}

#[test]
fn between_two_turns_no_more_handshakes_go_on_than_may() {
    for (version, most) in [(&TLS12, 1), (&TLS13, 3)] {
        block_on(async || {
            let mut party = Party::of(version);
            party.per_turn_max = most;
            party.begin();
            let mut peers: Vec<TlsPeer> = (0..50).map(|_| party.connect(from_fn(echo))).collect();
            for peer in &mut peers {
                peer.push();
            }
            for peer in &mut peers {
                assert!(peer.shake_hands().await);
                peer.send(b"hello");
            }
            for peer in &mut peers {
                assert_eq!(peer.receive(5).await, b"hello");
            }
            let tls = stats().tls;
            assert_eq!(tls.handshakes_full, 50);
            assert_eq!(tls.handshake_steps, 100);
            assert_eq!(tls.handshake_steps_per_turn, u64::from(most));
            assert_eq!(tls.handshakes_waiting, 0);
        });
    }
}

#[test]
fn who_leaves_while_waiting_for_a_handshake_is_in_nobodys_way() {
    block_on(async || {
        let mut party = Party::of(&TLS13);
        party.per_turn_max = 1;
        party.begin();
        let mut peers: Vec<TlsPeer> = (0..40).map(|_| party.connect(from_fn(echo))).collect();
        for peer in &mut peers {
            peer.push();
        }
        for (index, peer) in peers.iter_mut().enumerate() {
            match index % 2 {
                0 => peer.peer.reset(),
                _ => assert!(peer.shake_hands().await),
            }
        }
        for peer in peers.iter_mut().step_by(2) {
            peer.peer.closed().await;
        }
        assert_eq!(stats().tls.handshakes_waiting, 0);
        assert!(stats().tls.handshake_steps_per_turn <= 1);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_fragmentation_gives_the_same_plaintext(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40_000), 1..5),
        pieces in prop::collection::vec(1..20_000_usize, 1..8),
        is_1_3 in any::<bool>(),
        crumbs in any::<bool>(),
    ) {
        let version = if is_1_3 { &TLS13 } else { &TLS12 };
        block_on(async move || {
            let (heard, handler) = listener();
            let mut peer = served(version, handler).await;
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend(peer.seal(message));
            }
            peer.tls.send_close_notify();
            stream.extend(peer.sealed());
            let pieces = if crumbs { vec![1, 3, 700] } else { pieces };
            peer.send_pieces(&stream, &pieces).await;
            peer.peer.finish();
            assert_eq!(peer.peer.closed().await, CloseReason::PeerClosed);
            let heard = heard.borrow();
            assert!(heard.bytes == messages.concat());
            assert_eq!(heard.end, Some(EndOfInput::Peer));
        });
    }

    #[test]
    fn a_handshake_may_come_in_any_pieces(
        pieces in prop::collection::vec(1..200_usize, 1..8),
        is_1_3 in any::<bool>(),
    ) {
        let version = if is_1_3 { &TLS13 } else { &TLS12 };
        block_on(async move || {
            let party = Party::of(version);
            party.begin();
            let mut peer = party.connect(from_fn(echo));
            while peer.tls.is_handshaking() {
                let sealed = peer.sealed();
                peer.send_pieces(&sealed, &pieces).await;
                if peer.tls.is_handshaking() {
                    assert!(peer.pull().await);
                }
            }
            let mut rest = peer.sealed();
            rest.extend(peer.seal(b"hello"));
            peer.send_pieces(&rest, &pieces).await;
            assert_eq!(peer.receive(5).await, b"hello");
        });
    }

    #[test]
    fn no_first_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), as_record in any::<bool>()) {
        block_on(async move || {
            Party::of(&TLS13).begin();
            let mut peer = serve(from_fn(echo));
            if as_record {
                peer.send([22, 3, 1, (bytes.len() >> 8) as u8, bytes.len() as u8]);
            }
            peer.send(&bytes);
            peer.finish();
            let reason = peer.closed().await;
            let allowed = [CloseReason::TlsFailed, CloseReason::PeerClosed];
            assert!(allowed.contains(&reason), "{reason}");
        });
    }

    #[test]
    fn no_bytes_within_a_session_do_harm(bytes in prop::collection::vec(any::<u8>(), 1..400), is_1_3 in any::<bool>()) {
        let version = if is_1_3 { &TLS13 } else { &TLS12 };
        block_on(async move || {
            let (heard, handler) = listener();
            let mut peer = served(version, handler).await;
            peer.peer.send(&bytes);
            peer.peer.finish();
            let reason = peer.peer.closed().await;
            let allowed = [CloseReason::TlsInvalid, CloseReason::PeerClosed];
            assert!(allowed.contains(&reason), "{reason}");
            assert!(heard.borrow().bytes.is_empty());
            assert_ne!(heard.borrow().end, Some(EndOfInput::Peer));
        });
    }
}
