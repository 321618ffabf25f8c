//! `compare`, from the arguments to the exit code.

use std::fmt;
use std::path::Path;

use loadtest::Stop;
use loadtest::error::Error;
use loadtest::output::{self, note};

use super::args::CompareArguments;
use super::bench::Bench;
use super::comparison::{Case, Comparison, IdleCase};
use super::shape::Shape;
use super::turns::turns;
use super::{assertion, idle, page, round};

/// Memory varies less than time, and a round of it takes longer.
const IDLE_ROUNDS_MAX: u32 = 2;

/// Carries out a comparison. True: all was measured and `--assert` holds.
///
/// # Errors
/// When it is refused or cannot go on, or what it found cannot be written.
pub fn run(arguments: &CompareArguments, stop: &Stop) -> Result<bool, Error> {
    let bench = Bench::check(arguments, stop)?;
    let mut comparison = bench.comparison();
    let outcome = measure(&bench, &mut comparison);
    stop.let_signals_end();
    output::flush(); // notes and result may go to the same terminal
    let told = if arguments.json {
        output::result(&format!("{}\n", serde_json::json!(comparison)))
    } else {
        Ok(())
    };
    let written = arguments
        .html
        .as_deref()
        .map_or(Ok(()), |path| write_page(&comparison, path));
    outcome.and(told).and(written)?;
    if !arguments.assert {
        return Ok(true);
    }
    let breaches = assertion::breaches(&comparison);
    breaches.iter().for_each(note);
    Ok(breaches.is_empty())
}

/// Also of a comparison that came to no end: as far as it got.
fn write_page(comparison: &Comparison, path: &Path) -> Result<(), Error> {
    page::write(comparison, path)
        .map_err(Error::failed(format!("cannot write {}", path.display())))?;
    note(format_args!("report: {}", path.display()));
    Ok(())
}

fn measure(bench: &Bench<'_>, comparison: &mut Comparison) -> Result<(), Error> {
    for &shape in &bench.shapes {
        let case = measure_case(bench, shape)?;
        let shown = show(bench, &case);
        comparison.cases.push(case);
        shown?;
    }
    if bench.idle > 0 {
        let idle = measure_idle(bench)?;
        let shown = show(bench, &idle);
        comparison.idle = Some(idle);
        shown?;
    }
    comparison.complete = true;
    Ok(())
}

fn measure_case(bench: &Bench<'_>, shape: Shape) -> Result<Case, Error> {
    let rounds = bench.arguments.rounds;
    let mut loads = Vec::new();
    for round in 1..=rounds {
        let of_round = round::round(bench, shape)?;
        let costs: Vec<String> = of_round
            .iter()
            .map(|load| format!("{} {:.2}", load.server, load.cpu_us_per_request))
            .collect();
        note(format_args!(
            "{shape}, round {round} of {rounds}, us per request: {}",
            costs.join(", ")
        ));
        loads.extend(of_round);
    }
    Ok(Case::of(
        bench.arguments.suite,
        (shape.connections, shape.pipeline),
        &bench.servers,
        &loads,
    ))
}

fn measure_idle(bench: &Bench<'_>) -> Result<IdleCase, Error> {
    let (connections, rounds) = (bench.idle, bench.arguments.rounds.min(IDLE_ROUNDS_MAX));
    let mut idles = Vec::new();
    for (round, server) in turns(&bench.servers, rounds) {
        let idle = idle::idle(bench, server)?;
        let bytes = idle.bytes_per_connection;
        note(format_args!(
            "{connections} idle connections, round {round} of {rounds}: {server} {bytes:.0} bytes each"
        ));
        idles.push(idle);
    }
    Ok(IdleCase::of(
        bench.arguments.suite,
        connections,
        &bench.servers,
        &idles,
    ))
}

fn show(bench: &Bench<'_>, table: &dyn fmt::Display) -> Result<(), Error> {
    if bench.arguments.json {
        return Ok(());
    }
    output::flush();
    output::result(&format!("{table}\n"))
}
