//! Requests and answers of HTTP/1.1, as far as an endpoint needs it that takes no bodies (RFC 9110,
//! RFC 9112). What leaves room for two readings is refused.

use std::fmt::Write as _;
use std::time::SystemTime;

use httparse::{EMPTY_HEADER, Error, Header};

use crate::step::Step;

/// Header fields of a request. No key: `admin.header_max` bounds their bytes.
const FIELDS_MAX: usize = 64;

/// What a request that changes something must have among its header fields, with any value.
pub(super) const STEER: &str = "X-Corelane-Steer";
/// The end of a body in chunks (RFC 9112, 7.1).
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A status code with its reason phrase (RFC 9110, 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16, &'static str);

impl Status {
    pub(super) const OK: Self = Self(200, "OK");
    pub(super) const BAD_REQUEST: Self = Self(400, "Bad Request");
    pub(super) const FORBIDDEN: Self = Self(403, "Forbidden");
    pub(super) const NOT_FOUND: Self = Self(404, "Not Found");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self(405, "Method Not Allowed");
    pub(super) const CONFLICT: Self = Self(409, "Conflict");
    pub(super) const CONTENT_TOO_LARGE: Self = Self(413, "Content Too Large");
    pub(super) const HEADER_TOO_LARGE: Self = Self(431, "Request Header Fields Too Large");
    pub(super) const UNAVAILABLE: Self = Self(503, "Service Unavailable");
    pub(super) const VERSION: Self = Self(505, "HTTP Version Not Supported");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    /// Nothing here serves it.
    Other,
}

/// A request without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Without the query.
    pub(super) path: String,
    /// What stands behind the question mark.
    pub(super) query: String,
    /// It has the header field [`STEER`], which a browser sends across sites only where it is
    /// allowed to (a preflight of CORS), and never is.
    pub(super) steers: bool,
    /// It is a browser's, which would show what it gets.
    pub(super) accepts_html: bool,
    pub(super) is_1_0: bool,
    /// As it came; none in HTTP/1.0.
    pub(super) host: Option<String>,
    pub(super) keeps_alive: bool,
}

/// A request that is not served, and behind which nothing is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) Status, pub(super) &'static str);

/// A header of a request, whatever becomes of it.
pub(super) fn parse(bytes: &[u8]) -> Step<Result<Request, Refusal>> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let refused = |status, why| Step::Frame {
        value: Err(Refusal(status, why)),
        length: bytes.len(),
    };
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => Step::NeedMore,
        Ok(httparse::Status::Complete(length)) => Step::Frame {
            value: judge(&bytes[..length], &request),
            length,
        },
        Err(Error::TooManyHeaders) => refused(Status::HEADER_TOO_LARGE, "too many header fields"),
        Err(Error::Version) => refused(Status::VERSION, "HTTP/1.0 and HTTP/1.1 are served"),
        Err(_) => refused(Status::BAD_REQUEST, "this is no request of HTTP/1.1"),
    }
}

fn judge(head: &[u8], request: &httparse::Request<'_, '_>) -> Result<Request, Refusal> {
    let bad = |why| Err(Refusal(Status::BAD_REQUEST, why));
    if has_bare_line_feed(head) {
        return bad("a line ends without a carriage return"); // RFC 9112, 2.2
    }
    let (target, is_1_0) = (request.path.unwrap_or_default(), request.version == Some(0));
    if !target.starts_with('/') {
        return bad("the target is no path"); // RFC 9112, 3.2.1
    }
    let host = match &values(request.headers, "host").collect::<Vec<_>>()[..] {
        [] if is_1_0 => None,
        [host] => Some(String::from_utf8_lossy(host).into_owned()),
        _ => return bad("there must be one Host"), // RFC 9112, 3.2
    };
    refuse_body(request.headers)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Request {
        method: match request.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("POST") => Method::Post,
            _ => Method::Other,
        },
        path: path.to_owned(),
        query: query.to_owned(),
        steers: values(request.headers, STEER).next().is_some(),
        accepts_html: accepts_html(request.headers),
        is_1_0,
        host,
        keeps_alive: keeps_alive(request.headers, is_1_0),
    })
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    let feeds = memchr::memchr_iter(b'\n', head);
    let mut bare = feeds.filter(|at| at.checked_sub(1).is_none_or(|before| head[before] != b'\r'));
    bare.next().is_some()
}

/// Nothing here takes a body; one that came would be read as the next request (RFC 9112, 6.3).
fn refuse_body(fields: &[Header<'_>]) -> Result<(), Refusal> {
    if values(fields, "transfer-encoding").next().is_some() {
        return Err(Refusal(
            Status::BAD_REQUEST,
            "no body is taken, of whatever encoding",
        ));
    }
    match &values(fields, "content-length").collect::<Vec<_>>()[..] {
        [] | [b"0"] => Ok(()),
        [length] if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            Err(Refusal(Status::CONTENT_TOO_LARGE, "no body is taken"))
        }
        _ => Err(Refusal(
            Status::BAD_REQUEST,
            "the length of the body is not clear",
        )),
    }
}

