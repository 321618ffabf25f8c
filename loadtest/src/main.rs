//! `loadtest run` and `loadtest compare`; `loadtest --help` lists their options.

use std::process::ExitCode;

use clap::Parser;
use loadtest::args::{Arguments, Command};
use loadtest::error::Error;
use loadtest::{Stop, launch, machine, output};

/// The work was done and something was not as it should be.
const EXIT_FAILED: u8 = 1;
/// The arguments, or the machine, do not allow it; nothing was sent. Also what clap exits with.
const EXIT_REFUSED: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(Arguments { command }) => carry_out(&command),
        Err(error) => output::of_parser(&error),
    };
    let code = match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            output::note(format_args!("loadtest: {error}"));
            ExitCode::from(if matches!(error, Error::Refused(_)) {
                EXIT_REFUSED
            } else {
                EXIT_FAILED
            })
        }
    };
    output::flush();
    code
}

/// True: all was as it should be.
fn carry_out(command: &Command) -> Result<bool, Error> {
    match command {
        Command::Run(run) => loadtest::command::run(run, &Stop::on_signals()?),
        Command::Compare(compare) => loadtest::compare::command(compare, &Stop::on_signals()?),
        Command::Launch(program) => Err(launch::launch(program)),
        Command::Restore(restore) => {
            machine::stand_guard(restore.parent);
            Ok(true)
        }
    }
}
