//! What handlers can do beside reading and writing, in servers embedded here.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use corelane::{
    CloseReason, Conn, ConnTimeouts, Connector, Error, Handler, IntoHandler, Nothing, Notify,
    Server, ServerHandle, Settings, ShardContext, sleep, spawn,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const PATIENCE: Duration = Duration::from_secs(10);

fn serve<H: IntoHandler<K, Message = Nothing>, K>(
    settings: Settings,
    factory: impl Fn(&ShardContext) -> H + Send + Sync + 'static,
) -> ServerHandle {
    let settings = settings
        .set("server.shards", 1)
        .set("limits.connections_max", 64)
        .set("limits.outbound_per_shard_max", 8);
    let server = Server::builder().settings(settings).handler(factory).bind();
    let handle = server
        .unwrap_or_else(|error| panic!("{error}"))
        .spawn()
        .unwrap();
    handle.wait_ready().unwrap();
    handle
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a line and gives the line that comes back, without its end.
fn ask(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

fn end(handle: ServerHandle) {
    handle.drain();
    assert_eq!(handle.join().outcome, Ok(()));
}

/// Answers with what `Answer` says to each line.
struct Answer<F>(F);

impl<F: AsyncFn(&mut Conn, String) -> Result<String, Error> + 'static> Handler for Answer<F> {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(200).await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let answer = (self.0)(conn, line).await?;
            conn.write(&answer).await?;
            conn.write("\n").await?;
        }
        Ok(())
    }
}

#[test]
fn a_spawned_task_is_awaited_detached_or_panics_to_who_awaits_it() {
    let handle = serve(Settings::new(), |_| {
        let detached = Rc::new(Cell::new(0));
        Answer(async move |_: &mut Conn, line: String| {
            let count = Rc::clone(&detached);
            match line.as_str() {
                "value" => {
                    let late = spawn(async {
                        sleep(Duration::from_millis(5)).await;
                        "late"
                    })?;
                    let (soon, late) = (spawn(async { 7 })?.await?, late.await?);
                    Ok(format!("{soon} {late}"))
                }
                "panic" => {
                    let panics = spawn(async { panic!("on purpose") })?;
                    let error = panics.await.map(|()| "no error").unwrap_err();
                    assert!(matches!(error, Error::TaskPanicked(_)));
                    Ok(error.to_string())
                }
                "detach" => {
                    spawn(async move { count.set(count.get() + 1) })?;
                    Ok("gone".to_owned())
                }
                _ => Ok(detached.get().to_string()),
            }
        })
    });
    let mut client = connect(handle.local_addr());
    assert_eq!(ask(&mut client, "value"), "7 late");
    assert_eq!(ask(&mut client, "panic"), "in a spawned task: on purpose");
    assert_eq!(ask(&mut client, "detach"), "gone");
    assert_eq!(ask(&mut client, "count"), "1");
    drop(client);
    end(handle);
}

#[test]
fn one_word_to_all_who_wait() {
    let handle = serve(Settings::new(), |_| {
        let notify = Rc::new(Notify::new());
        Answer(async move |_: &mut Conn, line: String| {
            match line.as_str() {
                "all" => notify.notify_all(),
                _ => notify.notified().await,
            }
            Ok(line)
        })
    });
    let mut waiting: Vec<TcpStream> = (0..5).map(|_| connect(handle.local_addr())).collect();
    waiting
        .iter_mut()
        .for_each(|client| client.write_all(b"wait\n").unwrap());
    let until = Instant::now() + PATIENCE;
    while handle.stats().messages < 5 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(ask(&mut connect(handle.local_addr()), "all"), "all");
    for client in &mut waiting {
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"wait\n");
    }
    drop(waiting);
    end(handle);
}

#[test]
fn a_connection_knows_its_own_address() {
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = there.local_addr().unwrap();
    let settings = Settings::new().set("server.listen", "0.0.0.0:0");
    let handle = serve(settings, move |_| {
        Answer(
            async move |conn: &mut Conn, line: String| match line.as_str() {
                "out" => Ok(Connector::new()
                    .connect(target)
                    .await?
                    .local_addr()
                    .to_string()),
                _ => Ok(conn.local_addr().to_string()),
            },
        )
    });
    let port = handle.local_addr().port();
    assert!(handle.local_addr().ip().is_unspecified());
    for address in ["127.0.0.1", "127.0.0.7"] {
        let address = SocketAddr::new(address.parse().unwrap(), port);
        let mut client = connect(address);
        for _ in 0..3 {
            assert_eq!(ask(&mut client, "own"), address.to_string());
        }
    }
    let said = ask(
        &mut connect(SocketAddr::from(([127, 0, 0, 1], port))),
        "out",
    );
    assert_eq!(said, there.accept().unwrap().1.to_string());
    end(handle);

    let handle = serve(Settings::new(), |_| {
        Answer(async |conn: &mut Conn, _| Ok(conn.local_addr().to_string()))
    });
    let address = handle.local_addr();
    assert_eq!(ask(&mut connect(address), "own"), address.to_string());
    end(handle);
}

