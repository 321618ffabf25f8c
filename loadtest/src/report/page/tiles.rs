//! The figures that matter most, each with what it is to be compared with.

use maud::{Markup, html};

use crate::data::Report;
use crate::report::html::units::{bytes, count, latency, rate, seconds, share, significant};

const UNKNOWN: &str = "\u{2013}";

/// A figure: what it is, how much, and a remark.
type Tile = (&'static str, String, String);

pub(super) fn html(report: &Report) -> Markup {
    let tiles = counts(report)
        .into_iter()
        .chain(latencies(report))
        .chain(costs(report));
    html! {
        section class="tiles" aria-label="Key figures" { @for (name, value, remark) in tiles {
            div { h2 { (name) } p class="value" { (value) } p class="remark" { (remark) } }
        } }
    }
}

fn counts(report: &Report) -> [Tile; 4] {
    let (connections, requests) = (&report.connections, &report.requests);
    let of_wanted = |part: u64| match connections.wanted {
        0 => "none wanted".to_owned(),
        wanted => {
            let share = share(part as f64, wanted as f64);
            format!("{share} of {} wanted", count(wanted))
        }
    };
    let ramp = seconds(connections.ramp_s);
    let connects = match report.load.connect_rate {
        Some(asked) => format!("of {} asked for, over {ramp}", count(u64::from(asked))),
        None => format!("as fast as served, over {ramp}"),
    };
    let answered = match requests.offered_per_s {
        Some(offered) => {
            let share = share(requests.achieved_per_s, offered);
            format!("{share} of {} offered", rate(offered))
        }
        None => format!(
            "over {}, nothing offered beyond it",
            seconds(requests.window_s)
        ),
    };
    let (established, served) = (connections.established, connections.served);
    let connects_per_s = rate(connections.connects_per_s);
    [
        (
            "Connections established",
            count(established),
            of_wanted(established),
        ),
        ("Connections served", count(served), of_wanted(served)),
        ("Connects per second", connects_per_s, connects),
        (
            "Requests per second",
            rate(requests.achieved_per_s),
            answered,
        ),
    ]
}

fn latencies(report: &Report) -> [Tile; 4] {
    let latency_us = &report.latency_us;
    let tile = |name, us: f64, remark: &str| match latency_us.count {
        0 => (name, UNKNOWN.to_owned(), "nothing measured".to_owned()),
        _ => (name, latency(us), remark.to_owned()),
    };
    let slowest = format!("the slowest of {}", count(latency_us.count));
    [
        tile("Latency p50", latency_us.p50, "half were as fast"),
        tile("Latency p99", latency_us.p99, "1 in 100 was slower"),
        tile(
            "Latency p99.9",
            latency_us.p99_9,
            "1 in 1\u{202f}000 was slower",
        ),
        tile("Latency max", latency_us.max, &slowest),
    ]
}

fn costs(report: &Report) -> [Tile; 4] {
    let (memory, memory_remark) = match &report.memory {
        Some(memory) => {
            let in_all = bytes(memory.used_bytes as f64);
            (
                bytes(memory.bytes_per_connection),
                format!("{in_all} in all, of the whole machine"),
            )
        }
        None => (UNKNOWN.to_owned(), "not measured".to_owned()),
    };
    let (server, server_remark) = match &report.server {
        Some(server) => (
            cores(server.cpu_cores),
            server.cpu_us_per_request.map_or_else(
                || format!("process {}, {}", server.pid, server.name),
                |us| format!("{} a request", latency(us)),
            ),
        ),
        None => (UNKNOWN.to_owned(), "not on this machine".to_owned()),
    };
    let (total, most) = (
        report.failures_total(),
        report.failures.iter().max_by_key(|failure| failure.count),
    );
    let failed = match most {
        Some(most) if total > 0 => format!("most of them {}", most.kind.replace('_', " ")),
        _ => "nothing went wrong".to_owned(),
    };
    let tester = cores(report.generator.cpu_cores);
    [
        ("Memory per connection", memory, memory_remark),
        ("Server CPU", server, server_remark),
        ("Load tester CPU", tester, generator_remark(report)),
        ("Failures", count(total), failed),
    ]
}

fn generator_remark(report: &Report) -> String {
    let generator = &report.generator;
    match generator.lag_us.count {
        0 if generator.shards == 1 => "one shard".to_owned(),
        0 => format!("{} shards", generator.shards),
        _ => format!("99 % sent within {} of due", latency(generator.lag_us.p99)),
    }
}

fn cores(number: f64) -> String {
    let unit = if number == 1.0 { "core" } else { "cores" };
    format!("{}\u{a0}{unit}", significant(number))
}
