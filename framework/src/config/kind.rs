//! What a key expects of its value: the ground of every kind of value.

use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;

use super::value::Value;

/// What is wrong with a value, and where in it.
pub(super) struct Mistake {
    pub(super) at: Range<usize>,
    pub(super) what: String,
    pub(super) help: Option<String>,
}

impl Mistake {
    /// That `wrong` stands where something else is expected.
    pub(super) fn found(
        wrong: &Spanned<Value>,
        expected: &(impl Display + ?Sized),
        help: Option<String>,
    ) -> Self {
        Self {
            at: wrong.span(),
            what: format!("found {}, expected {expected}", wrong.get_ref()),
            help,
        }
    }
}

/// What is expected of a value. Its `Display` says it: messages read "found ..., expected ...".
pub(super) trait Expect: Display {
    /// Whether the key cannot be left out.
    const REQUIRED: bool = false;

    /// The same for the documents, which need no examples.
    fn range(&self) -> String {
        self.to_string()
    }

    /// What to do about a wrong value, if that is clear.
    fn help(&self, _wrong: &Value) -> Option<String> {
        None
    }

    /// Everything that is wrong with a value that does not fit.
    fn mistakes(&self, wrong: &Spanned<Value>) -> Vec<Mistake> {
        vec![Mistake::found(wrong, self, self.help(wrong.get_ref()))]
    }
}

/// How a setting of type `T` is read and written.
pub(super) trait Kind<T>: Expect {
    /// The setting; `None` where the value does not fit.
    fn read(&self, value: &Value) -> Option<T>;

    /// The value that [`Kind::read`] reads as `setting`.
    fn write(&self, setting: &T) -> Value;
}
