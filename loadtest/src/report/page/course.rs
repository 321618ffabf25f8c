//! Plots over time.

use crate::data::{Report, Sample};
use crate::report::html::{Axis, Colour, Figure, Line, Mark, Plot, Point};

/// Memory per connection is shown from this share of the greatest number of connections on: divided
/// by a few, the rest is noise.
const CONNECTIONS_SHARE_MIN: f64 = 0.05;
/// A ramp that takes more of the run than this has no end to mark.
const RAMP_SHARE_MAX: f64 = 0.98;

/// Name, colour, and where it is in a sample.
type Quantile = (&'static str, Colour, fn(&Sample) -> f64);

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

/// Memory in all and per connection over time.
pub(super) fn memory(report: &Report) -> Vec<Figure> {
    if report.timeline.is_empty() {
        return vec![Figure::empty("Memory over time", NO_SAMPLES)];
    }
    vec![memory_in_all(report), memory_per_connection(report)]
}

/// Failures over time, if there were any.
pub(super) fn failures(report: &Report) -> Option<Figure> {
    let line = line(report, "", Colour::Red, |sample| {
        Some(sample.failures as f64)
    });
    let reading = "Each step is when something failed; the table has the kinds.";
    (!is_flat(&line)).then(|| {
        let plot = counted(report, "failures so far", line, None);
        Figure::new("Failures over time", reading, plot)
    })
}

fn connections(report: &Report) -> Figure {
    let wanted = report.connections.wanted as f64;
    let line = line(report, "", Colour::Blue, |sample| {
        Some(sample.connections as f64)
    });
    let level = (wanted > 0.0).then_some(("wanted", wanted));
    let plot = counted(report, "connections open", line, level);
    let reading = "It should climb to the dashed line without a bend and stay there; a fall before \
                   the end is a loss of connections.";
    Figure::new("Connections over time", reading, plot)
}

fn connects(report: &Report) -> Figure {
    let title = "Connects per second over time";
    let asked = report.load.connect_rate;
    let line = line(report, "", Colour::Green, |sample| {
        Some(sample.connects_per_s)
    });
    if is_flat(&line) {
        let why = "No connection was established while samples were taken.";
        return Figure::empty(title, why);
    }
    let level = asked.map(|asked| ("asked for", f64::from(asked)));
    let plot = counted(report, "connections established per second", line, level);
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
    Figure::new(title, reading, plot)
}

fn requests(report: &Report) -> Figure {
    let title = "Requests per second over time";
    let offered = report.requests.offered_per_s;
    let line = line(report, "", Colour::Blue, |sample| {
        Some(sample.requests_per_s)
    });
    if is_flat(&line) {
        let why = "No request was answered while samples were taken.";
        return Figure::empty(title, why);
    }
    let level = offered.map(|offered| ("offered in the window", offered));
    let plot = counted(report, "requests answered per second", line, level);
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
    Figure::new(title, reading, plot)
}

fn latency(report: &Report) -> Figure {
    let title = "Latency over time";
    let quantiles: [Quantile; 5] = [
        ("max", Colour::Red, |sample| sample.max_us),
        ("p99.9", Colour::Amber, |sample| sample.p99_9_us),
        ("p99", Colour::Green, |sample| sample.p99_us),
        ("p90", Colour::Blue, |sample| sample.p90_us),
        ("p50", Colour::Sky, |sample| sample.p50_us),
    ];
    // Zeros stand for samples without a request.
    let lines = quantiles.map(|(name, colour, us)| {
        line(report, name, colour, |sample| {
            Some(us(sample)).filter(|us| *us > 0.0)
        })
    });
    if lines.iter().all(|line| values(line).next().is_none()) {
        let why = "No request was answered while samples were taken, so there is no latency.";
        return Figure::empty(title, why);
    }
    let y = Axis::latency("latency, logarithmic", lines.iter().flat_map(values));
    let reading = "Each line is the time within which that share of the requests of a sample was \
                   answered; flat and close together is good, and a peak of max alone is a single \
                   pause.";
    Figure::new(title, reading, over_time(report, y, lines))
}

fn memory_in_all(report: &Report) -> Figure {
    let title = "Memory over time";
    let has_memory = report.memory.is_some();
    // Zero stands for a process that is not on this machine, or was not asked.
    let resident = |bytes: u64| (bytes > 0).then_some(bytes as f64);
    let lines = [
        line(report, "machine", Colour::Blue, |sample| {
            has_memory.then_some(sample.memory_used_bytes as f64)
        }),
        line(report, "server", Colour::Amber, |sample| {
            resident(sample.server_resident_bytes)
        }),
        line(report, "tester", Colour::Green, |sample| {
            resident(sample.generator_resident_bytes)
        }),
    ];
    let lines: Vec<Line> = lines
        .into_iter()
        .filter(|line| values(line).next().is_some())
        .collect();
    if lines.is_empty() {
        return Figure::empty(title, "Memory was not measured.");
    }
    let y = Axis::bytes("memory", lines.iter().flat_map(values));
    let reading = "Machine is what the whole system lost since before the first connect, the \
                   sockets of both ends in the kernel included; server and tester are the resident \
                   memory of the processes. Level after the ramp means no leak.";
    Figure::new(title, reading, over_time(report, y, lines))
}

fn memory_per_connection(report: &Report) -> Figure {
    let title = "Memory per connection over time";
    let samples = report.timeline.iter();
    let connections_max = samples.map(|sample| sample.connections).max().unwrap_or(0);
    let enough = (connections_max as f64 * CONNECTIONS_SHARE_MIN).max(1.0);
    let has_memory = report.memory.is_some();
    let line = line(report, "", Colour::Blue, |sample| {
        let connections = sample.connections as f64;
        (has_memory && connections >= enough).then(|| sample.memory_used_bytes as f64 / connections)
    });
    if values(&line).next().is_none() {
        let why =
            "Without connections, or without a measure of memory, there is nothing to divide.";
        return Figure::empty(title, why);
    }
    let y = Axis::bytes("memory per connection", values(&line));
    let reading = "The memory of the whole machine over the connections open, from a twentieth of \
                   them on; level means that each costs the same, however many there are.";
    Figure::new(title, reading, over_time(report, y, [line]))
}

/// One line of counts or rates, with the level that it is to reach.
fn counted(report: &Report, what: &str, line: Line, level: Option<(&'static str, f64)>) -> Plot {
    let values = values(&line).chain(level.map(|level| level.1));
    let y = Axis::count(what, values);
    let levels = level.map(|(name, value)| Mark { name, value });
    Plot {
        levels: levels.into_iter().collect(),
        ..over_time(report, y, [line])
    }
}

fn over_time(report: &Report, y: Axis, lines: impl IntoIterator<Item = Line>) -> Plot {
    let samples = report.timeline.iter();
    let end_s = samples.map(|sample| sample.at_s).fold(0.0, f64::max);
    let ramp_s = report.connections.ramp_s;
    let ramp = (ramp_s > 0.0 && ramp_s < end_s * RAMP_SHARE_MAX).then_some(Mark {
        name: "end of ramp",
        value: ramp_s,
    });
    Plot {
        lines: lines.into_iter().collect(),
        moments: ramp.into_iter().collect(),
        ..Plot::new(Axis::time(end_s), y)
    }
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

fn is_flat(line: &Line) -> bool {
    values(line).all(|value| value == 0.0)
}

fn values(line: &Line) -> impl Iterator<Item = f64> + '_ {
    line.points.iter().filter_map(|point| point.1)
}
