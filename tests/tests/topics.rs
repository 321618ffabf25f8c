//! What is published to many connections, in servers embedded here: who gets it, in which order,
//! and what is counted.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{
    Behind, CloseReason, Conn, Error, Event, Handler, Published, Server, ServerHandle, Settings,
    ShardContext, ShardId, Topic, sleep, spawn,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// In a drain the silent have ended long before.
const NAP: Duration = Duration::from_secs(2);
/// More than the buffers of a socket and of its peer have room for.
const LARGE: usize = 256 * 1024;

/// Lines: `join`, `latest`, `close`, `wait N`, `retain` subscribe; `say TEXT` and `fill LENGTH
/// TIMES` publish; `take` makes messages events.
struct Speaker {
    topic: Topic,
    shard: ShardContext<String>,
}

impl Speaker {
    fn new(shard: &ShardContext<String>) -> Self {
        Self {
            topic: shard.topic("room"),
            shard: shard.clone(),
        }
    }

    async fn obey(&self, conn: &mut Conn, words: &[&str]) -> Result<String, Error> {
        let join = |topic: Topic| match topic.subscribe(conn.id()) {
            Ok(()) => "joined".to_owned(),
            Err(error) => error.to_string(),
        };
        let topic = || self.topic.clone();
        Ok(match words {
            ["join"] => join(topic()),
            ["join", name] => join(self.shard.topic(name)),
            ["latest"] => join(topic().behind(Behind::Latest)),
            ["close"] => join(topic().behind(Behind::Close)),
            ["wait", most] => join(topic().behind(Behind::Wait {
                publications_max: most.parse().unwrap(),
            })),
            ["leave"] => self.topic.unsubscribe(conn.id()).to_string(),
            ["where"] => self.shard.id.to_string(),
            ["keep", text] => {
                let line = format!("{text}\n").into_bytes();
                let counted = topic().retained(1).publish_counted(line).unwrap().await;
                counts(&counted)
            }
            ["say", text] => {
                let line = format!("{text}\n").into_bytes();
                counts(&self.topic.publish_counted(line).unwrap().await)
            }
            ["nap"] => {
                let told = || "napped\n".as_bytes().to_vec();
                let first = self.topic.publish_counted(told()).unwrap().await;
                sleep(NAP).await;
                let second = self.topic.publish_counted(told()).unwrap().await;
                format!("{} {}", first.subscribers(), second.subscribers())
            }
            ["fill", times] => {
                let mut sum = Published::default();
                for _ in 0..times.parse().unwrap() {
                    sum += self.topic.publish_counted(vec![b'.'; LARGE]).unwrap().await;
                }
                counts(&sum)
            }
            ["flood", times] => {
                let times = times.parse().unwrap();
                let full = (0..times).filter(|_| self.topic.publish(*b".").is_err());
                format!("{} full", full.count())
            }
            ["take"] => {
                self.topic.subscribe(conn.id()).unwrap();
                while let Some(event) = conn.next().await? {
                    if let Event::Message(bytes) = event {
                        conn.write(&[b"taken ", &*bytes].concat()).await?;
                    }
                }
                "over".to_owned()
            }
            other => format!("what is {other:?}?"),
        })
    }
}

fn counts(published: &Published) -> String {
    let Published {
        delivered,
        dropped,
        closed,
        gone,
        displaced,
        ..
    } = published;
    format!(
        "{delivered} delivered, {dropped} dropped, {closed} closed, {gone} gone, {displaced} displaced"
    )
}

impl Handler<String> for Speaker {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(1000).await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let answer = self
                .obey(conn, &line.split(' ').collect::<Vec<_>>())
                .await?;
            conn.write(&format!("{answer}\n")).await?;
        }
        Ok(())
    }

    /// Publishes each message, from inside of this, and once more behind what is published then.
    fn on_message(&self, text: String) {
        self.topic
            .publish(format!("{text}\n").into_bytes())
            .unwrap();
        let (topic, told) = (self.topic.clone(), format!("{text} again\n"));
        let counted = topic.publish_counted(told.into_bytes()).unwrap();
        spawn(async move { assert_eq!(counted.await.dropped, 0) }).unwrap();
    }
}

