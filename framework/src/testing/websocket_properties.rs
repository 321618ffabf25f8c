//! What holds of WebSocket, whatever a peer's bytes are and however they come in. Told of bytes, so
//! that property tests, the kept corpus and the fuzzer ask the same question: the first byte picks the
//! pieces, the second who the peer is, the rest is what it sends behind the handshake, before its FIN.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::conn::connection::Conn;
use crate::error::Error;
use crate::handler::from_fn;
use crate::shard::futures::sleep::sleep;
use crate::shard::handle::Shard;
use crate::testing::{block_on, serve};
use crate::websocket::{End, Message, Options, WebSocket};

/// Small ones, so that short inputs meet them.
const MESSAGE_MAX: u32 = 200;
const FRAGMENTS_MAX: u32 = 5;

/// What a handler sees of a connection, and what its peer does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    messages: Vec<(bool, Vec<u8>)>,
    end: Option<End>,
    error: Option<String>,
    said: Vec<u8>,
    reason: Option<CloseReason>,
}

/// Sends `bytes` at once and in pieces: both must be the same to the handler and to the peer.
pub(crate) fn hold_for(bytes: &[u8]) {
    let [pieces, role, stream @ ..] = bytes else {
        return;
    };
    let (pieces, role, stream) = (*pieces, *role, stream.to_vec());
    let (whole, split) = block_on(async move || {
        let whole = seen(vec![stream.clone()], role).await;
        (whole, seen(split(&stream, pieces), role).await)
    });
    assert_eq!(whole, split);
}

fn split(stream: &[u8], pieces: u8) -> Vec<Vec<u8>> {
    let (mut parts, mut rest, mut choice) = (Vec::new(), stream, u32::from(pieces));
    while !rest.is_empty() {
        choice = choice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = 1 + u32::from(pieces % 16);
        let length = (1 + (choice >> 16) % most).min(rest.len() as u32) as usize;
        let (part, after) = rest.split_at(length);
        parts.push(part.to_vec());
        rest = after;
    }
    parts
}

async fn seen(parts: Vec<Vec<u8>>, role: u8) -> Seen {
    let (is_client, deflates) = (role & 1 != 0, role & 2 != 0);
    let seen = Rc::new(RefCell::new(Seen::default()));
    let told = Rc::clone(&seen);
    let mut peer = serve(from_fn(async move |conn: &mut Conn| {
        let mut ws = web_socket(conn, is_client, deflates);
        let outcome = handle(&mut ws, &told).await;
        let mut told = told.borrow_mut();
        told.end = ws.end();
        told.error = outcome.as_ref().err().map(Error::to_string);
        outcome
    }));
    for part in parts {
        peer.send(part);
        sleep(Duration::from_micros(1)).await;
    }
    peer.finish();
    let said = peer.receive_to_end().await;
    let reason = peer.closed().await;
    assert_eq!(Shard::with(|shard| shard.buffers.referenced()), 0);
    let mut seen = seen.borrow_mut();
    if !is_client {
        assert_said(&said);
        seen.said = said; // a client's is masked, each time by another key
    }
    seen.reason = Some(reason);
    seen.clone()
}

fn web_socket(conn: &mut Conn, is_client: bool, deflates: bool) -> WebSocket<'_> {
    let options = Options {
        message_max: MESSAGE_MAX,
        fragments_max: FRAGMENTS_MAX,
        deflate: deflates,
        ..Options::default()
    };
    WebSocket::behind_handshake(conn, &Rc::new(options), is_client, deflates)
}

async fn handle(ws: &mut WebSocket<'_>, told: &RefCell<Seen>) -> Result<(), Error> {
    while let Some(message) = ws.next().await? {
        assert!(message.as_bytes().len() <= MESSAGE_MAX as usize);
        let is_text = matches!(message, Message::Text(_));
        let bytes = message.as_bytes().to_vec();
        assert!(!is_text || str::from_utf8(&bytes).is_ok());
        told.borrow_mut().messages.push((is_text, bytes));
        ws.send(message).await?;
    }
    Ok(())
}

