//! The parser against any bytes, and against what was said.

use std::fs;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::command::properties::hold_for;
use crate::command::{Command, parse};

/// The same cases on every run, unless PROPTEST_RNG_SEED says which.
fn cases(count: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let rng_seed = if config.rng_seed == RngSeed::Random {
        RngSeed::Fixed(0x5e77_1265)
    } else {
        config.rng_seed
    };
    ProptestConfig {
        cases: count,
        rng_seed,
        ..config
    }
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

/// Something that looks like a command, at least in places.
fn commandlike() -> impl Strategy<Value = Vec<u8>> {
    let word = "/(join|name|who|quit|jo|)[ \t\x0b]{0,2}";
    let argument = prop_oneof!["[a-z0-9._-]{0,34}".prop_map(String::into_bytes), bytes(8),];
    (word, argument).prop_map(|(word, argument)| [word.into_bytes(), argument].concat())
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_bytes_are_a_command_or_a_mistake_and_write_to_no_terminal(bytes in bytes(200)) {
        hold_for(&bytes);
    }

    #[test]
    fn what_looks_like_commands_is_one_or_a_mistake(line in commandlike()) {
        hold_for(&line);
    }

    #[test]
    fn any_text_writes_to_no_terminal(text in "\\PC{0,40}|[\\x00-\\x20\u{80}-\u{9f}\u{2020}-\u{2070}]{0,20}") {
        hold_for(text.as_bytes());
    }

    #[test]
    fn printable_text_is_said_as_it_stands(text in "[a-zé漢🙂]([ -~é漢🙂]{0,40}[a-z])?") {
        prop_assert_eq!(parse(text.as_bytes()), Ok(Command::Say(text.clone())));
    }

    #[test]
    fn a_room_and_a_name_are_taken_as_they_stand(word in "[a-fA-Z0-9._-]{1,32}", blanks in "[ \t]{1,3}") {
        let line = format!("/join{blanks}{word}{blanks}");
        prop_assert_eq!(parse(line.as_bytes()), Ok(Command::Join(&word)));
        let line = format!("/name{blanks}{word}");
        prop_assert_eq!(parse(line.as_bytes()), Ok(Command::Name(&word)));
    }
}

#[test]
fn the_kept_corpus_breaks_no_promise() {
    let kept = fs::read_dir(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/corpus/chat"
    ))
    .expect("a corpus is kept");
    let files: Vec<Vec<u8>> = kept
        .map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"))
        .collect();
    assert!(!files.is_empty());
    files.iter().for_each(|bytes| hold_for(bytes));
}
