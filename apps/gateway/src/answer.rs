//! What is answered, in the words and with the header fields that all answers have.

use corelane::http::{Response, Status};

use crate::origin::Origin;
use crate::publisher::{Published, Unpublished};
use crate::route::Route;
use crate::tokens::Verdict;

/// How long a browser may remember what a page was allowed (Fetch, 3.3).
const PREFLIGHT_SECONDS: &str = "600";

/// A line of text.
pub(crate) fn text(status: Status, line: &str) -> Response<'static> {
    plain(status).body(format!("{line}\n"))
}

/// The head of a stream of events.
pub(crate) fn events() -> Response<'static> {
    with_type(Response::ok(), "text/event-stream").header("X-Accel-Buffering", "no")
}

pub(crate) fn health(is_draining: bool) -> Response<'static> {
    match is_draining {
        true => text(Status::SERVICE_UNAVAILABLE, "draining"),
        false => text(Status::OK, "ok"),
    }
}

pub(crate) fn method_not_allowed(route: &Route<'_>) -> Response<'static> {
    let allowed = route.methods();
    text(
        Status::METHOD_NOT_ALLOWED,
        &format!("allowed here: {allowed}"),
    )
    .header("Allow", allowed)
}

/// Why who asks may not do it; none if they may.
pub(crate) fn refusal(verdict: Verdict) -> Option<Response<'static>> {
    Some(match verdict {
        Verdict::Allowed => return None,
        Verdict::Unknown => text(
            Status::UNAUTHORIZED,
            "a bearer token is needed, one that is known here",
        )
        .header("WWW-Authenticate", "Bearer"),
        Verdict::NoRight => text(Status::FORBIDDEN, "the token has no right to this"),
    })
}

/// What has become of a message.
pub(crate) fn published(outcome: Result<Published, Unpublished>) -> Response<'static> {
    match outcome {
        Ok(Published {
            id,
            reached,
            closed,
        }) => {
            let json = format!("{{\"id\":{id},\"reached\":{reached},\"closed\":{closed}}}\n");
            with_type(Response::ok(), "application/json").body(json)
        }
        Err(Unpublished::Busy) => text(
            Status::SERVICE_UNAVAILABLE,
            "too busy: this was not published",
        )
        .header("Retry-After", "1"),
        Err(Unpublished::Unanswered) => text(
            Status::GATEWAY_TIMEOUT,
            "no answer in time: this may have been published",
        ),
    }
}

/// What scripts of a welcome page may do (CORS).
pub(crate) fn preflight(route: &Route<'_>) -> Response<'static> {
    Response::new(Status::NO_CONTENT)
        .header("Allow", route.methods())
        .header("Access-Control-Allow-Methods", route.methods())
        .header(
            "Access-Control-Allow-Headers",
            "Authorization, Content-Type, Last-Event-ID",
        )
        .header("Access-Control-Max-Age", PREFLIGHT_SECONDS)
}

/// With the word that a page of another host may read it.
pub(crate) fn for_page<'b>(response: Response<'b>, origin: &Origin) -> Response<'b> {
    match origin {
        Origin::Named(page) => response
            .header("Access-Control-Allow-Origin", page)
            .header("Vary", "Origin"),
        Origin::None | Origin::Own | Origin::Strange => response,
    }
}

fn plain(status: Status) -> Response<'static> {
    with_type(Response::new(status), "text/plain; charset=utf-8")
}

pub(crate) fn with_type(response: Response<'static>, content_type: &str) -> Response<'static> {
    response
        .header("Content-Type", content_type)
        .header("Cache-Control", "no-store")
        .header("X-Content-Type-Options", "nosniff")
}
