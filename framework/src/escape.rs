//! What others have said, on its way into the log: one line of printable ASCII with a bound.
//!
//! Whoever may write control characters into a log may forge lines in it, and drive the terminal of
//! whoever reads it.

use std::fmt::{self, Display, Write};

/// How many bytes of the original are shown. No key: enough to tell what it was, and a line stays a
/// line.
const SHOWN_MAX: usize = 256;

/// Bytes of a peer or an upstream, for a log line or the text of an error.
///
/// Printable ASCII stands as it is, a backslash doubled; every other byte is `\xNN`. Past 256 bytes
/// it is cut, and says how many there were. A handler that quotes what it received, in an error of
/// its own for instance, does it with this.
///
/// ```
/// use corelane::Escaped;
///
/// assert_eq!(Escaped(b"GET /\r\n\x1b[2J").to_string(), r"GET /\x0d\x0a\x1b[2J");
/// ```
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaper = Escaper::new(formatter);
        escaper.write_bytes(self.0)?;
        escaper.end()
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Escaped({self})")
    }
}

/// The text of a value whose author may not have thought of [`Escaped`]. No longer than that,
/// however long the text is.
pub(crate) struct EscapedText<T>(pub(crate) T);

impl<T: Display> Display for EscapedText<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaper = Escaper::new(formatter);
        write!(escaper, "{}", self.0)?;
        escaper.end()
    }
}

/// Passes on what it is given, escaped, up to its bound.
struct Escaper<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    /// Bytes that it was given so far.
    given: usize,
}

impl<'a, 'b> Escaper<'a, 'b> {
    fn new(out: &'a mut fmt::Formatter<'b>) -> Self {
        Self { out, given: 0 }
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        let shown = bytes.len().min(SHOWN_MAX.saturating_sub(self.given));
        self.given += bytes.len();
        for byte in &bytes[..shown] {
            match byte {
                b'\\' => self.out.write_str("\\\\")?,
                b' '..=b'~' => self.out.write_char(char::from(*byte))?,
                _ => write!(self.out, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }

    fn end(self) -> fmt::Result {
        if self.given > SHOWN_MAX {
            write!(self.out, "... ({} bytes)", self.given)
        } else {
            Ok(())
        }
    }
}

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_is_left() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let text = Escaped(&all).to_string();
        assert!(
            text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{text}"
        );
        assert_eq!(Escaped(b"a b=\"c\"").to_string(), "a b=\"c\"");
        assert_eq!(
            Escaped(b"\n\x1b\x7f\xff\\x41").to_string(),
            r"\x0a\x1b\x7f\xff\\x41"
        );
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        assert_eq!(
            Escaped(&[b'a'; SHOWN_MAX]).to_string(),
            "a".repeat(SHOWN_MAX)
        );
        assert_eq!(
            Escaped(&[b'a'; SHOWN_MAX + 1]).to_string(),
            format!("{}... (257 bytes)", "a".repeat(SHOWN_MAX))
        );
        assert!(Escaped(&[0; 1 << 20]).to_string().len() < 4 * SHOWN_MAX + 32);
    }

    #[test]
    fn a_text_is_cut_over_all_its_pieces() {
        let text = EscapedText(format_args!("{}\n{}", "ä", "b".repeat(SHOWN_MAX))).to_string();
        assert_eq!(
            text,
            format!(
                "\\xc3\\xa4\\x0a{}... (259 bytes)",
                "b".repeat(SHOWN_MAX - 3)
            )
        );
    }
}