/// A server's frames are whole, unmasked and in no fragments, and nothing follows a close.
fn assert_said(mut said: &[u8]) {
    while let [first, short, rest @ ..] = said {
        assert!(
            matches!(first & 0xbf, 0x81 | 0x82 | 0x88 | 0x8a),
            "{first:x}"
        );
        let (length, rest) = match (short, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (0..126, rest) => (usize::from(*short), rest),
            _ => panic!("{short}"),
        };
        said = &rest[length..];
        assert!(*first != 0x88 || said.is_empty(), "{}", said.escape_ascii());
    }
    assert!(said.is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proptests::cases;

    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            8 => prop_oneof![Just(0x81_u8), Just(0x82), Just(0x01), Just(0x00), Just(0x80)],
            3 => prop_oneof![Just(0x89_u8), Just(0x8a), Just(0xc1), Just(0x41)],
            1 => prop_oneof![Just(0x88_u8), any::<u8>()],
        ];
        let text = prop_oneof!["[a-z]{0,20}", "\\PC{0,20}", "[a-z]{120,220}"];
        let payload = prop_oneof![
            6 => text.prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..20),
            1 => Just(b"\x03\xe8bye".to_vec()),
            1 => Just(b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec()),
        ];
        (first, payload, any::<[u8; 4]>()).prop_map(|(first, payload, key)| {
            let mut frame = vec![first];
            match payload.len() {
                short @ 0..126 => frame.push(0x80 | short as u8),
                long => frame.extend([0xfe, (long >> 8) as u8, long as u8]),
            }
            frame.extend(key);
            frame.extend(
                payload
                    .iter()
                    .enumerate()
                    .map(|(place, byte)| byte ^ key[place % 4]),
            );
            frame
        })
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let frames = || proptest::collection::vec(frame(), 0..8).prop_map(|frames| frames.concat());
        prop_oneof![
            6 => frames(),
            2 => (frames(), any::<u16>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
                let length = bytes.len().max(1);
                if let Some(place) = bytes.get_mut(usize::from(at) % length) {
                    *place = byte;
                }
                bytes
            }),
            1 => proptest::collection::vec(any::<u8>(), 0..400),
        ]
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
    }

    fn with_echo<F: Future<Output = ()>>(
        options: Options,
        program: impl FnOnce(crate::testing::Peer) -> F + Send,
    ) {
        block_on(async move || {
            let peer = serve(from_fn(async move |conn: &mut Conn| {
                let options = Rc::new(options.clone());
                let mut ws = WebSocket::behind_handshake(conn, &options, false, false);
                handle(&mut ws, &RefCell::default()).await
            }));
            program(peer).await;
        });
    }

    #[test]
    fn a_silent_connection_holds_no_buffer() {
        with_echo(Options::default(), async |mut peer| {
            for (sent, answer) in [
                (masked(0x81, b"a"), &b"\x81\x01a"[..]),
                (masked(0x01, b"a"), b""),
                (masked(0x89, b"p"), b"\x8a\x01p"),
                (masked(0x80, b"b"), b"\x81\x02ab"),
                (masked(0x82, b""), b"\x82\x00"),
            ] {
                let is_within = sent[0] == 0x01 || sent[0] == 0x89;
                peer.send(sent);
                assert_eq!(peer.receive(answer.len()).await, answer);
                sleep(Duration::from_secs(1)).await;
                let held = Shard::with(|shard| shard.buffers.referenced());
                assert_eq!(held, usize::from(is_within));
            }
            peer.send(masked(0x88, b""));
            assert_eq!(peer.receive_to_end().await, b"\x88\x00");
            assert_eq!(peer.closed().await, CloseReason::HandlerClosed);
        });
    }

    #[test]
    fn a_peer_is_pinged_and_one_that_does_not_answer_is_given_up() {
        let options = Options {
            ping_interval: Some(Duration::from_secs(30)),
            ..Options::default()
        };
        with_echo(options, async |mut peer| {
            for _ in 0..20 {
                assert_eq!(peer.receive(2).await, b"\x89\x00");
                peer.send(masked(0x8a, b""));
            }
            let begin = crate::testing::elapsed();
            assert!(begin > Duration::from_secs(19 * 30), "{begin:?}");
            assert_eq!(peer.receive(2).await, b"\x89\x00");
            assert_eq!(peer.closed().await, CloseReason::ReadTimeout);
            let waited = crate::testing::elapsed() - begin;
            assert!((40..=41).contains(&waited.as_secs()), "{waited:?}");
        });
    }

    #[test]
    fn a_peer_that_falls_silent_within_a_message_is_given_up_as_any_other() {
        let options = Options {
            ping_interval: Some(Duration::from_secs(30)),
            message_timeout: Duration::from_secs(3600),
            ..Options::default()
        };
        with_echo(options, async |mut peer| {
            peer.send(masked(0x01, b"a"));
            for _ in 0..3 {
                assert_eq!(peer.receive(2).await, b"\x89\x00");
                peer.send(masked(0x8a, b""));
            }
            peer.send(masked(0x80, b"b"));
            assert_eq!(peer.receive(4).await, b"\x81\x02ab");
            peer.send(masked(0x01, b"a"));
            assert_eq!(peer.receive(2).await, b"\x89\x00");
            let begin = crate::testing::elapsed();
            assert_eq!(peer.closed().await, CloseReason::ReadTimeout);
            let waited = crate::testing::elapsed() - begin;
            assert!((10..=11).contains(&waited.as_secs()), "{waited:?}");
        });
    }

    #[test]
    fn a_time_without_end_is_none() {
        let options = Options {
            ping_interval: Some(Duration::from_secs(30)),
            message_timeout: Duration::MAX,
            pong_timeout: Duration::MAX,
            close_timeout: Duration::MAX,
            ..Options::default()
        };
        with_echo(options, async |mut peer| {
            peer.send(masked(0x01, b"a"));
            assert_eq!(peer.receive(2).await, b"\x89\x00");
            sleep(Duration::from_secs(100)).await;
            peer.send(masked(0x80, b"b"));
            assert_eq!(peer.receive(4).await, b"\x81\x02ab");
        });
    }

    #[test]
    fn a_message_that_drips_ends_at_its_deadline() {
        with_echo(Options::default(), async |mut peer| {
            peer.send(masked(0x01, b""));
            for _ in 0..29 {
                sleep(Duration::from_secs(1)).await;
                peer.send(masked(0x00, b"a"));
            }
            sleep(Duration::from_millis(500)).await;
            peer.send(masked(0x80, b"a"));
            assert_eq!(peer.receive(32).await.len(), 32);
            peer.send(masked(0x01, b"a"));
            for _ in 0..40 {
                sleep(Duration::from_secs(1)).await;
                peer.send(masked(0x89, b""));
            }
            assert_eq!(peer.closed().await, CloseReason::ReadTimeout);
        });
    }

    #[test]
    fn the_peer_is_waited_for_until_it_closes_and_no_longer_than_the_bound() {
        for answers in [true, false] {
            block_on(async move || {
                let ended = Rc::new(RefCell::new(None));
                let told = Rc::clone(&ended);
                let mut peer = serve(from_fn(async move |conn: &mut Conn| {
                    let options = Rc::new(Options::default());
                    let mut ws = WebSocket::behind_handshake(conn, &options, false, false);
                    let reason = "\u{e9}".repeat(100);
                    let closed = ws.close(crate::websocket::Code::NORMAL, &reason).await;
                    *told.borrow_mut() = Some((closed.is_ok(), ws.end()));
                    assert!(ws.send("late").await.is_err());
                    closed
                }));
                let close = peer.receive(2 + 124).await;
                assert_eq!(close[..4], [0x88, 124, 0x03, 0xe8], "cut at a character");
                peer.send(masked(0x81, b"on its way"));
                if answers {
                    peer.send(masked(0x88, b"\x03\xe8ok"));
                    assert_eq!(peer.receive_to_end().await, b"");
                    assert_eq!(peer.closed().await, CloseReason::HandlerClosed);
                } else {
                    assert_eq!(peer.closed().await, CloseReason::ReadTimeout);
                    let waited = crate::testing::elapsed();
                    assert!((5..=6).contains(&waited.as_secs()), "{waited:?}");
                }
                let (is_ok, end) = ended.borrow_mut().take().expect("it has ended");
                assert_eq!((is_ok, end.is_some()), (answers, answers));
            });
        }
    }

    /// What was begun goes out whole, and nothing in its midst.
    #[test]
    fn a_send_that_is_dropped_half_way_leaves_whole_frames() {
        for window in [1, 3, 10, 1000] {
            let settings = crate::Settings::new().set("limits.write_queue_max", 4096);
            crate::testing::block_on_with(settings, async move || {
                let mut peer = serve(from_fn(async |conn: &mut Conn| {
                    let options = Rc::new(Options::default());
                    let mut ws = WebSocket::behind_handshake(conn, &options, false, false);
                    for size in [5000, 6000, 7000] {
                        let large = vec![b'x'; size];
                        let sent = ws.send(&large);
                        let _elapsed =
                            crate::shard::futures::timeout::timeout(Duration::from_secs(1), sent)
                                .await;
                    }
                    while ws.next().await?.is_some() {}
                    Ok(())
                }));
                peer.set_window(Some(window));
                sleep(Duration::from_millis(100)).await;
                peer.send(masked(0x89, b"ping"));
                sleep(Duration::from_secs(10)).await;
                peer.set_window(None);
                peer.send(masked(0x89, b"pong"));
                sleep(Duration::from_secs(1)).await;
                peer.send(masked(0x88, b""));
                let said = peer.receive_to_end().await;
                assert_said(&said);
                assert!(said.windows(4).any(|part| part == b"pong"));
                assert!(said.len() > 5000);
            });
        }
    }

    #[test]
    fn a_reader_that_is_dropped_again_and_again_takes_no_wake_up_from_the_writer() {
        use futures_lite::future::or;

        use crate::shard::futures::notify::Notify;
        use crate::shard::futures::spawn::spawn;

        let settings = crate::Settings::new().set("limits.write_queue_max", 4096);
        crate::testing::block_on_with(settings, async || {
            let mut peer = serve(from_fn(async |conn: &mut Conn| {
                let options = Rc::new(Options::default());
                let mut ws = WebSocket::behind_handshake(conn, &options, false, false);
                let (mut reader, mut writer) = ws.split();
                let stop = Rc::new(Notify::default());
                let ticks = Rc::clone(&stop);
                spawn(async move {
                    for _ in 0..100 {
                        sleep(Duration::from_millis(10)).await;
                        ticks.notify();
                    }
                })?;
                let write = async {
                    for _ in 0..50 {
                        writer.send(&[7; 3000]).await?;
                    }
                    writer.flush().await
                };
                let read = async {
                    loop {
                        let next = async { Some(reader.next().await) };
                        let tick = async {
                            stop.notified().await;
                            None
                        };
                        let next = or(next, tick).await.transpose()?;
                        if next.is_some_and(|message| message.is_none()) {
                            return Ok::<_, Error>(());
                        }
                    }
                };
                futures_lite::future::try_zip(read, write).await.map(drop)
            }));
            peer.set_window(Some(100));
            let mut came = Vec::new();
            for round in 0..1600 {
                if round % 3 == 0 {
                    peer.send(masked(0x89, b"p"));
                }
                let left = (50 * 3004_usize).saturating_sub(came.len());
                came.extend(peer.receive(left.min(100)).await);
                sleep(Duration::from_millis(1)).await;
            }
            peer.set_window(None);
            peer.send(masked(0x88, b""));
            came.extend(peer.receive_to_end().await);
            assert_said(&came);
            let messages = came.windows(4).filter(|part| *part == b"\x82\x7e\x0b\xb8");
            assert_eq!(messages.count(), 50);
            assert!(came.ends_with(b"\x88\x00"));
        });
    }

    proptest! {
        #![proptest_config(cases(2000))]

        #[test]
        fn messages_are_the_same_in_any_pieces(pieces: u8, role in 0..4_u8, stream in stream()) {
            hold_for(&[&[pieces, role][..], &stream].concat());
        }
    }
}
