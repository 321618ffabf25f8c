//! Messages between shards, from threads to shards, and to connections, in servers embedded here.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use corelane::codec::Lines;
use corelane::{
    Conn, ConnId, Delivery, Error, Event, Full, Handler, IntoHandler, Peers, SendError, Server,
    ServerHandle, Settings, ShardContext, ShardId, draining, sleep, spawn, timeout,
};
use futures_lite::future::{block_on, poll_once};

const PATIENCE: Duration = Duration::from_secs(20);

fn serve<H: IntoHandler<K>, K>(
    settings: Settings,
    factory: impl Fn(&ShardContext<H::Message>) -> H + Send + Sync + 'static,
) -> ServerHandle<H::Message> {
    let settings = settings
        .set("server.shards", 2)
        .set("limits.connections_max", 64);
    let server = Server::builder().settings(settings).handler(factory).bind();
    let handle = server
        .unwrap_or_else(|error| panic!("{error}"))
        .spawn()
        .unwrap();
    handle.wait_ready().unwrap();
    handle
}

fn end<M: Send + 'static>(handle: ServerHandle<M>) {
    handle.drain();
    assert_eq!(handle.join().outcome, Ok(()));
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a line, if there is one to send, and gives the next line that comes, without its end.
fn ask(stream: &mut TcpStream, line: Option<&str>) -> String {
    if let Some(line) = line {
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

/// A client on the shard of that number: connects until the kernel has chosen it.
fn client_on(address: SocketAddr, shard: &str) -> TcpStream {
    for _ in 0..1000 {
        let mut client = connect(address);
        if ask(&mut client, Some("where")) == shard {
            return client;
        }
    }
    panic!("the kernel never chooses shard {shard}");
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What the shards of a test were sent, each message with the shard that got it.
type Got = Arc<Mutex<Vec<(u32, Note)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    from: u32,
    number: u64,
}

/// Sends notes as its connections say.
struct Noting {
    shard: u32,
    peers: Peers<Note>,
    got: Got,
    /// How long it takes to receive one.
    pause: Duration,
}

impl Noting {
    fn factory(got: &Got, pause: Duration) -> impl Fn(&ShardContext<Note>) -> Self + use<> {
        let got = Arc::clone(got);
        move |shard| Self {
            shard: shard.id.0,
            peers: shard.peers(),
            got: Arc::clone(&got),
            pause,
        }
    }

    async fn obey(&self, words: &[&str]) -> String {
        let other = self.peers.at(1 - self.shard as usize);
        let note = |number| Note {
            from: self.shard,
            number,
        };
        match words {
            ["where"] => self.shard.to_string(),
            ["send", count] => {
                for number in 0..count.parse().unwrap() {
                    other.send(note(number), PATIENCE).await.unwrap();
                }
                "sent".to_owned()
            }
            ["fill", count] => {
                let count: u64 = count.parse().unwrap();
                let full = (0..count).filter(|number| other.try_send(note(*number)).is_err());
                format!("{} full", full.count())
            }
            ["within", millis] => {
                let deadline = Duration::from_millis(millis.parse().unwrap());
                let begun = Instant::now();
                match other.send(note(99), deadline).await {
                    Err(SendError::Elapsed(Note { number: 99, .. })) => {
                        assert!(begun.elapsed() >= deadline);
                        "elapsed".to_owned()
                    }
                    other => format!("{other:?}"),
                }
            }
            ["self", count] => {
                for number in 0..count.parse().unwrap() {
                    let own = self.peers.at(self.shard as usize);
                    own.send(note(number), PATIENCE).await.unwrap();
                }
                "sent".to_owned()
            }
            other => format!("what is {other:?}?"),
        }
    }
}

impl Handler<Note> for Noting {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(200).await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let answer = self.obey(&line.split(' ').collect::<Vec<_>>()).await;
            conn.write(&format!("{answer}\n")).await?;
        }
        Ok(())
    }

    fn on_message(&self, note: Note) {
        thread::sleep(self.pause);
        self.got.lock().unwrap().push((self.shard, note));
    }
}

fn numbers(got: &Got, by: u32, from: u32) -> Vec<u64> {
    let got = got.lock().unwrap();
    let of_pair = got
        .iter()
        .filter(|(shard, note)| (*shard, note.from) == (by, from));
    of_pair.map(|(_, note)| note.number).collect()
}

