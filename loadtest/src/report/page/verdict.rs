//! The whole run in one sentence.

use maud::Markup;

use crate::data::Report;
use crate::report::html::units::count;
use crate::report::html::{self, Badge};

const GOOD: Badge = Badge("\u{2713}", "Passed", "good");
const BAD: Badge = Badge("\u{2715}", "Failed", "bad");
const VOID: Badge = Badge("\u{2205}", "Void", "void");
const INTERRUPTED: Badge = Badge("!", "Interrupted", "void");
const EMPTY: Badge = Badge("\u{2013}", "Empty", "void");

/// How the run ended, plain text. What outweighs the rest comes first: figures that say nothing
/// about the server, a signal, connections that are missing or something that failed.
pub(super) fn verdict(report: &Report) -> (Badge, String) {
    let connections = &report.connections;
    let (wanted, served) = (count(connections.wanted), count(connections.served));
    let outcome = format!("{served} of the {wanted} connections wanted were served");
    let is_served = connections.served >= connections.wanted;
    let is_all = is_served
        && connections.established >= connections.wanted
        && report.failures_total() == 0
        && report.requests.unanswered == 0;
    if let Some(reason) = &report.void {
        let reason = reason.trim_end().trim_end_matches('.');
        let sentence = format!("The figures say nothing about the server: {reason}.");
        return (VOID, sentence);
    }
    if report.interrupted {
        let sentence = format!("A signal ended the run early; until then {outcome}.");
        return (INTERRUPTED, sentence);
    }
    let all = match connections.wanted {
        1 => "The one connection wanted was".to_owned(),
        _ => format!("All {wanted} connections wanted were"),
    };
    if !is_served {
        (BAD, format!("Only {outcome}."))
    } else if !is_all {
        let all = format!("All {wanted} connections wanted were served");
        (BAD, format!("{all}, but not everything went well."))
    } else if connections.wanted == 0 {
        let sentence = "No connection was wanted, so nothing was measured.";
        (EMPTY, sentence.to_owned())
    } else {
        let sentence = format!("{all} established and served, and nothing failed.");
        (GOOD, sentence)
    }
}

/// How many connections are missing, and how many failures there were; none if neither.
fn shortcomings(report: &Report) -> Option<String> {
    let connections = &report.connections;
    let (established, failures) = (connections.established, report.failures_total());
    let s = if failures == 1 { "" } else { "s" };
    let missing = connections.wanted.saturating_sub(established);
    let unserved = established.saturating_sub(connections.served);
    let parts = [
        (missing, "never established".to_owned()),
        (unserved, "established but never answered".to_owned()),
        (failures, format!("failure{s} counted")),
    ];
    let parts = parts.into_iter().filter(|part| part.0 > 0);
    let words = parts.map(|(number, what)| format!("{} {what}", count(number)));
    let parts: Vec<String> = words.collect();
    (!parts.is_empty()).then(|| format!("{}.", parts.join(", ")))
}

pub(super) fn header(report: &Report) -> Markup {
    let load = &report.load;
    let mode = Some(load.mode_note.clone()).filter(|note| !note.is_empty());
    let notes: Vec<String> = shortcomings(report).into_iter().chain(mode).collect();
    let (badge, sentence) = verdict(report);
    let subject = ("Load test", &*load.target.to_string());
    html::header(badge, subject, &report.began, &sentence, &notes)
}
