//! How evenly the shards shared the load.

use crate::data::{Report, ShardShare, ShardTime};
use crate::report::html::{Axis, Colour, Figure, Mark, Plot, units};

const ONE: &str = "There is one shard, so nothing to balance.";

/// Processor time by shard of the server, if its threads could be told apart; connections and
/// requests by shard of the load tester.
pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut figures = of_server(&report.server_shards);
    figures.extend(of_tester(&report.shards));
    figures
}

fn of_server(shards: &[ShardTime]) -> Vec<Figure> {
    let times = shards
        .iter()
        .map(|shard| (shard.shard, 100.0 * shard.cpu_cores));
    let title = "Processor time by shard of the server";
    match shards.len() {
        0 => Vec::new(),
        1 => vec![Figure::empty("Shards of the server", ONE)],
        _ => vec![bars(title, "% of a core", times, Colour::Amber)],
    }
}

fn of_tester(shards: &[ShardShare]) -> Vec<Figure> {
    let title = "Shards of the load tester";
    let bars = |what: &str, value: fn(&ShardShare) -> u64| {
        let title = format!("{what} by shard of the load tester");
        let values = shards
            .iter()
            .map(|shard| (shard.shard, value(shard) as f64));
        bars(&title, &what.to_lowercase(), values, Colour::Blue).half()
    };
    match shards.len() {
        0 => vec![Figure::empty(title, "Nothing is known about its shards.")],
        1 => vec![Figure::empty(title, ONE)],
        _ => vec![
            bars("Connections", |shard| shard.connections),
            bars("Requests", |shard| shard.requests),
        ],
    }
}

/// A bar for each shard, given as its number and its value.
fn bars(
    title: &str,
    what: &str,
    shards: impl Iterator<Item = (u32, f64)>,
    colour: Colour,
) -> Figure {
    let mut in_order: Vec<(u32, f64)> = shards.collect();
    in_order.sort_by_key(|shard| shard.0);
    let bars: Vec<f64> = in_order.into_iter().map(|shard| shard.1).collect();
    let total: f64 = bars.iter().sum();
    if total <= 0.0 {
        return Figure::empty(title, format!("No shard had any {what}."));
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
    let even = Mark {
        name: "",
        value: mean,
    };
    let plot = Plot {
        bars: (bars, colour),
        levels: vec![even],
        ..Plot::new(x, y)
    };
    Figure::new(title, reading, plot)
}
