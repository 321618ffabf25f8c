//! Server-sent events (WHATWG HTML, 9.2): a message as an event, in a chunk of HTTP, made once for all
//! who are subscribed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corelane::http::chunk_frame;

/// What every event begins with, behind the line of its chunk.
const ID: &[u8] = b"id: ";

/// How soon a browser comes again, which it does by itself, in milliseconds.
const RETRY_MILLIS: u32 = 1000;

/// A comment, so that whatever stands between sees that the stream lives, and the kernel that the peer
/// does.
const HEARTBEAT: &str = ":\n\n";

/// The message with that number as an event. Text keeps its lines, each end of which (CR LF, CR, LF) its
/// reader gets as LF; a message that is no UTF-8 is an event called `binary`, in base64.
pub(crate) fn frame(id: u64, message: &[u8]) -> Arc<[u8]> {
    let mut event = format!("id: {id}\n");
    match str::from_utf8(message) {
        Ok(text) => lines(text).for_each(|line| push_data(&mut event, line)),
        Err(_) => {
            event.push_str("event: binary\n");
            push_data(&mut event, &STANDARD.encode(message));
        }
    }
    event.push('\n');
    chunk_frame(event)
}

/// What a stream begins with: no event, and the number behind which its events come, so that a reader
/// who loses the stream before the first of them has something to come again with.
pub(crate) fn opening(last: u64) -> Arc<[u8]> {
    chunk_frame(format!("retry: {RETRY_MILLIS}\nid: {last}\n\n"))
}

pub(crate) fn heartbeat() -> Arc<[u8]> {
    chunk_frame(HEARTBEAT)
}

/// The number of an event of ours.
pub(crate) fn id_of(frame: &[u8]) -> Option<u64> {
    let line = frame.iter().position(|byte| *byte == b'\n')? + 1;
    let id = frame.get(line..)?.strip_prefix(ID)?;
    let end = id.iter().position(|byte| *byte == b'\n')?;
    str::from_utf8(&id[..end]).ok()?.parse().ok()
}

/// The number that a reader had last (`Last-Event-ID`).
pub(crate) fn parse_id(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).ok().filter(|_| is_number)?;
    text.parse().ok()
}

fn push_data(event: &mut String, line: &str) {
    event.push_str("data: ");
    event.push_str(line);
    event.push('\n');
}

/// The lines of a text; one more than it has ends of lines.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let behind = &text[end..];
        let behind = behind.strip_prefix("\r\n").unwrap_or_else(|| &behind[1..]);
        rest = Some(behind);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::properties::read_event;

    #[test]
    fn an_event_is_as_the_standard_has_it() {
        assert_eq!(&*frame(7, b"hello"), b"13\r\nid: 7\ndata: hello\n\n\r\n");
        assert_eq!(
            &*frame(7, b"a\r\nb\rc\n"),
            b"26\r\nid: 7\ndata: a\ndata: b\ndata: c\ndata: \n\n\r\n"
        );
        assert_eq!(
            &*frame(7, b"\xff\x00"),
            b"20\r\nid: 7\nevent: binary\ndata: /wA=\n\n\r\n"
        );
        assert_eq!(&*frame(7, b""), b"e\r\nid: 7\ndata: \n\n\r\n");
        assert_eq!(&*opening(7), b"13\r\nretry: 1000\nid: 7\n\n\r\n");
        assert_eq!(&*heartbeat(), b"3\r\n:\n\n\r\n");
    }

    #[test]
    fn a_number_is_read_back_and_nothing_else_is_one() {
        assert_eq!(id_of(&frame(u64::MAX, b"x")), Some(u64::MAX));
        for other in [
            &b""[..],
            b"3\r\n",
            b"3\r\nid: \n",
            b"3\r\nid: 1",
            b"3\r\ndata: 1\n",
        ] {
            assert_eq!(id_of(other), None);
        }
        assert_eq!(parse_id(b"0"), Some(0));
        assert_eq!(parse_id(b"18446744073709551615"), Some(u64::MAX));
        for other in [
            &b""[..],
            b"+1",
            b"-1",
            b"1 ",
            b"18446744073709551616",
            b"a",
            b"\xff",
        ] {
            assert_eq!(parse_id(other), None);
        }
    }

    proptest! {
        #[test]
        fn any_message_comes_to_its_reader(id: u64, message in proptest::collection::vec(any::<u8>(), 0..60)) {
            let (read_id, name, data) = read_event(&frame(id, &message));
            prop_assert_eq!(read_id, id);
            match str::from_utf8(&message) {
                Ok(text) => {
                    let ends = text.replace("\r\n", "\n").replace('\r', "\n");
                    prop_assert_eq!((name.as_str(), data), ("message", ends));
                }
                Err(_) => {
                    prop_assert_eq!(name, "binary");
                    prop_assert_eq!(STANDARD.decode(data).ok(), Some(message));
                }
            }
        }

        #[test]
        fn any_text_keeps_its_lines(id: u64, text in "[a:\\r\\n\u{e9}\u{0}\u{feff} ]{0,30}") {
            let (read_id, name, data) = read_event(&frame(id, text.as_bytes()));
            let ends = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!((read_id, name.as_str(), data), (id, "message", ends));
        }
    }
}