#[test]
fn both_ways_full_at_once_all_comes_once_and_in_order() {
    let got = Got::default();
    let settings = Settings::new().set("mailbox.capacity", 8);
    let handle = serve(settings, Noting::factory(&got, Duration::ZERO));
    let address = handle.local_addr();
    let talk = |shard: &'static str| {
        thread::spawn(move || {
            let mut client = client_on(address, shard);
            assert_eq!(ask(&mut client, Some("send 20000")), "sent");
            assert_eq!(ask(&mut client, Some("self 1000")), "sent");
        })
    };
    for client in [talk("0"), talk("1")] {
        client.join().unwrap();
    }
    wait_until("all has come", || got.lock().unwrap().len() == 42_000);
    for shard in [0, 1] {
        assert!(numbers(&got, shard, 1 - shard).into_iter().eq(0..20_000));
        assert!(numbers(&got, shard, shard).into_iter().eq(0..1000));
    }
    let stats = handle.stats();
    assert_eq!((stats.mail_sent, stats.mail_received), (42_000, 42_000));
    assert_eq!(stats.mail_depth, 0);
    end(handle);
}

#[test]
fn a_shard_that_stands_fills_its_own_mailbox_and_nobody_elses_time() {
    let got = Got::default();
    let settings = Settings::new().set("mailbox.capacity", 4);
    let handle = serve(settings, Noting::factory(&got, Duration::from_millis(400)));
    let mut sender = client_on(handle.local_addr(), "0");
    let mut bystander = client_on(handle.local_addr(), "0");
    assert_eq!(ask(&mut sender, Some("send 1")), "sent");
    thread::sleep(Duration::from_millis(100)); // shard 1 stands in it, and it counts still
    let begun = Instant::now();
    assert_eq!(ask(&mut sender, Some("fill 10")), "7 full");
    sender.write_all(b"within 100\n").unwrap();
    assert_eq!(ask(&mut bystander, Some("where")), "0");
    assert_eq!(ask(&mut sender, None), "elapsed");
    assert!(begun.elapsed() < Duration::from_millis(300), "nobody waits");
    wait_until("it goes on", || got.lock().unwrap().len() == 4);
    assert_eq!(handle.stats().mail_full, 8, "7, and the one that waited");
    assert_eq!(numbers(&got, 1, 0), [0, 0, 1, 2]);
    end(handle);
}

/// Sends what it is sent to the next shard, in all the ways there are, from inside of `on_message`.
struct Relaying {
    peers: Peers<u64>,
    other: usize,
    told: Arc<Mutex<Vec<String>>>,
    count: Arc<AtomicU64>,
}

impl Handler<u64> for Relaying {
    async fn serve(&self, _conn: &mut Conn) -> Result<(), Error> {
        Ok(())
    }

    fn on_message(&self, hops: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let peer = self.peers.at(self.other);
        if hops > 0 {
            peer.try_send(hops - 1).unwrap();
            return;
        }
        let sends = pin!(peer.send(7, PATIENCE));
        match block_on(poll_once(sends)) {
            Some(Err(error @ SendError::Receiving(7))) => {
                self.told.lock().unwrap().push(error.to_string());
            }
            other => panic!("it was not refused: {other:?}"),
        }
        let spawned = peer.clone();
        spawn(async move { spawned.send(8, PATIENCE).await.unwrap() }).unwrap();
        if hops == 0 && self.count.load(Ordering::Relaxed) > 1000 {
            panic!("on purpose");
        }
    }
}

#[test]
fn on_message_may_send_but_not_wait_and_a_panic_in_it_loses_nothing_else() {
    let (told, count) = (
        Arc::<Mutex<Vec<String>>>::default(),
        Arc::<AtomicU64>::default(),
    );
    let (shared, counted) = (Arc::clone(&told), Arc::clone(&count));
    let handle = serve(Settings::new(), move |shard: &ShardContext<u64>| Relaying {
        peers: shard.peers(),
        other: 1 - shard.id.0 as usize,
        told: Arc::clone(&shared),
        count: Arc::clone(&counted),
    });
    let sender = handle.sender();
    sender.try_send(ShardId(1), 1000).unwrap();
    // 1001 hops, and the eight more that the spawned task begins, the last of which begins as many.
    wait_until("it has gone round often", || {
        count.load(Ordering::Relaxed) > 1100
    });
    let told = told.lock().unwrap();
    assert!(told.len() > 2 && told[0].contains("try_send"), "{told:?}");
    drop(told);
    end(handle);
}

/// Keeps the names of its connections where the test finds them; those that say `take` take what is
/// sent to them.
struct Named {
    shard: u32,
    peers: Peers<(ConnId, Arc<[u8]>)>,
    names: Arc<Mutex<Vec<ConnId>>>,
    outcomes: Arc<Mutex<Vec<Delivery>>>,
    seen: RefCell<Vec<ConnId>>,
}