fn serve(settings: Settings) -> ServerHandle<String> {
    let settings = settings
        .set("server.shards", 2)
        .set("limits.connections_max", 2000);
    let factory = |shard: &ShardContext<String>| Speaker::new(shard);
    let server = Server::builder().settings(settings).handler(factory).bind();
    let handle = server
        .unwrap_or_else(|error| panic!("{error}"))
        .spawn()
        .unwrap();
    handle.wait_ready().unwrap();
    handle
}

/// One whose slow readers are soon behind.
fn serve_narrow() -> ServerHandle<String> {
    serve(
        Settings::new()
            .set("limits.write_queue_max", 65_536)
            .set("socket.send_buffer", 65_536),
    )
}

fn end(handle: ServerHandle<String>) {
    handle.drain();
    assert_eq!(handle.join().outcome, Ok(()));
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn joined(address: SocketAddr) -> Self {
        let mut client = Self::new(address);
        assert_eq!(client.ask("join"), "joined");
        client
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.line()
    }

    fn tell(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// As many bytes of a filling as come before the next line, and that line.
    fn filling(&mut self) -> (usize, String) {
        let line = self.line();
        let text = line.trim_start_matches('.').to_owned();
        (line.len() - text.len(), text)
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_line_comes_once_and_in_order_to_everybody_on_all_shards() {
    // Two deliveries a turn: a publication is under way while others come.
    for per_turn in [2, 512] {
        let handle = serve(Settings::new().set("topic.deliveries_per_turn_max", per_turn));
        let mut hearers: Vec<Client> = (0..60)
            .map(|_| Client::joined(handle.local_addr()))
            .collect();
        let speakers: Vec<_> = (0..4)
            .map(|speaker| {
                let mut client = Client::new(handle.local_addr());
                thread::spawn(move || {
                    for line in 0..50 {
                        let said = client.ask(&format!("say {speaker}-{line}"));
                        assert_eq!(
                            said,
                            "60 delivered, 0 dropped, 0 closed, 0 gone, 0 displaced"
                        );
                    }
                })
            })
            .collect();
        for hearer in &mut hearers {
            let mut next = [0; 4];
            for _ in 0..200 {
                let line = hearer.line();
                let (speaker, number) = line.split_once('-').unwrap();
                let next = &mut next[speaker.parse::<usize>().unwrap()];
                assert_eq!(
                    number.parse::<u32>().unwrap(),
                    *next,
                    "of speaker {speaker}"
                );
                *next += 1;
            }
            assert_eq!(next, [50; 4]);
        }
        for speaker in speakers {
            speaker.join().unwrap();
        }
        assert_eq!(handle.stats().deliveries, 60 * 200);
        end(handle);
    }
}

#[test]
fn who_leaves_or_has_ended_is_not_counted_and_who_comes_later_gets_what_is_kept() {
    let handle = serve(Settings::new());
    let mut first = Client::joined(handle.local_addr());
    let mut second = Client::joined(handle.local_addr());
    let all = |count| format!("{count} delivered, 0 dropped, 0 closed, 0 gone, 0 displaced");
    let mut speaker = Client::new(handle.local_addr());
    assert_eq!(speaker.ask("say one"), all(2));
    assert_eq!((first.line(), second.line()), ("one".into(), "one".into()));
    assert_eq!(first.ask("leave"), "true");
    assert_eq!(first.ask("leave"), "false");
    assert_eq!(speaker.ask("keep two"), all(1));
    assert_eq!(second.line(), "two");
    second.0.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(second.0.read(&mut [0]).unwrap(), 0);
    drop(second);
    wait_until("it has ended", || handle.stats().connections == 2);
    assert_eq!(speaker.ask("say three"), all(0));
    let mut late = Client::new(handle.local_addr());
    late.tell("join");
    let mut both = [late.line(), late.line()];
    both.sort();
    assert_eq!(both, ["joined", "two"], "what was kept, not what was said");
    end(handle);
}

#[test]
fn who_is_behind_delays_nobody_and_gets_what_the_topic_says() {
    for policy in ["join", "latest", "close", "wait 3"] {
        let handle = serve_narrow();
        let mut slow = Client::new(handle.local_addr());
        assert_eq!(slow.ask(policy), "joined");
        let mut quick = Client::new(handle.local_addr());
        assert_eq!(quick.ask(policy), "joined");
        let mut speaker = Client::new(handle.local_addr());
        let mut said = Vec::new();
        for number in 0..40 {
            let filled = speaker.ask("fill 1");
            let mut filling = vec![0; LARGE];
            quick.0.read_exact(&mut filling).unwrap();
            let line = speaker.ask(&format!("say {number}"));
            assert_eq!(quick.line(), number.to_string(), "{policy}");
            said.push((filled, line));
        }
        check(policy, &handle, &mut slow, &said);
        end(handle);
    }
}

/// What the slow one gets, and what was counted for it.
fn check(
    policy: &str,
    handle: &ServerHandle<String>,
    slow: &mut Client,
    said: &[(String, String)],
) {
    let (filled, line) = &said[39];
    match policy {
        "join" => {
            assert_eq!(
                filled,
                "1 delivered, 1 dropped, 0 closed, 0 gone, 0 displaced"
            );
            assert_eq!(line, filled);
        }
        "latest" => {
            let displaced = "2 delivered, 0 dropped, 0 closed, 0 gone, 1 displaced";
            assert_eq!((filled.as_str(), line.as_str()), (displaced, displaced));
            let mut last = slow.filling().1;
            while last != "39" {
                last = slow.filling().1;
            }
        }
        "close" => {
            let closed = |(filled, line): &&(String, String)| {
                filled.contains("1 closed") || line.contains("1 closed")
            };
            assert_eq!(said.iter().filter(closed).count(), 1);
            assert_eq!(
                line,
                "1 delivered, 0 dropped, 0 closed, 0 gone, 0 displaced"
            );
            assert_eq!(CloseReason::SlowSubscriber.as_str(), "slow_subscriber");
            wait_until("it is closed", || {
                handle.stats().closed(CloseReason::SlowSubscriber) == 1
            });
        }
        _ => {
            assert_eq!(
                line,
                "1 delivered, 1 dropped, 0 closed, 0 gone, 0 displaced"
            );
            let delivered = said.iter().flat_map(|(filled, line)| [filled, line]);
            let delivered = delivered.filter(|said| said.starts_with('2')).count();
            let (mut bytes, mut lines) = (0, 0);
            let fillings = delivered.div_ceil(2);
            while bytes < fillings * LARGE {
                let (filling, text) = slow.filling();
                bytes += filling;
                lines += usize::from(!text.is_empty());
            }
            assert_eq!(bytes, fillings * LARGE, "all that was counted came");
            assert!(lines + 1 >= delivered / 2);
        }
    }
}

#[test]
fn who_resets_in_the_middle_of_a_publication_is_counted_once() {
    let handle = serve(Settings::new().set("topic.deliveries_per_turn_max", 1));
    let mut speaker = Client::new(handle.local_addr());
    for round in 0..20 {
        let hearers: Vec<Client> = (0..40)
            .map(|_| Client::joined(handle.local_addr()))
            .collect();
        let leaving = thread::spawn(move || {
            for hearer in hearers {
                socket2::SockRef::from(hearer.0.get_ref())
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        });
        let said = speaker.ask(&format!("say {round}"));
        leaving.join().unwrap();
        let number = |part: &str| part.split(' ').next().unwrap().parse::<u32>().unwrap();
        let sum: u32 = said.split(", ").take(4).map(number).sum();
        assert!(sum <= 40, "{said}");
        wait_until("all have left", || handle.stats().connections == 1);
    }
    assert!(speaker.ask("say over").starts_with("0 delivered"));
    end(handle);
}

#[test]
fn what_on_message_and_threads_publish_comes_in_their_order() {
    let handle = serve(Settings::new());
    let mut hearers: Vec<Client> = (0..10)
        .map(|_| Client::joined(handle.local_addr()))
        .collect();
    let sender = handle.sender();
    sender
        .try_send(ShardId(1), "from inside".to_owned())
        .unwrap();
    for hearer in &mut hearers {
        assert_eq!(hearer.line(), "from inside");
        assert_eq!(hearer.line(), "from inside again");
    }
    let receipts: Vec<_> = (0..100)
        .map(|number| {
            sender
                .publish("room", format!("{number}\n").into_bytes())
                .unwrap()
        })
        .collect();
    for hearer in &mut hearers {
        for number in 0..100 {
            assert_eq!(hearer.line(), number.to_string());
        }
    }
    for receipt in receipts {
        assert_eq!(receipt.wait(PATIENCE).map(|one| one.delivered), Some(10));
    }
    let nobody = sender.publish("elsewhere", *b"?").unwrap();
    assert_eq!(nobody.wait(PATIENCE), Some(Published::default()));
    end(handle);
}

#[test]
fn a_handler_takes_publications_as_events() {
    let handle = serve(Settings::new());
    let mut taker = Client::new(handle.local_addr());
    taker.tell("take");
    let mut speaker = Client::new(handle.local_addr());
    wait_until("it takes", || {
        let mut probe = Client::new(handle.local_addr());
        probe.ask("say hello").starts_with('1')
    });
    assert_eq!(taker.line(), "taken hello");
    speaker.ask("say more");
    assert_eq!(taker.line(), "taken more");
    end(handle);
}

#[test]
fn who_publishes_faster_than_it_is_delivered_is_told() {
    let settings = Settings::new()
        .set("mailbox.capacity", 64)
        .set("topic.subscriptions_per_connection_max", 2)
        .set("topic.topics_per_shard_max", 2);
    let handle = serve(settings);
    let mut hearer = Client::joined(handle.local_addr());
    let mut speaker = Client::new(handle.local_addr());
    assert_eq!(speaker.ask("flood 100"), "36 full", "64 of one turn");
    let mut heard = [0; 64];
    hearer.0.read_exact(&mut heard).unwrap();
    assert_eq!(heard, [b'.'; 64]);
    // The other shard, which nobody hears on, may still have its 64 before it.
    let start = Instant::now();
    while speaker.ask("flood 1") != "0 full" {
        assert!(start.elapsed() < PATIENCE, "it goes on");
    }
    hearer.0.read_exact(&mut heard[..1]).unwrap();

    assert_eq!(hearer.ask("join b"), "joined");
    let refused = hearer.ask("join c");
    assert!(refused.contains("too many topics") || refused.contains("too many subscriptions"));
    end(handle);
}

#[test]
fn nobody_waits_for_a_shard_that_has_ended() {
    let handle = serve(Settings::new());
    let mut clients: Vec<Client> = (0..20)
        .map(|_| Client::joined(handle.local_addr()))
        .collect();
    let shards: Vec<String> = clients
        .iter_mut()
        .map(|client| client.ask("where"))
        .collect();
    assert!(shards.contains(&"0".to_owned()) && shards.contains(&"1".to_owned()));
    let (mut napper, start) = (clients.swap_remove(0), Instant::now());
    napper.0.get_mut().write_all(b"nap\n").unwrap();
    assert_eq!(napper.line(), "napped");
    handle.drain();
    drop(clients);
    assert_eq!(napper.line(), "napped");
    assert_eq!(napper.line(), "20 1", "the other shard has ended meanwhile");
    assert!(start.elapsed() < 2 * NAP, "{:?}", start.elapsed());
    assert_eq!(handle.join().outcome, Ok(()));
}

#[test]
fn a_drain_counts_every_copy() {
    let handle = serve(Settings::new().set("topic.deliveries_per_turn_max", 1));
    let mut hearers: Vec<Client> = (0..200)
        .map(|_| Client::joined(handle.local_addr()))
        .collect();
    let sender = handle.sender();
    let receipts: Vec<_> = (0..20)
        .map(|_| sender.publish("room", *b".").unwrap())
        .collect();
    handle.drain();
    let stats = handle.join();
    assert_eq!(stats.outcome, Ok(()));
    let published = receipts.iter().map(|one| one.wait(PATIENCE).unwrap());
    let (delivered, subscribers) = published.fold((0, 0), |(delivered, subscribers), one| {
        (delivered + one.delivered, subscribers + one.subscribers())
    });
    let mut heard = Vec::new();
    for hearer in &mut hearers {
        let _reset = hearer.0.read_to_end(&mut heard);
    }
    assert_eq!(heard.len() as u64, delivered, "of {subscribers}");
}
