//! The parser against any bytes, against what was encoded, and against Redis's own way to split a
//! line.

use std::fs;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::properties::{Understood, hold_for};

/// Bounds and pieces of [`hold_for`]: those of the shipped settings.
const SHIPPED: u8 = 2;

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

/// Something that looks like requests, at least in places.
fn requestlike() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof!["-?[0-9]{1,3}", "[0-9]{17,20}", "[-+ 0]?[0-9]{0,2}"];
    let header = ("[*$:+]", number, "\r\n|\n|\r|\r\r|")
        .prop_map(|(kind, number, end)| format!("{kind}{number}{end}").into_bytes());
    let bulk = (bytes(6), 0..8_usize)
        .prop_map(|(text, length)| [format!("${length}\r\n").as_bytes(), &text, b"\r\n"].concat());
    let whole = proptest::collection::vec(bytes(70), 0..4).prop_map(|words| array(&words));
    let setup = setup().prop_map(|words| array(&words));
    let line = "[a-z \t\"'\\\\x0-9]{0,30}\r?\n".prop_map(String::into_bytes);
    let piece =
        prop_oneof![2 => header, 2 => bulk, 2 => whole, 2 => setup, 3 => line, 1 => bytes(10)];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// The words of a command that sets up a connection, or nearly so.
fn setup() -> impl Strategy<Value = Vec<Vec<u8>>> {
    const COMMANDS: [&str; 9] = [
        "HELLO", "hello", "CLIENT", "AUTH", "SELECT", "RESET", "COMMAND", "INFO", "zz",
    ];
    const WORDS: [&str; 20] = [
        "2", "3", "4", "03", "0", "AUTH", "default", "SETNAME", "setname", "GETNAME", "SETINFO",
        "ID", "lib-name", "LIB-VER", "COUNT", "DOCS", "server", "all", "", "a\r\nb",
    ];
    let known = proptest::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec());
    let long = (any::<u8>(), 250..260_usize).prop_map(|(byte, length)| vec![byte; length]);
    let words = proptest::collection::vec(prop_oneof![12 => known, 2 => bytes(6), 1 => long], 0..5);
    let command =
        proptest::sample::select(&COMMANDS[..]).prop_map(|command| command.as_bytes().to_vec());
    (command, words).prop_map(|(command, words)| [vec![command], words].concat())
}

fn array(words: &[Vec<u8>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// A word in double quotes, each byte escaped or not as it must be.
fn quoted(word: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in word {
        match byte {
            b'\n' => text.extend_from_slice(b"\\n"),
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
            0x20..=0x7e => text.push(*byte),
            byte => text.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    text.push(b'"');
    text
}

fn understood(requests: Vec<Vec<Vec<u8>>>) -> Understood {
    Understood {
        requests,
        refused: None,
    }
}

/// `sdssplitargs` of Redis 7.0, line by line, with the line's end for its NUL.
fn split_as_redis(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let at = |index: usize| line.get(index).copied().unwrap_or(0);
    let is_space = |byte: u8| matches!(byte, b' ' | 0x09..=0x0d);
    let hex = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (mut words, mut p) = (Vec::new(), 0);
    loop {
        while is_space(at(p)) {
            p += 1;
        }
        if p >= line.len() {
            return Some(words);
        }
        let (mut current, mut in_double, mut in_single) = (Vec::new(), false, false);
        loop {
            let (byte, ends) = (at(p), p >= line.len());
            if in_double {
                if byte == b'\\'
                    && at(p + 1) == b'x'
                    && hex(at(p + 2)).is_some()
                    && hex(at(p + 3)).is_some()
                {
                    current.push(hex(at(p + 2))? * 16 + hex(at(p + 3))?);
                    p += 3;
                } else if byte == b'\\' && p + 1 < line.len() {
                    p += 1;
                    current.push(match at(p) {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => other,
                    });
                } else if byte == b'"' {
                    if p + 1 < line.len() && !is_space(at(p + 1)) {
                        return None;
                    }
                    p += 1;
                    break;
                } else if ends {
                    return None;
                } else {
                    current.push(byte);
                }
            } else if in_single {
                if byte == b'\\' && at(p + 1) == b'\'' {
                    p += 1;
                    current.push(b'\'');
                } else if byte == b'\'' {
                    if p + 1 < line.len() && !is_space(at(p + 1)) {
                        return None;
                    }
                    p += 1;
                    break;
                } else if ends {
                    return None;
                } else {
                    current.push(byte);
                }
            } else if ends || matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                break;
            } else if byte == b'"' {
                in_double = true;
            } else if byte == b'\'' {
                in_single = true;
            } else {
                current.push(byte);
            }
            p += 1;
        }
        words.push(current);
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_bytes_mean_the_same_in_any_pieces(bytes in bytes(200)) {
        hold_for(&bytes);
    }

    #[test]
    fn what_looks_like_requests_means_the_same_in_any_pieces(limits: u8, pieces: u8, stream in requestlike()) {
        hold_for(&[&[limits, pieces][..], &stream].concat());
    }

    #[test]
    fn whatever_sets_up_a_connection_has_one_whole_reply(pieces: u8, commands in proptest::collection::vec(setup(), 1..8)) {
        let stream: Vec<u8> = commands.iter().flat_map(|words| array(words)).collect();
        prop_assert_eq!(hold_for(&[&[SHIPPED, pieces][..], &stream].concat()), understood(commands));
    }

    #[test]
    fn requests_are_read_as_they_were_encoded(pieces: u8, requests in proptest::collection::vec(proptest::collection::vec(bytes(80), 0..6), 0..6)) {
        let stream: Vec<u8> = requests.iter().flat_map(|words| array(words)).collect();
        prop_assert_eq!(hold_for(&[&[SHIPPED, pieces][..], &stream].concat()), understood(requests));
    }

    #[test]
    fn inline_requests_are_read_as_they_were_quoted(pieces: u8, words in proptest::collection::vec(bytes(20), 1..5), plain in "[a-zA-Z0-9]{1,8}") {
        let line: Vec<u8> = [plain.clone().into_bytes()].into_iter().chain(words.iter().map(|word| quoted(word))).collect::<Vec<_>>().join(&b' ');
        let expected: Vec<Vec<u8>> = [plain.into_bytes()].into_iter().chain(words).collect();
        prop_assert_eq!(hold_for(&[&[SHIPPED, pieces][..], &line, b"\r\n"].concat()), understood(vec![expected]));
    }

    #[test]
    fn a_line_is_split_as_redis_splits_it(line in prop_oneof!["[a\"' \\\\x0-9f\t]{0,24}".prop_map(String::into_bytes), bytes(24)]) {
        prop_assume!(line.first().is_some_and(|first| *first != b'*') && !line.contains(&b'\n') && !line.contains(&0));
        let read = hold_for(&[&[SHIPPED, 9][..], &line, b"\n"].concat());
        match split_as_redis(&line) {
            Some(words) => prop_assert_eq!(read, understood(vec![words])),
            None => prop_assert!(read.requests.is_empty() && read.refused.is_some()),
        }
    }
}

#[test]
fn the_kept_corpus_breaks_no_promise() {
    let kept = fs::read_dir(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/corpus/resp"
    ))
    .expect("a corpus is kept");
    let files: Vec<Vec<u8>> = kept
        .map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"))
        .collect();
    assert!(!files.is_empty());
    files.iter().for_each(|bytes| _ = hold_for(bytes));
}
