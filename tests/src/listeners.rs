//! Servers of several listeners, and what talks to them by either kind of socket.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::{BOUND, Launch, Server};

/// Requests of a connection at most.
const REQUESTS_MAX: usize = 5;

/// Three listeners, the first of TCP over IPv4.
pub const THREE: &str = "
    [server]
    shards = 2
    [[listener]]
    name = 'public'
    listen = '127.0.0.1:0'
    [[listener]]
    name = 'dual'
    listen = '[::]:0'
    [[listener]]
    name = 'private'
    listen = 'unix:SOCKET'
";

/// A directory of this test alone, gone with the value.
#[derive(Debug)]
pub struct Directory(pub PathBuf);

impl Directory {
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("corelane-listeners-{process}-{number}"));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where a Unix socket is to be.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("echo.sock")
    }

    /// A settings file with that text, in which `SOCKET` stands for the socket's path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, text: &str) -> PathBuf {
        let path = self.0.join("echo.toml");
        let text = text.replace("SOCKET", &self.socket().display().to_string());
        fs::write(&path, text).unwrap();
        path
    }

    /// The echo server with such a file.
    #[must_use]
    pub fn launch(&self, text: &str) -> Launch {
        Launch::echo_with(&self.file(text))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Something to talk to, by either kind of socket.
pub trait Stream: Read + Write {
    /// No read takes longer than ten seconds.
    fn bound(&self);

    /// Says `words` and expects them back.
    fn asks(&mut self, words: &str) {
        self.bound();
        self.write_all(words.as_bytes()).unwrap();
        self.hears(words);
    }

    /// Expects `words`.
    fn hears(&mut self, words: &str) {
        self.bound();
        let mut heard = vec![0; words.len()];
        self.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), words);
    }
}

impl Stream for TcpStream {
    fn bound(&self) {
        self.set_read_timeout(Some(BOUND)).unwrap();
    }
}

impl Stream for UnixStream {
    fn bound(&self) {
        self.set_read_timeout(Some(BOUND)).unwrap();
    }
}

/// # Panics
/// When nobody listens there.
#[must_use]
pub fn unix(path: &Path) -> UnixStream {
    UnixStream::connect(path).unwrap()
}

/// The address of a listener that is not the first, as the log names it.
///
/// # Panics
/// When there is none of that name.
#[must_use]
pub fn other(server: &Server, name: &str) -> SocketAddr {
    let line = server.wait_for_log("listening", BOUND);
    let others = line.field("others").unwrap();
    let mut others = others.split(' ').filter_map(|other| other.split_once('='));
    let (_, address) = others.find(|(called, _)| *called == name).unwrap();
    address.parse().unwrap()
}

/// Connects, asks a few times and leaves, again and again. A request of a fresh connection has to be
/// answered. One that meets the end of a connection that was served already has not been heard: it
/// is asked anew, as any pool of connections does it.
///
/// # Panics
/// When a request is lost.
pub fn come_and_go<S: Stream>(open: impl Fn() -> S, over: &AtomicBool, answered: &AtomicU64) {
    for round in 0_usize.. {
        let mut stream = open();
        stream.bound();
        for request in 0..=round % REQUESTS_MAX {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let asked = format!("{round} {request}\n");
            let sent = stream.write_all(asked.as_bytes());
            let mut reply = vec![0; asked.len()];
            match sent.and_then(|()| stream.read(&mut reply)) {
                Ok(0) if request > 0 => break,
                Ok(first) if first > 0 => {
                    stream.read_exact(&mut reply[first..]).unwrap();
                    assert_eq!(reply, asked.as_bytes());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                other => panic!("request {request} of connection {round}: {other:?}"),
            }
        }
    }
}
