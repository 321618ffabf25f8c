//! `compare --help` lists the options.

use std::process::ExitCode;

use clap::Parser as _;
use compare::args::{Arguments, Command};
use compare::command;
use loadtest::error::Error;
use loadtest::{Stop, launch, output};

fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => carry_out(&arguments),
        Err(error) => output::of_parser(&error),
    };
    output::exit_code("compare", outcome)
}

/// True: all was as it should be.
fn carry_out(arguments: &Arguments) -> Result<bool, Error> {
    match &arguments.command {
        None => command::run(&arguments.compare, &Stop::on_signals()?),
        Some(Command::Launch(program)) => Err(launch::launch(program)),
    }
}
