//! `loadtest compare`: what a request, and an idle connection, costs each server.
//!
//! Server and client have a core each. The server's processor time is taken over exactly the
//! window in which the client counts requests. Machines drift, so the servers take turns, and each
//! is set against the reference of its own round.

mod measure;
pub(crate) mod sample;
mod server;
mod table;

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::args::CompareArguments;
use crate::error::Error;
use crate::statistics::Spread;
use crate::{Stop, system};
use measure::{Idle, Load};
use server::Binaries;

/// What the others are compared with.
const REFERENCE: ServerKind = ServerKind::RawUring;
/// Fewer connections leave a server waiting most of the time; its cost is then mostly that of
/// falling asleep and waking, so `--assert-ratio` does not judge it.
const ASSERTED_CONNECTIONS_MIN: u32 = 100;

/// A server that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// The framework's echo application
    Echo,
    /// io_uring without a framework: the reference
    #[value(name = "raw_uring")]
    RawUring,
    /// tokio on one thread
    Tokio,
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Echo => "echo",
            Self::RawUring => "raw_uring",
            Self::Tokio => "tokio",
        })
    }
}

/// Carry out `loadtest compare`. True: all was measured and `--assert-ratio` holds.
pub fn command(arguments: &CompareArguments, stop: &Stop) -> Result<bool, Error> {
    let binaries = check(arguments)?;
    let mut comparison = Comparison::default();
    let outcome = comparison.measure(arguments, &binaries, stop);
    if arguments.json {
        println!("{}", serde_json::json!(comparison));
    }
    outcome?;
    Ok(arguments.assert_ratio.is_none_or(|ratio_max| comparison.is_within(ratio_max)))
}

/// Everything that can be known to be wrong before a server is started.
fn check(arguments: &CompareArguments) -> Result<Binaries, Error> {
    system::descriptors_raise()?;
    system::core_check(arguments.cpu_server)?;
    system::core_check(arguments.cpu_client)?;
    if arguments.cpu_server == arguments.cpu_client {
        eprintln!("warning: server and client share core {}", arguments.cpu_server);
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build: its client is slow, and so may be the servers");
    }
    check_assertion(arguments)?;
    Binaries::find(arguments.bin_dir.as_deref(), &arguments.servers)
}

/// An assertion about nothing would hold, and be believed.
fn check_assertion(arguments: &CompareArguments) -> Result<(), Error> {
    let measured = |server| arguments.servers.contains(&server);
    let large = arguments.connections.iter().any(|&size| size >= ASSERTED_CONNECTIONS_MIN);
    if arguments.assert_ratio.is_none() || measured(ServerKind::Echo) && measured(REFERENCE) && large {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "--assert-ratio is about echo and {REFERENCE} at {ASSERTED_CONNECTIONS_MIN} connections or \
         more: name both in --servers and such a size in --connections"
    )))
}

/// What was measured, as far as it got.
#[derive(Debug, Default, Serialize)]
struct Comparison {
    sizes: Vec<Size>,
    idle: Vec<Idle>,
}

/// The servers under one number of connections.
#[derive(Debug, Serialize)]
struct Size {
    connections: u32,
    servers: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    server: ServerKind,
    cpu_us_per_request: Spread,
    /// Over the rounds' own ratios; none if the reference was not measured.
    ratio: Option<Spread>,
    /// Share of the window the server ran: at 1 it had no idle moment.
    server_busy: Spread,
    p50_us: Spread,
    p99_us: Spread,
    requests_per_second: Spread,
    rounds: Vec<Load>,
}

impl Comparison {
    fn measure(&mut self, arguments: &CompareArguments, binaries: &Binaries, stop: &Stop) -> Result<(), Error> {
        for &connections in &arguments.connections {
            let size = measure_size(arguments, binaries, connections, stop)?;
            show(arguments, &size);
            self.sizes.push(size);
        }
        if arguments.idle == 0 {
            return Ok(());
        }
        for &server in &arguments.servers {
            progress(format_args!("{} idle connections, {server}", arguments.idle));
            self.idle.push(measure::idle(arguments, binaries, server, stop)?);
        }
        show(arguments, &table::IdleTable(&self.idle));
        Ok(())
    }

    /// Whether echo keeps to the ratio at every size that is judged; says where it does not.
    fn is_within(&self, ratio_max: f64) -> bool {
        let judged = self.sizes.iter().filter(|size| size.connections >= ASSERTED_CONNECTIONS_MIN);
        let above: Vec<_> = judged
            .filter_map(|size| Some((size.connections, size.ratio(ServerKind::Echo)?)))
            .filter(|(_, ratio)| ratio.median > ratio_max)
            .collect();
        for (connections, ratio) in &above {
            let median = ratio.median;
            eprintln!("echo at {connections} connections: ratio {median:.3}, above {ratio_max}");
        }
        above.is_empty()
    }
}

