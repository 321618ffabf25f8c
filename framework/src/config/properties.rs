//! What holds of any settings, however they are written. Told of bytes, so that property tests, the
//! kept corpus and the fuzzer ask the same question: the first piece is a file, each further one
//! behind a NUL is a `--set`.

use serde::{Deserialize, Serialize};

use super::document;
use super::load::{Loaded, load_from};
use super::problem::Problem;
use super::settings::AppSettings;

const FILE: &str = "any.toml";

/// An application with a key of every kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Application {
    text: String,
    count: u8,
    perhaps: Option<i64>,
    flags: Vec<bool>,
    nested: Nested,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nested {
    depth: u32,
}

impl AppSettings for Application {
    const NAME: &'static str = "application";
    const ABOUT: &'static str = "Has a key of every kind";
    const LISTEN: &'static str = "127.0.0.1:7007";

    fn check(&self) -> Vec<(&'static str, String)> {
        if self.count == u8::MAX {
            vec![("count", "found 255, expected less".to_owned())]
        } else {
            Vec::new()
        }
    }
}

/// Reads `bytes` as settings: they are refused with problems that have a place, or printed so that
/// they read back. True if accepted.
pub(crate) fn hold_for(bytes: &[u8]) -> bool {
    let mut pieces = bytes.split(|byte| *byte == 0);
    let file = pieces.next().unwrap_or_default();
    let sets: Vec<String> = pieces
        .map(|set| String::from_utf8_lossy(set).into_owned())
        .collect();
    let text = match document::text_of(FILE, file.to_vec()) {
        Ok(text) => text,
        Err(problem) => {
            assert_is_told(&problem, "", &[]);
            return false;
        }
    };
    match load_from::<Application>(Some((FILE, &text)), &sets) {
        Ok(loaded) => assert_prints_back(&loaded),
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal says why");
            problems
                .iter()
                .for_each(|problem| assert_is_told(problem, &text, &sets));
            return false;
        }
    }
    true
}

fn assert_prints_back(loaded: &Loaded<Application>) {
    let printed = loaded.to_toml();
    let again = load_from::<Application>(Some((FILE, &printed)), &[]);
    let again = again
        .unwrap_or_else(|problems| panic!("what is printed is refused: {problems:#?}\n{printed}"));
    assert_eq!(
        &again, loaded,
        "what is printed means something else:\n{printed}"
    );
}

/// A problem is two lines at most, shows no control character, and stands in one of the sources.
fn assert_is_told(problem: &Problem, text: &str, sets: &[String]) {
    let said = problem.to_string();
    let lines: Vec<&str> = said.split('\n').collect();
    assert!(
        lines.len() <= 2 && !lines.iter().any(|line| line.contains(char::is_control)),
        "{said:?}"
    );
    if said.starts_with("and ") || said.starts_with("--set ") && !sets.is_empty() {
        return;
    }
    let place = said
        .strip_prefix(FILE)
        .unwrap_or_else(|| panic!("no place: {said:?}"));
    let mut numbers = place.split(':').skip(1).map(str::parse::<usize>);
    if let Some(Ok(line)) = numbers.next() {
        let column = numbers
            .next()
            .and_then(Result::ok)
            .expect("a line comes with its column");
        let length = text
            .split('\n')
            .nth(line.wrapping_sub(1))
            .map(|line| line.chars().count());
        assert!(
            length.is_some_and(|length| (1..=length + 1).contains(&column)),
            "outside of the file: {said:?}"
        );
    }
}
