//! The tables: failures, quantiles, how it was run.

use std::cmp::Reverse;

use maud::{Markup, html};

use crate::data::{Machine, Quantiles, Report};
use crate::report::html::units::{
    UNKNOWN, bytes, cores, count, latency, moment, rate, seconds, share, significant,
};
use crate::report::html::{cell, settings, table};

/// Names and their values.
type Pairs = Vec<(&'static str, String)>;

/// Failures by kind, the most frequent first.
pub(super) fn failures(report: &Report) -> Markup {
    let total = report.failures_total();
    if total == 0 {
        let why = match report.requests.total {
            0 => "; nothing was answered either.",
            _ => ": every reply came, in full and right.",
        };
        return html! { p class="card" { "Nothing failed" (why) } };
    }
    let failures = report.failures.iter().filter(|failure| failure.count > 0);
    let mut by_count: Vec<_> = failures.collect();
    by_count.sort_by_key(|failure| Reverse(failure.count));
    let rows = by_count.into_iter().map(|failure| {
        vec![
            cell(failure.kind.replace('_', " ")),
            cell(count(failure.count)),
            cell(share(failure.count as f64, total as f64)),
            examples(&failure.examples),
        ]
    });
    let caption = "The most frequent first, of each the first few in words.";
    let heads = ["kind", "count", "share", "examples"];
    table("Failures by kind", caption, &heads, rows)
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
    let heads = ["", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    table("Quantiles", caption, &heads, rows)
}

fn quantile_row(name: &str, us: &Quantiles) -> Vec<Markup> {
    let times = [us.p50, us.p90, us.p99, us.p99_9, us.p99_99, us.max];
    let times = times.map(|time| match us.count {
        0 => cell(UNKNOWN),
        _ => cell(latency(time)),
    });
    let head = [cell(name), cell(count(us.count))];
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
    let connects = load
        .connect_rate
        .map(|rate| format!("{} per second", count(rate.into())));
    let connects = connects.unwrap_or_else(|| "as fast as served".to_owned());
    vec![
        ("target", load.target.to_string()),
        ("mode", load.mode.clone()),
        ("protocol", load.protocol.clone()),
        ("payload", bytes(load.payload_bytes.into())),
        (
            "requests under way per connection",
            count(load.pipeline.into()),
        ),
        ("connects asked for", connects),
        ("a connection asks every", known(load.interval_s, seconds)),
        ("measured window", seconds(load.duration_s)),
    ]
}

fn outcome(report: &Report) -> Pairs {
    let requests = &report.requests;
    let answered = format!("{} per second", rate(requests.achieved_per_s));
    let mut pairs = vec![
        ("began", moment(&report.began)),
        ("ramp", seconds(report.connections.ramp_s)),
        ("window", seconds(requests.window_s)),
        ("requests answered, ramp included", count(requests.total)),
        ("requests answered in the window", answered),
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
    let mut pairs = vec![
        ("load tester, shards", count(generator.shards.into())),
        ("load tester, CPU", cores(generator.cpu_cores)),
        (
            "load tester, resident",
            bytes(generator.resident_bytes as f64),
        ),
    ];
    let shards = Some(report.server_shards.len() as u64).filter(|shards| *shards > 0);
    match &report.server {
        Some(server) => pairs.extend([
            (
                "server",
                format!("{} (process {})", server.name, server.pid),
            ),
            ("server, CPU", cores(server.cpu_cores)),
            (
                "server, CPU per request",
                known(server.cpu_us_per_request, latency),
            ),
            ("server, resident", bytes(server.resident_bytes as f64)),
            ("server, shards", known(shards, count)),
        ]),
        None => pairs.push(("server", "not on this machine".to_owned())),
    }
    if let Some(rest) = &report.rest {
        let share = |cores: f64| format!("{} % of a core", significant(100.0 * cores));
        pairs.push(("load tester at rest, CPU", share(rest.generator_cpu_cores)));
        pairs.push(("server at rest, CPU", known(rest.server_cpu_cores, share)));
    }
    pairs
}

fn known<T>(value: Option<T>, words: impl Fn(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), words)
}

/// The machine, as a page describes it.
pub fn machine(machine: &Machine) -> Vec<(&'static str, String)> {
    vec![
        ("kernel", machine.kernel.clone()),
        ("processor", machine.processor.clone()),
        ("cores allowed", count(machine.cores.into())),
        ("memory", bytes(machine.memory_bytes as f64)),
        ("descriptors at most", count(machine.descriptors_max)),
    ]
}
