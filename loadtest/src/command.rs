//! `loadtest run`: from the arguments to the exit code.

use std::net::SocketAddr;

use crate::args::RunArguments;
use crate::data::Report;
use crate::engine::{self, Show};
use crate::error::Error;
use crate::machine::{self, Findings, Guard, Tuning};
use crate::output::{self, note};
use crate::plan::Plan;
use crate::{Stop, check, page, target};

/// Carries out `loadtest run`. True: everything was as it should be.
pub fn run(arguments: &RunArguments, stop: &Stop) -> Result<bool, Error> {
    // What a killed run has left changed is put back first.
    for line in Tuning::recover().map_err(|problem| Error::Refused(problem.to_string()))? {
        note(line);
    }
    let (plan, tuned) = prepare(arguments, stop)?;
    let report = engine::run(plan, Show::Progress, stop, &mut ());
    let restored = tuned.map_or(Ok(()), Tuned::restore);
    let report = report?;
    // The one failing costs neither of the others.
    let (told, written) = (tell(arguments, &report), write(arguments, &report));
    restored.and(told).and(written)?;
    Ok(report.is_clean())
}

fn tell(arguments: &RunArguments, report: &Report) -> Result<(), Error> {
    output::flush(); // notes and result may go to the same terminal
    let text = if arguments.json {
        format!("{}\n", serde_json::json!(report))
    } else {
        report.to_string()
    };
    output::result(&text)
}

fn write(arguments: &RunArguments, report: &Report) -> Result<(), Error> {
    let Some(path) = &arguments.html else {
        return Ok(());
    };
    page::write(report, path).map_err(Error::failed(format!("cannot write {}", path.display())))?;
    note(format_args!("report: {}", path.display()));
    Ok(())
}

/// A plan that the machine can carry out, and what was changed for it.
fn prepare(arguments: &RunArguments, stop: &Stop) -> Result<(Plan, Option<Tuned>), Error> {
    check::run_arguments(arguments)?;
    let addresses = target::resolve(&arguments.target, &arguments.source, stop)?;
    let first = addresses[0];
    check::route(&arguments.source, first)?;
    let (plan, tuned) = fit(arguments, first)?;
    if addresses.len() == 1 {
        return Ok((plan, tuned));
    }
    let answering = target::first_that_answers(&addresses, arguments.timeout, stop)?;
    if answering == first {
        return Ok((plan, tuned));
    }
    tuned.map_or(Ok(()), Tuned::restore)?;
    fit(arguments, answering)
}

/// A plan against `target`, if the machine can be made to carry it out.
fn fit(arguments: &RunArguments, target: SocketAddr) -> Result<(Plan, Option<Tuned>), Error> {
    let plan = Plan::of(arguments, target);
    let findings = machine::check(&plan.demand());
    let changes = findings.changes();
    if !arguments.tune || changes.is_empty() {
        return judged(findings, &changes).map(|()| (plan, None));
    }
    let guard = Guard::start().map_err(Error::failed(
        "cannot start the process that would restore the sysctls",
    ))?;
    let tuning = Tuning::apply(&changes).map_err(|problem| Error::Refused(problem.to_string()))?;
    for line in tuning.told() {
        note(line);
    }
    let plan = Plan::of(arguments, target); // a wider range of ports means fewer addresses
    let findings = machine::check(&plan.demand());
    judged(findings, &[]).map(|()| {
        (
            plan,
            Some(Tuned {
                tuning,
                _guard: guard,
            }),
        )
    })
}

/// What was changed, and who puts it back should we be killed: let go in this order.
#[derive(Debug)]
struct Tuned {
    tuning: Tuning,
    _guard: Guard,
}

impl Tuned {
    fn restore(self) -> Result<(), Error> {
        self.tuning
            .restore()
            .map_err(|problem| Error::Failed(problem.to_string()))
    }
}

/// Tells the warnings; refuses if there are problems.
fn judged(findings: Findings, changes: &[machine::Change]) -> Result<(), Error> {
    for warning in &findings.warnings {
        note(format_args!("warning: {warning}"));
    }
    if findings.problems.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = findings.problems.iter().map(ToString::to_string).collect();
    if !changes.is_empty() {
        lines.push(format!(
            "as root, --tune does for the length of the run what `{}` does",
            machine::command(changes)
        ));
    }
    Err(Error::Refused(lines.join("\n")))
}
