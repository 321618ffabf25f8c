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
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use clap::ValueEnum;
use serde::Serialize;

pub use self::comparison::{Case, Comparison, Idle, IdleCase, IdleRow, Load, Row};
pub use self::shape::Shape;
use crate::args::CompareArguments;
use crate::error::Error;
use crate::output::{self, note};
use crate::plan::Plan;
use crate::{Stop, check, machine, page, system};
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
    page::write_comparison(comparison, path)
        .map_err(Error::failed(format!("cannot write {}", path.display())))?;
    note(format_args!("report: {}", path.display()));
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
            note(format_args!(
                "warning: server and client share core {}",
                arguments.cpu_server
            ));
        }
        if cfg!(debug_assertions) {
            note("warning: this is a debug build: its client is slow, and so may be the servers");
        }
        let binaries = Binaries::beside(arguments.bin_dir.as_deref())?;
        let servers = binaries.choose(&arguments.servers)?;
        assertion::check(arguments, &servers)?;
        let twice =
            check::has_repeats(&servers).then(|| "--servers names a server twice".to_owned());
        let unwritable = arguments.html.as_deref().and_then(check::unwritable);
        check::refuse_any(
            twice
                .into_iter()
                .chain(unwritable)
                .chain(too_much(arguments))
                .collect(),
        )?;
        Ok(Self {
            arguments,
            servers,
            binaries,
            stop,
        })
    }

    fn comparison(&self) -> Comparison {
        let CompareArguments {
            rounds,
            duration,
            payload,
            ..
        } = *self.arguments;
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
            let shown = self.show(&case);
            comparison.cases.push(case);
            shown?;
        }
        if self.arguments.idle > 0 {
            let idle = self.measure_idle()?;
            let shown = self.show(&idle);
            comparison.idle = Some(idle);
            shown?;
        }
        comparison.complete = true;
        Ok(())
    }

    fn measure_case(&self, shape: Shape) -> Result<Case, Error> {
        let rounds = self.arguments.rounds;
        let mut loads = Vec::new();
        for round in 1..=rounds {
            let of_round = round::round(self, shape)?;
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
            shape.connections,
            shape.pipeline,
            &self.servers,
            &loads,
        ))
    }

    fn measure_idle(&self) -> Result<IdleCase, Error> {
        let (connections, rounds) = (
            self.arguments.idle,
            self.arguments.rounds.min(IDLE_ROUNDS_MAX),
        );
        let mut idles = Vec::new();
        for (round, server) in turns(&self.servers, rounds) {
            let idle = measure::idle(self, server)?;
            let bytes = idle.bytes_per_connection;
            note(format_args!(
                "{connections} idle connections, round {round} of {rounds}: {server} {bytes:.0} bytes each"
            ));
            idles.push(idle);
        }
        Ok(IdleCase::of(connections, &self.servers, &idles))
    }

    fn show(&self, table: &dyn fmt::Display) -> Result<(), Error> {
        if self.arguments.json {
            return Ok(());
        }
        output::flush();
        output::result(&format!("{table}\n"))
    }
}

/// What the machine cannot carry: better now than in some minutes. The servers' port is not known
/// yet, and no matter.
fn too_much(arguments: &CompareArguments) -> Vec<String> {
    let idle = Shape {
        connections: arguments.idle,
        pipeline: 1,
    };
    let most = arguments
        .connections
        .iter()
        .copied()
        .chain([idle])
        .max_by_key(|shape| shape.connections)
        .unwrap_or(idle);
    let plan: Plan = measure::load_plan(arguments, SocketAddr::from(([127, 0, 0, 1], 0)), most);
    machine::check(&plan.demand())
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Whose turn it is, one after the other, each with its round. Every other round goes backwards, so
/// that a steady drift of the machine favours nobody.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rounds_alternate() {
        use ServerKind::{Echo, RawUring, Tokio};
        let forth_and_back = [
            (1, Echo),
            (1, RawUring),
            (1, Tokio),
            (2, Tokio),
            (2, RawUring),
            (2, Echo),
        ];
        assert_eq!(turns(&[Echo, RawUring, Tokio], 2), forth_and_back);
    }

    #[test]
    fn a_server_has_one_name_in_arguments_tables_and_json() {
        for server in ServerKind::value_variants() {
            assert_eq!(
                server.to_possible_value().unwrap().get_name(),
                server.name()
            );
            assert_eq!(serde_json::json!(server), server.name());
        }
    }
}
