//! Plots over time.

use plotters::style::RGBColor;

use super::axis::Axis;
use super::figure::Figure;
use super::palette::{AMBER, BLUE, GREEN, RED, SKY};
use super::plot::{Line, Mark, Plot};
use super::thin::Point;
use crate::data::{Report, Sample};

/// Memory per connection is shown from this share of the greatest number of connections on: divided
/// by a few, the rest is noise.
const CONNECTIONS_SHARE_MIN: f64 = 0.05;
/// A ramp that takes more of the run than this has no end to mark.
const RAMP_SHARE_MAX: f64 = 0.98;

const NO_SAMPLES: &str = "The run left no samples, so there is nothing to plot over time.";

/// Connections, connects, requests and latency over time.
pub(super) fn load(report: &Report) -> Vec<Figure> {
    if report.timeline.is_empty() {
        return vec![Figure::empty("Load over time", NO_SAMPLES)];
    }
    vec![
        connections(report),
        connects(report),
        requests(report),
        latency(report),
    ]
}

/// Failures over time, if there were any.
pub(super) fn failures(report: &Report) -> Option<Figure> {
    if report.timeline.iter().all(|sample| sample.failures == 0) {
        return None;
    }
    let points = points(report, |sample| Some(sample.failures as f64));
    let axis = Axis::count("failures so far", values(&points));
    let plot = Plot {
        lines: vec![line("", RED, points)],
        ..over_time(report, axis)
    };
    Some(Figure::new(
        "Failures over time",
        "Each step is when something failed; the table has the kinds.",
        plot,
    ))
}

/// Memory in all and per connection over time.
pub(super) fn memory(report: &Report) -> Vec<Figure> {
    if report.timeline.is_empty() {
        return vec![Figure::empty("Memory over time", NO_SAMPLES)];
    }
    vec![memory_in_all(report), memory_per_connection(report)]
}

fn connections(report: &Report) -> Figure {
    let wanted = report.connections.wanted as f64;
    let points = points(report, |sample| Some(sample.connections as f64));
    let axis = Axis::count("connections open", values(&points).chain([wanted]));
    let levels = (wanted > 0.0)
        .then_some(Mark {
            name: "wanted",
            value: wanted,
        })
        .into_iter()
        .collect();
    let plot = Plot {
        lines: vec![line("", BLUE, points)],
        levels,
        ..over_time(report, axis)
    };
    let reading = "It should climb to the dashed line without a bend and stay there; a fall before the end is a loss of connections.";
    Figure::new("Connections over time", reading, plot)
}

fn connects(report: &Report) -> Figure {
    let asked = report.load.connect_rate.map(f64::from);
    let points = points(report, |sample| Some(sample.connects_per_s));
    if values(&points).all(|value| value == 0.0) {
        return Figure::empty(
            "Connects per second over time",
            "No connection was established while samples were taken.",
        );
    }
    let axis = Axis::count(
        "connections established per second",
        values(&points).chain(asked),
    );
    let levels = asked
        .map(|value| Mark {
            name: "asked for",
            value,
        })
        .into_iter()
        .collect();
    let plot = Plot {
        lines: vec![line("", GREEN, points)],
        levels,
        ..over_time(report, axis)
    };
    let reading = match asked {
        Some(_) => {
            "It should follow the dashed line during the ramp; below it, the server or the kernel could not keep up."
        }
        None => {
            "As fast as they were served; a rate that falls while connections add up means that each costs more than the one before."
        }
    };
    Figure::new("Connects per second over time", reading, plot)
}

fn requests(report: &Report) -> Figure {
    let offered = report.requests.offered_per_s;
    let points = points(report, |sample| Some(sample.requests_per_s));
    if values(&points).all(|value| value == 0.0) {
        return Figure::empty(
            "Requests per second over time",
            "No request was answered while samples were taken.",
        );
    }
    let axis = Axis::count(
        "requests answered per second",
        values(&points).chain(offered),
    );
    let levels = offered
        .map(|value| Mark {
            name: "offered in the window",
            value,
        })
        .into_iter()
        .collect();
    let plot = Plot {
        lines: vec![line("", BLUE, points)],
        levels,
        ..over_time(report, axis)
    };
    let reading = match offered {
        Some(_) => {
            "Once all connections are open it should lie on the dashed line; what is missing below it piles up as latency."
        }
        None => {
            "Each connection asks again once it is answered, so this is as much as came through, not what was offered."
        }
    };
    Figure::new("Requests per second over time", reading, plot)
}

