//! The page: one file that loads nothing, and speaks with this server alone.

use corelane::http::Response;

use crate::answer;

const PAGE: &str = include_str!("page.html");
/// What the page may do. Its own script and style are known by their SHA-256, so that no message which
/// comes to be in it is ever run; a test tells what they are when the page has changed.
const POLICY: &str = "default-src 'none'; connect-src 'self'; \
    script-src 'sha256-NtJAvyX9pCh7lpXZiLlItMxGy6VYN+YIjslLj0ddRYk='; \
    style-src 'sha256-CYhhA0gw3OGutArRIxK/R3PiLDybKkbE/QVuVEjjynw='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

pub(crate) fn response() -> Response<'static> {
    answer::with_type(Response::ok(), "text/html; charset=utf-8")
        .header("Content-Security-Policy", POLICY)
        .header("Referrer-Policy", "no-referrer")
        .body(PAGE)
}
