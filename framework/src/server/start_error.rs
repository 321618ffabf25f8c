//! Why a server or a client does not start: every problem at once, each with its remedy.

use std::fmt;

use crate::config;
use crate::preflight;

/// Why a server does not start. Nothing was started then.
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

    pub(crate) fn of_settings(problems: &[config::Problem]) -> Self {
        let problem = |problem: &config::Problem| {
            let text = problem.to_string();
            // Its author knows the settings from code, not from a command line.
            let text = text.strip_prefix("--set ").unwrap_or(&text);
            let (what, remedy) = match text.split_once("\n    help: ") {
                Some((what, remedy)) => (what, Some(remedy.to_owned())),
                None => (text, None),
            };
            Problem {
                kind: ProblemKind::Settings,
                what: what.to_owned(),
                remedy,
            }
        };
        let problems = problems.iter().map(problem).collect();
        Self { problems }
    }

    pub(crate) fn of_machine(problems: &[preflight::problem::Problem]) -> Self {
        let problem = |problem: &preflight::problem::Problem| {
            let (what, remedy) = problem.parts();
            Problem {
                kind: ProblemKind::Machine,
                what,
                remedy: Some(remedy),
            }
        };
        let problems = problems.iter().map(problem).collect();
        Self { problems }
    }

    pub(crate) fn of_process(what: String) -> Self {
        let problem = Problem {
            kind: ProblemKind::Process,
            what,
            remedy: None,
        };
        let problems = vec![problem];
        Self { problems }
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
