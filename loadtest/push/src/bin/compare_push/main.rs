//! How soon what another thread sends is at the peer, on Corelane and on tokio, by turns in one
//! run; what a handler that waits for many things at once hears late; and what a waker costs that
//! nobody wakes. `make compare-push`.
//!
//! Servers on one core, their peers and whoever sends on another. What the machine does meanwhile
//! meets all alike.

mod eventfd;
mod events;
mod latency;
mod peer;
mod server;
mod times;
mod waker;

use std::process::ExitCode;
use std::thread;

use clap::{Parser, ValueEnum};
use loadtest::Stop;
use loadtest::error::Error;

/// The work was done and something was not as it should be.
const EXIT_FAILED: u8 = 1;
/// The arguments, or the machine, do not allow it. Also what clap exits with.
const EXIT_REFUSED: u8 = 2;

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
    match Stop::on_signals().and_then(|stop| compare(&arguments, &stop)) {
        Ok(holds) if holds || !arguments.assert => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            eprintln!("compare_push: {error}");
            ExitCode::from(if matches!(error, Error::Refused(_)) {
                EXIT_REFUSED
            } else {
                EXIT_FAILED
            })
        }
    }
}

/// True: every ratio is within its bound.
fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    let cores: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    if let Some(core) = [arguments.cpu_server, arguments.cpu_client]
        .iter()
        .find(|core| !cores.contains(core))
    {
        return Err(Error::Refused(format!(
            "core {core} is not one this process may use: {cores:?}"
        )));
    }
    if arguments.cpu_server == arguments.cpu_client {
        eprintln!(
            "warning: servers and peers share core {}",
            arguments.cpu_server
        );
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build");
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

/// Fails once an end was asked for.
fn go_on(stop: &Stop) -> Result<(), Error> {
    if stop.is_set() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}

/// An error of an operation, with what that was.
fn failed(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::Failed(format!("{what}: {error}"))
}
