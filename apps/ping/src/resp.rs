//! Requests in the Redis serialization protocol: inline commands and RESP2 arrays of bulk strings.
//!
//! The rules are those of `processInlineBuffer` and `processMultibulkBuffer` in Redis 7.0, bytes
//! and error texts included, with two differences. A length is checked against [`Limits`] rather
//! than Redis's hundreds of megabytes, and a NUL is a byte like any other, where Redis waits for
//! ever for the end of such a line.
//!
//! The parser is total and allocates nothing. A request is a form and a count; its arguments are
//! ranges of the frame it came in, found again by [`Request::arguments`].

mod inline;

use corelane::Step;

pub(crate) use inline::unquote;

const INVALID_COUNT: &str = "invalid multibulk length";
const INVALID_LENGTH: &str = "invalid bulk length";
const TOO_BIG_COUNT: &str = "too big mbulk count string";
const TOO_BIG_LENGTH: &str = "too big bulk count string";
const TOO_BIG_INLINE: &str = "too big inline request";
const UNBALANCED: &str = "unbalanced quotes in request";
/// Redis adds the byte it saw; the handler asks [`Scan::unexpected`] for it.
pub(crate) const EXPECTED_BULK: &str = "expected '$'";

/// Digits of the longest number that fits an `i64`.
const DIGITS_MAX: usize = 19;
/// `$` or `*`, a sign, the digits, the line's end and the end of the bulk string behind it.
const HEADER_MAX: u32 = 1 + 1 + DIGITS_MAX as u32 + 2 + 2;

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Longest inline request and longest length header, in bytes.
    pub(crate) inline_max: u32,
    /// Most bytes in all the bulk strings of one request together.
    pub(crate) bulk_max: u32,
    /// Most bulk strings in one request.
    pub(crate) arguments_max: u32,
}

impl Limits {
    /// No frame is longer than this, nor does the parser ask for more bytes before it decides.
    pub(crate) fn frame_max(&self) -> usize {
        let headers = u64::from(HEADER_MAX) * (u64::from(self.arguments_max) + 1);
        let frame = headers + u64::from(self.bulk_max) + u64::from(self.inline_max) + 2;
        usize::try_from(frame).unwrap_or(usize::MAX)
    }
}

/// One request, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Words separated by blanks. None at all: a blank line, which Redis skips.
    Inline { count: u32 },
    /// Bulk strings. None at all: `*0` or a negative count, which Redis skips.
    Array { count: u32 },
}

impl Request {
    pub(crate) fn count(self) -> u32 {
        match self {
            Request::Inline { count } | Request::Array { count } => count,
        }
    }

    /// The arguments of this request, given the bytes of its frame.
    pub(crate) fn arguments(self, frame: &[u8]) -> Arguments<'_> {
        match self {
            Request::Inline { .. } => Arguments::Inline(frame),
            Request::Array { .. } => Arguments::Array(after_header(frame).unwrap_or_default()),
        }
    }
}

