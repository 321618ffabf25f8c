//! What a message between two shards costs, and what it saves: its round trip beside an eventfd's,
//! messages a second beside a bare ring's, and state that is reached by messages beside state behind
//! locks. By turns in one run. `make compare-mail`.
//!
//! The shards are those of a server in this process, each on a core of its own; so are the two
//! threads that they are set beside.

mod busy;
mod locks;
mod rest;
mod ring;
mod shards;
mod shared;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use loadtest::Stop;
use loadtest::error::Error;
use push::comparison::{check, exit_code};

/// What a message between two shards costs, and what it saves.
#[derive(Debug, Parser)]
#[command(name = "compare_mail", version)]
struct Arguments {
    /// What to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "rest,busy,shared"
    )]
    cases: Vec<Case>,
    /// Rounds of each case; in a round each side has its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Round trips of a turn after a rest; without one there are ten times as many
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    trips: u64,
    /// Messages of a turn, one way
    #[arg(
        long,
        default_value_t = 10_000_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000)
    )]
    messages: u64,
    /// Messages that are sent, and increments that are made, at a time
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Increments of each shard, or thread, in a turn
    #[arg(
        long,
        default_value_t = 2_000_000,
        value_parser = clap::value_parser!(u64).range(1..=100_000_000)
    )]
    increments: u64,
    /// Core of the first shard, and of the first thread
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    cpu_first: usize,
    /// Core of the second
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    cpu_second: usize,
    /// Exit with 1 unless every ratio is within its bound
    #[arg(long)]
    assert: bool,
}

impl Arguments {
    fn cores(&self) -> [usize; 2] {
        [self.cpu_first, self.cpu_second]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// One message at a time, there and back
    Rest,
    /// As many messages as there is room for, one way
    Busy,
    /// Counts by key, of which each shard owns half
    Shared,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Stop::on_signals().and_then(|stop| compare(&arguments, &stop));
    exit_code("compare_mail", outcome, arguments.assert)
}

/// True: every ratio is within its bound.
fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    check(arguments.cores())?;
    if arguments.cpu_first == arguments.cpu_second {
        return Err(Error::Refused(format!(
            "both shards are on core {}: two are needed, see --cpu-first and --cpu-second",
            arguments.cpu_first
        )));
    }
    let outcomes = arguments.cases.iter().map(|case| match case {
        Case::Rest => rest::compare(arguments, stop),
        Case::Busy => busy::compare(arguments, stop),
        Case::Shared => shared::compare(arguments, stop),
    });
    let outcomes = outcomes.collect::<Result<Vec<bool>, Error>>()?;
    Ok(outcomes.into_iter().all(|holds| holds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn arguments(more: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["compare_mail"], more].concat()).unwrap()
    }

    /// Every case checks that nothing was lost. What the ratios are is for a quiet machine.
    #[test]
    fn every_case_comes_to_its_end() {
        let little = ["--trips=10", "--messages=10000", "--increments=5000"];
        let arguments = arguments(&[&["--rounds=2", "--batch=100"], &little[..]].concat());
        compare(&arguments, &Stop::default()).unwrap();
    }

    #[test]
    fn two_shards_need_two_cores() {
        let refusal = compare(&arguments(&["--cpu-second=0"]), &Stop::default()).unwrap_err();
        assert!(refusal.to_string().contains("--cpu-second"), "{refusal}");
    }
}
