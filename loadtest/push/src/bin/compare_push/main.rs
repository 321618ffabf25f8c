//! How soon what another thread sends is at the peer, on Corelane and on tokio, by turns in one
//! run; what a handler that waits for many things at once hears late; and what a waker costs that
//! nobody wakes. `make compare-push`.
//!
//! Servers on one core, their peers and whoever sends on another. What the machine does meanwhile
//! meets all alike.

mod events;
mod latency;
mod peer;
mod server;
mod waker;

use std::process::ExitCode;
use std::thread;

use clap::{Parser, ValueEnum};
use loadtest::Stop;
use loadtest::error::Error;
use push::comparison::{check, exit_code};

/// How soon what another thread sends is at the peer, on Corelane and on tokio.
#[derive(Debug, Parser)]
#[command(name = "compare_push", version)]
struct Arguments {
    /// What to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "rest,talk,events,waker"
    )]
    cases: Vec<Case>,
    /// Rounds of each case; in a round each server has its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Events of the handler that waits for many things, and of the two threads that it is set
    /// beside
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    events: u64,
    /// Core of the servers
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    cpu_server: usize,
    /// Core of the peers, and of the threads that send
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    cpu_client: usize,
    /// A setting of the Corelane servers, in place of its default
    #[arg(long = "set", value_name = "section.key=VALUE")]
    settings: Vec<String>,
    /// Exit with 1 unless every ratio is within its bound
    #[arg(long)]
    assert: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Pushes to one silent connection
    Rest,
    /// Pushes to one connection among 1 000 that talk
    Talk,
    /// A handler that waits for its input, a channel, a timer and two upstreams
    Events,
    /// Processor time of a request beside a task whose waker is kept and never woken
    Waker,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Stop::on_signals().and_then(|stop| compare(&arguments, &stop));
    exit_code("compare_push", outcome, arguments.assert)
}

/// True: every ratio is within its bound.
fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    check([arguments.cpu_server, arguments.cpu_client])?;
    if arguments.cpu_server == arguments.cpu_client {
        eprintln!(
            "warning: servers and peers share core {}",
            arguments.cpu_server
        );
    }
    // On a thread of its own: those that it starts are on the client's core too.
    thread::scope(|scope| {
        let work = || {
            push::pin(arguments.cpu_client);
            let outcomes = arguments.cases.iter().map(|case| match case {
                Case::Rest => latency::at_rest(arguments, stop),
                Case::Talk => latency::among_talkers(arguments, stop),
                Case::Events => events::compare(arguments, stop),
                Case::Waker => waker::compare(arguments, stop),
            });
            outcomes.collect::<Result<Vec<bool>, Error>>()
        };
        let outcomes = scope
            .spawn(work)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(outcomes.into_iter().all(|holds| holds))
    })
}

/// An error of an operation, with what that was.
fn failed(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::Failed(format!("{what}: {error}"))
}
