//! The latency distribution, all percentiles at once.

use crate::data::{Quantiles, Report};
use crate::report::html::{Axis, Colour, Dot, Figure, Line, Plot, units};

const TITLE: &str = "Latency distribution";

pub(super) fn figure(report: &Report) -> Figure {
    let curve = &report.latency_curve;
    if !curve.iter().any(|(_, us)| *us > 0.0) {
        return Figure::empty(
            TITLE,
            "No request was answered in the measured window, so there is no distribution.",
        );
    }
    let percentiles = || curve.iter().map(|point| point.0);
    let times = curve.iter().map(|point| point.1);
    let x = Axis::tail("percentile of requests, %", percentiles());
    let y = Axis::latency("latency, logarithmic", times);
    let points = curve.iter().map(|&(x, us)| (x, (us > 0.0).then_some(us)));
    let line = Line {
        name: "",
        colour: Colour::Blue,
        points: points.collect(),
    };
    let plot = Plot {
        lines: vec![line],
        dots: dots(report, percentiles().fold(0.0, f64::max)),
        ..Plot::new(x, y)
    };
    Figure::new(TITLE, reading(report), plot)
}

/// The quantiles that the curve reaches.
fn dots(report: &Report, percentile_max: f64) -> Vec<Dot> {
    let Quantiles {
        p50,
        p99,
        p99_9,
        p99_99,
        max,
        ..
    } = report.latency_us;
    let quantiles = [
        (50.0, p50),
        (99.0, p99),
        (99.9, p99_9),
        (99.99, p99_99),
        (100.0, max),
    ];
    let reached = quantiles
        .into_iter()
        .filter(|&(percentile, us)| percentile <= percentile_max && us > 0.0);
    reached
        .map(|(x, y)| Dot {
            x,
            y,
            label: units::latency(y),
        })
        .collect()
}

fn reading(report: &Report) -> String {
    let count = units::count(report.latency_us.count);
    format!(
        "So many percent of the {count} requests took no longer than the curve is high; each step to the right looks at a tenth of \
         the requests that are left, so a steep end is a few slow ones and a step is a pause that hit many."
    )
}
