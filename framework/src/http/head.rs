//! A request's head: from bytes to what it says, or to why it is refused (RFC 9112, 2, 3, 5 and 6).
//! Pure and total. What it says is told as places in its bytes, so nothing is copied.

use std::mem::MaybeUninit;

use httparse::{Error, Header};

use crate::http::limits::{FIELDS_MAX, Limits};
use crate::http::refusal::{BARE_LINE_FEED, Refusal};
use crate::http::status::Status;
use crate::http::target;
use crate::step::Step;

/// Where something stands in a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u16,
    length: u16,
}

impl Span {
    /// Where `part` stands in `whole`, a piece of which it is.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        Self {
            start: (part.as_ptr() as usize - whole.as_ptr() as usize) as u16,
            length: part.len() as u16,
        }
    }

    pub(super) fn in_bytes(self, head: &[u8]) -> &[u8] {
        let start = usize::from(self.start);
        head.get(start..start + usize::from(self.length))
            .unwrap_or_default()
    }

    /// Of a method, target or field's name, which are ASCII.
    pub(super) fn in_text(self, head: &[u8]) -> &str {
        str::from_utf8(self.in_bytes(head)).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// Where a body ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    None,
    Length(u64),
    Chunked,
}

/// What a head says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) fields: Vec<Field>,
    pub(super) framing: Framing,
    pub(super) is_1_0: bool,
    pub(super) is_head: bool,
    pub(super) is_get: bool,
    pub(super) keeps_alive: bool,
    /// It has the connection option `upgrade`.
    pub(super) upgrades: bool,
    pub(super) expects_continue: bool,
}

/// What bytes before a request turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A head, told in the [`Head`] that was given.
    Head,
    /// An empty line before it, which means nothing (RFC 9112, 2.2).
    EmptyLine,
    Refused(Refusal),
}

/// The next head in `bytes`. `scanned`: how many of them were looked at before; 0 at a head's
/// beginning.
pub(super) fn parse(
    bytes: &[u8],
    scanned: &mut u16,
    limits: &Limits,
    head: &mut Head,
) -> Step<Found> {
    let seen = &bytes[..bytes.len().min(limits.head_max as usize)];
    let found = match seen {
        [] | [b'\r'] => return Step::NeedMore,
        [b'\r', b'\n', ..] => {
            *scanned = 0;
            return Step::Frame {
                value: Found::EmptyLine,
                length: 2,
            };
        }
        _ => look(seen, scanned, limits, head),
    };
    let (found, length) = match found {
        Ok(Some(length)) => (Found::Head, length),
        Ok(None) if bytes.len() < limits.head_max as usize => return Step::NeedMore,
        Ok(None) => (Found::Refused(too_long(seen)), bytes.len()),
        Err(refusal) => (Found::Refused(refusal), bytes.len()),
    };
    *scanned = 0;
    Step::Frame {
        value: found,
        length,
    }
}

/// The length of the head that `seen` begins with, if it is whole.
fn look(
    seen: &[u8],
    scanned: &mut u16,
    limits: &Limits,
    head: &mut Head,
) -> Result<Option<usize>, Refusal> {
    // A head that comes in pieces is parsed at its first piece, and with each piece that ends a line.
    let is_first_look = *scanned == 0;
    if !is_first_look && !ends_line(seen, *scanned) {
        *scanned = seen.len() as u16;
        return Ok(None);
    }
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let fields = &mut fields[..limits.fields_max as usize];
    match request.parse_with_uninit_headers(seen, fields) {
        Ok(httparse::Status::Complete(length)) => {
            judge(&seen[..length], &request, limits, head)?;
            Ok(Some(length))
        }
        Ok(httparse::Status::Partial) => match ends_in(seen, scanned)? {
            false => Ok(None),
            true => Err(Refusal::bad("the request has an empty line in its midst")),
        },
        Err(Error::TooManyHeaders) => Err(Refusal::of(
            Status::HEADER_FIELDS_TOO_LARGE,
            "too many header fields",
        )),
        // Not yet to be told from what is no version at all.
        Err(Error::Version) if !ends_line(seen, 0) => {
            *scanned = seen.len() as u16;
            Ok(None)
        }
        Err(Error::Version) if names_other_version(seen) => Err(Refusal::of(
            Status::VERSION_NOT_SUPPORTED,
            "HTTP/1.0 and HTTP/1.1 are served",
        )),
        Err(_) => Err(Refusal::bad("this is no request of HTTP/1.1")),
    }
}

fn ends_line(seen: &[u8], scanned: u16) -> bool {
    let new = seen.get(usize::from(scanned)..).unwrap_or_default();
    memchr::memchr(b'\n', new).is_some()
}

