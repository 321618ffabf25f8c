//! Why a server or a client does not start: every problem at once, each with its remedy.

use std::fmt;

/// Why a server does not start: everything that has to change. Nothing was started then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    problems: Vec<Problem>,
}

/// One thing that does not let a server start. Its `Display` says what, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What sort of problem.
    pub kind: ProblemKind,
    /// What is wrong, and why.
    pub what: String,
    /// What to do about it, where that is known.
    pub remedy: Option<String>,
}

/// What has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The settings: a key that does not exist, a value out of its range, two that contradict each
    /// other.
    Settings,
    /// The machine, which cannot carry the settings out: its kernel, its limits, its memory, its
    /// ports.
    Machine,
    /// The process: it cannot start a thread.
    Process,
}

impl StartError {
    /// Every problem; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Of all that is wrong, as `kind`: what, and the remedy.
    pub(crate) fn of(
        kind: ProblemKind,
        problems: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Self {
        let problems = problems.into_iter();
        let problems = problems.map(|(what, remedy)| Problem { kind, what, remedy });
        Self {
            problems: problems.collect(),
        }
    }

    pub(crate) fn of_process(what: String) -> Self {
        Self::of(ProblemKind::Process, [(what, None)])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.remedy {
            Some(remedy) => write!(formatter, "{}: {remedy}", self.what),
            None => formatter.write_str(&self.what),
        }
    }
}

/// A line for each problem.
impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        formatter.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for StartError {}
