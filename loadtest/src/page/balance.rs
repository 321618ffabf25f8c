//! How evenly the shards shared the load.

use plotters::style::RGBColor;

use super::axis::Axis;
use super::figure::Figure;
use super::palette::{AMBER, BLUE};
use super::plot::{Mark, Plot};
use super::units;
use crate::data::{Report, ShardShare, ShardTime};

/// Processor time by shard of the server, if its threads could be told apart; connections and
/// requests by shard of the load tester.
pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut figures = of_server(&report.server_shards);
    figures.extend(of_tester(&report.shards));
    figures
}

fn of_server(shards: &[ShardTime]) -> Vec<Figure> {
    match shards {
        [] => Vec::new(),
        [_] => vec![Figure::empty(
            "Shards of the server",
            "There is one shard, so nothing to balance.",
        )],
        _ => {
            let times = shards
                .iter()
                .map(|shard| (shard.shard, 100.0 * shard.cpu_cores));
            vec![
                bars(
                    "Processor time by shard of the server",
                    "% of a core",
                    times,
                    AMBER,
                )
                .full(),
            ]
        }
    }
}

fn of_tester(shards: &[ShardShare]) -> Vec<Figure> {
    match shards {
        [] => vec![Figure::empty(
            "Shards of the load tester",
            "Nothing is known about its shards.",
        )],
        [_] => vec![Figure::empty(
            "Shards of the load tester",
            "There is one shard, so nothing to balance.",
        )],
        _ => {
            let connections = shards
                .iter()
                .map(|shard| (shard.shard, shard.connections as f64));
            let requests = shards
                .iter()
                .map(|shard| (shard.shard, shard.requests as f64));
            vec![
                bars(
                    "Connections by shard of the load tester",
                    "connections",
                    connections,
                    BLUE,
                ),
                bars(
                    "Requests by shard of the load tester",
                    "requests",
                    requests,
                    BLUE,
                ),
            ]
        }
    }
}

/// A bar for each shard, given as its number and its value.
fn bars(
    title: &str,
    what: &str,
    shards: impl Iterator<Item = (u32, f64)>,
    colour: RGBColor,
) -> Figure {
    let mut in_order: Vec<(u32, f64)> = shards.collect();
    in_order.sort_by_key(|shard| shard.0);
    let bars: Vec<f64> = in_order.into_iter().map(|shard| shard.1).collect();
    let total: f64 = bars.iter().sum();
    if total <= 0.0 {
        return Figure::empty(title, format!("No shard had any {what}."));
    }
    let mean = total / bars.len() as f64;
    let (least, most) = bars
        .iter()
        .fold((f64::INFINITY, 0.0f64), |(least, most), bar| {
            (bar.min(least), bar.max(most))
        });
    let reading = format!(
        "One bar per shard, the dashed line is an even share: the busiest has {} of it, the least busy {}.",
        units::share(most, mean),
        units::share(least, mean),
    );
    let axis = Axis::count(what, bars.iter().copied());
    let levels = vec![Mark {
        name: "",
        value: mean,
    }];
    let x = Axis::numbers("number of the shard", bars.len());
    Figure::half(
        title,
        reading,
        Plot {
            bars,
            bars_colour: colour,
            levels,
            ..Plot::new(x, axis)
        },
    )
}
