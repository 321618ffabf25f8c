//! Header fields that are sent: what may be in them (RFC 9110, 5).

use crate::http::class::class;

/// Fields that follow from the answer itself, and are the layer's to write: two of a kind would let
/// two readers see two answers.
const OWN: [&str; 8] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A name or value that no header field may have, or a name that is not the application's to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer's header field is not sent: {0}")]
pub struct InvalidField(pub(crate) &'static str);

/// Writes a field line, if it is one: no byte of `name` or `value` can end it early.
pub(super) fn write(name: &str, value: &[u8], to: &mut Vec<u8>) -> Result<(), InvalidField> {
    let is_own = |own: &&str| own.len() == name.len() && own.eq_ignore_ascii_case(name);
    if OWN.iter().any(is_own) {
        return Err(InvalidField("its name is for the server to send"));
    }
    write_any(name, value, to)
}

/// The same, of any name.
pub(crate) fn write_any(name: &str, value: &[u8], to: &mut Vec<u8>) -> Result<(), InvalidField> {
    // To the end in any case: without a way out it is many bytes at a time.
    if name.is_empty() || !name.bytes().fold(true, |all, byte| all & is_token(byte)) {
        return Err(InvalidField("its name is no token"));
    }
    if !value.iter().fold(true, |all, byte| all & is_value(*byte)) {
        return Err(InvalidField("its value has a control character"));
    }
    to.reserve(name.len() + value.len() + b": \r\n".len());
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        to.extend_from_slice(part);
    }
    Ok(())
}

/// RFC 9110, 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = class(b"!#$%&'*+-.^_`|~");
    TOKEN[usize::from(byte)]
}

/// RFC 9110, 5.5: visible characters, spaces and tabs, and whatever lies beyond ASCII.
fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Writes a number to a base of at most 16, without the machinery of formatting.
pub(super) fn write_number<const BASE: u64>(mut number: u64, to: &mut Vec<u8>) {
    let (mut digits, mut first) = ([0; 20], 20);
    loop {
        first -= 1;
        digits[first] = b"0123456789abcdef"[(number % BASE) as usize];
        number /= BASE;
        if number == 0 {
            return to.extend_from_slice(&digits[first..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, value: &[u8]) -> Option<String> {
        let mut line = Vec::new();
        write(name, value, &mut line).ok()?;
        String::from_utf8(line).ok()
    }

    #[test]
    fn no_field_ends_early_or_is_two() {
        assert_eq!(
            written("X-Name", b"a\tb c").as_deref(),
            Some("X-Name: a\tb c\r\n")
        );
        assert_eq!(
            written("x", "\u{e9}".as_bytes()).as_deref(),
            Some("x: \u{e9}\r\n")
        );
        assert_eq!(written("x", b"").as_deref(), Some("x: \r\n"));
        for name in ["", "a b", "a:", "a\r\n", "\u{e9}", "a\0", "(a)"] {
            assert_eq!(written(name, b"v"), None, "{name:?}");
        }
        for value in [
            &b"a\r\nSet-Cookie: b"[..],
            b"a\n",
            b"\r",
            b"\0",
            b"\x7f",
            b"\x1b[0m",
        ] {
            assert_eq!(written("x", value), None, "{value:?}");
        }
        for own in ["Content-Length", "transfer-encoding", "CONNECTION", "Date"] {
            assert_eq!(written(own, b"1"), None, "{own}");
        }
    }

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            let mut text = Vec::new();
            write_number::<10>(number, &mut text);
            text.push(b' ');
            write_number::<16>(number, &mut text);
            assert_eq!(text, format!("{number} {number:x}").into_bytes());
        }
    }
}
