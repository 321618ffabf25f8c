//! The page of a comparison: what a request, and an idle connection, costs each server beside the
//! others.

use plotters::style::RGBColor;

use super::axis::Axis;
use super::figure::Figure;
use super::markup::{escape, table};
use super::palette::{AMBER, BLUE, SKY, SOFT};
use super::rows::{Dot, Row, Rows};
use super::tables;
use super::units::{bytes, count, latency, moment, rate, seconds, significant};
use super::{figures, grid, section};
use crate::compare::{Case, Comparison, IdleCase, REFERENCE, ServerKind, Shape};
use crate::statistics::Spread;

const UNKNOWN: &str = "\u{2013}";
/// Ratios have two decimals up to here, and three digits from here on.
const RATIO_DECIMALS_BELOW: f64 = 10.0;

/// Title and content.
pub(super) fn parts(comparison: &Comparison) -> (String, String) {
    let title = sentence(comparison);
    let cases: String = comparison.cases.iter().map(case).collect();
    let idle = comparison.idle.as_ref().map(idle).unwrap_or_default();
    let setting = section("How it was measured", &setting(comparison));
    let body = [
        header(comparison, &title),
        section("In short", &grid(&summary(comparison))),
        cases,
        idle,
        setting,
    ];
    (title, body.concat())
}

/// What came out, plain text.
fn sentence(comparison: &Comparison) -> String {
    let ratios = comparison
        .cases
        .iter()
        .filter_map(|case| case.ratio(ServerKind::Echo, REFERENCE));
    let medians: Vec<f64> = ratios.map(|ratio| ratio.median).collect();
    let Spread { min, max, .. } = Spread::of(medians.iter().copied());
    match (medians.len(), comparison.cases.len()) {
        (0, 0) if comparison.idle.is_none() => "Nothing was measured.".to_owned(),
        (0, 0) => "What an idle connection costs each server.".to_owned(),
        (0, _) => "What a request costs each server.".to_owned(),
        _ if times(min) == times(max) => format!(
            "A request costs echo {} of {REFERENCE}\u{2019}s processor time.",
            times(min)
        ),
        _ => format!(
            "A request costs echo {} to {} of {REFERENCE}\u{2019}s processor time.",
            times(min),
            times(max)
        ),
    }
}

fn header(comparison: &Comparison, title: &str) -> String {
    let (class, mark, word) = if comparison.complete {
        ("good", "\u{2713}", "Complete")
    } else {
        ("void", "!", "Cut short")
    };
    let servers: Vec<&str> = servers(comparison)
        .into_iter()
        .map(ServerKind::name)
        .collect();
    format!(
        "<header class=\"{class}\">\n<p class=\"kicker\"><span class=\"badge\"><span aria-hidden=\"true\">{mark}</span> {word}</span> \
         Comparison of <b>{}</b>, <span class=\"moment\">{}</span></p>\n<h1>{}</h1>\n<p class=\"note\">{}</p>\n</header>\n",
        escape(&servers.join(", ")),
        escape(&moment(&comparison.began)),
        escape(title),
        escape(&note(comparison)),
    )
}

fn note(comparison: &Comparison) -> String {
    format!(
        "Servers and client had a core each, messages of {} in a closed loop. The servers took turns, {} rounds of {}; each round is set \
         against {REFERENCE}\u{2019}s of the same turn, and what is shown is the median of those ratios, with the least and the greatest.",
        bytes(comparison.payload_bytes.into()),
        comparison.rounds,
        seconds(comparison.window_s),
    )
}

