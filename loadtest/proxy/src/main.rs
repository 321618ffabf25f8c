//! Processor time of a proxy on `corelane::copy_bidirectional` beside one on tokio's, in the same
//! run and by turns: `make compare-proxy`.
//!
//! The proxies are on one core, everything else on another: the two ends of a bulk load are threads
//! of this process, which check every byte; small requests come from the load tester and are
//! answered by echo. Both proxies have their default settings.
#![allow(clippy::unwrap_used)] // What a comparison did not expect ends it.

mod load;
mod proxy;

use std::process::ExitCode;

use clap::Parser;

use load::{LOADS, Load, Upstreams};
use proxy::{Kind, Proxy};

/// The proxy's promise: no more processor time than tokio's for the same work.
const RATIO_MAX: f64 = 1.0;

/// Sets the processor time of a proxy on Corelane beside one on tokio.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each load is put on both proxies.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Megabytes each way of a bulk load.
    #[arg(long, default_value_t = 128)]
    megabytes: u64,
    /// Exits with 1 unless every median ratio is at most 1.0.
    #[arg(long)]
    assert: bool,
    /// Settings for the proxy on Corelane, as `--set` takes them.
    #[arg(long = "set")]
    settings: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cores: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    let (Some(&of_proxy), Some(&of_ends)) = (cores.first(), cores.last()) else {
        eprintln!(
            "the cores of this machine are not told: run it where sched_getaffinity(2) is allowed"
        );
        return ExitCode::from(2);
    };
    if of_proxy == of_ends {
        eprintln!("needs two cores: one for the proxies, one for what they connect");
        return ExitCode::from(2);
    }
    let upstreams = Upstreams::start(of_ends, arguments.megabytes << 20);
    let mut kept = true;
    for load in LOADS {
        let upstream = upstreams.of(load);
        let proxies = [Kind::Corelane, Kind::Tokio]
            .map(|kind| Proxy::start(kind, of_proxy, upstream, &arguments.settings));
        let mut rounds: Vec<[f64; 2]> = (0..arguments.rounds.max(1))
            .map(|round| measure(&upstreams, load, &proxies, round))
            .collect();
        kept &= report(load, &mut rounds) <= RATIO_MAX;
    }
    if arguments.assert && !kept {
        println!("not kept: at most {RATIO_MAX:.1} of tokio's processor time");
        return ExitCode::from(1);
    }
    ExitCode::SUCCESS
}

/// What a unit of the load costs each of the proxies. Who comes first changes from round to round.
fn measure(upstreams: &Upstreams, load: Load, proxies: &[Proxy; 2], round: usize) -> [f64; 2] {
    let mut costs = [0.0; 2];
    let order = if round.is_multiple_of(2) {
        [0, 1]
    } else {
        [1, 0]
    };
    for which in order {
        costs[which] = upstreams.cost(load, &proxies[which]);
    }
    costs
}

/// Prints the medians of the costs and of the rounds' own ratios. Gives the latter.
fn report(load: Load, rounds: &mut [[f64; 2]]) -> f64 {
    let mut ratios: Vec<f64> = rounds
        .iter()
        .map(|[corelane, tokio]| corelane / tokio)
        .collect();
    let ratio = median(&mut ratios);
    let [corelane, tokio] = [0, 1].map(|which| {
        median(
            &mut rounds
                .iter()
                .map(|costs| costs[which])
                .collect::<Vec<f64>>(),
        )
    });
    let (lowest, highest) = (ratios[0], ratios[ratios.len() - 1]);
    let (name, unit) = (load.to_string(), load.unit());
    println!(
        "{name:<24} corelane {corelane:>7.2} {unit}   tokio {tokio:>7.2} {unit}   ratio {ratio:.3} ({lowest:.3}-{highest:.3})"
    );
    ratio
}

/// Sorts them.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
