//! The lines between the chunks of a body (RFC 9112, 7.1). Pure and total.

use crate::http::head::ends_in;
use crate::http::limits::{FIELDS_MAX, Limits};
use crate::http::refusal::{BARE_LINE_FEED, Refusal};
use crate::http::status::Status;
use crate::step::Step;

/// Bytes of a line with a chunk's size, its extensions included. No key: no client writes longer
/// ones, and their sum has the bound of a head.
pub(super) const LINE_MAX: usize = 256;
/// Of a size. More would not fit, whatever they are.
const DIGITS_MAX: usize = 16;

/// A line that says how long the next chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// 0: the last one.
    pub(super) size: u64,
    /// Bytes behind the size.
    pub(super) extensions: u32,
}

/// The next line; `is_first`: no chunk stands before it, whose end would come first.
pub(super) fn parse_line(bytes: &[u8], is_first: bool) -> Step<Result<Line, Refusal>> {
    let end_before: &[u8] = if is_first { b"" } else { b"\r\n" };
    let common = bytes.len().min(end_before.len());
    if bytes[..common] != end_before[..common] {
        let why = "a chunk is longer than its size";
        return refused(bytes, Refusal::bad(why));
    }
    let line = &bytes[common..];
    let seen = &line[..line.len().min(LINE_MAX)];
    match memchr::memchr(b'\n', seen) {
        _ if common < end_before.len() => Step::NeedMore,
        None if line.len() >= LINE_MAX => {
            refused(bytes, Refusal::bad("the line before a chunk is too long"))
        }
        None => match line_begins_well(seen) {
            true => Step::NeedMore,
            false => refused(bytes, NO_SIZE),
        },
        Some(end) => Step::Frame {
            value: read_line(&seen[..end]),
            length: common + end + 1,
        },
    }
}

const NO_SIZE: Refusal = Refusal::bad("a chunk has no size");

fn refused<T>(bytes: &[u8], refusal: Refusal) -> Step<Result<T, Refusal>> {
    Step::Frame {
        value: Err(refusal),
        length: bytes.len().max(1),
    }
}

fn line_begins_well(seen: &[u8]) -> bool {
    seen.first().is_none_or(u8::is_ascii_hexdigit)
}

/// A line without its line feed.
fn read_line(line: &[u8]) -> Result<Line, Refusal> {
    let Some(line) = line.strip_suffix(b"\r") else {
        return Err(BARE_LINE_FEED);
    };
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if digits == 0 || digits > DIGITS_MAX {
        return Err(NO_SIZE);
    }
    let (digits, extensions) = line.split_at(digits);
    let is_extension = extensions.trim_ascii_start().starts_with(b";");
    if !extensions.is_empty() && !is_extension {
        return Err(NO_SIZE);
    }
    if extensions
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(Refusal::bad("a chunk extension has a control character"));
    }
    let size = digits.iter().fold(0, |size, digit| {
        size << 4 | u64::from((*digit as char).to_digit(16).unwrap_or(0))
    });
    Ok(Line {
        size,
        extensions: extensions.len() as u32,
    })
}

/// What stands behind the last chunk: trailer fields, which are checked and thrown away (RFC 9110,
/// 6.5.1), and an empty line. `scanned` as for a head.
pub(super) fn parse_trailers(
    bytes: &[u8],
    scanned: &mut u16,
    limits: &Limits,
) -> Step<Result<(), Refusal>> {
    let head_max = limits.head_max as usize;
    let seen = &bytes[..bytes.len().min(head_max)];
    if seen.starts_with(b"\r\n") {
        return Step::Frame {
            value: Ok(()),
            length: 2,
        };
    }
    match ends_in(seen, scanned) {
        Err(refusal) => refused(bytes, refusal),
        Ok(false) if bytes.len() < head_max => Step::NeedMore,
        Ok(false) => refused(
            bytes,
            Refusal::of(Status::HEADER_FIELDS_TOO_LARGE, "the trailers are too long"),
        ),
        Ok(true) => {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            match httparse::parse_headers(seen, &mut fields[..limits.fields_max as usize]) {
                Ok(httparse::Status::Complete((length, _))) => Step::Frame {
                    value: Ok(()),
                    length,
                },
                _ => refused(bytes, Refusal::bad("the trailers are no header fields")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Size and length of a line; none: it is refused.
    fn line(text: &str) -> Option<(u64, usize)> {
        match parse_line(text.as_bytes(), true) {
            Step::Frame { value, length } => value.ok().map(|line| (line.size, length)),
            Step::NeedMore => Some((u64::MAX, 0)),
            Step::Invalid(_) => None,
        }
    }

    #[test]
    fn a_size_is_digits_and_nothing_else() {
        assert_eq!(line("5\r\nhello"), Some((5, 3)));
        assert_eq!(line("00fF\r\n"), Some((255, 6)));
        assert_eq!(line("0\r\n\r\n"), Some((0, 3)));
        assert_eq!(line("5;a=b;c=\"d e\"\r\n"), Some((5, 15)));
        assert_eq!(line("5 ;a\r\n"), Some((5, 6)), "RFC 9112, 7.1.1: BWS");
        assert_eq!(line("ffffffffffffffff\r\n"), Some((u64::MAX, 18)));
        for partial in ["", "5", "5;", "5\r"] {
            assert_eq!(line(partial), Some((u64::MAX, 0)), "{partial:?}");
        }
        for wrong in [
            "\r\n",
            "5\n",
            "5 \r\n",
            " 5\r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "5g\r\n",
            "5\r\r\n",
            "10000000000000000\r\n",
            "00000000000000005\r\n",
            ";a\r\n",
            "5;a\x0b\r\n",
            "5;a\0\r\n",
            "5,5\r\n",
            "g",
        ] {
            assert_eq!(line(wrong), None, "{wrong:?}");
        }
        assert_eq!(line(&format!("5;{}", "a".repeat(LINE_MAX))), None);
    }

    #[test]
    fn a_chunk_ends_where_its_size_says() {
        let next = |text: &str| parse_line(text.as_bytes(), false);
        assert_eq!(next("\r"), Step::NeedMore);
        assert_eq!(next("\r\n"), Step::NeedMore);
        let value = Ok(Line {
            size: 10,
            extensions: 0,
        });
        assert_eq!(next("\r\na\r\n"), Step::Frame { value, length: 5 });
        for wrong in ["x", "\rx", "\n", "a\r\n"] {
            assert!(
                matches!(next(wrong), Step::Frame { value: Err(_), .. }),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn trailers_are_fields_and_have_a_bound() {
        let limits = Limits {
            head_max: 64,
            ..Limits::default()
        };
        let trailers = |text: &str| match parse_trailers(text.as_bytes(), &mut 0, &limits) {
            Step::Frame { value, length } => value.ok().map(|()| length),
            Step::NeedMore => Some(0),
            Step::Invalid(_) => None,
        };
        assert_eq!(trailers("\r\nGET"), Some(2));
        assert_eq!(trailers("A: b\r\n\r\nGET"), Some(8));
        for partial in ["", "\r", "A", "A: b\r\n", "A: b\r\n\r"] {
            assert_eq!(trailers(partial), Some(0), "{partial:?}");
        }
        for wrong in [
            "\n",
            "A: b\n\r\n",
            "A : b\r\n\r\n",
            "A: b\r\n c\r\n\r\n",
            &"a".repeat(64),
        ] {
            assert_eq!(trailers(wrong), None, "{wrong:?}");
        }
    }
}
