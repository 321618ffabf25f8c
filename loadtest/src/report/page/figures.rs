//! The plots: over time, the latency distribution, and how evenly the shards shared the load.

use maud::Markup;

use crate::data::{Report, Sample, ShardShare, ShardTime};
use crate::report::html::{Axis, Colour, Line, Plot, Point, figure, half_figure, no_figure, units};

/// Memory per connection is shown from this share of the greatest number of connections on: divided
/// by a few, the rest is noise.
const CONNECTIONS_SHARE_MIN: f64 = 0.05;
/// A ramp that takes more of the run than this has no end to mark.
const RAMP_SHARE_MAX: f64 = 0.98;

const NO_SAMPLES: &str = "The run left no samples, so there is nothing to plot over time.";
const TESTER: &str = "Shards of the load tester";
const ONE_SHARD: &str = "There is one shard, so nothing to balance.";

pub(super) fn load(report: &Report) -> Vec<Markup> {
    let plots = [connections, connects, requests, latency];
    all(report, "Load over time", &plots)
}

pub(super) fn memory(report: &Report) -> Vec<Markup> {
    let plots = [memory_in_all, memory_per_connection];
    all(report, "Memory over time", &plots)
}

fn all(report: &Report, title: &str, plots: &[fn(&Report) -> Markup]) -> Vec<Markup> {
    match report.timeline.is_empty() {
        true => vec![no_figure(title, NO_SAMPLES)],
        false => plots.iter().map(|plot| plot(report)).collect(),
    }
}

/// Failures over time, if there were any.
pub(super) fn failures(report: &Report) -> Option<Markup> {
    let points = series(report, |sample| Some(sample.failures as f64));
    let line = Line("", Colour::RED, points);
    let plot = counted(report, "failures so far", line, None).filter(is_not_flat)?;
    let reading = "Each step is when something failed; the table has the kinds.";
    Some(figure("Failures over time", reading, &plot))
}

fn connections(report: &Report) -> Markup {
    let wanted = report.connections.wanted as f64;
    let points = series(report, |sample| Some(sample.connections as f64));
    let line = Line("", Colour::BLUE, points);
    let level = (wanted > 0.0).then_some(("wanted", wanted));
    let plot = counted(report, "connections open", line, level);
    let reading = "It should climb to the dashed line without a bend and stay there; a fall before \
                   the end is a loss of connections.";
    drawn("Connections over time", plot, reading, NO_SAMPLES)
}

fn connects(report: &Report) -> Markup {
    let points = series(report, |sample| Some(sample.connects_per_s));
    let line = Line("", Colour::GREEN, points);
    let asked = report.load.connect_rate;
    let level = asked.map(|asked| ("asked for", asked.into()));
    let plot = counted(report, "connections established per second", line, level);
    let bounded = "It should follow the dashed line during the ramp; below it, the server or the \
                   kernel could not keep up.";
    let free = "As fast as they were served; a rate that falls while connections add up means that \
                each costs more than the one before.";
    let reading = if asked.is_some() { bounded } else { free };
    let why = "No connection was established while samples were taken.";
    let plot = plot.filter(is_not_flat);
    drawn("Connects per second over time", plot, reading, why)
}

fn requests(report: &Report) -> Markup {
    let points = series(report, |sample| Some(sample.requests_per_s));
    let line = Line("", Colour::BLUE, points);
    let offered = report.requests.offered_per_s;
    let level = offered.map(|offered| ("offered in the window", offered));
    let plot = counted(report, "requests answered per second", line, level);
    let open = "Once all connections are open it should lie on the dashed line; what is missing \
                below it piles up as latency.";
    let closed = "Each connection asks again once it is answered, so this is as much as came \
                  through, not what was offered.";
    let reading = if offered.is_some() { open } else { closed };
    let why = "No request was answered while samples were taken.";
    let plot = plot.filter(is_not_flat);
    drawn("Requests per second over time", plot, reading, why)
}

