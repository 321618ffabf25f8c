//! Lines and what they mean.

mod proptests;

use super::{Command, HELP, NAME_MAX, NO_NAME, parse};

fn said(line: &[u8]) -> String {
    match parse(line) {
        Ok(Command::Say(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_command_has_its_line() {
    for (line, command) in [
        (&b"/join red"[..], Command::Join("red")),
        (b"/name  Ada_1.x ", Command::Name("Ada_1.x")),
        (b"/who ", Command::Who),
        (b"/quit", Command::Quit),
    ] {
        assert_eq!(parse(line), Ok(command), "{line:?}");
    }
}

#[test]
fn a_mistake_says_what_would_do() {
    for (line, why) in [
        (&b"/join"[..], NO_NAME),
        (b"/join a b", NO_NAME),
        (b"/join \x1b[2J", NO_NAME),
        (b"/join 123456789012345678901234567890123", NO_NAME),
        (b"/name a:b", NO_NAME),
        (b"/who red", HELP),
        (b"/\x1b[2J", HELP),
        (b"", HELP),
        (b" \t ", HELP),
    ] {
        assert_eq!(parse(line), Err(why), "{line:?}");
    }
}

#[test]
fn what_drives_terminals_is_replaced() {
    assert_eq!(said(b"\x1b[2J\x07ding"), "\u{fffd}[2J\u{fffd}ding");
    assert_eq!(
        said("a\u{9b}31m\u{202e}b".as_bytes()),
        "a\u{fffd}31m\u{fffd}b"
    );
    assert_eq!(said(b"one\rtwo\tthree"), "one\u{fffd}two three");
    assert_eq!(said(b"a\xffb"), "a\u{fffd}b");
    assert_eq!(said("grüße 🙂".as_bytes()), "grüße 🙂");
}

#[test]
fn the_longest_name_is_as_long_as_it_is_told() {
    assert!(NO_NAME.contains(&format!(" {NAME_MAX} ")));
}
