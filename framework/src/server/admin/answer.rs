//! What the admin server answers, and what it takes of a peer, in terms of [`crate::http`].

use crate::config::Config;
use crate::http::{Limits, Response, Status};

/// Header fields of a request. No key: `admin.header_max` bounds their bytes.
const FIELDS_MAX: u32 = 64;

/// What a request that changes something must have among its header fields, with any value: a
/// browser sends it across sites only where it is allowed to (a preflight of CORS), and never is.
pub(super) const STEER: &str = "X-Corelane-Steer";

/// The bounds of a peer: nothing here takes a body.
pub(super) fn limits(config: &Config) -> Limits {
    let admin = &config.admin;
    Limits {
        head_max: admin.header_max,
        fields_max: FIELDS_MAX,
        body_max: 0,
        header_timeout: admin.request_timeout,
        ..Limits::default()
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) content_type: &'static str,
    /// What a browser may load and run for it.
    pub(super) policy: Option<&'static str>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn text(status: Status, body: impl Into<String>) -> Self {
        Self {
            status,
            ..Self::ok("text/plain; charset=utf-8", body)
        }
    }

    pub(super) fn ok(content_type: &'static str, body: impl Into<String>) -> Self {
        Self {
            status: Status::OK,
            content_type,
            policy: None,
            body: body.into(),
        }
    }

    /// As it is sent.
    pub(super) fn response(self) -> Response<'static> {
        let mut response = with_fields(Response::new(self.status), self.content_type);
        if let Some(policy) = self.policy {
            response = response.header("Content-Security-Policy", policy);
        }
        if self.status == Status::METHOD_NOT_ALLOWED {
            response = response.header("Allow", "GET, HEAD, POST");
        }
        response.body(self.body)
    }
}

/// The head of an answer that comes in parts, and then closes the connection.
pub(super) fn streamed(content_type: &str) -> Response<'static> {
    with_fields(Response::ok(), content_type).close()
}

/// With the header fields that every answer has.
fn with_fields(response: Response<'static>, content_type: &str) -> Response<'static> {
    response
        .header("Content-Type", content_type)
        .header("Cache-Control", "no-store")
        .header("X-Content-Type-Options", "nosniff")
}
