//! The figures that matter most, each with the one to compare it with.

use maud::{Markup, html};

use crate::data::Report;
use crate::report::html::units::{UNKNOWN, bytes, cores, count, latency, rate, seconds, share};

/// A figure: its name, its value, and a remark.
type Tile = (&'static str, String, String);

pub(super) fn html(report: &Report) -> Markup {
    let tiles = [counts(report), latencies(report), costs(report)];
    html! {
        section class="tiles" aria-label="Key figures" {
            @for (name, value, remark) in tiles.as_flattened() {
                div { h2 { (name) } p class="value" { (value) } p class="remark" { (remark) } }
            }
        }
    }
}

fn counts(report: &Report) -> [Tile; 4] {
    let (connections, requests) = (&report.connections, &report.requests);
    let of_wanted = |name, part: u64| {
        let (share, all) = (
            share(part as f64, connections.wanted as f64),
            connections.wanted,
        );
        let remark = match all {
            0 => "none wanted".to_owned(),
            _ => format!("{share} of {} wanted", count(all)),
        };
        (name, count(part), remark)
    };
    let connects = rate(connections.connects_per_s);
    let answered = rate(requests.achieved_per_s);
    [
        of_wanted("Connections established", connections.established),
        of_wanted("Connections served", connections.served),
        ("Connects per second", connects, connect_remark(report)),
        ("Requests per second", answered, request_remark(report)),
    ]
}

fn connect_remark(report: &Report) -> String {
    let ramp = seconds(report.connections.ramp_s);
    match report.load.connect_rate {
        Some(asked) => format!("of {} asked for, over {ramp}", count(asked.into())),
        None => format!("as fast as served, over {ramp}"),
    }
}

fn request_remark(report: &Report) -> String {
    let requests = &report.requests;
    match requests.offered_per_s {
        Some(offered) => {
            let share = share(requests.achieved_per_s, offered);
            format!("{share} of {} offered", rate(offered))
        }
        None => format!(
            "over {}, nothing offered beyond it",
            seconds(requests.window_s)
        ),
    }
}

fn latencies(report: &Report) -> [Tile; 4] {
    let us = &report.latency_us;
    let tile = |name, time: f64, remark: &str| match us.count {
        0 => (name, UNKNOWN.to_owned(), "nothing measured".to_owned()),
        _ => (name, latency(time), remark.to_owned()),
    };
    let slowest = format!("the slowest of {}", count(us.count));
    [
        tile("Latency p50", us.p50, "half were as fast"),
        tile("Latency p99", us.p99, "1 in 100 was slower"),
        tile("Latency p99.9", us.p99_9, "1 in 1\u{202f}000 was slower"),
        tile("Latency max", us.max, &slowest),
    ]
}

fn costs(report: &Report) -> [Tile; 4] {
    let unknown = |why: &str| (UNKNOWN.to_owned(), why.to_owned());
    let memory = report.memory.as_ref().map(|memory| {
        let in_all = bytes(memory.used_bytes as f64);
        let remark = format!("{in_all} in all, of the whole machine");
        (bytes(memory.bytes_per_connection), remark)
    });
    let server = report.server.as_ref().map(|server| {
        let remark = match server.cpu_us_per_request {
            Some(us) => format!("{} a request", latency(us)),
            None => format!("process {}, {}", server.pid, server.name),
        };
        (cores(server.cpu_cores), remark)
    });
    let memory = memory.unwrap_or_else(|| unknown("not measured"));
    let server = server.unwrap_or_else(|| unknown("not on this machine"));
    let tester = cores(report.generator.cpu_cores);
    let failures = count(report.failures_total());
    [
        ("Memory per connection", memory.0, memory.1),
        ("Server CPU", server.0, server.1),
        ("Load tester CPU", tester, tester_remark(report)),
        ("Failures", failures, failures_remark(report)),
    ]
}

fn tester_remark(report: &Report) -> String {
    let generator = &report.generator;
    match (generator.lag_us.count, generator.shards) {
        (0, 1) => "one shard".to_owned(),
        (0, shards) => format!("{shards} shards"),
        _ => format!("99 % sent within {} of due", latency(generator.lag_us.p99)),
    }
}

fn failures_remark(report: &Report) -> String {
    let most = report.failures.iter().max_by_key(|failure| failure.count);
    match most.filter(|most| most.count > 0) {
        Some(most) => format!("most of them {}", most.kind.replace('_', " ")),
        None => "nothing went wrong".to_owned(),
    }
}
