//! What holds of the parser whatever a peer sends: property tests, the kept corpus and the fuzzer
//! ask the same.

use super::{Command, NAME_MAX, drives_terminals, parse};

pub(crate) fn hold_for(line: &[u8]) {
    match parse(line) {
        Ok(Command::Say(text)) => {
            assert!(!text.chars().any(drives_terminals), "{text:?}");
            assert!(
                text.len() <= char::REPLACEMENT_CHARACTER.len_utf8() * line.len(),
                "{text:?}"
            );
            assert!(!text.starts_with('/') && !text.is_empty(), "{text:?}");
        }
        Ok(Command::Join(room)) => assert_word(room),
        Ok(Command::Name(name)) => assert_word(name),
        Ok(Command::Who | Command::Quit) => assert!(line.starts_with(b"/")),
        Err(why) => assert!(!why.is_empty()),
    }
}

fn assert_word(word: &str) {
    assert!(!word.is_empty() && word.len() <= NAME_MAX, "{word}");
    assert!(word.bytes().all(|byte| byte.is_ascii_graphic()), "{word}");
    assert!(!word.contains([':', '*', '!', '/']), "{word}");
}
