//! The sections of a comparison: one load each, and the idle connections.

use loadtest::report::html::units::{bytes, count, latency, rate, significant};
use loadtest::report::html::{Axis, Colour, Figure, cell, figures, grid, section, table};
use maud::{Markup, html};

use super::rows::{Dot, Row, Rows};
use crate::comparison::{Case, IdleCase};
use crate::kind::{REFERENCE, ServerKind};
use crate::shape::Shape;
use crate::statistics::Spread;

const UNKNOWN: &str = "\u{2013}";
/// Ratios have two decimals up to here, and three digits from here on.
const RATIO_DECIMALS_BELOW: f64 = 10.0;

/// A load.
pub(super) fn case(case: &Case) -> Markup {
    let cost = case.servers.iter().map(|row| Measured {
        server: row.server,
        values: vec![(
            "",
            own_colour(row.server),
            row.ratio,
            row.cpu_us_per_request,
        )],
    });
    let latencies = case.servers.iter().map(|row| Measured {
        server: row.server,
        values: vec![
            ("p50", Colour::Sky, row.p50_ratio, row.p50_us),
            ("p99", Colour::Amber, row.p99_ratio, row.p99_us),
        ],
    });
    let cost = figure("Processor time per request", latency_unit(), cost.collect());
    let latencies = figure("Latency", latency_unit(), latencies.collect());
    let shape = Shape {
        connections: case.connections,
        pipeline: case.pipeline,
    };
    let cards = figures([cost.half(), latencies.half()]).chain([case_table(case)]);
    section(&shape.to_string(), &grid(cards))
}

/// The idle connections.
pub(super) fn idle(idle: &IdleCase) -> Markup {
    let memory = idle.servers.iter().map(|row| Measured {
        server: row.server,
        values: vec![(
            "",
            own_colour(row.server),
            row.ratio,
            row.bytes_per_connection,
        )],
    });
    let unit = Unit {
        words: bytes,
        axis: |title, values| Axis::bytes(title, values),
    };
    let memory = figure("Memory per idle connection", unit, memory.collect());
    let cards = figures([memory]).chain([idle_table(idle)]);
    let title = format!("{} idle connections", count(idle.connections.into()));
    section(&title, &grid(cards))
}

/// echo stands out among those it is compared with.
fn own_colour(server: ServerKind) -> Colour {
    if server == ServerKind::Echo {
        Colour::Blue
    } else {
        Colour::Soft
    }
}

/// The values drawn of a server: for each its name and colour, its ratio to the reference's where
/// that was measured, and the value itself.
struct Measured {
    server: ServerKind,
    values: Vec<(&'static str, Colour, Option<Spread>, Spread)>,
}

/// How values are written and drawn that are no ratios.
struct Unit {
    words: fn(f64) -> String,
    axis: fn(&str, Vec<f64>) -> Axis,
}

fn latency_unit() -> Unit {
    Unit {
        words: latency,
        axis: |title, values| Axis::latency(&format!("{title}, logarithmic"), values),
    }
}

fn figure(title: &str, unit: Unit, servers: Vec<Measured>) -> Figure {
    let are_ratios = servers
        .iter()
        .flat_map(|server| &server.values)
        .all(|(_, _, ratio, _)| ratio.is_some());
    let shown = |ratio: Option<Spread>, spread| {
        if are_ratios {
            ratio.unwrap_or_default()
        } else {
            spread
        }
    };
    let spreads = servers
        .iter()
        .flat_map(|server| &server.values)
        .map(|(_, _, ratio, spread)| shown(*ratio, *spread));
    let extremes: Vec<f64> = spreads
        .flat_map(|spread| [spread.min, spread.median, spread.max])
        .collect();
    let axis = if are_ratios {
        Axis::ratio(&format!("{REFERENCE} = 1"), extremes)
    } else {
        (unit.axis)("as measured", extremes)
    };
    let words = if are_ratios { times } else { unit.words };
    let rows = servers.iter().map(|server| {
        let dots = server.values.iter().map(|&(name, colour, ratio, spread)| {
            let spread = shown(ratio, spread);
            Dot {
                name,
                colour,
                spread,
                value: words(spread.median),
            }
        });
        Row {
            name: server.server.name().to_owned(),
            dots: dots.collect(),
        }
    });
    let rows = Rows {
        x: axis,
        level: are_ratios.then_some(1.0),
        rows: rows.collect(),
    };
    let reading = "The dot is the median of the rounds, its line goes from the least to the greatest; left is less.";
    Figure::new(title, reading, rows)
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
    table("As measured", caption, &heads, &rows.collect::<Vec<_>>())
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
        &rows.collect::<Vec<_>>(),
    )
}
