//! Failures of connections, by kind.

use std::collections::BTreeMap;
use std::io;

use corelane::CloseReason;

use crate::data::FailureCount;
use crate::workload::WrongByte;

/// Failures of a kind that are described; the others are counted.
const EXAMPLES_MAX: usize = 3;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// A line did not come to one who was in the room.
    Lost,
    /// It came twice.
    Doubled,
    /// It came behind one that the same speaker said later.
    OutOfOrder,
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
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::UnexpectedEof => Self::ClosedEarly,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::AddrNotAvailable => Self::OutOfPorts,
            _ => Self::Other,
        }
    }

    /// The kind of a connection's end that the framework tells of.
    fn of_end(reason: CloseReason) -> Self {
        match reason {
            CloseReason::PeerReset => Self::Reset,
            CloseReason::ReadTimeout
            | CloseReason::WriteTimeout
            | CloseReason::IdleTimeout
            | CloseReason::PeerUnreachable => Self::TimedOut,
            _ => Self::Other,
        }
    }

    /// The kind's word, in snake case.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::TimedOut => "timed_out",
            Self::WrongBytes => "wrong_bytes",
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::OutOfOrder => "out_of_order",
            Self::OutOfPorts => "out_of_ports",
            Self::Other => "other",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(FailureKind::of(&error), error.to_string())
    }
}

impl From<corelane::Error> for Failure {
    fn from(error: corelane::Error) -> Self {
        let kind = match &error {
            corelane::Error::Connect(error) => FailureKind::of(error),
            corelane::Error::Closed(reason) => FailureKind::of_end(*reason),
            _ => FailureKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<WrongByte> for Failure {
    fn from(wrong: WrongByte) -> Self {
        let (offset, got, wanted) = (wrong.offset, wrong.got, wrong.wanted);
        let detail = format!("byte {offset} of the replies is {got:#04x}, not {wanted:#04x}");
        Self::new(FailureKind::WrongBytes, detail)
    }
}

/// How often each kind came up, and the first few of it in words.
#[derive(Debug, Clone, Default)]
pub struct Failures(BTreeMap<FailureKind, (u64, Vec<String>)>);

impl Failures {
    pub(crate) fn add(&mut self, connection: u64, failure: &Failure) {
        self.add_many(connection, 1, failure);
    }

    /// Adds `count` of them, which are described together.
    pub(crate) fn add_many(&mut self, connection: u64, count: u64, failure: &Failure) {
        let example = format!("connection {connection}: {}", failure.detail);
        self.count(failure.kind, count, &[example]);
    }

    /// Adds those of another shard, or of later.
    pub(crate) fn merge(&mut self, others: &Self) {
        for (kind, (count, examples)) in &others.0 {
            self.count(*kind, *count, examples);
        }
    }

    fn count(&mut self, kind: FailureKind, more: u64, words: &[String]) {
        let (count, examples) = self.0.entry(kind).or_default();
        *count += more;
        let room = EXAMPLES_MAX.saturating_sub(examples.len());
        examples.extend(words.iter().take(room).cloned());
    }

    /// How many there were of any kind.
    pub fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }

    pub(crate) fn counts(&self) -> Vec<FailureCount> {
        let counts = self.0.iter().map(|(kind, (count, examples))| FailureCount {
            kind: kind.word().to_owned(),
            count: *count,
            examples: examples.clone(),
        });
        counts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_the_first_are_described() {
        let mut failures = Failures::default();
        for connection in 0..10 {
            let mut others = Failures::default();
            others.add(connection, &Failure::new(FailureKind::Reset, "gone"));
            failures.merge(&others);
        }
        let all = failures.counts();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kind.as_str(), all[0].count), ("reset", 10));
        assert_eq!(
            all[0].examples,
            [
                "connection 0: gone",
                "connection 1: gone",
                "connection 2: gone"
            ]
        );
    }
}