/// In the order in which they were measured first.
fn servers(comparison: &Comparison) -> Vec<ServerKind> {
    let idle = comparison
        .idle
        .iter()
        .flat_map(|idle| idle.servers.iter().map(|row| row.server));
    let mut servers = Vec::new();
    for server in comparison
        .cases
        .iter()
        .flat_map(|case| case.servers.iter().map(|row| row.server))
        .chain(idle)
    {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

/// All loads at once: of each server the median.
fn summary(comparison: &Comparison) -> String {
    let servers = servers(comparison);
    let heads: Vec<&str> = ["connections"]
        .into_iter()
        .chain(servers.iter().map(|server| server.name()))
        .collect();
    let cases = comparison.cases.iter().map(|case| {
        let cells = servers.iter().map(|server| {
            let row = case.servers.iter().find(|row| row.server == *server);
            row.map_or(UNKNOWN.to_owned(), |row| {
                either(row.ratio, row.cpu_us_per_request, latency)
            })
        });
        [short(case)].into_iter().chain(cells).collect()
    });
    let idle = comparison.idle.iter().map(|idle| {
        let cells = servers.iter().map(|server| {
            let row = idle.servers.iter().find(|row| row.server == *server);
            row.map_or(UNKNOWN.to_owned(), |row| {
                either(row.ratio, row.bytes_per_connection, bytes)
            })
        });
        [format!("{} idle, memory", count(idle.connections.into()))]
            .into_iter()
            .chain(cells)
            .collect()
    });
    let caption = format!(
        "To {REFERENCE}\u{2019}s processor time per request, or memory per connection; without it as measured. 100 \u{d7} 16: 100 \
         connections, each of which sends 16 requests in one go."
    );
    table("Medians", &caption, &heads, cases.chain(idle))
}

fn either(ratio: Option<Spread>, value: Spread, unit: fn(f64) -> String) -> String {
    ratio.map_or_else(|| unit(value.median), |ratio| times(ratio.median))
}

fn shape(case: &Case) -> Shape {
    Shape {
        connections: case.connections,
        pipeline: case.pipeline,
    }
}

/// `1 000`, `100 x 16`: with 16 requests in one go.
fn short(case: &Case) -> String {
    let connections = count(case.connections.into());
    if case.pipeline == 1 {
        connections
    } else {
        format!("{connections}\u{a0}\u{d7}\u{a0}{}", case.pipeline)
    }
}

fn case(case: &Case) -> String {
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
            ("p50", SKY, row.p50_ratio, row.p50_us),
            ("p99", AMBER, row.p99_ratio, row.p99_us),
        ],
    });
    let cost = figure("Processor time per request", latency_unit(), cost.collect());
    let latencies = figure("Latency", latency_unit(), latencies.collect());
    section(
        &escape(&shape(case).to_string()),
        &grid(&(figures([cost, latencies]) + &case_table(case))),
    )
}

fn idle(idle: &IdleCase) -> String {
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
    let memory = figure("Memory per idle connection", unit, memory.collect()).full();
    section(
        &format!("{} idle connections", count(idle.connections.into())),
        &grid(&(figures([memory]) + &idle_table(idle))),
    )
}

/// echo stands out among those it is compared with.
fn own_colour(server: ServerKind) -> RGBColor {
    if server == ServerKind::Echo {
        BLUE
    } else {
        SOFT
    }
}

/// What is drawn of a server: for each value its name and colour, to the reference's where that was
/// measured, and as it is.
struct Measured {
    server: ServerKind,
    values: Vec<(&'static str, RGBColor, Option<Spread>, Spread)>,
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
    Figure::half(title, reading, rows)
}

/// `0.98`, `246`.
fn times(ratio: f64) -> String {
    if ratio < RATIO_DECIMALS_BELOW {
        format!("{ratio:.2}")
    } else {
        significant(ratio)
    }
}

/// A median, and below it the least and the greatest.
fn spelled(spread: Spread, words: fn(f64) -> String) -> String {
    let Spread { median, min, max } = spread;
    let (median, min, max) = (words(median), words(min), words(max));
    // A unit once, if it is the same.
    let bare = min
        .split_once('\u{a0}')
        .filter(|(_, unit)| max.ends_with(&format!("\u{a0}{unit}")));
    let min = bare.map_or(&*min, |(number, _)| number);
    format!(
        "{}<br/><small>{}\u{2013}{}</small>",
        escape(&median),
        escape(min),
        escape(&max)
    )
}

fn spelled_ratio(ratio: Option<Spread>) -> String {
    ratio.map_or(UNKNOWN.to_owned(), |ratio| spelled(ratio, times))
}

fn percent(share: f64) -> String {
    format!("{}\u{a0}%", significant(100.0 * share))
}

fn case_table(case: &Case) -> String {
    let rows = case.servers.iter().map(|row| {
        vec![
            row.server.name().to_owned(),
            spelled(row.cpu_us_per_request, latency),
            spelled_ratio(row.ratio),
            percent(row.server_busy.median),
            spelled(row.p50_us, latency),
            spelled_ratio(row.p50_ratio),
            spelled(row.p99_us, latency),
            spelled_ratio(row.p99_ratio),
            rate(row.requests_per_second.median),
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

fn idle_table(idle: &IdleCase) -> String {
    let rows = idle.servers.iter().map(|row| {
        vec![
            row.server.name().to_owned(),
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

fn setting(comparison: &Comparison) -> String {
    let load = vec![
        ("rounds", count(comparison.rounds.into())),
        ("measured window", seconds(comparison.window_s)),
        ("payload", bytes(comparison.payload_bytes.into())),
        ("began", moment(&comparison.began)),
    ];
    tables::setting_of(
        &comparison.command,
        vec![
            ("Load", load),
            ("Machine", tables::machine(&comparison.machine)),
        ],
    )
}
