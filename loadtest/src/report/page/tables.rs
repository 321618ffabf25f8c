//! The tables: failures, quantiles, how it was run.

use maud::{Markup, html};

use crate::data::{Machine, Quantiles, Report, ServerUse};
use crate::report::html::units::{
    bytes, count, latency, moment, rate, seconds, share, significant,
};
use crate::report::html::{cell, settings, table};

const UNKNOWN: &str = "\u{2013}";

/// Names and their values.
type Pairs = Vec<(&'static str, String)>;

/// Failures by kind, the most frequent first.
pub(super) fn failures(report: &Report) -> Markup {
    let total = report.failures_total();
    if total == 0 {
        let why = if report.requests.total > 0 {
            ": every reply came, in full and right."
        } else {
            "; nothing was answered either."
        };
        return html! { p class="card" { "Nothing failed" (why) } };
    }
    let failures = report.failures.iter().filter(|failure| failure.count > 0);
    let mut by_count: Vec<_> = failures.collect();
    by_count.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    let rows: Vec<_> = by_count
        .into_iter()
        .map(|failure| {
            vec![
                cell(failure.kind.replace('_', " ")),
                cell(count(failure.count)),
                cell(share(failure.count as f64, total as f64)),
                examples(&failure.examples),
            ]
        })
        .collect();
    table(
        "Failures by kind",
        "The most frequent first, of each the first few in words.",
        &["kind", "count", "share", "examples"],
        &rows,
    )
}

fn examples(examples: &[String]) -> Markup {
    html! {
        @if examples.is_empty() { (UNKNOWN) }
        @else { ul { @for example in examples { li { (example) } } } }
    }
}

/// All quantiles of all that was timed.
pub(super) fn quantiles(report: &Report) -> Markup {
    let rows = [
        quantile_row("request", &report.latency_us),
        quantile_row("connect", &report.connect_us),
        quantile_row("lag", &report.generator.lag_us),
    ];
    let caption = "Time within which that share was done. Request: from the time it was due (open \
                   mode) or sent to its whole reply. Connect: from its start to its end. Lag: how \
                   late requests were sent, the load tester's own share.";
    table(
        "Quantiles",
        caption,
        &["", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"],
        &rows,
    )
}

fn quantile_row(name: &str, quantiles: &Quantiles) -> Vec<Markup> {
    let Quantiles {
        count: number,
        p50,
        p90,
        p99,
        p99_9,
        p99_99,
        max,
    } = *quantiles;
    let times = [p50, p90, p99, p99_9, p99_99, max].map(|us| match number {
        0 => cell(UNKNOWN),
        _ => cell(latency(us)),
    });
    let head = [cell(name), cell(count(number))];
    head.into_iter().chain(times).collect()
}

/// Machine, command line, settings, processes.
pub(super) fn setting(report: &Report) -> Markup {
    let parts = [
        ("Load", load(report)),
        ("Outcome", outcome(report)),
        ("Processes", processes(report)),
        ("Machine", machine(&report.machine)),
    ];
    settings(&report.command, &parts)
}

fn load(report: &Report) -> Pairs {
    let load = &report.load;
    vec![
        ("target", load.target.to_string()),
        ("mode", load.mode.clone()),
        ("protocol", load.protocol.clone()),
        ("payload", bytes(f64::from(load.payload_bytes))),
        (
            "requests under way per connection",
            count(u64::from(load.pipeline)),
        ),
        (
            "connects asked for",
            load.connect_rate
                .map_or("as fast as served".to_owned(), |rate| {
                    format!("{} per second", count(rate.into()))
                }),
        ),
        (
            "a connection asks every",
            load.interval_s.map_or(UNKNOWN.to_owned(), seconds),
        ),
        ("measured window", seconds(load.duration_s)),
    ]
}

fn outcome(report: &Report) -> Pairs {
    let (connections, requests) = (&report.connections, &report.requests);
    let answered = rate(requests.achieved_per_s);
    let mut pairs = vec![
        ("began", moment(&report.began)),
        ("ramp", seconds(connections.ramp_s)),
        ("window", seconds(requests.window_s)),
        ("requests answered, ramp included", count(requests.total)),
        (
            "requests answered in the window",
            format!("{answered} per second"),
        ),
        (
            "requests due in the window and never answered",
            count(requests.unanswered),
        ),
    ];
    match &report.memory {
        Some(memory) => pairs.extend([
            ("memory of the machine", bytes(memory.used_bytes as f64)),
            ("memory per connection", bytes(memory.bytes_per_connection)),
            (
                "of it slab of the kernel",
                bytes(memory.slab_bytes_per_connection),
            ),
        ]),
        None => pairs.push(("memory of the machine", "not measured".to_owned())),
    }
    pairs
}

fn processes(report: &Report) -> Pairs {
    let generator = &report.generator;
    let resident = bytes(generator.resident_bytes as f64);
    let mut pairs = vec![
        ("load tester, shards", count(u64::from(generator.shards))),
        ("load tester, CPU", cores(generator.cpu_cores)),
        ("load tester, resident", resident),
    ];
    match &report.server {
        Some(server) => pairs.extend(server_pairs(report, server)),
        None => pairs.push(("server", "not on this machine".to_owned())),
    }
    if let Some(rest) = &report.rest {
        let share = |cores: f64| format!("{} % of a core", significant(100.0 * cores));
        let server = rest.server_cpu_cores.map_or(UNKNOWN.to_owned(), share);
        let tester = share(rest.generator_cpu_cores);
        pairs.push(("load tester at rest, CPU", tester));
        pairs.push(("server at rest, CPU", server));
    }
    pairs
}

fn server_pairs(report: &Report, server: &ServerUse) -> [(&'static str, String); 5] {
    let cost = server
        .cpu_us_per_request
        .map_or(UNKNOWN.to_owned(), latency);
    let name = format!("{} (process {})", server.name, server.pid);
    let resident = bytes(server.resident_bytes as f64);
    [
        ("server", name),
        ("server, CPU", cores(server.cpu_cores)),
        ("server, CPU per request", cost),
        ("server, resident", resident),
        ("server, shards", known(report.server_shards.len())),
    ]
}

fn cores(number: f64) -> String {
    format!("{} cores", significant(number))
}

fn known(shards: usize) -> String {
    if shards == 0 {
        UNKNOWN.to_owned()
    } else {
        count(shards as u64)
    }
}

/// The machine, as a page describes it.
pub fn machine(machine: &Machine) -> Vec<(&'static str, String)> {
    vec![
        ("kernel", machine.kernel.clone()),
        ("processor", machine.processor.clone()),
        ("cores allowed", count(u64::from(machine.cores))),
        ("memory", bytes(machine.memory_bytes as f64)),
        ("descriptors at most", count(machine.descriptors_max)),
    ]
}
