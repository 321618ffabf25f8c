//! Hello by HTTP/1.1: a few pages, a body that is read, one that is streamed.
//!
//! ```text
//! cargo run --example http_hello --features http -- --set app.http.body_max=100
//! curl -i http://127.0.0.1:7011/
//! curl -i http://127.0.0.1:7011/count -d 'how many bytes?'
//! curl -i http://127.0.0.1:7011/upper -T - < README.md
//! ```
//!
//! The bounds of HTTP are the operator's, in `[app.http]`; silence between two requests is bounded by
//! `timeouts.idle`.

use std::process::ExitCode;
use std::rc::Rc;

use corelane::http::{Http, Limits, Method, Request, Response, Status};
use corelane::{AppSettings, Conn, Error, Handler, ShardContext};

#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HelloSettings {
    http: Limits,
}

impl AppSettings for HelloSettings {
    const NAME: &'static str = "http_hello";
    const ABOUT: &'static str = "Says hello by HTTP";
    const LISTEN: &'static str = "127.0.0.1:7011";
    const DEFAULTS: &'static str = "
        [timeouts]
        idle = '75s'
    ";

    fn check(&self) -> Vec<(&'static str, String)> {
        self.http.check()
    }
}

struct Hello {
    limits: Rc<Limits>,
}

/// What is asked for. It is found before anything is waited for, so that a connection keeps no more
/// of it than its number.
#[derive(Clone, Copy)]
enum Page {
    Hello,
    Count,
    Upper,
    OtherMethod,
    Unknown,
}

impl Page {
    fn of(request: &Request<'_>) -> Self {
        match (request.method(), request.path()) {
            (Method::Get | Method::Head, "/") => Self::Hello,
            (Method::Post, "/count") => Self::Count,
            (Method::Post | Method::Put, "/upper") => Self::Upper,
            (_, "/" | "/count" | "/upper") => Self::OtherMethod,
            _ => Self::Unknown,
        }
    }
}

impl Handler for Hello {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut http = Http::new(conn, &self.limits);
        loop {
            // No `while let`: what its `?` looks at would be kept while the loop waits.
            let next = http.next().await?;
            let Some(request) = next else {
                return Ok(());
            };
            match Page::of(&request) {
                // What is seldom done is boxed: it takes no room of a connection that does not do it.
                Page::Count => Box::pin(count(request)).await?,
                Page::Upper => Box::pin(upper(request)).await?,
                page => request.respond(short(page)).await?,
            }
        }
    }
}

fn short(page: Page) -> Response<'static> {
    match page {
        Page::Hello => Response::ok()
            .header("Content-Type", "text/plain")
            .body("hello\n"),
        Page::OtherMethod => {
            let refused = Response::new(Status::METHOD_NOT_ALLOWED);
            refused.header("Allow", "GET, HEAD, POST, PUT")
        }
        _ => Response::new(Status::NOT_FOUND),
    }
}

/// A body that is small, as a whole.
async fn count(mut request: Request<'_>) -> Result<(), Error> {
    let response = match request.body().read_all(1000).await? {
        Some(body) => Response::ok().body(format!("{} bytes\n", body.len())),
        None => Response::new(Status::CONTENT_TOO_LARGE),
    };
    request.respond(response).await
}

/// A body of any length, answered while it comes: what the peer does not take of the answer is not
/// read of the body.
async fn upper(request: Request<'_>) -> Result<(), Error> {
    let mut answer = request.respond_streamed(Response::ok()).await?;
    while let Some(chunk) = answer.body().next_chunk().await? {
        answer.write(chunk.to_ascii_uppercase()).await?;
    }
    answer.finish().await
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, settings: &HelloSettings| Hello {
        limits: Rc::new(settings.http.clone()),
    })
}
