//! The sections of a comparison: one load each, and the idle connections.

use loadtest::report::html::units::{UNKNOWN, bytes, count, latency, rate, significant};
use loadtest::report::html::{Axis, Colour, cell, figure, grid, half_figure, section, table};
use maud::{Markup, html};

use super::rows::{Dot, Row, Rows};
use crate::comparison::{Case, IdleCase};
use crate::kind::ServerKind;
use crate::shape::Shape;
use crate::statistics::Spread;
use crate::suite::Suite;

/// Ratios have two decimals up to here, and three digits from here on.
const RATIO_DECIMALS_BELOW: f64 = 10.0;

const READING: &str = "The dot is the median of the rounds, its line goes from the least to the \
                       greatest; left is less.";

/// A load.
pub(super) fn case(case: &Case) -> Markup {
    let costs = case.servers.iter().map(|row| {
        let colour = own_colour(case.suite, row.server);
        Measured {
            server: row.server,
            values: vec![value("", colour, row.ratio, row.cpu_us_per_request)],
        }
    });
    let latencies = case.servers.iter().map(|row| Measured {
        server: row.server,
        values: vec![
            value("p50", Colour::SKY, row.p50_ratio, row.p50_us),
            value("p99", Colour::AMBER, row.p99_ratio, row.p99_us),
        ],
    });
    let unit = Unit {
        words: latency,
        axis: |title, values| Axis::latency(&format!("{title}, logarithmic"), values),
    };
    let costs: Vec<_> = costs.collect();
    let latencies: Vec<_> = latencies.collect();
    let costs = half_figure(
        "Processor time per request",
        READING,
        &rows(case.suite, &unit, &costs),
    );
    let latencies = half_figure("Latency", READING, &rows(case.suite, &unit, &latencies));
    let shape = Shape {
        connections: case.connections,
        pipeline: case.pipeline,
    };
    let cards = [costs, latencies, case_table(case)];
    section(&shape.to_string(), &grid(cards))
}

/// The idle connections.
pub(super) fn idle(idle: &IdleCase) -> Markup {
    let memory = idle.servers.iter().map(|row| {
        let colour = own_colour(idle.suite, row.server);
        Measured {
            server: row.server,
            values: vec![value("", colour, row.ratio, row.bytes_per_connection)],
        }
    });
    let unit = Unit {
        words: bytes,
        axis: |title, values| Axis::bytes(title, values),
    };
    let memory: Vec<_> = memory.collect();
    let memory = figure(
        "Memory per idle connection",
        READING,
        &rows(idle.suite, &unit, &memory),
    );
    let cards = [memory, idle_table(idle)];
    let title = format!("{} idle connections", count(idle.connections.into()));
    section(&title, &grid(cards))
}

/// Ours stands out among those it is compared with.
fn own_colour(suite: Suite, server: ServerKind) -> Colour {
    if server == suite.subject() {
        Colour::BLUE
    } else {
        Colour::SOFT
    }
}

/// The values drawn of a server.
struct Measured {
    server: ServerKind,
    values: Vec<Value>,
}

/// A value: its name and colour, its ratio to the reference's if that was measured, and itself.
struct Value {
    name: &'static str,
    colour: Colour,
    ratio: Option<Spread>,
    measured: Spread,
}

fn value(name: &'static str, colour: Colour, ratio: Option<Spread>, measured: Spread) -> Value {
    Value {
        name,
        colour,
        ratio,
        measured,
    }
}

/// How values are written and drawn that are no ratios.
struct Unit {
    words: fn(f64) -> String,
    axis: fn(&str, Vec<f64>) -> Axis,
}

