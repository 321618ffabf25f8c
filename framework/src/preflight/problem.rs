//! Something about the machine that does not let the server start.

use std::fmt;

/// Something about the machine that does not let the server start. Its `Display` is "what, why:
/// remedy".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(super) what: String,
    pub(super) why: String,
    pub(super) remedy: String,
}

impl Problem {
    pub(super) fn new(
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
        }
    }

    /// What is wrong and why, and the remedy.
    pub(crate) fn parts(&self) -> (String, Option<String>) {
        let what = format!("{}, {}", self.what, self.why);
        (what, Some(self.remedy.clone()))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {}: {}", self.what, self.why, self.remedy)
    }
}
