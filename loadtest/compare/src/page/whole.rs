//! The page from its head to its foot.

use std::io;
use std::path::Path;

use loadtest::output;
use loadtest::report::html::units::{UNKNOWN, bytes, count, latency, moment, seconds};
use loadtest::report::html::{
    self as parts, Badge, cell, document, grid, pair, section, settings, table,
};
use loadtest::report::page::machine;
use maud::{Markup, html as markup};

use super::cases::{case, idle, times};
use crate::comparison::{Case, Comparison};
use crate::kind::ServerKind;
use crate::statistics::Spread;

/// The page.
pub fn html(comparison: &Comparison) -> String {
    let body = markup! {
        (header(comparison))
        (section("In short", &grid([summary(comparison)])))
        @for load in &comparison.cases { (case(load)) }
        @if let Some(silent) = &comparison.idle { (idle(silent)) }
        (section("How it was measured", &setting(comparison)))
    };
    document(&sentence(comparison), &body)
}

/// The page as a file, which is replaced if it exists.
///
/// # Errors
/// When it cannot be written.
pub fn write(comparison: &Comparison, path: &Path) -> io::Result<()> {
    output::page(path, &html(comparison))
}

/// The outcome, plain text.
fn sentence(comparison: &Comparison) -> String {
    let (ours, reference) = (comparison.suite.subject(), comparison.suite.reference());
    let ratios = comparison
        .cases
        .iter()
        .filter_map(|case| case.ratio(ours, reference));
    let medians: Vec<f64> = ratios.map(|ratio| ratio.median).collect();
    let Spread { min, max, .. } = Spread::of(medians.iter().copied());
    match (medians.len(), comparison.cases.len()) {
        (0, 0) if comparison.idle.is_none() => "Nothing was measured.".to_owned(),
        (0, 0) => "What an idle connection costs each server.".to_owned(),
        (0, _) => "What a request costs each server.".to_owned(),
        _ if times(min) == times(max) => format!(
            "A request costs {ours} {} of {reference}\u{2019}s processor time.",
            times(min)
        ),
        _ => format!(
            "A request costs {ours} {} to {} of {reference}\u{2019}s processor time.",
            times(min),
            times(max)
        ),
    }
}

fn header(comparison: &Comparison) -> Markup {
    let badge = match comparison.complete {
        true => Badge("\u{2713}", "Complete", "good"),
        false => Badge("!", "Cut short", "void"),
    };
    let servers = servers(comparison).into_iter().map(ServerKind::name);
    parts::header(
        badge,
        ("Comparison", &servers.collect::<Vec<_>>().join(", ")),
        &comparison.began,
        &sentence(comparison),
        &[note(comparison)],
    )
}

fn note(comparison: &Comparison) -> String {
    let reference = comparison.suite.reference();
    format!(
        "Servers and client had a core each, messages of {} in a closed loop. The servers took turns, {} rounds of {}; each round is set \
         against {reference}\u{2019}s of the same turn, and what is shown is the median of those ratios, with the least and the greatest.",
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
fn summary(comparison: &Comparison) -> Markup {
    let servers = servers(comparison);
    let heads: Vec<&str> = ["connections"]
        .into_iter()
        .chain(servers.iter().map(|server| server.name()))
        .collect();
    let cases = comparison.cases.iter().map(|case| {
        let cells = servers.iter().map(|server| {
            let row = case.servers.iter().find(|row| row.server == *server);
            cell(row.map_or(UNKNOWN.to_owned(), |row| {
                either(row.ratio, row.cpu_us_per_request, latency)
            }))
        });
        [cell(short(case))].into_iter().chain(cells).collect()
    });
    let idle = comparison.idle.iter().map(|idle| {
        let cells = servers.iter().map(|server| {
            let row = idle.servers.iter().find(|row| row.server == *server);
            cell(row.map_or(UNKNOWN.to_owned(), |row| {
                either(row.ratio, row.bytes_per_connection, bytes)
            }))
        });
        [cell(format!(
            "{} idle, memory",
            count(idle.connections.into())
        ))]
        .into_iter()
        .chain(cells)
        .collect()
    });
    let reference = comparison.suite.reference();
    let caption = format!(
        "To {reference}\u{2019}s processor time per request, or memory per connection; without it as measured. 100 \u{d7} 16: 100 \
         connections, each of which sends 16 requests in one go."
    );
    table("Medians", &caption, &heads, cases.chain(idle))
}

fn either(ratio: Option<Spread>, value: Spread, unit: fn(f64) -> String) -> String {
    ratio.map_or_else(|| unit(value.median), |ratio| times(ratio.median))
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

fn setting(comparison: &Comparison) -> Markup {
    let load = markup! {
        (pair("rounds", count(comparison.rounds.into())))
        (pair("measured window", seconds(comparison.window_s)))
        (pair("payload", bytes(comparison.payload_bytes.into())))
        (pair("began", moment(&comparison.began)))
    };
    let parts = [("Load", load), ("Machine", machine(&comparison.machine))];
    settings(&comparison.command, &parts)
}
