//! How long the well-behaved wait for their answers while crowds of bad peers are there: by turns,
//! quiet, with the crowds at this server, and with the same crowds at another server of the machine.
//! What `make overload` runs. The first argument is the number of rounds.

use std::env;
use std::time::Duration;

use tests::load::Steady;
use tests::siege::{self, Crowds, INTERVAL, LOADED, RAMP, WELL_BEHAVED};
use tests::{Launch, raise_descriptor_limit};

const QUIET: Duration = Duration::from_secs(2);

fn main() {
    let rounds = env::args()
        .nth(1)
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(5);
    println!("{} descriptors", raise_descriptor_limit());
    let launch = || -> Launch { siege::besieged().alone() };
    let (server, other) = (launch().start(), siege::besieged().start());
    let addresses = siege::addresses_of(&server);
    let mut steady = Steady::connect(&addresses, WELL_BEHAVED, INTERVAL);
    let _warm = steady.ask_for(INTERVAL);
    let (mut to_quiet, mut to_beside) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let quiet = steady.ask_for(QUIET).at(0.99);
        let [loaded, beside] = [&server, &other].map(|target| {
            let _crowds = Crowds::come(&siege::addresses_of(target));
            let _ramp = steady.ask_for(RAMP);
            steady.ask_for(LOADED).at(0.99)
        });
        println!("round {round}: p99 {quiet:?} quiet, {loaded:?} besieged, {beside:?} beside");
        to_quiet.push(loaded.as_secs_f64() / quiet.as_secs_f64());
        to_beside.push(loaded.as_secs_f64() / beside.as_secs_f64());
    }
    let (to_quiet, to_beside) = (median(to_quiet), median(to_beside));
    println!("besieged / quiet {to_quiet:.2}, besieged / beside {to_beside:.2} (medians)");
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}
