//! `loadtest run` and `loadtest compare`; `loadtest --help` lists their options.

use std::process::ExitCode;

use clap::Parser;
use loadtest::Stop;
use loadtest::args::{Arguments, Command};
use loadtest::error::Error;

/// The work was done and something was not as it should be.
const EXIT_FAILED: u8 = 1;
/// The arguments, or the machine, do not allow it; nothing was sent. Also what clap exits with.
const EXIT_REFUSED: u8 = 2;

fn main() -> ExitCode {
    let outcome = Stop::on_signals().and_then(|stop| match Arguments::parse().command {
        Command::Run(run) => loadtest::command::run(&run, &stop),
        Command::Compare(compare) => loadtest::compare::command(&compare, &stop),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::from(if matches!(error, Error::Refused(_)) { EXIT_REFUSED } else { EXIT_FAILED })
        }
    }
}
