//! The whole run in one sentence.

use super::markup::escape;
use super::units::{count, moment};
use crate::data::{Connections, Report};

/// How a run ended; what stands first outweighs what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
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
    pub(super) fn of(report: &Report) -> Self {
        let Connections {
            wanted,
            established,
            served,
            ..
        } = report.connections;
        match () {
            () if report.void.is_some() => Self::Void,
            () if report.interrupted => Self::Interrupted,
            () if established < wanted
                || served < wanted
                || failures(report) > 0
                || report.requests.unanswered > 0 =>
            {
                Self::Short
            }
            () if wanted == 0 => Self::Nothing,
            () => Self::Good,
        }
    }

    /// The mark, the word and the class of the style.
    fn badge(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Good => ("\u{2713}", "Passed", "good"),
            Self::Short => ("\u{2715}", "Failed", "bad"),
            Self::Void => ("\u{2205}", "Void", "void"),
            Self::Interrupted => ("!", "Interrupted", "void"),
            Self::Nothing => ("\u{2013}", "Empty", "void"),
        }
    }
}

/// The verdict, plain text.
pub(super) fn sentence(report: &Report) -> String {
    let wanted = count(report.connections.wanted);
    match (Verdict::of(report), &report.void) {
        (Verdict::Void, Some(reason)) => {
            format!(
                "The figures say nothing about the server: {}.",
                reason.trim_end().trim_end_matches('.')
            )
        }
        (Verdict::Interrupted, _) => format!(
            "A signal ended the run early; until then {}.",
            outcome(report)
        ),
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
    format!(
        "{} of the {} connections wanted were served",
        count(served),
        count(wanted)
    )
}

/// What is missing, and what failed; empty if nothing is and nothing did.
fn shortcomings(report: &Report) -> String {
    let Connections {
        wanted,
        established,
        served,
        ..
    } = report.connections;
    let failures = failures(report);
    let parts = [
        (wanted.saturating_sub(established), "never established"),
        (
            established.saturating_sub(served),
            "established but never answered",
        ),
        (
            failures,
            if failures == 1 {
                "failure counted"
            } else {
                "failures counted"
            },
        ),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|part| part.0 > 0)
        .map(|(number, what)| format!("{} {what}", count(*number)))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("{}.", parts.join(", "))
    }
}

pub(super) fn failures(report: &Report) -> u64 {
    report.failures.iter().map(|failure| failure.count).sum()
}

/// The head of the page.
pub(super) fn html(report: &Report) -> String {
    let (mark, word, class) = Verdict::of(report).badge();
    let load = &report.load;
    let notes = [shortcomings(report), load.mode_note.clone()];
    let notes: String = notes
        .iter()
        .filter(|note| !note.is_empty())
        .map(|note| format!("<p class=\"note\">{}</p>\n", escape(note)))
        .collect();
    format!(
        "<header class=\"{class}\">\n<p class=\"kicker\"><span class=\"badge\"><span aria-hidden=\"true\">{mark}</span> {word}</span> \
         Load test of <b>{}</b>, <span class=\"moment\">{}</span></p>\n<h1>{}</h1>\n{notes}</header>\n",
        escape(&load.target.to_string()),
        escape(&moment(&report.began)),
        escape(&sentence(report)),
    )
}
