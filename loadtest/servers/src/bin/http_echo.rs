//! An echo by HTTP/1.1: the body of a POST is that of its answer, and a GET says hello.

use std::process::ExitCode;
use std::rc::Rc;

use corelane::http::{Http, Limits, Method, Request, Response, Status};
use corelane::{AppSettings, Conn, Error, Handler, ShardContext};

#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EchoSettings {
    http: Limits,
}

impl AppSettings for EchoSettings {
    const NAME: &'static str = "http_echo";
    const ABOUT: &'static str = "Sends back the bodies that it gets by HTTP";
    const LISTEN: &'static str = "127.0.0.1:7020";

    fn check(&self) -> Vec<(&'static str, String)> {
        self.http.check()
    }
}

struct Echo {
    limits: Rc<Limits>,
}

impl Handler for Echo {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut http = Http::new(conn, &self.limits);
        loop {
            // No `while let`: what its `?` looks at would be kept while the loop waits.
            let next = http.next().await?;
            let Some(request) = next else {
                return Ok(());
            };
            match request.method() {
                Method::Get => request.respond(hello()).await?,
                // Boxed: it takes no room of a connection that is silent.
                _ => Box::pin(echo(request, self.limits.body_max)).await?,
            }
        }
    }
}

fn hello() -> Response<'static> {
    Response::ok()
        .header("Content-Type", "text/plain")
        .body("hello\n")
}

async fn echo(mut request: Request<'_>, body_max: u64) -> Result<(), Error> {
    let body_max = usize::try_from(body_max).unwrap_or(usize::MAX);
    let body = request.body().read_all(body_max).await?;
    let response = match body {
        Some(body) => Response::ok().body(body),
        None => Response::new(Status::CONTENT_TOO_LARGE),
    };
    request.respond(response).await
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, settings: &EchoSettings| Echo {
        limits: Rc::new(settings.http.clone()),
    })
}
