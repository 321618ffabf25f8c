//! What the admin server answers.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::conn::connection::Conn;
use crate::error::Error;
use crate::handler::Handler;
use crate::http::{Http, Limits, Method, Request, Status};
use crate::server::admin::answer::{self, Answer, STEER};
use crate::server::admin::connections::{self, List, Query};
use crate::server::admin::events::Events;
use crate::server::admin::exposition;
use crate::server::admin::page;
use crate::server::admin::stats::{self, Sampler};
use crate::server::admin::text_format;
use crate::server::event::{Event, tell};
use crate::server::readiness::Unready;
use crate::server::reload::ReloadRequest;
use crate::server::view::View;
use crate::shard::futures::unblock::unblock;

/// Where what is.
const INDEX: &str = "GET  /                   a live page for browsers, this text for all others\n\
    GET  /help               this text\n\
    GET  /stats              the numbers as a JSON object, rates since the start\n\
    GET  /events             the same each second, rates since the one before\n\
    GET  /metrics            metrics in the text format 0.0.4\n\
    GET  /healthz            200 while the server works, 503 once a shard has died\n\
    GET  /readyz             200 while it may be given work, else 503 and why not\n\
    GET  /connections        those that fit the query, one JSON object a line\n\
    GET  /connections/ID     one of them\n\
    POST /connections/close  ends those that fit the query, which must not be empty\n\
    POST /connections/ID/close\n\
    POST /reload             reads the settings again, as SIGHUP does: what has changed, or 409 and why not\n";

#[derive(Clone)]
pub(super) struct AdminHandler {
    view: Arc<View>,
    /// A browser can reach it, with a page of anybody's.
    is_tcp: bool,
    /// What changes something is served here.
    may_steer: bool,
    /// The server's start.
    started: Instant,
    limits: Rc<Limits>,
    lists: Rc<Cell<u32>>,
    streams: Rc<Cell<u32>>,
}

/// What becomes of a request.
enum Outcome {
    Answer(Answer),
    /// The rows as they come.
    List(Box<List>),
    /// The numbers, each second.
    Events(Box<Events>),
}

impl AdminHandler {
    pub(super) fn new(view: Arc<View>, started: Instant, is_tcp: bool, may_steer: bool) -> Self {
        Self {
            limits: Rc::new(answer::limits(&view.config)),
            view,
            is_tcp,
            may_steer,
            started,
            lists: Rc::default(),
            streams: Rc::default(),
        }
    }

    async fn answer(&self, request: &Request<'_>) -> Outcome {
        if let Some(refusal) = self.refusal(request) {
            return Outcome::Answer(refusal);
        }
        let path: Vec<&str> = request.path().split('/').skip(1).collect();
        let answer = match (request.method(), &path[..]) {
            (Method::Post, ["connections", "close"])
                if request.query().unwrap_or_default().is_empty() =>
            {
                let text = "say which: an empty query would end them all\n";
                Answer::text(Status::BAD_REQUEST, text)
            }
            (Method::Post, ["connections", "close"]) => return self.list(request),
            (Method::Post, ["connections", name, "close"]) => self.one(request, name).await,
            (Method::Post, ["reload"]) => self.reload().await,
            (Method::Post, _) => Answer::text(Status::NOT_FOUND, INDEX),
            (_, ["connections"]) => return self.list(request),
            (_, ["connections", name]) => self.one(request, name).await,
            (_, ["events"]) => match Events::begin(&self.view, self.started, &self.streams) {
                Some(events) => return Outcome::Events(Box::new(events)),
                None => Answer::text(Status::SERVICE_UNAVAILABLE, "too many watch already\n"),
            },
            // Who names it is a browser; tools take anything.
            (_, [""]) if request.header_has("accept", "text/html") => page::answer(),
            _ => self.page(request.path()),
        };
        Outcome::Answer(answer)
    }

    /// Why the request is not served, whatever it asks for.
    fn refusal(&self, request: &Request<'_>) -> Option<Answer> {
        if !request.target().starts_with('/') {
            return Some(Answer::text(Status::BAD_REQUEST, "the target is no path\n"));
        }
        if self.is_tcp && !request.host().is_none_or(names_loopback) {
            let text = "Host must be this machine's loopback address or localhost\n";
            return Some(Answer::text(Status::FORBIDDEN, text));
        }
        match request.method() {
            Method::Get | Method::Head => None,
            Method::Post if !self.may_steer => {
                let text = "nothing is changed here: ask the Unix socket, or admin.steer_listen\n";
                Some(Answer::text(Status::FORBIDDEN, text))
            }
            Method::Post if request.header(STEER).is_none() => {
                let text = format!("the header field {STEER} must be there\n");
                Some(Answer::text(Status::FORBIDDEN, text))
            }
            Method::Post => None,
            _ => {
                let text = "GET, HEAD and POST are served\n";
                Some(Answer::text(Status::METHOD_NOT_ALLOWED, text))
            }
        }
    }

