//! The live page: one file that loads nothing but `/events`.

use crate::server::admin::answer::Answer;

const PAGE: &str = include_str!("page.html");
/// What the page may do. Its own script and style are known by their SHA-256, so that no text which
/// comes to be in it is ever run; a test tells what they are when the page has changed.
const POLICY: &str = "default-src 'none'; connect-src 'self'; \
    script-src 'sha256-OqaOga9zdd3kMF8EZaqE385cwiYcAWpb7Iw08GkqcqA='; \
    style-src 'sha256-riwLNdIzuC0yM+54rKxgn3Wyv+rt2yEcydeo862wanY='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

pub(super) fn answer() -> Answer {
    Answer {
        policy: Some(POLICY),
        ..Answer::ok("text/html; charset=utf-8", PAGE)
    }
}
