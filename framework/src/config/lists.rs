//! Lists: of words that are known, of texts that are not.

use std::fmt;

use toml::Spanned;

use super::choices::Words;
use super::kind::{Expect, Kind, Mistake};
use super::value::Value;

/// Some of these words, each with what it stands for: one at least, and none twice.
pub(super) struct WordList<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T> fmt::Display for WordList<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().map(|(word, _)| format!("\"{word}\""));
        let words = words.collect::<Vec<_>>().join(", ");
        write!(
            out,
            "a list of some of {words}, one at least and none twice"
        )
    }
}

impl<T> Expect for WordList<T> {
    fn help(&self, wrong: &Value) -> Option<String> {
        match wrong {
            Value::Text(text) if self.0.iter().any(|(word, _)| word == text) => {
                Some(format!("write [\"{text}\"]"))
            }
            _ => None,
        }
    }

    fn mistakes(&self, wrong: &Spanned<Value>) -> Vec<Mistake> {
        let items = match wrong.get_ref() {
            Value::List(items) if !items.is_empty() => items,
            value => return vec![Mistake::found(wrong, self, self.help(value))],
        };
        let (item_kind, mut seen, mut mistakes) = (Words(self.0), Vec::new(), Vec::new());
        for item in items {
            let value = item.get_ref();
            if !item_kind.knows(value) {
                let help = match value {
                    Value::Text(_) => None, // all words are told
                    bare => item_kind.help(bare),
                };
                mistakes.push(Mistake::found(item, &item_kind, help));
            } else if seen.contains(&value) {
                mistakes.push(Mistake {
                    at: item.span(),
                    what: format!("names {value} twice"),
                    help: None,
                });
            } else {
                seen.push(value);
            }
        }
        mistakes
    }
}

impl<T: Clone + PartialEq> Kind<Vec<T>> for WordList<T> {
    fn read(&self, value: &Value) -> Option<Vec<T>> {
        let Value::List(items) = value else {
            return None;
        };
        let mut found = Vec::new();
        for item in items {
            let meaning = Words(self.0).read(item.get_ref())?;
            if found.contains(&meaning) {
                return None;
            }
            found.push(meaning);
        }
        (!found.is_empty()).then_some(found)
    }

    fn write(&self, setting: &Vec<T>) -> Value {
        let words = self.0.iter();
        let words = words.filter(|(_, meaning)| setting.contains(meaning));
        Value::list(words.map(|(word, _)| Value::Text((*word).to_owned())))
    }
}

/// Texts of at least one byte.
pub(super) struct TextList {
    /// What they are, as a plural.
    pub(super) of: &'static str,
    pub(super) bytes_max: usize,
    pub(super) count_max: usize,
}

impl fmt::Display for TextList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            of,
            bytes_max,
            count_max,
        } = self;
        write!(
            out,
            "a list of at most {count_max} {of}, each a text of 1 to {bytes_max} bytes"
        )
    }
}

impl TextList {
    fn fits(&self, text: &str) -> bool {
        (1..=self.bytes_max).contains(&text.len())
    }
}

impl Expect for TextList {
    fn help(&self, wrong: &Value) -> Option<String> {
        match wrong {
            Value::Text(text) if fits_a_line(text) && self.fits(text) => {
                Some(format!("write [{}]", wrong.to_toml()))
            }
            _ => None,
        }
    }

    fn mistakes(&self, wrong: &Spanned<Value>) -> Vec<Mistake> {
        let items = match wrong.get_ref() {
            Value::List(items) if items.len() <= self.count_max => items,
            value => return vec![Mistake::found(wrong, self, self.help(value))],
        };
        let expected = format!("a text of 1 to {} bytes", self.bytes_max);
        let wrong = |item: &&Spanned<Value>| match item.get_ref() {
            Value::Text(text) => !self.fits(text),
            _ => true,
        };
        let wrong = items.iter().filter(wrong);
        wrong
            .map(|item| Mistake::found(item, &expected, None))
            .collect()
    }
}

impl Kind<Vec<String>> for TextList {
    fn read(&self, value: &Value) -> Option<Vec<String>> {
        let texts = texts(value)?;
        let fits = texts.len() <= self.count_max && texts.iter().all(|text| self.fits(text));
        fits.then(|| texts.into_iter().map(str::to_owned).collect())
    }

    fn write(&self, setting: &Vec<String>) -> Value {
        Value::list(setting.iter().map(|text| Value::Text(text.clone())))
    }
}

fn fits_a_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

/// The items of a list, if it is one of texts.
fn texts(value: &Value) -> Option<Vec<&str>> {
    let Value::List(items) = value else {
        return None;
    };
    let texts = items.iter().map(|item| match item.get_ref() {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: WordList<u8> = WordList(&[("one", 1), ("two", 2)]);
    const NAMES: TextList = TextList {
        of: "names",
        bytes_max: 3,
        count_max: 2,
    };

    fn list(texts: &[&str]) -> Value {
        Value::list(texts.iter().map(|text| Value::Text((*text).to_owned())))
    }

    #[test]
    fn known_words_stand_for_something_and_none_twice() {
        assert_eq!(NUMBERS.read(&list(&["two", "one"])), Some(vec![2, 1]));
        assert_eq!(NUMBERS.write(&vec![2, 1]), list(&["one", "two"]));
        for wrong in [&[][..], &["three"], &["one", "one"]] {
            assert_eq!(NUMBERS.read(&list(wrong)), None, "{wrong:?}");
        }
        let help = NUMBERS.help(&Value::Text("one".to_owned()));
        assert_eq!(help.as_deref(), Some("write [\"one\"]"));
    }

    #[test]
    fn texts_are_bounded_in_length_and_number() {
        for fits in [&[][..], &["a"], &["abc", "d"]] {
            let read = NAMES.read(&list(fits)).expect("it fits");
            assert_eq!(NAMES.write(&read), list(fits));
        }
        for wrong in [&[""][..], &["abcd"], &["a", "b", "c"]] {
            assert_eq!(NAMES.read(&list(wrong)), None, "{wrong:?}");
        }
        for (wrong, help) in [("a", Some("write [\"a\"]")), ("a\nb", None), ("", None)] {
            let wrong = Value::Text(wrong.to_owned());
            assert_eq!(NAMES.read(&wrong), None);
            assert_eq!(NAMES.help(&wrong).as_deref(), help);
        }
    }
}
