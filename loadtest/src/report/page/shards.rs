//! How evenly the shards shared the load.

use maud::Markup;

use crate::data::{Report, ShardShare, ShardTime};
use crate::report::html::{Axis, Colour, Plot, figure, half_figure, no_figure, units};

const ONE: &str = "There is one shard, so nothing to balance.";

/// Processor time by shard of the server, if its threads could be told apart; connections and
/// requests by shard of the load tester.
pub(super) fn balance(report: &Report) -> Vec<Markup> {
    let mut figures = of_server(&report.server_shards);
    figures.extend(of_tester(&report.shards));
    figures
}

fn of_server(shards: &[ShardTime]) -> Vec<Markup> {
    let title = "Processor time by shard of the server";
    let times = shards
        .iter()
        .map(|shard| (shard.shard, 100.0 * shard.cpu_cores));
    match shards.len() {
        0 => Vec::new(),
        1 => vec![no_figure("Shards of the server", ONE)],
        _ => vec![bars(title, "% of a core", times, Colour::AMBER, figure)],
    }
}

fn of_tester(shards: &[ShardShare]) -> Vec<Markup> {
    let title = "Shards of the load tester";
    let halves = |what: &str, value: fn(&ShardShare) -> u64| {
        let title = format!("{what} by shard of the load tester");
        let values = shards
            .iter()
            .map(|shard| (shard.shard, value(shard) as f64));
        bars(
            &title,
            &what.to_lowercase(),
            values,
            Colour::BLUE,
            half_figure,
        )
    };
    match shards.len() {
        0 => vec![no_figure(title, "Nothing is known about its shards.")],
        1 => vec![no_figure(title, ONE)],
        _ => vec![
            halves("Connections", |shard| shard.connections),
            halves("Requests", |shard| shard.requests),
        ],
    }
}

/// A bar for each shard, given as its number and its value.
fn bars(
    title: &str,
    what: &str,
    shards: impl Iterator<Item = (u32, f64)>,
    colour: Colour,
    figure: fn(&str, &str, &Plot) -> Markup,
) -> Markup {
    let mut in_order: Vec<(u32, f64)> = shards.collect();
    in_order.sort_by_key(|shard| shard.0);
    let bars: Vec<f64> = in_order.into_iter().map(|shard| shard.1).collect();
    let total: f64 = bars.iter().sum();
    if total <= 0.0 {
        return no_figure(title, &format!("No shard had any {what}."));
    }
    let mean = total / bars.len() as f64;
    let least = bars.iter().copied().fold(f64::INFINITY, f64::min);
    let most = bars.iter().copied().fold(0.0, f64::max);
    let reading = format!(
        "One bar per shard, the dashed line is an even share: the busiest has {} of it, the least \
         busy {}.",
        units::share(most, mean),
        units::share(least, mean),
    );
    let x = Axis::numbers("number of the shard", bars.len());
    let y = Axis::count(what, bars.iter().copied());
    let plot = Plot {
        bars: (bars, colour),
        levels: vec![("", mean)],
        ..Plot::new(x, y)
    };
    figure(title, &reading, &plot)
}
