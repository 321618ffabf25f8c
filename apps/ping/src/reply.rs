//! What a request is answered with: decided here, sent by the handler.

use std::borrow::Cow;
use std::io::Write;

use super::client::{Client, Ids};
use super::resp::{Argument, Arguments, Request, unquote};
use super::setup;

/// Redis quotes this many bytes of an unknown command, and of its arguments together.
pub(crate) const QUOTED_MAX: usize = 128;

/// `$`, the longest length and the line's end.
const BULK_HEADER_MAX: usize = 1 + 20 + 2;

/// The answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// Blank lines and empty arrays are not answered.
    Nothing,
    Pong,
    Bulk(Cow<'a, [u8]>),
    /// What goes out as it stands: an error, or the answer to a command that sets up the
    /// connection.
    Whole(Vec<u8>),
    /// `+OK`, then close.
    Goodbye,
    /// Close without a word: `POST` and `Host:` are how a browser would be abused to speak Redis.
    HangUp,
}

/// The answer to `request`, which came as `frame` from `client`.
pub(crate) fn answer<'a>(
    request: Request,
    frame: &'a [u8],
    client: &mut Client,
    ids: &Ids,
) -> Reply<'a> {
    let mut words = Words {
        arguments: request.arguments(frame),
        left: request.count(),
    };
    let Some(name) = words.next() else {
        return Reply::Nothing;
    };
    match (Command::named(&name), words.left()) {
        (Command::Ping, 0) => Reply::Pong,
        (Command::Ping | Command::Echo, 1) => Reply::Bulk(words.word()),
        (Command::Ping, _) => Reply::Whole(error(wrong_number("ping"))),
        (Command::Echo, _) => Reply::Whole(error(wrong_number("echo"))),
        (Command::Quit, _) => Reply::Goodbye,
        (Command::Http, _) => Reply::HangUp,
        (Command::Other, _) => {
            let setup = setup::answer(&name, words.clone(), client, ids);
            Reply::Whole(setup.unwrap_or_else(|| error(unknown(&name, words))))
        }
    }
}

/// The words of a request that have not been looked at yet.
#[derive(Debug, Clone)]
pub(crate) struct Words<'a> {
    arguments: Arguments<'a>,
    left: u32,
}

impl<'a> Words<'a> {
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// The next one, of which [`Self::left`] said that it is there.
    pub(crate) fn word(&mut self) -> Cow<'a, [u8]> {
        self.next().unwrap_or_default()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        let argument = self.arguments.next()?;
        self.left -= 1;
        Some(text(argument))
    }
}

/// The reply that tells an error, which is its code and what went wrong.
pub(crate) fn error(mut text: Vec<u8>) -> Vec<u8> {
    one_line(&mut text);
    [b"-", &text[..], b"\r\n"].concat()
}

/// The line before a bulk string, and how long that line is.
pub(crate) fn bulk_header(length: usize) -> ([u8; BULK_HEADER_MAX], usize) {
    let mut line = [0; BULK_HEADER_MAX];
    let mut rest = &mut line[..];
    write!(rest, "${length}\r\n").expect("the line has room for the digits of any length");
    let unused = rest.len();
    (line, BULK_HEADER_MAX - unused)
}

enum Command {
    Ping,
    Echo,
    Quit,
    Http,
    Other,
}

impl Command {
    fn named(name: &[u8]) -> Command {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        match () {
            () if is("ping") => Command::Ping,
            () if is("echo") => Command::Echo,
            () if is("quit") => Command::Quit,
            () if self::is(name, "post") || self::is(name, "host:") => Command::Http,
            () => Command::Other,
        }
    }
}