/// Ratios to the reference's values if all have one, else the values themselves.
fn rows(suite: Suite, unit: &Unit, servers: &[Measured]) -> Rows {
    let values = || servers.iter().flat_map(|server| &server.values);
    let ratios: Option<Vec<Spread>> = values().map(|value| value.ratio).collect();
    let are_ratios = ratios.is_some();
    let spreads = ratios.unwrap_or_else(|| values().map(|value| value.measured).collect());
    let extremes = spreads
        .iter()
        .flat_map(|spread| [spread.min, spread.median, spread.max]);
    let (x, words) = if are_ratios {
        let axis = Axis::ratio(&format!("{} = 1", suite.reference()), extremes);
        (axis, times as fn(f64) -> String)
    } else {
        let axis = (unit.axis)("as measured", extremes.collect());
        (axis, unit.words)
    };
    let mut spreads = spreads.iter();
    let rows = servers.iter().map(|server| Row {
        name: server.server.name().to_owned(),
        dots: dots(&server.values, &mut spreads, words),
    });
    Rows {
        x,
        level: are_ratios.then_some(1.0),
        rows: rows.collect(),
    }
}

fn dots<'a>(
    values: &[Value],
    spreads: &mut impl Iterator<Item = &'a Spread>,
    words: fn(f64) -> String,
) -> Vec<Dot> {
    let dot = |(value, spread): (&Value, &Spread)| Dot {
        name: value.name,
        colour: value.colour,
        spread: *spread,
        value: words(spread.median),
    };
    values.iter().zip(spreads).map(dot).collect()
}

/// `0.98`, `246`.
pub(super) fn times(ratio: f64) -> String {
    if ratio < RATIO_DECIMALS_BELOW {
        format!("{ratio:.2}")
    } else {
        significant(ratio)
    }
}

/// A median, and below it the least and the greatest.
fn spelled(spread: Spread, words: fn(f64) -> String) -> Markup {
    let Spread { median, min, max } = spread;
    let (median, min, max) = (words(median), words(min), words(max));
    // A unit once, if it is the same.
    let bare = min
        .split_once('\u{a0}')
        .filter(|(_, unit)| max.ends_with(&format!("\u{a0}{unit}")));
    let min = bare.map_or(&*min, |(number, _)| number);
    html! { (median) small { (min) "\u{2013}" (max) } }
}

fn spelled_ratio(ratio: Option<Spread>) -> Markup {
    ratio.map_or_else(|| cell(UNKNOWN), |ratio| spelled(ratio, times))
}

fn percent(share: f64) -> String {
    format!("{}\u{a0}%", significant(100.0 * share))
}

fn case_table(case: &Case) -> Markup {
    let rows = case.servers.iter().map(|row| {
        vec![
            cell(row.server),
            spelled(row.cpu_us_per_request, latency),
            spelled_ratio(row.ratio),
            cell(percent(row.server_busy.median)),
            spelled(row.p50_us, latency),
            spelled_ratio(row.p50_ratio),
            spelled(row.p99_us, latency),
            spelled_ratio(row.p99_ratio),
            cell(rate(row.requests_per_second.median)),
        ]
    });
    let caption = "Medians per request, below them the least and the greatest of the rounds. Busy: the share of the window that the server ran.";
    let heads = [
        "server",
        "CPU",
        "ratio",
        "busy",
        "p50",
        "ratio",
        "p99",
        "ratio",
        "requests/s",
    ];
    table("As measured", caption, &heads, rows)
}

fn idle_table(idle: &IdleCase) -> Markup {
    let rows = idle.servers.iter().map(|row| {
        vec![
            cell(row.server),
            spelled(row.bytes_per_connection, bytes),
            spelled_ratio(row.ratio),
            spelled(row.resident_bytes_before, bytes),
            spelled(row.resident_bytes_after, bytes),
            spelled(row.cpu_share, percent),
        ]
    });
    let caption = "Resident memory of the process, before them after some load, and with them. CPU: of a core, while nothing happens.";
    table(
        "As measured",
        caption,
        &[
            "server",
            "per connection",
            "ratio",
            "before",
            "with them",
            "CPU",
        ],
        rows,
    )
}
