//! An echo by WebSocket, whatever path is asked for.

use std::process::ExitCode;
use std::rc::Rc;

use corelane::http::{Limits, Request};
use corelane::websocket::{self, Options};
use corelane::{AppSettings, Conn, Error, Handler, ShardContext};

#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EchoSettings {
    http: Limits,
    websocket: Options,
}

impl AppSettings for EchoSettings {
    const NAME: &'static str = "websocket_echo";
    const ABOUT: &'static str = "Sends back the messages that it gets by WebSocket";
    const LISTEN: &'static str = "127.0.0.1:7021";

    fn check(&self) -> Vec<(&'static str, String)> {
        [self.http.check(), self.websocket.check()].concat()
    }
}

struct Echo {
    limits: Rc<Limits>,
    options: Rc<Options>,
}

impl Handler for Echo {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        // One `let` here, and two below: so the compiler keeps least of a connection that waits.
        let Some(mut ws) = websocket::accept(conn, &self.limits, &self.options, any).await? else {
            return Ok(());
        };
        loop {
            let next = ws.next().await?;
            let Some(message) = next else {
                return Ok(());
            };
            ws.send(message).await?;
        }
    }
}

async fn any(request: Request<'_>) -> Result<Option<Request<'_>>, Error> {
    Ok(Some(request))
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, settings: &EchoSettings| Echo {
        limits: Rc::new(settings.http.clone()),
        options: Rc::new(settings.websocket.clone()),
    })
}
