//! Codecs on connections, and services on codecs: on `corelane::testing`, and over real sockets.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use corelane::codec::{Delimited, LengthPrefixed, Lines, Netstrings, Payload};
use corelane::{
    Client, CloseReason, Conn, Connector, Error, Frame, FromService, Server, ServerHandle, Service,
    Settings, ShardContext, from_fn, from_service, sleep, testing, timeout,
};
use futures_lite::future::try_zip;

const PATIENCE: Duration = Duration::from_secs(10);

async fn echo_strings(conn: &mut Conn) -> Result<(), Error> {
    let mut strings = conn.framed(Netstrings::new(1000));
    while let Some(string) = strings.next().await? {
        strings.send(&string).await?;
    }
    Ok(())
}

#[test]
fn frames_are_the_same_however_they_come() {
    testing::block_on(async || {
        let mut peer = testing::serve(from_fn(echo_strings));
        let sent = b"5:hello,0:,3:\n,\0,11:hello world,";
        for byte in sent {
            peer.send([*byte]);
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(peer.receive(sent.len()).await, sent);
        peer.send(sent);
        assert_eq!(peer.receive(sent.len()).await, sent);
        peer.finish();
        assert_eq!(peer.receive_to_end().await, b"");
        assert_eq!(peer.closed().await, CloseReason::PeerClosed);
    });
}

#[test]
fn an_end_within_a_frame_is_told_from_one_between_two() {
    testing::block_on(async || {
        for (sent, reason) in [
            ("1:a,", CloseReason::PeerClosed),
            ("1:a,5:hel", CloseReason::ProtocolError),
            ("1:a,5", CloseReason::ProtocolError),
            ("1:a", CloseReason::ProtocolError),
        ] {
            let mut peer = testing::serve(from_fn(echo_strings));
            peer.send(sent);
            peer.finish();
            assert_eq!(peer.closed().await, reason, "{sent}");
        }
    });
}

#[test]
fn what_is_no_frame_or_too_long_ends_the_connection_at_once() {
    testing::block_on(async || {
        for wrong in ["hello", "1:ab", "05:hello,", "1001", "4294967296:"] {
            let mut peer = testing::serve(from_fn(echo_strings));
            peer.send(wrong);
            assert_eq!(peer.closed().await, CloseReason::ProtocolError, "{wrong}");
            assert!(peer.was_reset());
        }
        assert!(testing::elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn each_error_is_told_as_often_as_it_is_asked_for() {
    testing::block_on(async || {
        let (mut conn, mut peer) = testing::pair();
        let mut frames = conn.framed(LengthPrefixed::new(100));
        peer.send(b"\0\0\0\x01a\xff\xff\xff\xff");
        assert_eq!(&**frames.next().await.unwrap().as_ref().unwrap(), b"a");
        for _ in 0..3 {
            let refused = frames.next().await;
            assert!(
                matches!(refused, Err(Error::FrameTooLong { max: 104 })),
                "{refused:?}"
            );
        }
        let mut strings = conn.framed(Netstrings::new(9));
        for _ in 0..3 {
            let refused = strings.next().await;
            assert!(
                matches!(refused, Err(Error::Protocol("no netstring"))),
                "{refused:?}"
            );
        }
    });
}

#[test]
fn a_bound_of_everything_is_one_all_the_same() {
    testing::block_on(async || {
        let (mut conn, mut peer) = testing::pair();
        peer.send([0xff; 8]);
        for width in 4..=8 {
            let everything = LengthPrefixed::new(usize::MAX).width(width);
            let refused = conn.framed(everything).next().await;
            assert!(matches!(refused, Err(Error::FrameTooLong { max }) if max == 1 << 30));
        }
    });
}

#[test]
fn a_frame_has_a_deadline_and_a_drip_gets_no_second_one() {
    let settings = Settings::new().set("timeouts.read", Duration::from_secs(2));
    testing::block_on_with(settings, async || {
        let mut peer = testing::serve(from_fn(echo_strings));
        peer.send("1:a,100:");
        for _ in 0..20 {
            sleep(Duration::from_millis(300)).await;
            peer.send("x");
        }
        assert_eq!(peer.closed().await, CloseReason::ReadTimeout);
    });
}

#[test]
fn a_wait_for_a_frame_that_is_dropped_loses_nothing() {
    testing::block_on(async || {
        let (mut conn, mut peer) = testing::pair();
        let mut lines = conn.framed(Lines::new(100));
        peer.send("a line in ");
        for _ in 0..5 {
            assert!(timeout(Duration::from_secs(1), lines.next()).await.is_err());
        }
        peer.send("pieces\nmore");
        let line = lines.next().await.unwrap().unwrap();
        assert_eq!(&*line, b"a line in pieces");
        assert_eq!(&*line.bytes, b"a line in pieces\n");
        assert_eq!(&*line.into_payload(), b"a line in pieces");
        let rest = conn.read().await.unwrap().unwrap();
        assert_eq!(&*rest, b"more", "what follows is left to the connection");
    });
}

/// Larger than the queue, to a peer that takes it in small pieces.
#[test]
fn a_message_larger_than_the_queue_goes_out_whole_and_in_its_order() {
    let settings = Settings::new().set("limits.write_queue_max", 16 * 1024);
    testing::block_on_with(settings, async || {
        let (mut conn, mut peer) = testing::pair();
        peer.set_window(Some(1000));
        let message: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let expected = [b"100000:", &message[..], b",2:ok,"].concat();
        let send = async {
            let mut strings = conn.framed(Netstrings::new(10));
            strings.send(&message).await?;
            strings.send(b"ok").await?;
            strings.conn().flush().await
        };
        let take = async {
            for piece in expected.chunks(500) {
                assert!(peer.receive(piece.len()).await == piece);
            }
            Ok::<(), Error>(())
        };
        try_zip(send, take).await.unwrap();
    });
}

#[test]
fn what_cannot_be_sent_is_the_handlers_fault_and_nothing_of_it_goes_out() {
    testing::block_on(async || {
        let mut peer = testing::serve(from_fn(async |conn: &mut Conn| {
            let mut texts = conn.framed(Delimited::new(b"\0", 100));
            texts.send(b"good").await?;
            texts.send(b"bad\0text").await
        }));
        assert_eq!(peer.receive_to_end().await, b"good\0");
        assert_eq!(peer.closed().await, CloseReason::HandlerFailed);
    });
}

#[test]
fn the_halves_read_and_write_at_the_same_time_with_one_codec() {
    testing::block_on(async || {
        let mut peer = testing::serve(from_fn(async |conn: &mut Conn| {
            let mut lines = conn.framed(Lines::new(100).crlf());
            let (mut reader, mut writer) = lines.split();
            let heard = Cell::new(0);
            let listen = async {
                while reader.next().await?.is_some() {
                    heard.set(heard.get() + 1);
                }
                Ok::<(), Error>(())
            };
            let speak = async {
                for _ in 0..3 {
                    sleep(Duration::from_secs(10)).await;
                    writer.send(heard.get().to_string().as_bytes()).await?;
                }
                writer.flush().await?;
                writer.close().await
            };
            try_zip(listen, speak).await.map(|_| ())
        }));
        peer.send("a\nb\r\n");
        assert_eq!(peer.receive(3).await, b"2\r\n");
        peer.send("c\n");
        peer.finish();
        assert_eq!(peer.receive_to_end().await, b"3\r\n3\r\n");
    });
}

/// Answers a string after as many milliseconds as it says, and counts.
#[derive(Default)]
struct Slow {
    in_hand: Rc<Cell<usize>>,
    in_hand_most: Rc<Cell<usize>>,
    begun: Rc<RefCell<Vec<u64>>>,
}

impl Service for Slow {
    type Codec = Netstrings;
    type Reply = Vec<u8>;

    fn codec(&self) -> Netstrings {
        Netstrings::new(1000)
    }

    async fn call(&self, request: Frame<Payload>) -> Result<Vec<u8>, Error> {
        if request.first() == Some(&b'!') {
            return Err(Error::handler("on purpose"));
        }
        let wait: u64 = str::from_utf8(&request).unwrap().parse().unwrap();
        self.begun.borrow_mut().push(wait);
        self.in_hand.set(self.in_hand.get() + 1);
        self.in_hand_most
            .set(self.in_hand_most.get().max(self.in_hand.get()));
        sleep(Duration::from_millis(wait)).await;
        self.in_hand.set(self.in_hand.get() - 1);
        Ok(request.to_vec())
    }
}

fn slow() -> FromService<Slow> {
    from_service(Slow::default())
}

/// These requests, which are their replies too.
fn strings(texts: &[&str]) -> Vec<u8> {
    let strings = texts.iter().map(|text| format!("{}:{text},", text.len()));
    strings.collect::<String>().into_bytes()
}

#[test]
fn requests_are_called_side_by_side_and_answered_in_their_order() {
    testing::block_on(async || {
        let mut peer = testing::serve(slow());
        let requests = strings(&["3000", "2000", "1000", "0"]);
        peer.send(&requests);
        assert_eq!(peer.receive(requests.len()).await, requests);
        let took = testing::elapsed();
        assert!((3000..4000).contains(&took.as_millis()), "{took:?}");
        // What comes while another is in hand begins at once, too.
        peer.send(strings(&["3000"]));
        sleep(Duration::from_millis(1000)).await;
        peer.send(strings(&["2000"]));
        assert_eq!(peer.receive(14).await, strings(&["3000", "2000"]));
        let took = testing::elapsed() - took;
        assert!((3000..4000).contains(&took.as_millis()), "{took:?}");
    });
}

#[test]
fn no_more_requests_are_in_hand_than_the_bound_says() {
    for in_hand_max in [0, 1, 3, 16] {
        testing::block_on(async || {
            let service = Slow::default();
            let most = Rc::clone(&service.in_hand_most);
            let mut peer = testing::serve(from_service(service).in_hand_max(in_hand_max));
            let requests = strings(&["10"; 100]);
            peer.send(&requests);
            assert_eq!(peer.receive(requests.len()).await, requests);
            assert_eq!(most.get(), in_hand_max.max(1));
        });
    }
    testing::block_on(async || {
        let service = Slow::default();
        let most = Rc::clone(&service.in_hand_most);
        let mut peer = testing::serve(from_service(service));
        peer.send(strings(&["10"; 100]));
        peer.receive(500).await;
        assert_eq!(most.get(), 16, "unless it says otherwise");
    });
}

#[test]
fn who_ends_or_breaks_the_protocol_has_the_requests_before_that_answered() {
    testing::block_on(async || {
        for (end, reason) in [
            ("", CloseReason::PeerClosed),
            ("5:he", CloseReason::ProtocolError),
            ("wrong", CloseReason::ProtocolError),
            ("9999", CloseReason::ProtocolError),
            ("1:!,2:10,", CloseReason::HandlerFailed),
        ] {
            let mut peer = testing::serve(slow());
            let requests = strings(&["2000", "1000"]);
            peer.send([&requests[..], end.as_bytes()].concat());
            peer.finish();
            assert_eq!(peer.receive_to_end().await, requests, "{end}");
            assert_eq!(peer.closed().await, reason, "{end}");
        }
    });
}

#[test]
fn a_request_in_hand_has_its_time_and_one_behind_it_gives_it_no_more() {
    let settings = Settings::new().set("timeouts.request", Duration::from_secs(2));
    testing::block_on_with(settings, async || {
        let mut peer = testing::serve(slow());
        peer.send(strings(&["60000"]));
        for _ in 0..10 {
            sleep(Duration::from_millis(300)).await;
            peer.send(strings(&["0"]));
        }
        assert_eq!(peer.closed().await, CloseReason::RequestTimeout);
        assert!(testing::elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn each_of_many_pipelined_requests_has_its_own_time() {
    let settings = Settings::new().set("timeouts.request", Duration::from_secs(2));
    for in_hand_max in [1, 2, 16] {
        testing::block_on_with(settings.clone(), async || {
            let mut peer = testing::serve(slow().in_hand_max(in_hand_max));
            let requests = strings(&["1500"; 40]);
            peer.send(&requests);
            // The beginning of one more, which is whole only when its turn comes.
            peer.send("4:");
            assert_eq!(peer.receive(requests.len()).await, requests);
            peer.send("1500,");
            assert_eq!(peer.receive(7).await, b"4:1500,");
        });
    }
}

#[test]
fn a_call_may_take_longer_than_its_peer_may_be_silent() {
    let settings = Settings::new().set("timeouts.idle", Duration::from_secs(5));
    testing::block_on_with(settings, async || {
        let mut peer = testing::serve(slow());
        peer.send(strings(&["60000"]));
        assert_eq!(peer.receive(8).await, strings(&["60000"]));
        assert_eq!(peer.closed().await, CloseReason::IdleTimeout);
        let took = testing::elapsed();
        assert!((65..70).contains(&took.as_secs()), "{took:?}");
    });
}

#[test]
fn a_peer_that_takes_no_replies_is_not_read_from() {
    let settings = Settings::new().set("limits.write_queue_max", 4096);
    testing::block_on_with(settings, async || {
        let service = Slow::default();
        let begun = Rc::clone(&service.begun);
        let mut peer = testing::serve(from_service(service));
        peer.set_window(Some(0));
        let requests = strings(&["0"; 10_000]);
        peer.send(&requests);
        sleep(Duration::from_secs(1)).await;
        let before = begun.borrow().len();
        assert!(before < 4096 / 4 + 2 * 16 + 1024, "{before} were called");
        peer.set_window(None);
        assert_eq!(peer.receive(requests.len()).await, requests);
        assert_eq!(begun.borrow().len(), 10_000);
    });
}

/// An echo of lines as a service.
struct EchoLines;

impl Service for EchoLines {
    type Codec = Lines;
    type Reply = Frame<Payload>;

    fn codec(&self) -> Lines {
        Lines::new(100)
    }

    async fn call(&self, line: Frame<Payload>) -> Result<Frame<Payload>, Error> {
        if &*line == b"wait" {
            sleep(Duration::from_millis(500)).await;
        }
        Ok(line)
    }
}

fn serve_lines() -> ServerHandle {
    let settings = Settings::new()
        .set("server.shards", 2)
        .set("limits.connections_max", 64);
    let server = Server::builder()
        .settings(settings)
        .handler(|_shard: &ShardContext| from_service(EchoLines))
        .bind()
        .unwrap();
    let handle = server.spawn().unwrap();
    handle.wait_ready().unwrap();
    handle
}

fn connect(server: &ServerHandle) -> TcpStream {
    let client = TcpStream::connect(server.local_addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

fn read_to_end(mut client: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

fn drained(server: ServerHandle) {
    server.drain();
    server.join().outcome.unwrap();
}

#[test]
fn over_a_socket_a_pipeline_is_answered_in_its_order_and_to_its_end() {
    let server = serve_lines();
    let lines: String = (0..5000).map(|number| format!("line {number}\n")).collect();
    let client = connect(&server);
    let mut writer = client.try_clone().unwrap();
    let text = lines.clone();
    let writing = std::thread::spawn(move || {
        // In pieces that fit no line.
        for piece in text.as_bytes().chunks(777) {
            writer.write_all(piece).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert!(read_to_end(client) == lines.as_bytes());
    writing.join().unwrap();

    let mut client = connect(&server);
    for byte in b"one\r\ntwo\n" {
        client.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut answer = [0; 8];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"one\ntwo\n");
    drained(server);
}

#[test]
fn over_a_socket_a_line_that_does_not_end_is_refused_at_its_bound() {
    let server = serve_lines();
    let mut client = connect(&server);
    client.write_all(&[b'x'; 99]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.stats().connections, 1);
    client.write_all(b"x").unwrap();
    let mut bytes = Vec::new();
    let refused = client.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset);
    drained(server);
}

#[test]
fn over_a_socket_a_drain_answers_what_is_in_hand() {
    let server = serve_lines();
    let mut client = connect(&server);
    client.write_all(b"wait\nand this\n").unwrap();
    let begun = Instant::now();
    while server.stats().messages < 2 {
        assert!(begun.elapsed() < PATIENCE, "the lines are read");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.drain();
    assert_eq!(read_to_end(client), b"wait\nand this\n");
    server.join().outcome.unwrap();
}

#[test]
fn over_a_socket_a_client_speaks_the_same_codec() {
    let server = serve_lines();
    let target = server.local_addr();
    let settings = Settings::new()
        .set("server.shards", 1)
        .set("limits.outbound_per_shard_max", 1);
    let (answers, answered) = channel();
    let client = Client::with_settings(&settings, move |_shard: ShardContext| {
        let answers = answers.clone();
        async move {
            let mut conn = Connector::new().connect(target).await.unwrap();
            let mut lines = conn.framed(Lines::new(100));
            for text in ["one", "wait", "two"] {
                lines.send(text.as_bytes()).await.unwrap();
            }
            for _ in 0..3 {
                let answer = lines.next().await.unwrap().unwrap();
                answers
                    .send(String::from_utf8(answer.to_vec()).unwrap())
                    .unwrap();
            }
        }
    });
    let client = client.unwrap();
    let said: Vec<String> = (0..3)
        .map(|_| answered.recv_timeout(PATIENCE).unwrap())
        .collect();
    assert_eq!(said, ["one", "wait", "two"]);
    client.join().unwrap();
    drained(server);
}
