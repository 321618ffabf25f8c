//! A server of HTTP whose pages do what tests of the protocol ask for.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use corelane::http::{Http, Limits, Method, Request, Response, Status};
use corelane::{AppSettings, Conn, Error, Handler, ShardContext, sleep};

#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WebSettings {
    http: Limits,
}

impl AppSettings for WebSettings {
    const NAME: &'static str = "web";
    const ABOUT: &'static str = "Answers by HTTP as it is asked to";
    const LISTEN: &'static str = "127.0.0.1:7014";

    fn check(&self) -> Vec<(&'static str, String)> {
        self.http.check()
    }
}

struct Web {
    limits: Rc<Limits>,
}

impl Handler for Web {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut http = Http::new(conn, &self.limits);
        while let Some(request) = http.next().await? {
            if request.path() == "/hello" {
                request.respond(Response::ok().body("hello")).await?;
            } else if request.wants_upgrade("echo") {
                request.upgrade("echo", &[("X-Spoken", "echo")]).await?;
                return echo(conn).await;
            } else {
                Box::pin(answer(request)).await?;
            }
        }
        Ok(())
    }
}

async fn echo(conn: &mut Conn) -> Result<(), Error> {
    while let Some(chunk) = conn.read().await? {
        conn.write(chunk).await?;
    }
    Ok(())
}

async fn answer(mut request: Request<'_>) -> Result<(), Error> {
    let path = request.path().to_owned();
    let number = |text: &str| text.parse().unwrap_or(0);
    let path: Vec<&str> = path.split('/').skip(1).collect();
    match path[..] {
        // The body, as a whole.
        ["echo"] => {
            let body = request.body().read_all(1 << 20).await?;
            request
                .respond(Response::ok().body(body.unwrap_or_default()))
                .await
        }
        // The same, as it comes, without a copy.
        ["pass"] => {
            let mut out = request.respond_streamed(Response::ok()).await?;
            while let Some(chunk) = out.body().next_chunk().await? {
                out.write(chunk).await?;
            }
            out.finish().await
        }
        // The body is left alone.
        ["unread"] => request.respond(Response::ok().body("unread")).await,
        ["unread", "streamed"] => {
            let mut out = request.respond_streamed(Response::ok()).await?;
            out.write("unread").await?;
            out.finish().await
        }
        // What the layer has understood.
        ["seen"] => {
            let mut seen = format!("{} {}\n", request.method_name(), request.target());
            for (name, value) in request.headers() {
                seen += &format!("{name}={}\n", value.escape_ascii());
            }
            request.respond(Response::ok().body(seen)).await
        }
        ["host"] => {
            let host = request.host().unwrap_or("none").to_owned();
            request.respond(Response::ok().body(host)).await
        }
        ["status", code] => {
            let status = Status::new(number(code) as u16).unwrap_or(Status::NOT_FOUND);
            request.respond(Response::new(status).body("content")).await
        }
        ["parts", count] => parts(request, number(count), Response::ok()).await,
        ["parts", count, "of", length] => {
            parts(
                request,
                number(count),
                Response::ok().length(number(length) as u64),
            )
            .await
        }
        ["large", bytes] => {
            let large = vec![b'x'; number(bytes)];
            request.respond(Response::ok().body(&large)).await
        }
        ["close"] => request.respond(Response::ok().close().body("closed")).await,
        ["slow"] => {
            sleep(Duration::from_millis(500)).await;
            request.respond(Response::ok().body("slow")).await
        }
        ["inject"] => {
            let value = "a\r\nSet-Cookie: b";
            request
                .respond(Response::ok().header("X-Name", value).body("injected"))
                .await
        }
        ["forbidden"] => {
            request
                .respond(
                    Response::ok()
                        .header("Content-Length", "3")
                        .body("forbidden"),
                )
                .await
        }
        ["forget"] => Ok(()),
        ["cut"] => {
            let mut out = request.respond_streamed(Response::ok()).await?;
            out.write("half").await
        }
        _ if request.method() == Method::Options => {
            request.respond(Response::new(Status::NO_CONTENT)).await
        }
        _ => request.respond(Response::new(Status::NOT_FOUND)).await,
    }
}

async fn parts(request: Request<'_>, count: usize, response: Response<'_>) -> Result<(), Error> {
    let mut out = request.respond_streamed(response).await?;
    for _ in 0..count {
        out.write("part ").await?;
    }
    out.finish().await
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, settings: &WebSettings| Web {
        limits: Rc::new(settings.http.clone()),
    })
}
