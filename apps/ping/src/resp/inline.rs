//! Inline requests: words separated by blanks, as `sdssplitargs` in Redis splits them.
//!
//! A word may be quoted wholly or in part. Double quotes know the escapes `\n \r \t \b \a \xHH`,
//! single quotes only `\'`, and a closing quote must end its word.

use super::Argument;

/// A quote is not closed, or something other than a blank follows where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// Words in `line`.
pub(super) fn count(line: &[u8]) -> Result<u32, Unbalanced> {
    let mut rest = line;
    let mut count = 0;
    while let Some((_, after)) = word(rest)? {
        rest = after;
        count += 1;
    }
    Ok(count)
}

/// The first word of `line` and what follows it.
pub(super) fn word(line: &[u8]) -> Result<Option<(Argument<'_>, &[u8])>, Unbalanced> {
    let Some(start) = line.iter().position(|byte| !is_blank(*byte)) else {
        return Ok(None);
    };
    let text = &line[start..];
    let mut end = 0;
    while let Some(byte) = text.get(end) {
        match byte {
            b'"' | b'\'' => {
                end += quoted_length(&text[end..])?;
                return Ok(Some((Argument::Quoted(&text[..end]), &text[end..])));
            }
            b' ' | b'\n' | b'\r' | b'\t' => break,
            _ => end += 1,
        }
    }
    Ok(Some((Argument::Plain(&text[..end]), &text[end..])))
}

/// Length of a quoted piece that starts with its quote and must end the word.
fn quoted_length(text: &[u8]) -> Result<usize, Unbalanced> {
    let quote = text[0];
    let mut at = 1;
    loop {
        match text.get(at..).unwrap_or_default() {
            [] => return Err(Unbalanced),
            [byte, after @ ..] if *byte == quote => {
                let ends_the_word = after.first().is_none_or(|byte| is_blank(*byte));
                return if ends_the_word {
                    Ok(at + 1)
                } else {
                    Err(Unbalanced)
                };
            }
            // Within single quotes a backslash escapes nothing but the quote.
            [b'\\', escaped, ..] if quote == b'"' || *escaped == quote => at += 2,
            _ => at += 1,
        }
    }
}

/// The bytes that a quoted word stands for.
pub(crate) fn unquote(word: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(word.len());
    let opening = word.iter().position(|byte| matches!(byte, b'"' | b'\''));
    let (plain, quoted) = word.split_at(opening.unwrap_or(word.len()));
    text.extend_from_slice(plain);
    let quote = quoted.first().copied().unwrap_or_default();
    let mut rest = quoted.get(1..).unwrap_or_default();
    while let Some((byte, length)) = quoted_byte(rest, quote) {
        text.push(byte);
        rest = &rest[length..];
    }
    text
}

/// The next byte within quotes and how many bytes spell it; none at the closing quote.
fn quoted_byte(text: &[u8], quote: u8) -> Option<(u8, usize)> {
    match *text {
        [b'\\', b'x', high, low, ..]
            if quote == b'"' && hex(high).is_some() && hex(low).is_some() =>
        {
            Some((hex(high)? * 16 + hex(low)?, 4))
        }
        [b'\\', escaped, ..] if quote == b'"' => Some((escape(escaped), 2)),
        [b'\\', b'\'', ..] if quote == b'\'' => Some((b'\'', 2)),
        [byte, ..] if byte != quote => Some((byte, 1)),
        _ => None,
    }
}

fn escape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// What C's `isspace` says in the C locale.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
