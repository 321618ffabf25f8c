//! Why a command could not do its work.

use std::{fmt, io};

/// A refusal or a failure, in words for the person at the terminal.
#[derive(Debug)]
pub enum Error {
    /// The arguments do not fit together or do not fit this machine: nothing was started.
    Refused(String),
    /// It started and could not go on.
    Failed(String),
    /// SIGINT, SIGTERM or SIGHUP came before the end.
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) | Self::Failed(reason) => f.write_str(reason),
            Self::Interrupted => f.write_str("interrupted by a signal"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Turn the error of an operation into a failure that says which operation it was.
    pub fn failed(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}
