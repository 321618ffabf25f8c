//! An echo by WebSocket, a room in which all hear what anybody says, and a page beside both.
//!
//! ```text
//! cargo run --example websocket_echo --features websocket -- --set app.websocket.ping_interval='"30s"'
//! curl -i http://127.0.0.1:7012/
//! python3 -m websockets ws://127.0.0.1:7012/echo
//! ```
//!
//! The bounds are the operator's, in `[app.http]` and `[app.websocket]`. A browser connects from a page
//! of the same host, or from one that `app.websocket.origins` names.

use std::process::ExitCode;
use std::rc::Rc;

use corelane::http::{Limits, Request, Response, Status};
use corelane::websocket::{self, Message, Options};
use corelane::{AppSettings, Conn, Error, Handler, ShardContext, Topic};

#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EchoSettings {
    http: Limits,
    websocket: Options,
}

impl AppSettings for EchoSettings {
    const NAME: &'static str = "websocket_echo";
    const ABOUT: &'static str = "Sends back what it gets by WebSocket";
    const LISTEN: &'static str = "127.0.0.1:7012";

    fn check(&self) -> Vec<(&'static str, String)> {
        [self.http.check(), self.websocket.check()].concat()
    }
}

struct Echo {
    limits: Rc<Limits>,
    options: Rc<Options>,
    room: Topic,
}

impl Handler for Echo {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let Some(mut ws) = websocket::accept(conn, &self.limits, &self.options, route).await?
        else {
            return Ok(());
        };
        self.room.subscribe(ws.id()).map_err(Error::handler)?;
        while let Some(message) = ws.next().await? {
            match &message {
                // Framed once, however many hear it.
                Message::Text(text) if text.starts_with("all: ") => {
                    if self.room.publish(websocket::text_frame(text)).is_err() {
                        ws.send("too much is being said").await?;
                    }
                }
                _ => ws.send(message).await?,
            }
        }
        Ok(())
    }
}

/// What goes over to WebSocket; everything else it answers.
async fn route(request: Request<'_>) -> Result<Option<Request<'_>>, Error> {
    let answer = match request.path() {
        "/echo" => return Ok(Some(request)),
        "/" => Response::ok().body("speak to me by WebSocket, at /echo\n"),
        _ => Response::new(Status::NOT_FOUND),
    };
    request.respond(answer).await?;
    Ok(None)
}

fn main() -> ExitCode {
    corelane::run(|shard: &ShardContext, settings: &EchoSettings| Echo {
        limits: Rc::new(settings.http.clone()),
        options: Rc::new(settings.websocket.clone()),
        room: shard.topic("room"),
    })
}
