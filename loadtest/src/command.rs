//! The command line of `loadtest`, and `loadtest run` from the arguments to the exit code.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use crate::data::Report;
use crate::engine::{self, Show};
use crate::error::Error;
use crate::launch::LaunchArguments;
use crate::machine;
use crate::output::{self, note};
use crate::plan::args::RunArguments;
use crate::plan::{Plan, check, target};
use crate::report::page;
use crate::stop::Stop;

/// Load tester for TCP servers: it checks every byte that comes back.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Arguments {
    /// The work to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The work to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load one server: open connections, hold them, speak over them, and report what happened.
    Run(Box<RunArguments>),
    /// Become a program that is killed when the process that started it dies: how a server is
    /// started that must not be left behind.
    #[command(hide = true)]
    Launch(LaunchArguments),
}

/// Carries out `loadtest run`. True: everything was as it should be.
///
/// # Errors
/// When it is refused, or cannot go on, or its report cannot be written.
pub fn run(arguments: &RunArguments, stop: &Stop) -> Result<bool, Error> {
    let plan = prepare(arguments, stop)?;
    let report = engine::run(plan, Show::Progress, stop, &mut ())?;
    stop.let_signals_end();
    // The one failing does not cost the other.
    let (told, written) = (tell(arguments, &report), write(arguments, &report));
    told.and(written)?;
    Ok(report.is_clean())
}

/// A plan that the machine can carry out.
fn prepare(arguments: &RunArguments, stop: &Stop) -> Result<Plan, Error> {
    check::arguments(arguments)?;
    let addresses = target::resolve(&arguments.target, &arguments.source, stop)?;
    let first = addresses[0];
    check::route(&arguments.source, first)?;
    let plan = fit(arguments, first)?;
    if addresses.len() == 1 {
        return Ok(plan);
    }
    match target::first_that_answers(&addresses, arguments.timeout, stop)? {
        answering if answering == first => Ok(plan),
        answering => fit(arguments, answering),
    }
}

/// A plan against `target`, if the machine can carry it; tells the shortages that would slow it.
fn fit(arguments: &RunArguments, target: SocketAddr) -> Result<Plan, Error> {
    let plan = Plan::trusting(arguments, target)?;
    let findings = machine::check(&plan.demand());
    let stranger = arguments
        .server_pid
        .and_then(|pid| check::stranger(pid, target));
    for warning in findings.warnings.iter().chain(&stranger) {
        note(format_args!("warning: {warning}"));
    }
    check::refuse_any(findings.problems)?;
    Ok(plan)
}

fn tell(arguments: &RunArguments, report: &Report) -> Result<(), Error> {
    output::flush(); // notes and result may go to the same terminal
    let text = match arguments.json {
        true => format!("{}\n", serde_json::json!(report)),
        false => report.to_string(),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
