//! Plots over time.

use maud::Markup;

use crate::data::{Report, Sample};
use crate::report::html::{Axis, Colour, Line, Plot, Point, figure, no_figure};

/// Memory per connection is shown from this share of the greatest number of connections on: divided
/// by a few, the rest is noise.
const CONNECTIONS_SHARE_MIN: f64 = 0.05;
/// A ramp that takes more of the run than this has no end to mark.
const RAMP_SHARE_MAX: f64 = 0.98;

const NO_SAMPLES: &str = "The run left no samples, so there is nothing to plot over time.";

/// A value asked for, and its name.
type Level = Option<(&'static str, f64)>;

/// Connections, connects, requests and latency over time.
pub(super) fn load(report: &Report) -> Vec<Markup> {
    match report.timeline.is_empty() {
        true => vec![no_figure("Load over time", NO_SAMPLES)],
        false => [connections, connects, requests, latency]
            .map(|draw| draw(report))
            .into(),
    }
}

/// Memory in all and per connection over time.
pub(super) fn memory(report: &Report) -> Vec<Markup> {
    match report.timeline.is_empty() {
        true => vec![no_figure("Memory over time", NO_SAMPLES)],
        false => [memory_in_all, memory_per_connection]
            .map(|draw| draw(report))
            .into(),
    }
}

/// Failures over time, if there were any.
pub(super) fn failures(report: &Report) -> Option<Markup> {
    let line = line(report, "", Colour::RED, |sample| {
        Some(sample.failures as f64)
    });
    let plot = counted(report, "failures so far", line, None).filter(is_not_flat)?;
    let reading = "Each step is when something failed; the table has the kinds.";
    Some(figure("Failures over time", reading, &plot))
}

fn connections(report: &Report) -> Markup {
    let wanted = report.connections.wanted as f64;
    let line = line(report, "", Colour::BLUE, |sample| {
        Some(sample.connections as f64)
    });
    let level = (wanted > 0.0).then_some(("wanted", wanted));
    let plot = counted(report, "connections open", line, level);
    let reading = "It should climb to the dashed line without a bend and stay there; a fall before \
                   the end is a loss of connections.";
    drawn("Connections over time", plot, reading, NO_SAMPLES)
}

fn connects(report: &Report) -> Markup {
    let asked = report.load.connect_rate;
    let line = line(report, "", Colour::GREEN, |sample| {
        Some(sample.connects_per_s)
    });
    let level = asked.map(|asked| ("asked for", f64::from(asked)));
    let plot = counted(report, "connections established per second", line, level);
    let plot = plot.filter(is_not_flat);
    let reading = match asked {
        Some(_) => {
            "It should follow the dashed line during the ramp; below it, the server or the kernel \
             could not keep up."
        }
        None => {
            "As fast as they were served; a rate that falls while connections add up means that \
             each costs more than the one before."
        }
    };
    let why = "No connection was established while samples were taken.";
    drawn("Connects per second over time", plot, reading, why)
}

fn requests(report: &Report) -> Markup {
    let offered = report.requests.offered_per_s;
    let line = line(report, "", Colour::BLUE, |sample| {
        Some(sample.requests_per_s)
    });
    let level = offered.map(|offered| ("offered in the window", offered));
    let plot = counted(report, "requests answered per second", line, level);
    let plot = plot.filter(is_not_flat);
    let reading = match offered {
        Some(_) => {
            "Once all connections are open it should lie on the dashed line; what is missing below \
             it piles up as latency."
        }
        None => {
            "Each connection asks again once it is answered, so this is as much as came through, \
             not what was offered."
        }
    };
    let why = "No request was answered while samples were taken.";
    drawn("Requests per second over time", plot, reading, why)
}

fn latency(report: &Report) -> Markup {
    // Zeros stand for samples without a request.
    let positive = |us: f64| Some(us).filter(|us| *us > 0.0);
    let lines = [
        line(report, "max", Colour::RED, |sample| positive(sample.max_us)),
        line(report, "p99.9", Colour::AMBER, |sample| {
            positive(sample.p99_9_us)
        }),
        line(report, "p99", Colour::GREEN, |sample| {
            positive(sample.p99_us)
        }),
        line(report, "p90", Colour::BLUE, |sample| {
            positive(sample.p90_us)
        }),
        line(report, "p50", Colour::SKY, |sample| positive(sample.p50_us)),
    ];
    let axis = |values| Axis::latency("latency, logarithmic", values);
    let plot = over_time(report, lines, axis);
    let reading = "Each line is the time within which that share of the requests of a sample was \
                   answered; flat and close together is good, and a peak of max alone is a single \
                   pause.";
    let why = "No request was answered while samples were taken, so there is no latency.";
    drawn("Latency over time", plot, reading, why)
}

fn memory_in_all(report: &Report) -> Markup {
    let has_memory = report.memory.is_some();
    // Zero stands for a process that is not on this machine, or was not asked.
    let resident = |bytes: u64| (bytes > 0).then_some(bytes as f64);
    let lines = [
        line(report, "machine", Colour::BLUE, |sample| {
            has_memory.then_some(sample.memory_used_bytes as f64)
        }),
        line(report, "server", Colour::AMBER, |sample| {
            resident(sample.server_resident_bytes)
        }),
        line(report, "tester", Colour::GREEN, |sample| {
            resident(sample.generator_resident_bytes)
        }),
    ];
    let plot = over_time(report, lines, |values| Axis::bytes("memory", values));
    let reading = "Machine is what the whole system lost since before the first connect, the \
                   sockets of both ends in the kernel included; server and tester are the resident \
                   memory of the processes. Level after the ramp means no leak.";
    drawn(
        "Memory over time",
        plot,
        reading,
        "Memory was not measured.",
    )
}

fn memory_per_connection(report: &Report) -> Markup {
    let samples = report.timeline.iter();
    let connections_max = samples.map(|sample| sample.connections).max().unwrap_or(0);
    let enough = (connections_max as f64 * CONNECTIONS_SHARE_MIN).max(1.0);
    let has_memory = report.memory.is_some();
    let line = line(report, "", Colour::BLUE, |sample| {
        let connections = sample.connections as f64;
        (has_memory && connections >= enough).then(|| sample.memory_used_bytes as f64 / connections)
    });
    let plot = over_time(report, [line], |values| {
        Axis::bytes("memory per connection", values)
    });
    let reading = "The memory of the whole machine over the connections open, from a twentieth of \
                   them on; level means that each costs the same, however many there are.";
    let why = "Without connections, or without a measure of memory, there is nothing to divide.";
    drawn("Memory per connection over time", plot, reading, why)
}

/// The plot, or why there is none.
fn drawn(title: &str, plot: Option<Plot>, reading: &str, why: &str) -> Markup {
    plot.map_or_else(
        || no_figure(title, why),
        |plot| figure(title, reading, &plot),
    )
}

fn is_not_flat(plot: &Plot) -> bool {
    plot.lines.iter().flat_map(values).any(|value| value != 0.0)
}

/// One line of counts or rates, with the level that it is to reach.
fn counted(report: &Report, what: &str, line: Line, level: Level) -> Option<Plot> {
    let axis = |values: Vec<f64>| Axis::count(what, values.into_iter().chain(level.map(|it| it.1)));
    let mut plot = over_time(report, [line], axis)?;
    plot.levels.extend(level);
    Some(plot)
}

/// The lines that have any values; none if there are none.
fn over_time(
    report: &Report,
    lines: impl IntoIterator<Item = Line>,
    axis: impl FnOnce(Vec<f64>) -> Axis,
) -> Option<Plot> {
    let lines = lines
        .into_iter()
        .filter(|line| values(line).next().is_some());
    let lines: Vec<Line> = lines.collect();
    let y = axis(lines.iter().flat_map(values).collect());
    let samples = report.timeline.iter();
    let end_s = samples.map(|sample| sample.at_s).fold(0.0, f64::max);
    let ramp_s = report.connections.ramp_s;
    let is_marked = ramp_s > 0.0 && ramp_s < end_s * RAMP_SHARE_MAX;
    (!lines.is_empty()).then(|| Plot {
        lines,
        moments: is_marked
            .then_some(("end of ramp", ramp_s))
            .into_iter()
            .collect(),
        ..Plot::new(Axis::time(end_s), y)
    })
}

fn line(
    report: &Report,
    name: &'static str,
    colour: Colour,
    value: impl Fn(&Sample) -> Option<f64>,
) -> Line {
    let samples = report.timeline.iter();
    let points: Vec<Point> = samples.map(|sample| (sample.at_s, value(sample))).collect();
    Line {
        name,
        colour,
        points,
    }
}

fn values(line: &Line) -> impl Iterator<Item = f64> + '_ {
    line.points.iter().filter_map(|point| point.1)
}