/// The bytes an argument stands for; copied only when it was quoted.
fn text(argument: Argument<'_>) -> Cow<'_, [u8]> {
    match argument {
        Argument::Plain(bytes) => Cow::Borrowed(bytes),
        Argument::Quoted(bytes) => Cow::Owned(unquote(bytes)),
    }
}

pub(crate) fn wrong_number(command: &str) -> Vec<u8> {
    format!("ERR wrong number of arguments for '{command}' command").into_bytes()
}

fn unknown(name: &[u8], arguments: Words<'_>) -> Vec<u8> {
    let mut error = b"ERR unknown command '".to_vec();
    error.extend_from_slice(cut(name, QUOTED_MAX));
    error.extend_from_slice(b"', with args beginning with: ");
    let start = error.len();
    for argument in arguments {
        // The quotes and the blank count as well, and the last argument may run past by them.
        let Some(room @ 1..) = QUOTED_MAX.checked_sub(error.len() - start) else {
            break;
        };
        error.push(b'\'');
        error.extend_from_slice(cut(&argument, room));
        error.extend_from_slice(b"' ");
    }
    error
}

/// Whether `text` says `word`, in any case; it ends at a NUL, as it does for C.
pub(crate) fn is(text: &[u8], word: &str) -> bool {
    until_nul(text).eq_ignore_ascii_case(word.as_bytes())
}

/// What C would print of `text` with `%.{length}s`.
pub(crate) fn cut(text: &[u8], length: usize) -> &[u8] {
    let text = &text[..text.len().min(length)];
    until_nul(text)
}

pub(crate) fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// An error reply is one line: a client's own line ends must not end it.
pub(crate) fn one_line(text: &mut [u8]) {
    for byte in text {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, parse};
    use corelane::Step;

    const LIMITS: Limits = Limits {
        inline_max: 1024,
        bulk_max: 1024,
        arguments_max: 64,
    };

    /// What a client is answered who says `frame` first.
    fn reply(frame: &[u8]) -> Reply<'_> {
        match parse(frame, &LIMITS) {
            Step::Frame { value, length } => {
                assert_eq!(length, frame.len());
                answer(value, frame, &mut Client::default(), &Ids::of_shard(0, 1))
            }
            _ => panic!("{} is no frame", frame.escape_ascii()),
        }
    }

    fn error(frame: &[u8]) -> String {
        match reply(frame) {
            Reply::Whole(reply) => {
                let why = reply
                    .strip_prefix(b"-ERR ")
                    .and_then(|reply| reply.strip_suffix(b"\r\n"));
                why.unwrap_or_default()
                    .escape_ascii()
                    .to_string()
                    .replace("\\'", "'")
            }
            other => panic!("{} was answered with {other:?}", frame.escape_ascii()),
        }
    }

    #[test]
    fn commands_are_known_in_both_forms_and_any_case() {
        assert_eq!(reply(b"PING\r\n"), Reply::Pong);
        assert_eq!(reply(b"pInG\n"), Reply::Pong);
        assert_eq!(reply(b"*1\r\n$4\r\nping\r\n"), Reply::Pong);
        assert_eq!(reply(b"PI\"NG\"\r\n"), Reply::Pong);
        assert_eq!(reply(b"echo hello\r\n"), Reply::Bulk(b"hello".into()));
        assert_eq!(
            reply(b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n"),
            Reply::Bulk(b"\r\n".into())
        );
        assert_eq!(reply(b"quit now\r\n"), Reply::Goodbye);
    }

    #[test]
    fn nothing_is_said_to_blank_lines_empty_arrays_and_browsers() {
        for blank in [&b"\n"[..], b"\r\n", b" \t \r\n", b"*0\r\n", b"*-1\r\n"] {
            assert_eq!(reply(blank), Reply::Nothing);
        }
        assert_eq!(reply(b"POST / HTTP/1.1\r\n"), Reply::HangUp);
        assert_eq!(reply(b"Host: localhost\r\n"), Reply::HangUp);
    }

    #[test]
    fn a_wrong_number_of_arguments_is_told() {
        assert_eq!(
            error(b"PING a b\n"),
            "wrong number of arguments for 'ping' command"
        );
        assert_eq!(
            error(b"ECHO\n"),
            "wrong number of arguments for 'echo' command"
        );
        assert_eq!(
            error(b"ECHO a b\n"),
            "wrong number of arguments for 'echo' command"
        );
    }

    #[test]
    fn an_unknown_command_is_quoted_up_to_128_bytes() {
        let unknown = |name: &str, arguments: &str| {
            format!("unknown command '{name}', with args beginning with: {arguments}")
        };
        assert_eq!(error(b"foo a b\n"), unknown("foo", "'a' 'b' "));
        assert_eq!(error(b"*1\r\n$5\r\nPING\0\r\n"), unknown("PING", ""));
        let long = format!("foo {} bbbb c\n", "a".repeat(124));
        assert_eq!(
            error(long.as_bytes()),
            unknown("foo", &format!("'{}' 'b' ", "a".repeat(124)))
        );
        let long = format!("foo {} b\n", "a".repeat(125));
        assert_eq!(
            error(long.as_bytes()),
            unknown("foo", &format!("'{}' ", "a".repeat(125)))
        );
        let long = format!("{}\n", "f".repeat(300));
        assert_eq!(error(long.as_bytes()), unknown(&"f".repeat(128), ""));
    }

    #[test]
    fn an_error_stays_on_one_line() {
        assert!(error(b"foo \"\\r\\nx\"\n").ends_with("'  x' "));
    }
}
