//! `loadtest run`: from the arguments to the exit code.

use std::io::Write as _;

use crate::args::RunArguments;
use crate::engine::{self, Show};
use crate::error::Error;
use crate::machine::{self, Findings, Tuning};
use crate::plan::Plan;
use crate::{Stop, page};

/// Carries out `loadtest run`. True: everything was as it should be.
pub fn run(arguments: &RunArguments, stop: &Stop) -> Result<bool, Error> {
    // What a killed run has left changed is put back first.
    for line in Tuning::recover().map_err(|problem| Error::Refused(problem.to_string()))? {
        eprintln!("{line}");
    }
    let (plan, tuning) = prepare(arguments)?;
    let report = engine::run(plan, Show::Progress, stop, &mut ());
    if let Some(tuning) = tuning {
        tuning.restore().map_err(|problem| Error::Failed(problem.to_string()))?;
    }
    let report = report?;
    let text = if arguments.json { format!("{}\n", serde_json::json!(report)) } else { report.to_string() };
    // A reader that left early is no failure.
    let _left_early = std::io::stdout().write_all(text.as_bytes());
    if let Some(path) = &arguments.html {
        page::write(&report, path).map_err(Error::failed(format!("cannot write {}", path.display())))?;
        eprintln!("report: {}", path.display());
    }
    Ok(report.is_clean())
}

/// A plan that the machine can carry out, and what was changed for it.
fn prepare(arguments: &RunArguments) -> Result<(Plan, Option<Tuning>), Error> {
    let plan = Plan::try_from(arguments)?;
    let findings = machine::check(&plan.demand());
    let changes = findings.changes();
    if !arguments.tune || changes.is_empty() {
        return judged(findings, &changes).map(|()| (plan, None));
    }
    let tuning = Tuning::apply(&changes).map_err(|problem| Error::Refused(problem.to_string()))?;
    for line in tuning.told() {
        eprintln!("{line}");
    }
    let plan = Plan::try_from(arguments)?; // a wider range of ports means fewer addresses
    let findings = machine::check(&plan.demand());
    judged(findings, &[]).map(|()| (plan, Some(tuning)))
}

/// Tells the warnings; refuses if there are problems.
fn judged(findings: Findings, changes: &[machine::Change]) -> Result<(), Error> {
    for warning in &findings.warnings {
        eprintln!("warning: {warning}");
    }
    if findings.problems.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = findings.problems.iter().map(ToString::to_string).collect();
    if !changes.is_empty() {
        lines.push(format!("as root, --tune does for the length of the run what `{}` does", machine::command(changes)));
    }
    Err(Error::Refused(lines.join("\n")))
}
