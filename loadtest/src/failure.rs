//! What can go wrong with a connection, by kind.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::Serialize;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Nothing listens there.
    Refused,
    /// The connection was cut off.
    Reset,
    /// The server closed it before it was done.
    ClosedEarly,
    /// A connect or a reply took longer than `--timeout`.
    TimedOut,
    /// A reply was not what was asked for, or came unasked.
    WrongBytes,
    /// This host has no free local port towards the target.
    OutOfPorts,
    /// Another error of the kernel; the example says which.
    Other,
}

impl FailureKind {
    /// The kind of an error that connect, read or write returned.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::AddrNotAvailable => Self::OutOfPorts,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed early",
            Self::TimedOut => "timed out",
            Self::WrongBytes => "wrong bytes",
            Self::OutOfPorts => "out of ports",
            Self::Other => "other",
        })
    }
}

/// One connection's end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(FailureKind::of(&error), error.to_string())
    }
}

/// How often each kind came up.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Failures(BTreeMap<FailureKind, Occurrences>);

/// Failures of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Occurrences {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: String,
}

impl Failures {
    pub(crate) fn add(&mut self, connection: usize, failure: &Failure) {
        let first = || format!("connection {connection}: {}", failure.detail);
        let occurrences = (self.0.entry(failure.kind)).or_insert_with(|| Occurrences { count: 0, first: first() });
        occurrences.count += 1;
    }

    /// How many there were of this kind.
    pub fn count(&self, kind: FailureKind) -> u64 {
        self.0.get(&kind).map_or(0, |occurrences| occurrences.count)
    }

    /// How many there were of any kind.
    pub fn total(&self) -> u64 {
        self.0.values().map(|occurrences| occurrences.count).sum()
    }
}

/// "none", or one line per kind.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, (kind, Occurrences { count, first })) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n             " };
            write!(f, "{separator}{count} {kind} (first: {first})")?;
        }
        Ok(())
    }
}
