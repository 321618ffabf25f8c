//! `loadtest run`; `loadtest --help` lists its options.

use std::process::ExitCode;

use clap::Parser as _;
use loadtest::command::{self, Arguments, Command};
use loadtest::error::Error;
use loadtest::{Stop, launch, output};

fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(Arguments { command }) => carry_out(&command),
        Err(error) => output::of_parser(&error),
    };
    output::exit_code("loadtest", outcome)
}

/// True: all was as it should be.
fn carry_out(command: &Command) -> Result<bool, Error> {
    match command {
        Command::Run(run) => command::run(run, &Stop::on_signals()?),
        Command::Launch(program) => Err(launch::launch(program)),
    }
}
