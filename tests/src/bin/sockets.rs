//! A server of WebSockets whose paths do what tests of the protocol ask for.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use corelane::http::{Http, Limits, Response};
use corelane::websocket::{self, Code, End, Message, Options, WebSocket};
use corelane::{AppSettings, Conn, Connector, Error, Handler, ShardContext, Topic, timeout};
use futures_lite::future::try_zip;

#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SocketsSettings {
    http: Limits,
    websocket: Options,
    /// Where `/relay` goes.
    upstream: Option<SocketAddr>,
}

impl AppSettings for SocketsSettings {
    const NAME: &'static str = "sockets";
    const ABOUT: &'static str = "Speaks WebSocket as it is asked to";
    const LISTEN: &'static str = "127.0.0.1:7015";

    fn check(&self) -> Vec<(&'static str, String)> {
        [self.http.check(), self.websocket.check()].concat()
    }
}

struct Sockets {
    limits: Rc<Limits>,
    options: Rc<Options>,
    upstream: Option<SocketAddr>,
    hall: Topic,
}

impl Handler for Sockets {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut http = Http::new(conn, &self.limits);
        loop {
            // No `while let`: what its `?` looks at would be kept beside a silent WebSocket.
            let Some(request) = http.next().await? else {
                return Ok(());
            };
            if request.path() == "/hello" {
                request.respond(Response::ok().body("hello")).await?;
                continue;
            }
            // What is only said once is boxed: it takes no room of a connection that is silent.
            let does = request.path().to_owned();
            let mut ws = request.websocket(&self.options).await?;
            if does != "/" {
                return Box::pin(self.act(&does, &mut ws)).await;
            }
            while let Some(message) = ws.next().await? {
                ws.send(message).await?;
            }
            return Ok(());
        }
    }
}

impl Sockets {
    async fn act(&self, does: &str, ws: &mut WebSocket<'_>) -> Result<(), Error> {
        let number = |text: &str| text.parse().unwrap_or(0);
        let path: Vec<&str> = does.split('/').skip(1).collect();
        match path[..] {
            // Everybody's words to everybody.
            ["hall"] => {
                self.hall.subscribe(ws.id()).map_err(Error::handler)?;
                while let Some(message) = ws.next().await? {
                    if let Message::Text(text) = message {
                        _ = self.hall.publish(websocket::text_frame(&text));
                    }
                }
                Ok(())
            }
            // Messages of its own beside those that are published.
            ["hall", "large", bytes] => {
                self.hall.subscribe(ws.id()).map_err(Error::handler)?;
                let large = vec![b'x'; number(bytes) as usize];
                while let Some(_message) = ws.next().await? {
                    ws.send(&large).await?;
                }
                Ok(())
            }
            ["close", code, reason] => {
                let code = Code::new(number(code) as u16).unwrap_or(Code::INTERNAL_ERROR);
                ws.close(code, reason).await?;
                tell(ws.end());
                Ok(())
            }
            ["count"] => {
                let (mut count, mut bytes) = (0, 0);
                while let Some(message) = ws.next().await? {
                    if message.as_bytes() == b"how many?" {
                        ws.send(&format!("{count} of {bytes}")).await?;
                    } else {
                        count += 1;
                        bytes += message.as_bytes().len();
                    }
                }
                Ok(())
            }
            ["protocol"] => {
                let chosen = ws.subprotocol().unwrap_or_default();
                ws.send(&chosen).await?;
                ws.close(Code::NORMAL, "").await
            }
            // An echo by both halves, each of which may wait.
            ["split"] => {
                let (mut reader, mut writer) = ws.split();
                let (send, receive) = async_channel::bounded(4);
                let read = async {
                    while let Some(message) = reader.next().await? {
                        let sent = send.send(message).await;
                        sent.map_err(|_| Error::handler("the other half has ended"))?;
                    }
                    _ = send.close();
                    Ok(())
                };
                let write = async {
                    while let Ok(message) = receive.recv().await {
                        writer.send(message).await?;
                    }
                    Ok(())
                };
                try_zip(read, write).await.map(drop)
            }
            // Sends that are given up half-way, and others behind them.
            ["impatient", bytes] => {
                let large = vec![b'x'; number(bytes) as usize];
                while let Some(message) = ws.next().await? {
                    let sent = ws.send(&large);
                    _ = timeout(Duration::from_millis(10), sent).await;
                    ws.send(message).await?;
                }
                Ok(())
            }
            ["relay"] => self.relay(ws).await,
            _ => ws.close(Code::POLICY_VIOLATION, "no such path").await,
        }
    }

    /// A client of another server, which says what this one's client says.
    async fn relay(&self, ws: &mut WebSocket<'_>) -> Result<(), Error> {
        let Some(upstream) = self.upstream else {
            return ws.close(Code::POLICY_VIOLATION, "no upstream").await;
        };
        let mut conn = Connector::new().connect(upstream).await?;
        let host = upstream.to_string();
        let connected = websocket::connect(&mut conn, &host, "/", &[], &self.options).await;
        let mut other = match connected {
            Ok(other) => other,
            Err(error) => return ws.close(Code::INTERNAL_ERROR, &error.to_string()).await,
        };
        while let Some(message) = ws.next().await? {
            other.send(message).await?;
            match other.next().await {
                Ok(Some(answer)) => ws.send(answer).await?,
                Ok(None) => {
                    let (code, reason) = match other.end() {
                        Some(End::Closed { code, reason }) => (code, reason),
                        other => (None, format!("{other:?}")),
                    };
                    return ws.close(code.unwrap_or(Code::NORMAL), &reason).await;
                }
                Err(error) => return ws.close(Code::INTERNAL_ERROR, &error.to_string()).await,
            }
        }
        other.close(Code::NORMAL, "relayed").await
    }
}

fn tell(end: Option<End>) {
    println!("ended: {end:?}");
}

fn main() -> ExitCode {
    corelane::run(|shard: &ShardContext, settings: &SocketsSettings| Sockets {
        limits: Rc::new(settings.http.clone()),
        options: Rc::new(settings.websocket.clone()),
        upstream: settings.upstream,
        hall: shard.topic("hall"),
    })
}