/// Looks for an empty line in what was not `scanned` yet; every line has to end with CRLF (RFC 9112,
/// 2.2).
pub(super) fn ends_in(seen: &[u8], scanned: &mut u16) -> Result<bool, Refusal> {
    let from = usize::from(*scanned);
    *scanned = seen.len() as u16;
    for offset in memchr::memchr_iter(b'\n', seen.get(from..).unwrap_or_default()) {
        let line = &seen[..from + offset];
        if !line.ends_with(b"\r") {
            return Err(BARE_LINE_FEED);
        }
        if line.len() == 1 || line.ends_with(b"\r\n\r") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn too_long(seen: &[u8]) -> Refusal {
    match memchr::memchr(b'\n', seen) {
        None => Refusal::of(Status::URI_TOO_LONG, "the request line is too long"),
        Some(_) => Refusal::of(Status::HEADER_FIELDS_TOO_LARGE, "the header is too long"),
    }
}

/// Whether the request line ends with a version of HTTP that is well-formed (RFC 9112, 2.3).
fn names_other_version(seen: &[u8]) -> bool {
    let line = seen.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    matches!(words[..], [_, target, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
        if !target.is_empty() && major.is_ascii_digit() && minor.is_ascii_digit())
}

/// Fills `head` with what the request says, unless it leaves room for two readings.
fn judge(
    bytes: &[u8],
    request: &httparse::Request<'_, '_>,
    limits: &Limits,
    head: &mut Head,
) -> Result<(), Refusal> {
    let (method, target) = (
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
    );
    head.method = Span::of(method.as_bytes(), bytes);
    head.target = Span::of(target.as_bytes(), bytes);
    head.fields.clear();
    head.is_1_0 = request.version == Some(0);
    head.is_head = method == "HEAD";
    head.is_get = method == "GET";
    // Empty lines before it were taken off, but for those that are a line feed alone.
    if head.method.start != 0 || !bytes.ends_with(b"\r\n\r\n") {
        return Err(BARE_LINE_FEED);
    }
    if method == "CONNECT" {
        // RFC 9110, 9.3.6: for proxies.
        return Err(Refusal::of(Status::NOT_IMPLEMENTED, "this is no proxy"));
    }
    target::check(method, target)?;
    let mut said = Said::default();
    for field in request.headers.iter() {
        let places = Field {
            name: Span::of(field.name.as_bytes(), bytes),
            value: Span::of(field.value, bytes),
        };
        // The line before has ended here.
        if bytes.get(usize::from(places.name.start).wrapping_sub(2)) != Some(&b'\r') {
            return Err(BARE_LINE_FEED);
        }
        head.fields.push(places);
        said.take(field)?;
    }
    said.settle(limits, head)
}

/// The fields that decide how the request is read.
#[derive(Default)]
struct Said {
    hosts: u32,
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    keeps_alive: bool,
    upgrades: bool,
    expects: bool,
    expects_other: bool,
}

impl Said {
    fn take(&mut self, field: &Header<'_>) -> Result<(), Refusal> {
        let (name, value) = (field.name, field.value);
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match name.len() {
            4 if is("host") => {
                self.hosts += 1;
                if !target::is_authority(value) {
                    return Err(Refusal::bad("Host is no host")); // RFC 9112, 3.2
                }
            }
            6 if is("expect") => {
                let is_known = value.eq_ignore_ascii_case(b"100-continue");
                self.expects |= is_known;
                self.expects_other |= !is_known;
            }
            10 if is("connection") => value.split(|byte| *byte == b',').for_each(|option| {
                let option = option.trim_ascii();
                self.closes |= option.eq_ignore_ascii_case(b"close");
                self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                self.upgrades |= option.eq_ignore_ascii_case(b"upgrade");
            }),
            14 if is("content-length") => {
                let length = content_length(value);
                if length.is_none() || self.length.is_some() {
                    // RFC 9112, 6.3, 5: neither a list nor a second one.
                    return Err(Refusal::bad("the length of the body is not clear"));
                }
                self.length = length;
            }
            17 if is("transfer-encoding") => {
                if self.is_chunked {
                    return Err(Refusal::bad("there are several transfer codings"));
                }
                self.is_chunked = true;
                transfer_coding(value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn settle(self, limits: &Limits, head: &mut Head) -> Result<(), Refusal> {
        if self.hosts > 1 || (self.hosts == 0 && !head.is_1_0) {
            return Err(Refusal::bad("there must be one Host")); // RFC 9112, 3.2
        }
        head.framing = match (self.is_chunked, self.length) {
            (true, Some(_)) => {
                // RFC 9112, 6.3, 3: a try to have two readers see two requests.
                return Err(Refusal::bad("the body has a length and a transfer coding"));
            }
            (true, None) if head.is_1_0 => {
                return Err(Refusal::bad("HTTP/1.0 has no transfer codings")); // RFC 9112, 6.1
            }
            (true, None) => Framing::Chunked,
            (false, None | Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        let is_too_large = match head.framing {
            Framing::None => false,
            Framing::Length(length) => length > limits.body_max,
            Framing::Chunked => limits.body_max == 0,
        };
        if is_too_large {
            return Err(Refusal::of(
                Status::CONTENT_TOO_LARGE,
                "the body is too large",
            ));
        }
        if self.expects_other && !head.is_1_0 {
            // RFC 9110, 10.1.1
            return Err(Refusal::of(
                Status::EXPECTATION_FAILED,
                "100-continue alone can be expected",
            ));
        }
        head.expects_continue = self.expects && !head.is_1_0 && head.framing != Framing::None;
        head.keeps_alive = !self.closes && (!head.is_1_0 || self.keeps_alive); // RFC 9112, 9.3
        head.upgrades = self.upgrades && !head.is_1_0; // RFC 9110, 7.8
        Ok(())
    }
}

/// Digits, and nothing else (RFC 9110, 8.6).
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    Some(digits.fold(0, |number, digit| number * 10 + digit))
}

/// One coding, `chunked` (RFC 9112, 6.1 and 7).
fn transfer_coding(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_last_chunked = codings
        .next_back()
        .is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let is_chunked_twice = codings.any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if is_last_chunked && !is_chunked_twice && !value.contains(&0x0b) {
        return Err(Refusal::of(
            Status::NOT_IMPLEMENTED,
            "chunked is the only transfer coding",
        ));
    }
    Err(Refusal::bad("the end of the body is not clear")) // RFC 9112, 6.3, 4
}