/// One argument as it lies in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument<'a> {
    Plain(&'a [u8]),
    /// Contains quotes and escapes, to be undone by [`unquote`].
    Quoted(&'a [u8]),
}

/// Walks over a frame that the parser found whole.
#[derive(Debug, Clone)]
pub(crate) enum Arguments<'a> {
    Inline(&'a [u8]),
    Array(&'a [u8]),
}

impl<'a> Iterator for Arguments<'a> {
    type Item = Argument<'a>;

    fn next(&mut self) -> Option<Argument<'a>> {
        match self {
            Arguments::Inline(rest) => {
                let (argument, after) = inline::word(rest).ok()??;
                *rest = after;
                Some(argument)
            }
            Arguments::Array(rest) => {
                let header = rest.get(1..line_end(rest)?)?;
                let length = usize::try_from(decimal(header)?).ok()?;
                let body = after_header(rest)?;
                let argument = body.get(..length)?;
                *rest = body.get(length + 2..)?;
                Some(Argument::Plain(argument))
            }
        }
    }
}

/// The first request in `bytes`.
#[cfg(test)]
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Step<Request> {
    Scan::default().step(bytes, limits)
}

/// Why the parser stopped before the end of a request.
enum Stop {
    NeedMore,
    Invalid(&'static str),
}

/// How far one request has been understood, so that nothing is looked at twice however small the
/// pieces it arrives in.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Bytes of the frame already understood: whole headers and whole bulk strings.
    position: u32,
    /// Bytes already searched for the end of a line.
    searched: u32,
    /// Bulk strings announced and not yet seen.
    left: u32,
    /// Bulk strings announced.
    count: u32,
    /// Bytes announced by the headers of bulk strings. At most `bulk_max`.
    announced: u32,
    /// Where the bulk string being received ends, its line end included.
    bulk_end: Option<u32>,
    unexpected: u8,
}

impl Scan {
    /// `bytes` start where the frame starts, and are those of the call before with more behind.
    pub(crate) fn step(&mut self, bytes: &[u8], limits: &Limits) -> Step<Request> {
        let request = match bytes.first() {
            None => Err(Stop::NeedMore),
            Some(b'*') => self.array(bytes, limits),
            Some(_) => self.inline(bytes, limits),
        };
        match request {
            Ok(value) => Step::Frame {
                value,
                length: self.position as usize,
            },
            Err(Stop::NeedMore) => Step::NeedMore,
            Err(Stop::Invalid(why)) => Step::Invalid(why),
        }
    }

    /// The byte that stood where [`EXPECTED_BULK`] says one was expected.
    pub(crate) fn unexpected(&self) -> u8 {
        self.unexpected
    }

    fn inline(&mut self, bytes: &[u8], limits: &Limits) -> Result<Request, Stop> {
        let end = self.find(b'\n', bytes, limits, TOO_BIG_INLINE)?;
        let count = inline::count(&bytes[..end]).map_err(|_| Stop::Invalid(UNBALANCED))?;
        self.position = end as u32 + 1;
        Ok(Request::Inline { count })
    }

    fn array(&mut self, bytes: &[u8], limits: &Limits) -> Result<Request, Stop> {
        if self.position == 0 {
            let number = self.header(bytes, limits, TOO_BIG_COUNT)?;
            let count = number.filter(|count| *count <= i64::from(limits.arguments_max));
            // A negative count announces nothing, as in Redis.
            self.count = count
                .ok_or(Stop::Invalid(INVALID_COUNT))?
                .try_into()
                .unwrap_or(0);
            self.left = self.count;
        }
        while self.left > 0 {
            self.bulk(bytes, limits)?;
            self.left -= 1;
        }
        Ok(Request::Array { count: self.count })
    }

    fn bulk(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Stop> {
        let end = match self.bulk_end {
            Some(end) => end,
            None => self.bulk_header(bytes, limits)?,
        };
        // The two bytes behind a bulk string should be \r\n; Redis does not look.
        if bytes.len() < end as usize {
            return Err(Stop::NeedMore);
        }
        self.position = end;
        self.bulk_end = None;
        Ok(())
    }

    fn bulk_header(&mut self, bytes: &[u8], limits: &Limits) -> Result<u32, Stop> {
        let start = self.position as usize;
        let number = self.header(bytes, limits, TOO_BIG_LENGTH)?;
        if bytes[start] != b'$' {
            self.unexpected = bytes[start];
            return Err(Stop::Invalid(EXPECTED_BULK));
        }
        let length = number.and_then(|length| u32::try_from(length).ok());
        // A reload may have lowered the bound since the request began.
        let bulk_max = limits.bulk_max.saturating_sub(self.announced);
        let length = length.filter(|length| *length <= bulk_max);
        let length = length.ok_or(Stop::Invalid(INVALID_LENGTH))?;
        self.announced += length;
        let end = self.position + length + 2;
        self.bulk_end = Some(end);
        Ok(end)
    }

    /// The number in the header at `position`, which moves behind it. None: it is no number.
    fn header(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        too_big: &'static str,
    ) -> Result<Option<i64>, Stop> {
        let end = self.find(b'\r', bytes, limits, too_big)?;
        // The byte behind \r should be \n; Redis waits for it and does not look.
        if bytes.len() < end + 2 {
            return Err(Stop::NeedMore);
        }
        let number = bytes.get(self.position as usize + 1..end).and_then(decimal);
        self.position = end as u32 + 2;
        Ok(number)
    }

    /// Where the line at `position` ends.
    fn find(
        &mut self,
        wanted: u8,
        bytes: &[u8],
        limits: &Limits,
        too_big: &'static str,
    ) -> Result<usize, Stop> {
        let line_max = self.position as usize + limits.inline_max as usize;
        // One byte past the longest line tells a line that ends from one that is too long.
        let window = &bytes[..bytes.len().min(line_max + 1)];
        let from = self.position.max(self.searched) as usize;
        if let Some(distance) = window[from..].iter().position(|byte| *byte == wanted) {
            // Not behind the end: a header's last byte may not have come yet.
            self.searched = (from + distance) as u32;
            return Ok(from + distance);
        }
        self.searched = window.len() as u32;
        Err(if window.len() > line_max {
            Stop::Invalid(too_big)
        } else {
            Stop::NeedMore
        })
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\r')
}

fn after_header(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(line_end(bytes)? + 2..)
}

/// A number as Redis's `string2ll` reads it: no sign but one minus, no leading zero, no blanks.
pub(crate) fn decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        b"0" => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits.first(), Some(b'1'..=b'9')) || digits.len() > DIGITS_MAX {
        return None;
    }
    // Counted downwards, because the smallest i64 has no positive counterpart.
    let negated = digits.iter().try_fold(0_i64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_sub(digit)
    })?;
    if negative {
        Some(negated)
    } else {
        negated.checked_neg()
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;