/// How long the server leaves a client alone that has said `line` and falls silent.
fn patience_after(handle: &ServerHandle, line: &str) -> Duration {
    let mut client = connect(handle.local_addr());
    assert_eq!(ask(&mut client, line), line);
    let begun = Instant::now();
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    begun.elapsed()
}

#[test]
fn one_connection_has_timeouts_of_its_own() {
    let (short, long) = (Duration::from_millis(200), Duration::from_millis(1500));
    let settings = Settings::new().set("timeouts.idle", short);
    let handle = serve(settings, move |_| {
        Answer(async move |conn: &mut Conn, line: String| {
            match line.as_str() {
                "long" => conn.set_timeouts(ConnTimeouts::new().idle(Some(long))),
                "brief" => {
                    let brief = ConnTimeouts::new().idle(None).lifetime(Some(long / 2));
                    conn.set_timeouts(brief);
                }
                _ => {}
            }
            Ok(line)
        })
    });
    let late = Duration::from_millis(1000); // three ticks, and a busy machine
    for _ in 0..2 {
        // Slots are used again: the next in the same has the settings' timeouts.
        let waited = patience_after(&handle, "long");
        assert!((long..long + late).contains(&waited), "{waited:?}");
        let waited = patience_after(&handle, "plain");
        assert!((short..short + late).contains(&waited), "{waited:?}");
    }
    let waited = patience_after(&handle, "brief");
    assert!((long / 4..long / 2 + late).contains(&waited), "{waited:?}");
    let until = Instant::now() + PATIENCE;
    while handle.stats().closed_total() < 5 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(1));
    }
    let stats = handle.stats();
    assert_eq!(stats.closed(CloseReason::IdleTimeout), 4);
    assert_eq!(stats.closed(CloseReason::LifetimeExceeded), 1);
    end(handle);
}

/// Keeps the fields of the spans that are made.
#[derive(Default)]
struct Recorder {
    fields: Arc<Mutex<Vec<String>>>,
    spans: AtomicU64,
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = self.fields.lock().unwrap();
        fields.push(span.metadata().name().to_owned());
        span.record(&mut Fields(&mut fields));
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Fields<'a>(&'a mut Vec<String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push(format!("{field}={value:?}"));
    }
}

#[test]
fn the_span_of_a_connection_names_shard_connection_and_peer() {
    let handle = serve(Settings::new(), |_| {
        Answer(async |conn: &mut Conn, _| {
            let recorder = Recorder::default();
            let fields = Arc::clone(&recorder.fields);
            tracing::subscriber::with_default(recorder, || drop(conn.span()));
            let fields = fields.lock().unwrap().join(" ");
            Ok(fields)
        })
    });
    let mut client = connect(handle.local_addr());
    let own = client.local_addr().unwrap();
    assert_eq!(
        ask(&mut client, "span"),
        format!("conn shard=0 id=0.0.1 peer={own}")
    );
    drop(client);
    end(handle);
}

#[test]
fn a_shard_tells_its_handler_what_it_has_counted() {
    let handle = serve(Settings::new(), |shard: &ShardContext| {
        let shard = shard.clone();
        Answer(async move |_: &mut Conn, _| {
            let stats = shard.stats();
            Ok(format!(
                "{} {} {}",
                stats.accepted, stats.connections, stats.bytes_in
            ))
        })
    });
    assert_eq!(ask(&mut connect(handle.local_addr()), "four"), "1 1 5");
    let until = Instant::now() + PATIENCE;
    while handle.stats().connections > 0 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(ask(&mut connect(handle.local_addr()), "four"), "2 1 10");
    end(handle);
}

/// Sends the news to whoever asks, from where they lie, behind and before bytes of its own.
struct News(Arc<[u8]>);

impl Handler for News {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while conn.read_line(10).await?.is_some() {
            conn.write("news:").await?;
            conn.write(Arc::clone(&self.0)).await?;
            conn.write(Arc::<[u8]>::from([])).await?;
            conn.write("end").await?;
        }
        Ok(())
    }
}

#[test]
fn what_is_shared_goes_whole_to_many_and_is_kept_until_it_is_sent() {
    const CLIENTS: usize = 8;
    for length in [1, 3000, 5000, 300_000, 3_000_000] {
        let news: Arc<[u8]> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let kept = Arc::clone(&news);
        let handle = serve(Settings::new(), move |_| News(Arc::clone(&kept)));
        let mut clients: Vec<TcpStream> =
            (0..CLIENTS).map(|_| connect(handle.local_addr())).collect();
        for client in &mut clients {
            client.write_all(b"one\ntwo\n").unwrap();
        }
        let whole = [b"news:", &*news, b"end"].concat();
        for client in &mut clients {
            let mut got = vec![0; whole.len()];
            for _ in 0..2 {
                client.read_exact(&mut got).unwrap();
                assert!(got == whole, "{length}");
            }
        }
        // One that leaves in the middle of it.
        let mut leaver = connect(handle.local_addr());
        leaver.write_all(b"one\n").unwrap();
        leaver.read_exact(&mut [0]).unwrap();
        drop((leaver, clients));
        end(handle);
        assert_eq!(Arc::strong_count(&news), 1, "{length}: nobody has kept it");
    }
}