impl Handler<(ConnId, Arc<[u8]>)> for Named {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        self.names.lock().unwrap().push(conn.id());
        self.seen.borrow_mut().push(conn.id());
        while let Some(line) = conn.read_line(200).await? {
            match &*line {
                b"where" => conn.write(&format!("{}\n", self.shard)).await?,
                b"take" => return take(conn).await,
                b"wait" => {
                    let long = vec![b'x'; 1 << 20];
                    conn.write(&long).await?;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn on_message(&self, (conn, bytes): (ConnId, Arc<[u8]>)) {
        let receipt = self.peers.send_to(conn, bytes);
        let outcomes = Arc::clone(&self.outcomes);
        spawn(async move {
            let outcome = receipt.await;
            outcomes.lock().unwrap().push(outcome);
        })
        .unwrap();
    }
}

async fn take(conn: &mut Conn) -> Result<(), Error> {
    let mut lines = conn.framed(Lines::new(200));
    while let Some(event) = lines.next_event().await? {
        match event {
            Event::Input(line) => lines.send(&[b"input ", &*line].concat()).await?,
            Event::Message(bytes) => lines.send(&[b"message ", &*bytes].concat()).await?,
            Event::Draining => lines.send(b"draining").await?,
            _ => unreachable!(),
        }
    }
    Ok(())
}

struct NamedServer {
    handle: ServerHandle<(ConnId, Arc<[u8]>)>,
    names: Arc<Mutex<Vec<ConnId>>>,
    outcomes: Arc<Mutex<Vec<Delivery>>>,
}

impl NamedServer {
    fn start(settings: Settings) -> Self {
        let (names, outcomes) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let shared = (Arc::clone(&names), Arc::clone(&outcomes));
        let handle = serve(settings, move |shard: &ShardContext<_>| Named {
            shard: shard.id.0,
            peers: shard.peers(),
            names: Arc::clone(&shared.0),
            outcomes: Arc::clone(&shared.1),
            seen: RefCell::default(),
        });
        Self {
            handle,
            names,
            outcomes,
        }
    }

    /// A client on the shard, and its connection's name.
    fn client(&self, shard: u32) -> (TcpStream, ConnId) {
        loop {
            self.names.lock().unwrap().clear();
            let mut client = connect(self.handle.local_addr());
            if ask(&mut client, Some("where")) == shard.to_string() {
                let name = *self.names.lock().unwrap().last().unwrap();
                assert_eq!(name.shard(), ShardId(shard));
                return (client, name);
            }
        }
    }

    /// What becomes of `bytes` for `conn`, sent by the shard `by`.
    fn send(&self, by: u32, conn: ConnId, bytes: &[u8]) -> Delivery {
        self.outcomes.lock().unwrap().clear();
        let sender = self.handle.sender();
        sender.try_send(ShardId(by), (conn, bytes.into())).unwrap();
        wait_until("the receipt", || !self.outcomes.lock().unwrap().is_empty());
        self.outcomes.lock().unwrap()[0]
    }
}

#[test]
fn bytes_reach_a_connection_of_any_shard_or_it_is_gone_and_no_other_gets_them() {
    let server = NamedServer::start(Settings::new());
    let other = NamedServer::start(Settings::new());
    let (mut client, name) = server.client(1);
    for by in [0, 1] {
        assert_eq!(server.send(by, name, b"hello\n"), Delivery::Queued);
        assert_eq!(ask(&mut client, None), "hello");
    }
    let sender = server.handle.sender();
    let receipt = sender.send_to(name, *b"from a thread\n").unwrap();
    assert_eq!(ask(&mut client, None), "from a thread");
    assert_eq!(receipt.wait(PATIENCE), Some(Delivery::Queued));

    // Another server's, of the same shard, slot and generation.
    let (_stranger, strange) = other.client(1);
    for by in [0, 1] {
        assert_eq!(server.send(by, strange, b"astray\n"), Delivery::Gone);
    }
    let receipt = sender.send_to(strange, *b"astray\n").unwrap();
    assert_eq!(receipt.wait(PATIENCE), Some(Delivery::Gone));

    // The slot's next life.
    ask_end(&mut client);
    drop(client);
    wait_until("it has closed", || server.handle.stats().connections == 0);
    let (mut next, its_name) = server.client(1);
    assert_ne!(name, its_name);
    for by in [0, 1] {
        assert_eq!(server.send(by, name, b"late\n"), Delivery::Gone);
    }
    assert_eq!(server.send(0, its_name, b"mine\n"), Delivery::Queued);
    assert_eq!(ask(&mut next, None), "mine");
    end(server.handle);
    end(other.handle);
}

/// Has the connection end, and waits until the peer has heard of it.
fn ask_end(client: &mut TcpStream) {
    client.write_all(b"end\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
}

#[test]
fn a_connection_that_is_behind_refuses_and_nothing_goes_into_a_write() {
    let settings = Settings::new()
        .set("limits.write_queue_max", 65_536)
        .set("socket.send_buffer", 65_536);
    let server = NamedServer::start(settings);
    let (mut client, name) = server.client(1);
    client.write_all(b"wait\n").unwrap();
    wait_until("its handler waits in the write", || {
        thread::sleep(Duration::from_millis(20));
        server.send(0, name, b"MESSAGE") == Delivery::OverLimit
    });
    assert_eq!(server.send(1, name, b"MESSAGE"), Delivery::OverLimit);
    let mut output = vec![0; 1 << 20];
    client.read_exact(&mut output).unwrap();
    let first = output.iter().position(|byte| *byte == b'x').unwrap();
    assert!(
        output[first..].iter().all(|byte| *byte == b'x'),
        "the write is whole"
    );
    end(server.handle);
}

#[test]
fn a_handler_takes_what_is_sent_as_events_beside_its_input_and_hears_of_the_drain() {
    let server = NamedServer::start(Settings::new());
    let (mut client, name) = server.client(0);
    assert_eq!(ask(&mut client, Some("take\nfirst")), "input first");
    for (by, word) in [(0, "one"), (1, "two")] {
        assert_eq!(server.send(by, name, word.as_bytes()), Delivery::Queued);
        assert_eq!(ask(&mut client, None), format!("message {word}"));
        assert_eq!(ask(&mut client, Some(word)), format!("input {word}"));
    }
    server.handle.drain();
    assert_eq!(ask(&mut client, None), "draining");
    drop(client);
    assert_eq!(server.handle.join().outcome, Ok(()));
}

#[test]
fn threads_send_in_order_and_are_told_when_there_is_no_room() {
    let got = Got::default();
    let settings = Settings::new().set("mailbox.capacity", 16);
    let handle = serve(settings, Noting::factory(&got, Duration::ZERO));
    let threads = (0..4_u32).map(|from| {
        let sender = handle.sender();
        thread::spawn(move || {
            for number in 0..5000 {
                let note = Note { from, number };
                sender.send(ShardId(from % 2), note, PATIENCE).unwrap();
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    wait_until("all has come", || got.lock().unwrap().len() == 20_000);
    for from in 0..4 {
        assert!(numbers(&got, from % 2, from).into_iter().eq(0..5000));
    }
    let note = Note { from: 0, number: 0 };
    let sender = handle.sender();
    assert!(
        matches!(sender.try_send(ShardId(2), note), Err(Full(_))),
        "no such shard"
    );
    end(handle);
    let until_full = (0..1000).find(|_| sender.try_send(ShardId(0), note).is_err());
    assert!(until_full.is_some(), "who has ended receives nothing");
}

#[test]
fn a_message_that_nobody_receives_is_dropped_with_its_shard() {
    struct Counted(Arc<AtomicU64>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    struct Deaf;
    impl Handler<Counted> for Deaf {
        async fn serve(&self, _conn: &mut Conn) -> Result<(), Error> {
            sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }
    let dropped = Arc::<AtomicU64>::default();
    let handle = serve(Settings::new(), |_: &ShardContext<Counted>| Deaf);
    let sender = handle.sender();
    for _ in 0..100 {
        sender
            .try_send(ShardId(1), Counted(Arc::clone(&dropped)))
            .unwrap();
    }
    end(handle);
    drop(sender);
    assert_eq!(dropped.load(Ordering::Relaxed), 100);
}

/// Asks the other shard for its number, some time after the drain has begun.
struct Late {
    shard: u32,
    peers: Peers<async_channel::Sender<u32>>,
}

impl Handler<async_channel::Sender<u32>> for Late {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        conn.write(b"served\n").await?;
        conn.flush().await?;
        draining().await;
        sleep(Duration::from_millis(500)).await; // the other shard serves nobody for four looks at its drain
        let (answer, answered) = async_channel::bounded(1);
        let other = self.peers.at(1 - self.shard as usize);
        other.send(answer, PATIENCE).await.unwrap();
        let number = timeout(PATIENCE, answered.recv()).await.unwrap();
        conn.write(format!("{}\n", number.unwrap()).as_bytes())
            .await?;
        Ok(())
    }

    fn on_message(&self, answer: async_channel::Sender<u32>) {
        answer.try_send(self.shard).unwrap();
    }
}

#[test]
fn a_shard_that_drains_answers_as_long_as_another_serves() {
    let handle = serve(Settings::new(), move |context: &ShardContext<_>| Late {
        shard: context.id.0,
        peers: context.peers(),
    });
    let mut client = connect(handle.local_addr());
    assert_eq!(ask(&mut client, None), "served");
    handle.drain();
    let number = ask(&mut client, None);
    assert!(number == "0" || number == "1", "{number:?}");
    assert_eq!(handle.join().outcome, Ok(()));
}
