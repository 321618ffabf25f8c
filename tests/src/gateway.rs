//! The gateway under test, and who publishes and subscribes.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::events::{EndOfEvents, Event, Events};
use crate::http::{Answer, Answers};
use crate::websocket::Socket;
use crate::{BOUND, Launch, Server, connect, within};

/// The token of who may do all.
pub const ADA: &str = "ada-0123456789abcdef";
/// The token of who may only listen.
pub const BOB: &str = "bob-0123456789abcdef";

/// One over two shards, with an admin server.
#[must_use]
pub fn gateway() -> Launch {
    // Pings and comments come when a test asks for them.
    Launch::gateway()
        .set("server.shards=2")
        .set("app.heartbeat='1h'")
        .set("admin.listen='127.0.0.1:0'")
}

/// A file of tokens.
#[must_use]
pub fn tokens() -> String {
    format!("# name token rights\nada {ADA} publish,subscribe\nbob {BOB} subscribe\n")
}

/// A file in `directory` that no other test has.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn file(directory: &str, name: &str, text: &str) -> PathBuf {
    let path = Path::new(directory).join(format!("gateway-{name}"));
    std::fs::write(&path, text).unwrap();
    path
}

/// The setting `key` that names a file.
#[must_use]
pub fn setting(key: &str, path: &Path) -> String {
    format!("{key}={:?}", path.display().to_string())
}

/// A request with a body; `fields` are header lines, each with its end.
#[must_use]
pub fn request(method: &str, path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// What is answered to bytes on a connection of their own.
///
/// # Panics
/// When nothing is.
#[must_use]
pub fn answer_to(server: &Server, bytes: &[u8], is_head: bool) -> Answer {
    let mut stream = connect(server.addr()).unwrap();
    stream.write_all(bytes).unwrap();
    Answers::of(&stream).next(is_head).unwrap()
}

/// What is answered to a request without a body, on a connection of its own.
///
/// # Panics
/// When nothing is.
#[must_use]
pub fn ask(server: &Server, method: &str, path: &str, fields: &str) -> Answer {
    let bytes = request(method, path, fields, b"");
    answer_to(server, &bytes, method == "HEAD")
}

/// One connection that publishes.
#[derive(Debug)]
pub struct Publisher {
    /// The connection.
    pub stream: TcpStream,
    answers: Answers,
}

impl Publisher {
    /// A new one to `server`.
    ///
    /// # Panics
    /// When it does not take it.
    #[must_use]
    pub fn to(server: &Server) -> Self {
        Self::at(server.addr())
    }

    /// A new one to that address.
    ///
    /// # Panics
    /// When nobody takes it.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        let stream = connect(address).unwrap();
        let answers = Answers::of(&stream);
        Self { stream, answers }
    }

    /// Publishes, and gives what the server tells of it.
    ///
    /// # Panics
    /// When it was not published.
    pub fn publish(&mut self, topic: &str, message: &[u8]) -> Value {
        let (status, told) = self.ask(topic, message);
        assert_eq!(status, 200, "{told}");
        serde_json::from_str(&told).unwrap()
    }

    /// Asks to publish, and gives what is answered.
    ///
    /// # Panics
    /// When nothing is.
    pub fn ask(&mut self, topic: &str, message: &[u8]) -> (u16, String) {
        let path = format!("/publish/{topic}");
        let asks = request("POST", &path, "", message);
        self.stream.write_all(&asks).unwrap();
        let answer = self.answers.next(false).unwrap();
        (answer.status, String::from_utf8(answer.content).unwrap())
    }

    /// Until the outcome is that so many were reached, each time with a message.
    ///
    /// # Panics
    /// When it never is.
    pub fn publish_until_reached(&mut self, topic: &str, reached: u64) {
        within(BOUND, "enough are reached", || {
            (self.publish(topic, b"again")["reached"] == reached).then_some(())
        });
    }
}

/// A stream that events come on from now on.
///
/// # Panics
/// When it does not begin.
#[must_use]
pub fn events(server: &Server, topic: &str) -> Events {
    let mut events = Events::open(server, &format!("/subscribe/{topic}"), "");
    events.begin();
    events
}

/// A WebSocket of the topic.
///
/// # Panics
/// When the server does not agree.
#[must_use]
pub fn socket(server: &Server, topic: &str) -> Socket {
    Socket::open(server, &format!("/subscribe/{topic}"))
}

/// What comes of a message that was published with that number.
///
/// # Panics
/// When it is no number.
///
/// # Errors
/// None: it is what a stream is expected to give.
pub fn an_event(id: &Value, data: &str) -> Result<Event, EndOfEvents> {
    Ok(Event {
        id: id.as_u64().unwrap(),
        name: "message".to_owned(),
        data: data.to_owned(),
    })
}

/// Waits until so many are subscribed: what is published from now on comes to them. `kind` is
/// `websocket` or `event_stream`.
///
/// # Panics
/// When they are not.
pub fn wait_for_subscribers(server: &Server, kind: &str, count: usize) {
    within(BOUND, kind, || {
        let metric = format!("gateway_{kind}_subscribers");
        (server.metric(&metric) == count as f64).then_some(())
    });
}
