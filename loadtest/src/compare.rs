//! `loadtest compare`: what a request, and an idle connection, costs each server.
//!
//! Servers and client have a core each. A server's processor time is taken over exactly the time in
//! which its requests are counted. Machines drift, so the servers take turns, several times in a
//! round, and each is set against the reference of its own round.

mod assertion;
mod comparison;
mod measure;
mod round;
pub(crate) mod sample;
mod server;
mod shape;
mod table;

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use clap::ValueEnum;
use serde::Serialize;

pub use self::comparison::{Case, Comparison, Idle, IdleCase, IdleRow, Load, Row};
pub use self::shape::Shape;
use crate::args::CompareArguments;
use crate::error::Error;
use crate::{Stop, page, system};
use server::Binaries;

/// What the others are compared with.
pub(crate) const REFERENCE: ServerKind = ServerKind::RawUring;
/// Memory varies less than time, and a round of it takes longer.
const IDLE_ROUNDS_MAX: u32 = 2;

/// A server that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ServerKind {
    /// The framework's echo application
    Echo,
    /// io_uring without a framework: the reference
    RawUring,
    /// epoll without a runtime
    RawEpoll,
    /// tokio on one thread
    Tokio,
    /// monoio, a runtime on io_uring
    Monoio,
    /// glommio on its own sockets
    Glommio,
    /// Go, a goroutine per connection; left out by default where it is not built
    GoNetpoller,
}

impl ServerKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::RawUring => "raw_uring",
            Self::RawEpoll => "raw_epoll",
            Self::Tokio => "tokio",
            Self::Monoio => "monoio",
            Self::Glommio => "glommio",
            Self::GoNetpoller => "go_netpoller",
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Carry out `loadtest compare`. True: all was measured and `--assert` holds.
pub fn command(arguments: &CompareArguments, stop: &Stop) -> Result<bool, Error> {
    let bench = Bench::check(arguments, stop)?;
    let mut comparison = bench.comparison();
    let outcome = bench.measure(&mut comparison);
    if arguments.json {
        println!("{}", serde_json::json!(comparison));
    }
    let written = arguments.html.as_deref().map_or(Ok(()), |path| write_page(&comparison, path));
    outcome.and(written)?;
    if !arguments.assert {
        return Ok(true);
    }
    let breaches = assertion::breaches(&comparison);
    breaches.iter().for_each(|breach| eprintln!("{breach}"));
    Ok(breaches.is_empty())
}

/// Also of a comparison that came to no end: as far as it got.
fn write_page(comparison: &Comparison, path: &Path) -> Result<(), Error> {
    page::write_comparison(comparison, path).map_err(Error::failed(format!("cannot write {}", path.display())))?;
    eprintln!("report: {}", path.display());
    Ok(())
}

/// Checked arguments, and what they are carried out with.
struct Bench<'a> {
    arguments: &'a CompareArguments,
    servers: Vec<ServerKind>,
    binaries: Binaries,
    stop: &'a Stop,
}

impl<'a> Bench<'a> {
    /// Everything that can be known to be wrong before a server is started.
    fn check(arguments: &'a CompareArguments, stop: &'a Stop) -> Result<Self, Error> {
        system::descriptors_raise()?;
        system::core_check(arguments.cpu_server)?;
        system::core_check(arguments.cpu_client)?;
        if arguments.cpu_server == arguments.cpu_client {
            eprintln!("warning: server and client share core {}", arguments.cpu_server);
        }
        if cfg!(debug_assertions) {
            eprintln!("warning: this is a debug build: its client is slow, and so may be the servers");
        }
        let binaries = Binaries::beside(arguments.bin_dir.as_deref())?;
        let servers = binaries.choose(&arguments.servers)?;
        assertion::check(arguments, &servers)?;
        arguments.html.as_deref().map_or(Ok(()), place_check)?;
        Ok(Self { arguments, servers, binaries, stop })
    }

    fn comparison(&self) -> Comparison {
        let CompareArguments { rounds, duration, payload, .. } = *self.arguments;
        Comparison {
            command: system::command_line(),
            began: system::rfc3339(SystemTime::now()),
            machine: system::machine(),
            rounds,
            window_s: duration.as_secs_f64(),
            payload_bytes: payload,
            ..Comparison::default()
        }
    }

    fn measure(&self, comparison: &mut Comparison) -> Result<(), Error> {
        for &shape in &self.arguments.connections {
            let case = self.measure_case(shape)?;
            self.show(&case);
            comparison.cases.push(case);
        }
        if self.arguments.idle > 0 {
            let idle = self.measure_idle()?;
            self.show(&idle);
            comparison.idle = Some(idle);
        }
        comparison.complete = true;
        Ok(())
    }

    fn measure_case(&self, shape: Shape) -> Result<Case, Error> {
        let rounds = self.arguments.rounds;
        let mut loads = Vec::new();
        for round in 1..=rounds {
            let of_round = round::round(self, shape)?;
            let costs: Vec<String> = of_round.iter().map(|load| format!("{} {:.2}", load.server, load.cpu_us_per_request)).collect();
            progress(format_args!("{shape}, round {round} of {rounds}, us per request: {}", costs.join(", ")));
            loads.extend(of_round);
        }
        Ok(Case::of(shape.connections, shape.pipeline, &self.servers, &loads))
    }

    fn measure_idle(&self) -> Result<IdleCase, Error> {
        let (connections, rounds) = (self.arguments.idle, self.arguments.rounds.min(IDLE_ROUNDS_MAX));
        let mut idles = Vec::new();
        for (round, server) in turns(&self.servers, rounds) {
            let idle = measure::idle(self, server)?;
            let bytes = idle.bytes_per_connection;
            progress(format_args!("{connections} idle connections, round {round} of {rounds}: {server} {bytes:.0} bytes each"));
            idles.push(idle);
        }
        Ok(IdleCase::of(connections, &self.servers, &idles))
    }

    fn show(&self, table: &dyn fmt::Display) {
        if !self.arguments.json {
            println!("{table}");
        }
    }
}

/// Better now than in some minutes.
fn place_check(page: &Path) -> Result<(), Error> {
    let directory = page.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() {
        return Ok(());
    }
    let (page, directory) = (page.display(), directory.display());
    Err(Error::Refused(format!("cannot write {page}, there is no directory {directory}: create it with `mkdir -p {directory}`")))
}

/// Whose turn it is, one after the other, each with its round. Every other round goes backwards, so that a steady drift of the machine favours
/// nobody.
fn turns<T: Copy>(whose: &[T], rounds: u32) -> Vec<(u32, T)> {
    let round = |round: u32| {
        let mut turns: Vec<_> = whose.iter().map(|&whose| (round, whose)).collect();
        if round.is_multiple_of(2) {
            turns.reverse();
        }
        turns
    };
    (1..=rounds).flat_map(round).collect()
}

/// On stderr: a comparison takes minutes, and stdout is for its result.
fn progress(what: fmt::Arguments<'_>) {
    eprintln!("{what}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rounds_alternate() {
        use ServerKind::{Echo, RawUring, Tokio};
        let forth_and_back = [(1, Echo), (1, RawUring), (1, Tokio), (2, Tokio), (2, RawUring), (2, Echo)];
        assert_eq!(turns(&[Echo, RawUring, Tokio], 2), forth_and_back);
    }

    #[test]
    fn a_server_has_one_name_in_arguments_tables_and_json() {
        for server in ServerKind::value_variants() {
            assert_eq!(server.to_possible_value().unwrap().get_name(), server.name());
            assert_eq!(serde_json::json!(server), server.name());
        }
    }
}