/// RFC 9112, 9.3.
fn keeps_alive(fields: &[Header<'_>], is_1_0: bool) -> bool {
    let options = values(fields, "connection").flat_map(|value| value.split(|byte| *byte == b','));
    let has = |wanted: &[u8]| {
        let mut options = options.clone().map(<[u8]>::trim_ascii);
        options.any(|option| option.eq_ignore_ascii_case(wanted))
    };
    !has(b"close") && (!is_1_0 || has(b"keep-alive"))
}

/// Whether HTML is named (RFC 9110, 12.5.1), which tools that take anything do not do.
fn accepts_html(fields: &[Header<'_>]) -> bool {
    let mut ranges = values(fields, "accept").flat_map(|value| value.split(|byte| *byte == b','));
    ranges.any(|range| {
        let named = range.split(|byte| *byte == b';').next().unwrap_or_default();
        named.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

fn values<'a>(fields: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> + Clone {
    let named = fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
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

    /// Its bytes; those of an answer to HEAD have no body.
    pub(super) fn bytes(&self, method: Method, keeps_alive: bool) -> Vec<u8> {
        let mut text = head(self.status, self.content_type);
        let _infallible = write!(text, "Content-Length: {}\r\n", self.body.len());
        if let Some(policy) = self.policy {
            let _infallible = write!(text, "Content-Security-Policy: {policy}\r\n");
        }
        if self.status == Status::METHOD_NOT_ALLOWED {
            text.push_str("Allow: GET, HEAD, POST\r\n");
        }
        let connection = if keeps_alive { "keep-alive" } else { "close" };
        let _infallible = write!(text, "Connection: {connection}\r\n\r\n");
        if method != Method::Head {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}

/// Status line and header fields that every answer has.
fn head(status: Status, content_type: &str) -> String {
    let (Status(code, phrase), date) = (status, httpdate::fmt_http_date(SystemTime::now()));
    format!(
        "HTTP/1.1 {code} {phrase}\r\nDate: {date}\r\nContent-Type: {content_type}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
    )
}

/// The header of an answer that comes in parts, until the connection closes. In HTTP/1.1 each part
/// is a chunk, so that its reader knows the whole from what was cut.
pub(super) fn head_of_stream(content_type: &str, is_1_0: bool) -> Vec<u8> {
    let mut text = head(Status::OK, content_type);
    if !is_1_0 {
        text.push_str("Transfer-Encoding: chunked\r\n");
    }
    text.push_str("Connection: close\r\n\r\n");
    text.into_bytes()
}

/// A part of such an answer.
pub(super) fn chunk(text: &str, is_1_0: bool) -> Vec<u8> {
    if is_1_0 {
        return text.as_bytes().to_vec();
    }
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Step::Frame { value: Ok(_), .. } => 200,
            Step::Frame {
                value: Err(Refusal(status, _)),
                ..
            } => status.0,
            Step::NeedMore | Step::Invalid(_) => 0,
        }
    }

    #[test]
    fn what_leaves_room_for_two_readings_is_refused() {
        let cases = [
            (200, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (200, "GET / HTTP/1.0\r\n\r\n"),
            (
                200,
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            ),
            (0, "GET / HTTP/1.1\r\nHost: a\r\n"),
            (400, "GET / HTTP/1.1\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
            (400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
            (400, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
            (
                400,
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                400,
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
            ),
            (
                400,
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
            ),
            (
                400,
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                413,
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            ),
            (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
            (400, "\u{16}\u{3}\u{1}"),
        ];
        for (expected, text) in cases {
            assert_eq!(status(text), expected, "{text:?}");
        }
        let fields = "A: b\r\n".repeat(FIELDS_MAX);
        assert_eq!(
            status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")),
            431
        );
    }

    #[test]
    fn a_connection_is_kept_as_both_ends_want() {
        let keeps = |text: &str| match parse(text.as_bytes()) {
            Step::Frame {
                value: Ok(request), ..
            } => request.keeps_alive,
            _ => panic!("{text:?} is a request"),
        };
        assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keeps(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"
        ));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn who_names_html_is_a_browser() {
        let accepts = |accept: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{accept}\r\n");
            match parse(text.as_bytes()) {
                Step::Frame {
                    value: Ok(request), ..
                } => request.accepts_html,
                _ => panic!("{text:?} is a request"),
            }
        };
        assert!(accepts("Accept: text/html,*/*;q=0.8\r\n"));
        assert!(accepts("Accept: a/b\r\nAccept: c/d, TEXT/HTML;q=0.9\r\n"));
        for other in ["", "Accept: */*\r\n", "Accept: text/htmlx, text/plain\r\n"] {
            assert!(!accepts(other), "{other}");
        }
    }
}
