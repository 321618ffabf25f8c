//! The tables: failures, quantiles, how it was run.

use super::markup::{definitions, escape, table};
use super::units::{bytes, count, latency, moment, rate, seconds, share, significant};
use super::verdict;
use crate::data::{FailureCount, Machine, Quantiles, Report};

/// Failures by kind, the most frequent first.
pub(super) fn failures(report: &Report) -> String {
    let total = verdict::failures(report);
    if total == 0 {
        let why = if report.requests.total > 0 {
            ": every reply came, in full and right."
        } else {
            "; nothing was answered either."
        };
        return format!("<p class=\"card\">Nothing failed{why}</p>\n");
    }
    let mut by_count: Vec<&FailureCount> = report
        .failures
        .iter()
        .filter(|failure| failure.count > 0)
        .collect();
    by_count.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    let rows = by_count.into_iter().map(|failure| {
        let name = escape(&failure.kind).replace('_', " ");
        vec![
            name,
            count(failure.count),
            share(failure.count as f64, total as f64),
            examples(&failure.examples),
        ]
    });
    table(
        "Failures by kind",
        "The most frequent first, of each the first few in words.",
        &["kind", "count", "share", "examples"],
        rows,
    )
}

fn examples(examples: &[String]) -> String {
    if examples.is_empty() {
        return "\u{2013}".to_owned();
    }
    let items: String = examples
        .iter()
        .map(|example| format!("<li>{}</li>", escape(example)))
        .collect();
    format!("<ul>{items}</ul>")
}

/// All quantiles of all that was timed.
pub(super) fn quantiles(report: &Report) -> String {
    let timed = [
        ("request", &report.latency_us),
        ("connect", &report.connect_us),
        ("lag", &report.generator.lag_us),
    ];
    let rows = timed
        .into_iter()
        .map(|(name, quantiles)| quantile_row(name, quantiles));
    let caption = "Time within which that share was done. Request: from the time it was due (open mode) or sent to its whole reply. \
                   Connect: from its start to its end. Lag: how late requests were sent, the load tester's own share.";
    table(
        "Quantiles",
        caption,
        &["", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"],
        rows,
    )
}

fn quantile_row(name: &str, quantiles: &Quantiles) -> Vec<String> {
    let Quantiles {
        count: number,
        p50,
        p90,
        p99,
        p99_9,
        p99_99,
        max,
    } = quantiles;
    let shown = |us: &f64| {
        if *number == 0 {
            "\u{2013}".to_owned()
        } else {
            latency(*us)
        }
    };
    let values = [p50, p90, p99, p99_9, p99_99, max].map(shown);
    [name.to_owned(), count(*number)]
        .into_iter()
        .chain(values)
        .collect()
}

/// Machine, command line, settings, processes.
pub(super) fn setting(report: &Report) -> String {
    let machine = machine(&report.machine);
    let parts = [
        ("Load", load(report)),
        ("Outcome", outcome(report)),
        ("Processes", processes(report)),
        ("Machine", machine),
    ];
    setting_of(&report.command, parts)
}

/// A command line, and settings under their titles.
pub(super) fn setting_of<'a>(
    command: &str,
    parts: impl IntoIterator<Item = (&'a str, Vec<(&'static str, String)>)>,
) -> String {
    let command = format!(
        "<h3>Command line</h3>\n<pre><code>{}</code></pre>\n",
        escape(command)
    );
    let parts: String = parts
        .into_iter()
        .map(|(title, pairs)| format!("<div><h3>{title}</h3>\n{}</div>\n", definitions(pairs)))
        .collect();
    format!("{command}<div class=\"columns\">\n{parts}</div>\n")
}

fn load(report: &Report) -> Vec<(&'static str, String)> {
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
            load.interval_s.map_or("\u{2013}".to_owned(), seconds),
        ),
        ("measured window", seconds(load.duration_s)),
    ]
}

fn outcome(report: &Report) -> Vec<(&'static str, String)> {
    let (connections, requests) = (&report.connections, &report.requests);
    let memory = report.memory.as_ref();
    vec![
        ("began", moment(&report.began)),
        ("ramp", seconds(connections.ramp_s)),
        ("window", seconds(requests.window_s)),
        ("requests answered, ramp included", count(requests.total)),
        (
            "requests answered in the window",
            format!("{} per second", rate(requests.achieved_per_s)),
        ),
        (
            "requests due in the window and never answered",
            count(requests.unanswered),
        ),
        (
            "memory of the machine",
            memory.map_or("not measured".to_owned(), |memory| {
                bytes(memory.used_bytes as f64)
            }),
        ),
        (
            "memory per connection",
            memory.map_or("\u{2013}".to_owned(), |memory| {
                bytes(memory.bytes_per_connection)
            }),
        ),
        (
            "of it slab of the kernel",
            memory.map_or("\u{2013}".to_owned(), |memory| {
                bytes(memory.slab_bytes_per_connection)
            }),
        ),
    ]
}

fn processes(report: &Report) -> Vec<(&'static str, String)> {
    let generator = &report.generator;
    let mut pairs = vec![
        ("load tester, shards", count(u64::from(generator.shards))),
        (
            "load tester, CPU",
            format!("{} cores", significant(generator.cpu_cores)),
        ),
        (
            "load tester, resident",
            bytes(generator.resident_bytes as f64),
        ),
    ];
    match &report.server {
        Some(server) => pairs.extend([
            (
                "server",
                format!("{} (process {})", server.name, server.pid),
            ),
            (
                "server, CPU",
                format!("{} cores", significant(server.cpu_cores)),
            ),
            (
                "server, CPU per request",
                server
                    .cpu_us_per_request
                    .map_or("\u{2013}".to_owned(), latency),
            ),
            ("server, resident", bytes(server.resident_bytes as f64)),
            ("server, shards", known(report.server_shards.len())),
        ]),
        None => pairs.push(("server", "not on this machine".to_owned())),
    }
    if let Some(rest) = &report.rest {
        let share = |cores: f64| format!("{} % of a core", significant(100.0 * cores));
        pairs.push(("load tester at rest, CPU", share(rest.generator_cpu_cores)));
        pairs.push((
            "server at rest, CPU",
            rest.server_cpu_cores.map_or("\u{2013}".to_owned(), share),
        ));
    }
    pairs
}

fn known(shards: usize) -> String {
    if shards == 0 {
        "\u{2013}".to_owned()
    } else {
        count(shards as u64)
    }
}

pub(super) fn machine(machine: &Machine) -> Vec<(&'static str, String)> {
    vec![
        ("kernel", machine.kernel.clone()),
        ("processor", machine.processor.clone()),
        ("cores allowed", count(u64::from(machine.cores))),
        ("memory", bytes(machine.memory_bytes as f64)),
        ("descriptors at most", count(machine.descriptors_max)),
    ]
}
