//! The latency distribution, all percentiles at once.

use maud::Markup;

use crate::data::Report;
use crate::report::html::{Axis, Colour, Line, Plot, figure, no_figure, units};

const TITLE: &str = "Latency distribution";

pub(super) fn distribution(report: &Report) -> Markup {
    let curve = &report.latency_curve;
    if !curve.iter().any(|(_, us)| *us > 0.0) {
        let why = "No request was answered in the measured window, so there is no distribution.";
        return no_figure(TITLE, why);
    }
    let percentiles = || curve.iter().map(|point| point.0);
    let x = Axis::tail("percentile of requests, %", percentiles());
    let y = Axis::latency("latency, logarithmic", curve.iter().map(|point| point.1));
    let points = curve.iter().map(|&(x, us)| (x, (us > 0.0).then_some(us)));
    let line = Line {
        name: "",
        colour: Colour::BLUE,
        points: points.collect(),
    };
    let plot = Plot {
        lines: vec![line],
        dots: dots(report, percentiles().fold(0.0, f64::max)),
        ..Plot::new(x, y)
    };
    let count = units::count(report.latency_us.count);
    let reading = format!(
        "So many percent of the {count} requests took no longer than the curve is high; each step \
         to the right looks at a tenth of the requests that are left, so a steep end is a few slow \
         ones and a step is a pause that hit many."
    );
    figure(TITLE, &reading, &plot)
}

/// The quantiles that the curve reaches.
fn dots(report: &Report, percentile_max: f64) -> Vec<(f64, f64, String)> {
    let us = &report.latency_us;
    let quantiles = [
        (50.0, us.p50),
        (99.0, us.p99),
        (99.9, us.p99_9),
        (99.99, us.p99_99),
        (100.0, us.max),
    ];
    let reached = quantiles
        .into_iter()
        .filter(|&(percentile, us)| percentile <= percentile_max && us > 0.0);
    reached.map(|(x, y)| (x, y, units::latency(y))).collect()
}