fn latency(report: &Report) -> Figure {
    // Zeros stand for samples without a request.
    let series = |name, colour, value: fn(&Sample) -> f64| {
        line(
            name,
            colour,
            points(report, |sample| Some(value(sample)).filter(|us| *us > 0.0)),
        )
    };
    let lines = vec![
        series("max", RED, |sample| sample.max_us),
        series("p99.9", AMBER, |sample| sample.p99_9_us),
        series("p99", GREEN, |sample| sample.p99_us),
        series("p90", BLUE, |sample| sample.p90_us),
        series("p50", SKY, |sample| sample.p50_us),
    ];
    if lines
        .iter()
        .all(|line| values(&line.points).next().is_none())
    {
        return Figure::empty(
            "Latency over time",
            "No request was answered while samples were taken, so there is no latency.",
        );
    }
    let axis = Axis::latency(
        "latency, logarithmic",
        lines.iter().flat_map(|line| values(&line.points)),
    );
    let plot = Plot {
        lines,
        ..over_time(report, axis)
    };
    let reading = "Each line is the time within which that share of the requests of a sample was answered; flat and close together is good, \
                   and a peak of max alone is a single pause.";
    Figure::new("Latency over time", reading, plot)
}

fn memory_in_all(report: &Report) -> Figure {
    // Zero stands for a process that is not on this machine, or was not asked.
    let resident = |bytes: u64| (bytes > 0).then_some(bytes as f64);
    let machine = points(report, |sample| {
        report
            .memory
            .is_some()
            .then_some(sample.memory_used_bytes as f64)
    });
    let server = points(report, |sample| resident(sample.server_resident_bytes));
    let generator = points(report, |sample| resident(sample.generator_resident_bytes));
    let lines: Vec<Line> = [
        ("machine", BLUE, machine),
        ("server", AMBER, server),
        ("tester", GREEN, generator),
    ]
    .into_iter()
    .filter(|(_, _, points)| values(points).next().is_some())
    .map(|(name, colour, points)| line(name, colour, points))
    .collect();
    if lines.is_empty() {
        return Figure::empty("Memory over time", "Memory was not measured.");
    }
    let axis = Axis::bytes("memory", lines.iter().flat_map(|line| values(&line.points)));
    let plot = Plot {
        lines,
        ..over_time(report, axis)
    };
    let reading = "Machine is what the whole system lost since before the first connect, the sockets of both ends in the kernel included; \
                   server and tester are the resident memory of the processes. Level after the ramp means no leak.";
    Figure::new("Memory over time", reading, plot)
}

fn memory_per_connection(report: &Report) -> Figure {
    let title = "Memory per connection over time";
    let connections_max = report
        .timeline
        .iter()
        .map(|sample| sample.connections)
        .max()
        .unwrap_or(0);
    let enough = (connections_max as f64 * CONNECTIONS_SHARE_MIN).max(1.0);
    let has_memory = report.memory.is_some();
    let per_connection = |sample: &Sample| {
        let connections = sample.connections as f64;
        (has_memory && connections >= enough).then(|| sample.memory_used_bytes as f64 / connections)
    };
    let points = points(report, per_connection);
    if values(&points).next().is_none() {
        return Figure::empty(
            title,
            "Without connections, or without a measure of memory, there is nothing to divide.",
        );
    }
    let axis = Axis::bytes("memory per connection", values(&points));
    let plot = Plot {
        lines: vec![line("", BLUE, points)],
        ..over_time(report, axis)
    };
    let reading = "The memory of the whole machine over the connections open, from a twentieth of them on; level means that each costs \
                   the same, however many there are.";
    Figure::new(title, reading, plot)
}

fn over_time(report: &Report, y: Axis) -> Plot {
    let end_s = report
        .timeline
        .iter()
        .map(|sample| sample.at_s)
        .fold(0.0, f64::max);
    let ramp_s = report.connections.ramp_s;
    let is_ramp_seen = ramp_s > 0.0 && ramp_s < end_s * RAMP_SHARE_MAX;
    let moments = is_ramp_seen
        .then_some(Mark {
            name: "end of ramp",
            value: ramp_s,
        })
        .into_iter()
        .collect();
    Plot {
        moments,
        ..Plot::new(Axis::time(end_s), y)
    }
}

fn line(name: &'static str, colour: RGBColor, points: Vec<Point>) -> Line {
    Line {
        name,
        colour,
        points,
    }
}

fn points(report: &Report, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Point> {
    report
        .timeline
        .iter()
        .map(|sample| (sample.at_s, value(sample)))
        .collect()
}

fn values(points: &[Point]) -> impl Iterator<Item = f64> + '_ {
    points.iter().filter_map(|point| point.1)
}