impl Size {
    fn ratio(&self, server: ServerKind) -> Option<Spread> {
        self.servers.iter().find(|row| row.server == server)?.ratio
    }
}

fn measure_size(arguments: &CompareArguments, binaries: &Binaries, connections: u32, stop: &Stop) -> Result<Size, Error> {
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let mut round = Vec::new();
        for server in turns(&arguments.servers, number) {
            let load = measure::load(arguments, binaries, server, connections, stop)?;
            progress(format_args!(
                "{connections} connections, round {number} of {}: {server} {:.2} us per request",
                arguments.rounds, load.cpu_us_per_request
            ));
            round.push(load);
        }
        rounds.push(round);
    }
    let servers = arguments.servers.iter().map(|&server| Row::of(server, &rounds)).collect();
    Ok(Size { connections, servers })
}

/// Every other round goes backwards, so that a steady drift of the machine favours nobody.
fn turns(servers: &[ServerKind], round: u32) -> Vec<ServerKind> {
    let mut turns = servers.to_vec();
    if round.is_multiple_of(2) {
        turns.reverse();
    }
    turns
}

impl Row {
    fn of(server: ServerKind, rounds: &[Vec<Load>]) -> Self {
        let of = |round: &[Load], server| round.iter().find(|load| load.server == server).cloned();
        let loads: Vec<Load> = rounds.iter().filter_map(|round| of(round, server)).collect();
        let ratios: Vec<f64> = rounds
            .iter()
            .filter_map(|round| Some((of(round, server)?, of(round, REFERENCE)?)))
            .map(|(load, reference)| load.cpu_us_per_request / reference.cpu_us_per_request)
            .collect();
        let spread = |value: fn(&Load) -> f64| Spread::of(loads.iter().map(value));
        Self {
            server,
            cpu_us_per_request: spread(|load| load.cpu_us_per_request),
            ratio: (!ratios.is_empty()).then(|| Spread::of(ratios)),
            server_busy: spread(|load| load.server_busy),
            p50_us: spread(|load| load.p50_us),
            p99_us: spread(|load| load.p99_us),
            requests_per_second: spread(|load| load.requests_per_second),
            rounds: loads,
        }
    }
}

fn show(arguments: &CompareArguments, table: &dyn fmt::Display) {
    if !arguments.json {
        println!("{table}");
    }
}

/// On stderr: a comparison takes minutes, and stdout is for its result.
fn progress(what: fmt::Arguments<'_>) {
    eprintln!("{what}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn load(server: ServerKind, cpu_us_per_request: f64) -> Load {
        Load { cpu_us_per_request, ..Load::none(server) }
    }

    fn size(connections: u32, rounds: &[(f64, f64)]) -> Size {
        let rounds: Vec<_> = rounds.iter().map(|&(echo, raw)| vec![load(ServerKind::Echo, echo), load(REFERENCE, raw)]).collect();
        let servers = [ServerKind::Echo, REFERENCE].map(|server| Row::of(server, &rounds));
        Size { connections, servers: servers.into() }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_own_ratios() {
        // The machine was twice as slow in the second round: the ratio of that round is not.
        let size = size(100, &[(5.0, 5.0), (11.0, 10.0), (6.0, 5.0)]);
        let ratio = size.ratio(ServerKind::Echo).unwrap();
        assert_eq!(ratio, Spread { median: 1.1, min: 1.0, max: 1.2 });
        assert_eq!(size.ratio(REFERENCE).unwrap(), Spread { median: 1.0, min: 1.0, max: 1.0 });
        assert_eq!(size.servers[0].cpu_us_per_request.median, 6.0);
    }

    #[test]
    fn the_asserted_ratio_is_about_a_hundred_connections_and_more() {
        let comparison = |connections, echo| {
            let sizes = vec![size(connections, &[(echo, 5.0)])];
            Comparison { sizes, idle: Vec::new() }
        };
        assert!(comparison(1, 10.0).is_within(1.05));
        assert!(comparison(100, 5.2).is_within(1.05));
        assert!(!comparison(100, 5.3).is_within(1.05));
    }

    #[test]
    fn rounds_alternate() {
        use ServerKind::{Echo, RawUring, Tokio};
        let servers = [Echo, RawUring, Tokio];
        assert_eq!(turns(&servers, 1), [Echo, RawUring, Tokio]);
        assert_eq!(turns(&servers, 2), [Tokio, RawUring, Echo]);
    }
}