fn latency(report: &Report) -> Markup {
    // Zeros stand for samples without a request.
    let line = |name, colour, us: fn(&Sample) -> f64| {
        let points = series(report, |sample| Some(us(sample)).filter(|us| *us > 0.0));
        Line(name, colour, points)
    };
    let lines = [
        line("max", Colour::RED, |sample| sample.max_us),
        line("p99.9", Colour::AMBER, |sample| sample.p99_9_us),
        line("p99", Colour::GREEN, |sample| sample.p99_us),
        line("p90", Colour::BLUE, |sample| sample.p90_us),
        line("p50", Colour::SKY, |sample| sample.p50_us),
    ];
    let axis = |us| Axis::latency("latency, logarithmic", us);
    let plot = over_time(report, lines, axis);
    let reading = "Each line is the time within which that share of the requests of a sample was \
                   answered; flat and close together is good, and a peak of max alone is a single \
                   pause.";
    let why = "No request was answered while samples were taken, so there is no latency.";
    drawn("Latency over time", plot, reading, why)
}

fn memory_in_all(report: &Report) -> Markup {
    let has_memory = report.memory.is_some();
    let machine = |sample: &Sample| has_memory.then_some(sample.memory_used_bytes as f64);
    // Zero stands for a process that is not on this machine, or was not asked.
    let resident = |bytes: u64| (bytes > 0).then_some(bytes as f64);
    let server = |sample: &Sample| resident(sample.server_resident_bytes);
    let tester = |sample: &Sample| resident(sample.generator_resident_bytes);
    let lines = [
        Line("machine", Colour::BLUE, series(report, machine)),
        Line("server", Colour::AMBER, series(report, server)),
        Line("tester", Colour::GREEN, series(report, tester)),
    ];
    let plot = over_time(report, lines, |bytes| Axis::bytes("memory", bytes));
    let reading = "Machine is what the whole system lost since before the first connect, the \
                   sockets of both ends in the kernel included; server and tester are the resident \
                   memory of the processes. Level after the ramp means no leak.";
    let why = "Memory was not measured.";
    drawn("Memory over time", plot, reading, why)
}

fn memory_per_connection(report: &Report) -> Markup {
    let samples = report.timeline.iter();
    let connections_max = samples.map(|sample| sample.connections).max().unwrap_or(0);
    let enough = (connections_max as f64 * CONNECTIONS_SHARE_MIN).max(1.0);
    let points = series(report, |sample| {
        let (used, connections) = (sample.memory_used_bytes as f64, sample.connections as f64);
        (report.memory.is_some() && connections >= enough).then(|| used / connections)
    });
    let line = Line("", Colour::BLUE, points);
    let axis = |bytes| Axis::bytes("memory per connection", bytes);
    let plot = over_time(report, [line], axis);
    let reading = "The memory of the whole machine over the connections open, from a twentieth of \
                   them on; level means that each costs the same, however many there are.";
    let why = "Without connections, or without a measure of memory, there is nothing to divide.";
    drawn("Memory per connection over time", plot, reading, why)
}

fn drawn(title: &str, plot: Option<Plot>, reading: &str, why: &str) -> Markup {
    let why = || no_figure(title, why);
    plot.map_or_else(why, |plot| figure(title, reading, &plot))
}

fn series(report: &Report, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Point> {
    let samples = report.timeline.iter();
    samples.map(|sample| (sample.at_s, value(sample))).collect()
}

fn values(line: &Line) -> impl Iterator<Item = f64> + '_ {
    line.2.iter().filter_map(|point| point.1)
}

fn is_not_flat(plot: &Plot) -> bool {
    plot.lines.iter().flat_map(values).any(|value| value != 0.0)
}

