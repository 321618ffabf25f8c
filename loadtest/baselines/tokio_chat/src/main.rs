//! A chat on tokio: a task for each connection, a broadcast channel for each room.
//! `baseline_tokio_chat ADDR:PORT [CPU|any] [THREADS]`.
//!
//! By lines: `/name NAME`, `/join ROOM`, and any other text is said to the room as `NAME: text`.
//! Whoever joins is told to the room as `* NAME joined`. A member whose channel runs over loses the
//! oldest lines, and is not told.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

const THREADS_DEFAULT: usize = 2;
const LINE_MAX: usize = 4096;
/// Lines of a room that one of its members may be behind.
const CHANNEL_CAPACITY: usize = 1024;
/// Bytes that are written in one go, if so many lines have come, and one line more.
const BATCH_MAX: usize = 16 * 1024;

type Line = Arc<[u8]>;

fn main() -> io::Result<()> {
    let listener = baseline_common::listener()?;
    listener.set_nonblocking(true)?;
    let threads = std::env::args().nth(3).map(|threads| threads.parse());
    let threads = threads.transpose().map_err(|_| {
        io::Error::other("usage: baseline_tokio_chat ADDR:PORT [CPU|any] [THREADS]")
    })?;
    let threads = threads.unwrap_or(THREADS_DEFAULT).max(1);
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(serve(listener)).await? })
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let rooms = Arc::new(Rooms::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(chat(stream, Arc::clone(&rooms)))),
            Err(_) => tokio::time::sleep(baseline_common::ACCEPT_PAUSE).await,
        }
    }
}

async fn chat(stream: TcpStream, rooms: Arc<Rooms>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut guest = Guest {
        lines: Lines {
            reader,
            unread: Vec::with_capacity(LINE_MAX),
        },
        name: format!("guest{}", rooms.guests.fetch_add(1, Ordering::Relaxed)),
        room: None,
        rooms,
    };
    while let Some(lines) = guest.next().await? {
        writer.write_all(&lines).await?;
    }
    Ok(())
}

struct Guest {
    lines: Lines,
    name: String,
    room: Option<Room>,
    rooms: Arc<Rooms>,
}

impl Guest {
    /// What is to be written next; none at the end.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let line = match &mut self.room {
                None => self.lines.next().await?,
                Some(room) => tokio::select! {
                    heard = room.hear() => return Ok(Some(heard)),
                    line = self.lines.next() => line?,
                },
            };
            match line {
                Some(line) => self.obey(&line),
                None => return Ok(None),
            }
        }
    }

    fn obey(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if let Some(name) = line.strip_prefix("/name ") {
            name.clone_into(&mut self.name);
        } else if let Some(room) = line.strip_prefix("/join ") {
            self.room = None;
            self.room = Some(self.rooms.join(room));
            self.say(&format!("* {} joined\n", self.name));
        } else {
            self.say(&format!("{}: {line}\n", self.name));
        }
    }

    fn say(&self, line: &str) {
        if let Some(room) = &self.room {
            let _heard_by = room.sender.send(line.as_bytes().into());
        }
    }
}

#[derive(Default)]
struct Rooms {
    by_name: Mutex<HashMap<String, Sender<Line>>>,
    guests: AtomicU64,
}

impl Rooms {
    fn join(self: &Arc<Self>, name: &str) -> Room {
        let mut by_name = self.by_name();
        let channel = by_name.entry(name.to_owned());
        let sender = channel.or_insert_with(|| broadcast::channel(CHANNEL_CAPACITY).0);
        Room {
            receiver: sender.subscribe(),
            sender: sender.clone(),
            name: name.to_owned(),
            rooms: Arc::clone(self),
        }
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Sender<Line>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The membership of a room.
struct Room {
    receiver: Receiver<Line>,
    sender: Sender<Line>,
    name: String,
    rooms: Arc<Rooms>,
}

impl Room {
    /// The next line, and those that have come with it.
    async fn hear(&mut self) -> Vec<u8> {
        let mut heard = loop {
            match self.receiver.recv().await {
                Ok(line) => break line.to_vec(),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await, // never: `sender` is one
            }
        };
        while heard.len() < BATCH_MAX
            && let Ok(line) = self.receiver.try_recv()
        {
            heard.extend_from_slice(&line);
        }
        heard
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut by_name = self.rooms.by_name();
        if self.sender.receiver_count() == 1 {
            by_name.remove(&self.name); // this was the last
        }
    }
}

/// The lines of a peer, none of them longer than [`LINE_MAX`].
struct Lines {
    reader: OwnedReadHalf,
    unread: Vec<u8>,
}

impl Lines {
    /// The next without its end; none at the end of the input. Nothing is lost if it is dropped.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.truncate(end);
                return Ok(Some(line));
            }
            let is_over = self.unread.len() >= LINE_MAX;
            if is_over || self.reader.read_buf(&mut self.unread).await? == 0 {
                return Ok(None);
            }
        }
    }
}
