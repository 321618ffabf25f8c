//! How evenly the shards shared the load.

use plotters::style::RGBColor;

use super::axis::Axis;
use super::figure::Figure;
use super::palette::{AMBER, BLUE};
use super::plot::{Mark, Plot};
use super::units;
use crate::data::{Report, ShardShare};

/// Connections and requests by shard, of the server if it told, and of the load tester.
pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut figures = Vec::new();
    if !report.server_shards.is_empty() {
        figures.extend(of("server", &report.server_shards, AMBER));
    }
    figures.extend(of("load tester", &report.shards, BLUE));
    figures
}

fn of(whose: &str, shards: &[ShardShare], colour: RGBColor) -> Vec<Figure> {
    match shards {
        [] => vec![Figure::empty(&format!("Shards of the {whose}"), "Nothing is known about its shards.")],
        [_] => vec![Figure::empty(&format!("Shards of the {whose}"), "There is one shard, so nothing to balance.")],
        _ => vec![
            bars(&format!("Connections by shard of the {whose}"), "connections", shards, |shard| shard.connections, colour),
            bars(&format!("Requests by shard of the {whose}"), "requests", shards, |shard| shard.requests, colour),
        ],
    }
}

fn bars(title: &str, what: &str, shards: &[ShardShare], value: fn(&ShardShare) -> u64, colour: RGBColor) -> Figure {
    let mut in_order: Vec<&ShardShare> = shards.iter().collect();
    in_order.sort_by_key(|shard| shard.shard);
    let bars: Vec<f64> = in_order.into_iter().map(|shard| value(shard) as f64).collect();
    let total: f64 = bars.iter().sum();
    if total <= 0.0 {
        return Figure::empty(title, format!("No shard had any {what}."));
    }
    let mean = total / bars.len() as f64;
    let (least, most) = bars.iter().fold((f64::INFINITY, 0.0f64), |(least, most), bar| (bar.min(least), bar.max(most)));
    let reading = format!(
        "One bar per shard, the dashed line is an even share: the busiest has {} of it, the least busy {}.",
        units::share(most, mean),
        units::share(least, mean),
    );
    let axis = Axis::count(what, bars.iter().copied());
    let levels = vec![Mark { name: "", value: mean }];
    let x = Axis::numbers("number of the shard", bars.len());
    Figure::half(title, reading, Plot { bars, bars_colour: colour, levels, ..Plot::new(x, axis) })
}
