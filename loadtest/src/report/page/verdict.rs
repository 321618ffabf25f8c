//! The whole run in one sentence.

use maud::Markup;

use crate::data::{Connections, Report};
use crate::report::html::units::count;
use crate::report::html::{self, Badge};

/// How a run ended; an earlier one outweighs a later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Its figures say nothing about the server.
    Void,
    /// A signal ended it early.
    Interrupted,
    /// Connections are missing, or something failed.
    Short,
    /// Nothing was asked for.
    Nothing,
    /// All that was wanted came about.
    Good,
}

impl Verdict {
    fn of(report: &Report) -> Self {
        match () {
            () if report.void.is_some() => Self::Void,
            () if report.interrupted => Self::Interrupted,
            () if !is_all(report) => Self::Short,
            () if report.connections.wanted == 0 => Self::Nothing,
            () => Self::Good,
        }
    }

    fn badge(self) -> Badge {
        let (mark, word, class) = match self {
            Self::Good => ("\u{2713}", "Passed", "good"),
            Self::Short => ("\u{2715}", "Failed", "bad"),
            Self::Void => ("\u{2205}", "Void", "void"),
            Self::Interrupted => ("!", "Interrupted", "void"),
            Self::Nothing => ("\u{2013}", "Empty", "void"),
        };
        Badge { mark, word, class }
    }
}

fn is_all(report: &Report) -> bool {
    let connections = &report.connections;
    let served = connections.established.min(connections.served);
    served >= connections.wanted && report.failures_total() == 0 && report.requests.unanswered == 0
}

/// The verdict, plain text.
pub(super) fn sentence(report: &Report) -> String {
    let wanted = count(report.connections.wanted);
    match (Verdict::of(report), &report.void) {
        (Verdict::Void, Some(reason)) => {
            let reason = reason.trim_end().trim_end_matches('.');
            format!("The figures say nothing about the server: {reason}.")
        }
        (Verdict::Interrupted, _) => {
            let outcome = outcome(report);
            format!("A signal ended the run early; until then {outcome}.")
        }
        (Verdict::Nothing, _) => "No connection was wanted, so nothing was measured.".to_owned(),
        (Verdict::Good, _) if report.connections.wanted == 1 => {
            "The one connection wanted was established and served, and nothing failed.".to_owned()
        }
        (Verdict::Good, _) => format!(
            "All {wanted} connections wanted were established and served, and nothing failed."
        ),
        _ if report.connections.served >= report.connections.wanted => {
            format!("All {wanted} connections wanted were served, but not everything went well.")
        }
        _ => format!("Only {}.", outcome(report)),
    }
}

fn outcome(report: &Report) -> String {
    let Connections { wanted, served, .. } = report.connections;
    let (served, wanted) = (count(served), count(wanted));
    format!("{served} of the {wanted} connections wanted were served")
}

/// How many connections are missing, and how many failures there were; none if neither.
fn shortcomings(report: &Report) -> Option<String> {
    let Connections {
        wanted,
        established,
        served,
        ..
    } = report.connections;
    let failures = report.failures_total();
    let counted = if failures == 1 {
        "failure counted"
    } else {
        "failures counted"
    };
    let parts: Vec<String> = [
        (wanted.saturating_sub(established), "never established"),
        (
            established.saturating_sub(served),
            "established but never answered",
        ),
        (failures, counted),
    ]
    .into_iter()
    .filter(|part| part.0 > 0)
    .map(|(number, what)| format!("{} {what}", count(number)))
    .collect();
    (!parts.is_empty()).then(|| format!("{}.", parts.join(", ")))
}

/// The head of the page.
pub(super) fn header(report: &Report) -> Markup {
    let load = &report.load;
    let mode = Some(load.mode_note.clone()).filter(|note| !note.is_empty());
    let notes: Vec<String> = shortcomings(report).into_iter().chain(mode).collect();
    html::header(
        Verdict::of(report).badge(),
        ("Load test", &load.target.to_string()),
        &report.began,
        &sentence(report),
        &notes,
    )
}