/// One line of counts or rates, with the level that it is to reach.
fn counted(
    report: &Report,
    what: &str,
    line: Line,
    level: Option<(&'static str, f64)>,
) -> Option<Plot> {
    let wanted = level.map(|level| level.1);
    let axis = |values: Vec<f64>| Axis::count(what, values.into_iter().chain(wanted));
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
    let has_values = |line: &Line| values(line).next().is_some();
    let lines: Vec<Line> = lines.into_iter().filter(has_values).collect();
    let y = axis(lines.iter().flat_map(values).collect());
    let samples = report.timeline.iter();
    let end_s = samples.map(|sample| sample.at_s).fold(0.0, f64::max);
    let ramp_s = report.connections.ramp_s;
    let is_marked = ramp_s > 0.0 && ramp_s < end_s * RAMP_SHARE_MAX;
    (!lines.is_empty()).then(|| Plot {
        lines,
        moments: Vec::from_iter(is_marked.then_some(("end of ramp", ramp_s))),
        ..Plot::new(Axis::time(end_s), y)
    })
}

pub(super) fn distribution(report: &Report) -> Markup {
    let (title, curve) = ("Latency distribution", &report.latency_curve);
    if !curve.iter().any(|(_, us)| *us > 0.0) {
        let why = "No request was answered in the measured window, so there is no distribution.";
        return no_figure(title, why);
    }
    let percentiles = || curve.iter().map(|point| point.0);
    let x = Axis::tail("percentile of requests, %", percentiles());
    let y = Axis::latency("latency, logarithmic", curve.iter().map(|point| point.1));
    let points = curve.iter().map(|&(x, us)| (x, (us > 0.0).then_some(us)));
    let plot = Plot {
        lines: vec![Line("", Colour::BLUE, points.collect())],
        dots: dots(report, percentiles().fold(0.0, f64::max)),
        ..Plot::new(x, y)
    };
    let count = units::count(report.latency_us.count);
    let reading = format!(
        "So many percent of the {count} requests took no longer than the curve is high; each step \
         to the right looks at a tenth of the requests that are left, so a steep end is a few slow \
         ones and a step is a pause that hit many."
    );
    figure(title, &reading, &plot)
}

/// The quantiles that the curve reaches.
fn dots(report: &Report, percentile_max: f64) -> Vec<(f64, f64, String)> {
    let us = &report.latency_us;
    let percentiles = [50.0, 99.0, 99.9, 99.99, 100.0].into_iter();
    let quantiles = percentiles.zip([us.p50, us.p99, us.p99_9, us.p99_99, us.max]);
    let reached = quantiles.filter(|&(percentile, us)| percentile <= percentile_max && us > 0.0);
    reached.map(|(x, y)| (x, y, units::latency(y))).collect()
}

/// Processor time by shard of the server, if its threads could be told apart; connections and
/// requests by shard of the load tester.
pub(super) fn balance(report: &Report) -> Vec<Markup> {
    let (servers, testers) = (&report.server_shards, &report.shards);
    let time = |shard: &ShardTime| (shard.shard, 100.0 * shard.cpu_cores);
    let times = servers.iter().map(time);
    let title = "Processor time by shard of the server";
    let mut figures = match servers.len() {
        0 => Vec::new(),
        1 => vec![no_figure("Shards of the server", ONE_SHARD)],
        _ => vec![bars(title, "% of a core", times, Colour::AMBER, figure)],
    };
    match testers.len() {
        0 => figures.push(no_figure(TESTER, "Nothing is known about its shards.")),
        1 => figures.push(no_figure(TESTER, ONE_SHARD)),
        _ => figures.extend([
            halves(report, "Connections", |shard| shard.connections),
            halves(report, "Requests", |shard| shard.requests),
        ]),
    }
    figures
}

fn halves(report: &Report, what: &str, value: fn(&ShardShare) -> u64) -> Markup {
    let shards = report.shards.iter();
    let values = shards.map(|shard| (shard.shard, value(shard) as f64));
    let title = format!("{what} by shard of the load tester");
    let unit = what.to_lowercase();
    bars(&title, &unit, values, Colour::BLUE, half_figure)
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
    let [most, least] = [most, least].map(|bar| units::share(bar, mean));
    let reading = format!(
        "One bar per shard, the dashed line is an even share: the busiest has {most} of it, the \
         least busy {least}."
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
