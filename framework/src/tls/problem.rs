//! What is wrong with a file that TLS needs.

use std::fmt;
use std::path::Path;

/// A file that cannot be used. Its `Display` is "what, why: remedy".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileProblem {
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) remedy: String,
}

impl FileProblem {
    /// Of the file that `key` of the settings names.
    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "no file is looked at")
    )]
    pub(super) fn of(path: &Path, key: &str, (why, remedy): Fault) -> Self {
        Self {
            what: format!("cannot use {} ({key})", path.display()),
            why,
            remedy,
        }
    }
}

/// What the files of one table of TLS have come to.
#[derive(Debug)]
pub(crate) struct Examined {
    /// The table's section.
    pub(crate) section: String,
    /// The keys that name them.
    pub(crate) keys: &'static str,
    /// The day on which the first certificate expires.
    pub(crate) expires_on: Option<String>,
    pub(crate) problems: Vec<FileProblem>,
    /// What should be known of those that can be used.
    pub(crate) warnings: Vec<String>,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {}: {}", self.what, self.why, self.remedy)
    }
}

/// Why a file cannot be used, and what to do about it.
pub(super) type Fault = (String, String);

#[cfg(feature = "tls")]
pub(super) fn fault<T>(why: impl Into<String>, remedy: impl Into<String>) -> Result<T, Fault> {
    Err((why.into(), remedy.into()))
}
