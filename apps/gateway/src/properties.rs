//! What holds of what the gateway reads, whatever peers and operators write: property tests, the kept
//! corpus and the fuzzer ask the same. Told of bytes: the first picks what reads the others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::event::{frame, id_of, opening, parse_id};
use crate::origin::{self, Origin};
use crate::policy::{behind_bearer, behind_scheme};
use crate::route::{Route, of_path};
use crate::tokens::{self, Right, Verdict};

/// Longest name of a topic, in bytes.
const TOPIC_MAX: usize = 64;
/// Longest complaint about a file of tokens: nothing of the file is in it.
const COMPLAINT_MAX: usize = 160;

/// # Panics
///
/// When it does not hold.
pub(crate) fn hold_for(bytes: &[u8]) {
    let [reader, rest @ ..] = bytes else { return };
    match reader % 6 {
        0 => path(&String::from_utf8_lossy(rest)),
        1 => last_event_id(rest),
        2 => token_file(&String::from_utf8_lossy(rest)),
        3 => token_fields(rest),
        4 => event(rest),
        _ => origins(rest),
    }
}

fn path(path: &str) {
    let (before, topic) = match of_path(path) {
        Route::Publish(topic) => ("/publish/", topic),
        Route::Subscribe(topic) => ("/subscribe/", topic),
        Route::Page => return assert_eq!(path, "/"),
        Route::Health => return assert_eq!(path, "/health"),
        Route::BadTopic => {
            return assert!(path.starts_with("/publish/") || path.starts_with("/subscribe/"));
        }
        Route::Unknown => {
            return assert!(!path.starts_with("/publish/") && !path.starts_with("/subscribe/"));
        }
    };
    assert_eq!(path, format!("{before}{topic}"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    assert!((1..=TOPIC_MAX).contains(&topic.len()) && topic.chars().all(is_plain));
}

fn last_event_id(value: &[u8]) {
    let _any = id_of(value);
    let Some(id) = parse_id(value) else { return };
    let digits = String::from_utf8_lossy(value);
    let is_same = id.to_string().trim_start_matches('0') == digits.trim_start_matches('0');
    assert!(is_same, "{id} of {digits}");
    assert_eq!(id_of(&frame(id, value)), Some(id));
    assert_eq!(id_of(&opening(id)), None, "it is no event");
}

fn token_file(text: &str) {
    let tokens = match tokens::parse(text) {
        Ok(tokens) => tokens,
        Err(why) => return assert!((1..=COMPLAINT_MAX).contains(&why.len()), "{why}"),
    };
    assert!(!tokens.is_empty());
    let words: Vec<&str> = text.split_whitespace().collect();
    for token in &tokens {
        assert!((16..=256).contains(&token.secret.len()) && token.secret.is_ascii());
        assert!(words.iter().any(|word| word.as_bytes() == &*token.secret));
        assert!(token.may_publish || token.may_subscribe);
        for (right, has) in [
            (Right::Publish, token.may_publish),
            (Right::Subscribe, token.may_subscribe),
        ] {
            let verdict = if has {
                Verdict::Allowed
            } else {
                Verdict::NoRight
            };
            assert_eq!(tokens::judge(&tokens, &token.secret, right), verdict);
            let longer = [&token.secret, &b"/"[..]].concat();
            assert_eq!(tokens::judge(&tokens, &longer, right), Verdict::Unknown);
            let shorter = &token.secret[..15];
            assert_eq!(tokens::judge(&tokens, shorter, right), Verdict::Unknown);
        }
    }
}

/// Each line is the value of a field.
fn token_fields(text: &[u8]) {
    let values: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let of_schemes = values.iter().copied().map(behind_scheme);
    let of_subprotocols = behind_bearer(values.iter().copied());
    for token in of_schemes.chain([of_subprotocols]).flatten() {
        assert_eq!(token, token.trim_ascii());
        let mut parts = values
            .iter()
            .flat_map(|value| value.windows(token.len().max(1)));
        assert!(token.is_empty() || parts.any(|part| part == token));
    }
    assert!(of_subprotocols.is_none_or(|token| !token.contains(&b',')));
    // What a client sends as its token is what is found.
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    for token in values
        .into_iter()
        .filter(|value| value.iter().all(is_token))
    {
        let field = [&b"Bearer "[..], token].concat();
        assert_eq!(behind_scheme(&field), Some(token));
        let field = [&b"v1, bearer,"[..], token, b", bearer"].concat();
        assert_eq!(behind_bearer([&*field].into_iter()), Some(token));
        let fields = [&b"bearer"[..], token];
        assert_eq!(behind_bearer(fields.into_iter()), Some(token));
    }
}

/// The first eight bytes are a number, the others a message.
fn event(bytes: &[u8]) {
    let Some((id, message)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let id = u64::from_be_bytes(*id);
    let framed = frame(id, message);
    assert_eq!(id_of(&framed), Some(id));
    let (read_id, name, data) = read_event(&framed);
    assert_eq!(read_id, id);
    match str::from_utf8(message) {
        Ok(text) => {
            let ends = text.replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!((name.as_str(), data), ("message", ends));
        }
        Err(_) => {
            assert_eq!(name, "binary");
            assert_eq!(STANDARD.decode(data).ok().as_deref(), Some(message));
        }
    }
}

/// What a reader gets, by the rules of WHATWG HTML, 9.2.6: id, name and data of one event.
pub(crate) fn read_event(frame: &[u8]) -> (u64, String, String) {
    let text = str::from_utf8(frame).expect("it is text");
    let (size, rest) = text.split_once("\r\n").expect("the line of a chunk");
    let size = usize::from_str_radix(size, 16).expect("its size");
    assert_eq!(&rest[size..], "\r\n");
    let event = rest[..size].replace("\r\n", "\n").replace('\r', "\n");
    let event = event.strip_suffix("\n\n").expect("an empty line ends it");
    let (mut id, mut name, mut data) = (None, "message", String::new());
    for line in event.split('\n') {
        assert!(!line.is_empty(), "an event ends in its midst: {event:?}");
        let (field, value) = line.split_once(": ").expect("a field");
        match field {
            "id" => id = value.parse().ok(),
            "event" => name = value,
            "data" => data = data + value + "\n",
            other => panic!("{other}"),
        }
    }
    let data = data
        .strip_suffix('\n')
        .expect("without data there is no event");
    (id.expect("a number"), name.to_owned(), data.to_owned())
}

/// The first line is a host, the second the name of a page in the settings, each other a value of
/// `Origin`.
fn origins(text: &[u8]) {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (host, named) = (line(), line());
    let values: Vec<&[u8]> = lines.collect();
    let is_fine = origin::fault(&named).is_none();
    let named = [named];
    let judged = origin::judge(values.iter().copied(), &host, &named);
    assert_eq!(judged == Origin::None, values.is_empty());
    match judged {
        Origin::None | Origin::Strange => {}
        Origin::Own => {
            let page = String::from_utf8_lossy(values[0]).to_ascii_lowercase();
            let behind = page.split_once("://").map(|(_, host)| host.to_owned());
            assert_eq!(behind, Some(host.to_ascii_lowercase()));
        }
        // It comes to be in the head of an answer.
        Origin::Named(page) => {
            assert_eq!(values, [page.as_bytes()]);
            assert!(page.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(named[0] == "*" || named[0].eq_ignore_ascii_case(&page));
        }
    }
    if is_fine && !matches!(&*named[0], "*" | "null") {
        let own = origin::judge([named[0].as_bytes()].into_iter(), "", &named);
        assert_eq!(own, Origin::Named(named[0].clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kept_corpus_breaks_no_promise() {
        let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/gateway");
        let kept = fs::read_dir(kept).expect("a corpus is kept");
        let files: Vec<Vec<u8>> = kept
            .map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"))
            .collect();
        assert!(!files.is_empty());
        files.iter().for_each(|bytes| hold_for(bytes));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_is_read_keeps_its_promises(reader: u8, rest in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            "((/publish/|/subscribe/)[a-z%/]{0,4}|(http://|https://|bearer,? ?|Bearer |)[a-z0-9]{0,20}[\n ,]?){0,4}".prop_map(String::into_bytes),
        ]) {
            hold_for(&[&[reader][..], &rest].concat());
        }
    }
}