    fn page(&self, path: &str) -> Answer {
        match path {
            "/" | "/help" => Answer::text(Status::OK, INDEX),
            "/metrics" => Answer::ok(text_format::CONTENT_TYPE, exposition::page(&self.view)),
            "/stats" => Answer::ok(stats::CONTENT_TYPE, self.stats()),
            "/healthz" => match self.view.readiness.get() {
                Err(dead @ Unready::ShardDied(_)) => unready(dead),
                _ => Answer::text(Status::OK, "ok\n"),
            },
            "/readyz" => {
                let ready = |()| Answer::text(Status::OK, "ready\n");
                self.view.readiness.get().map_or_else(unready, ready)
            }
            _ => Answer::text(Status::NOT_FOUND, INDEX),
        }
    }

    async fn reload(&self) -> Answer {
        let (request, answer) = ReloadRequest::new(None);
        tell(&self.view.events, Event::Reload(request));
        match unblock(move || answer.recv()).await {
            Ok(Ok(Ok(changes))) => {
                let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
                Answer::text(Status::OK, lines)
            }
            Ok(Ok(Err(refused))) => Answer::text(Status::CONFLICT, format!("{refused}\n")),
            Ok(Err(_)) => Answer::text(Status::SERVICE_UNAVAILABLE, "the server has ended\n"),
            Err(error) => Answer::text(Status::SERVICE_UNAVAILABLE, format!("{error}\n")),
        }
    }

    fn stats(&self) -> String {
        let now = Instant::now();
        format!("{}\n", Sampler::new(self.started).sample(&self.view, now))
    }

    fn list(&self, request: &Request<'_>) -> Outcome {
        match Query::parse(request.query().unwrap_or_default())
            .map(|query| self.begin(request, query))
        {
            Ok(Some(list)) => Outcome::List(Box::new(list)),
            Ok(None) => Outcome::Answer(too_many()),
            Err(why) => Outcome::Answer(Answer::text(Status::BAD_REQUEST, why)),
        }
    }

    fn begin(&self, request: &Request<'_>, query: Query) -> Option<List> {
        List::begin(
            &self.view,
            &self.lists,
            query,
            request.method() == Method::Post,
        )
    }

    /// The connection of that name, which is explained or told to end.
    async fn one(&self, request: &Request<'_>, name: &str) -> Answer {
        let query = match Query::parse(request.query().unwrap_or_default()) {
            Ok(query) => query.of_one(self.view.server, name),
            Err(why) => return Answer::text(Status::BAD_REQUEST, why),
        };
        let Some(query) = query else {
            let text = "a connection is named as in the log: shard.slot.generation\n";
            return Answer::text(Status::BAD_REQUEST, text);
        };
        let Some(mut list) = self.begin(request, query) else {
            return too_many();
        };
        let mut body = String::new();
        while let Some(lines) = list.next().await {
            body.push_str(&lines);
        }
        match (list.has_matched(), list.is_whole()) {
            (true, _) => Answer::ok(connections::CONTENT_TYPE, body),
            (false, true) => Answer::text(Status::NOT_FOUND, "gone\n"),
            (false, false) => {
                Answer::text(Status::SERVICE_UNAVAILABLE, "its shard does not answer\n")
            }
        }
    }
}

fn too_many() -> Answer {
    Answer::text(
        Status::SERVICE_UNAVAILABLE,
        "too many lists are being made\n",
    )
}

/// Sends the rows as they come, and behind them the sums.
async fn send_list(request: Request<'_>, mut list: Box<List>) -> Result<(), Error> {
    let is_head = request.method() == Method::Head;
    let head = answer::streamed(connections::CONTENT_TYPE);
    let mut out = request.respond_streamed(head).await?;
    if !is_head {
        while let Some(lines) = list.next().await {
            out.write(lines).await?;
        }
        out.write(list.summary()).await?;
    }
    out.finish().await
}

fn unready(reason: Unready) -> Answer {
    Answer::text(Status::SERVICE_UNAVAILABLE, format!("{}\n", reason.told()))
}

/// Whether a browser that sends this meant the loopback interface: a page of anybody's may have a
/// name of its own lead there (DNS rebinding).
fn names_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let ip: Option<IpAddr> = bare.parse().ok();
    name.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback())
}

impl Handler for AdminHandler {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut http = Http::new(conn, &self.limits);
        while let Some(request) = http.next().await? {
            match self.answer(&request).await {
                Outcome::Answer(answer) => request.respond(answer.response()).await?,
                Outcome::List(list) => return send_list(request, list).await,
                Outcome::Events(events) => return events.send(request).await,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_interface_is_meant() {
        for host in [
            "localhost",
            "LOCALHOST:9007",
            "127.0.0.1",
            "127.8.8.8:80",
            "[::1]:9007",
            "[::1]",
        ] {
            assert!(names_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:9007",
            "10.0.0.1",
            "127.0.0.1.example.org",
            "evil:127.0.0.1",
        ] {
            assert!(!names_loopback(host), "{host}");
        }
    }
}
