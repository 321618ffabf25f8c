//! The figures that matter most, each with the one to compare it with.

use maud::{Markup, html};

use crate::data::Report;
use crate::report::html::units::{bytes, count, latency, rate, seconds, share, significant};

const UNKNOWN: &str = "\u{2013}";

/// A figure: its name, its value, and a remark.
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
    let of_wanted = |name, part: u64| match connections.wanted {
        0 => (name, count(part), "none wanted".to_owned()),
        wanted => {
            let share = share(part as f64, wanted as f64);
            (
                name,
                count(part),
                format!("{share} of {} wanted", count(wanted)),
            )
        }
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
        Some(asked) => format!("of {} asked for, over {ramp}", count(u64::from(asked))),
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
        None => {
            let window = seconds(requests.window_s);
            format!("over {window}, nothing offered beyond it")
        }
    }
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
    [
        memory(report),
        server(report),
        generator(report),
        failures(report),
    ]
}

fn memory(report: &Report) -> Tile {
    let name = "Memory per connection";
    let Some(memory) = &report.memory else {
        return (name, UNKNOWN.to_owned(), "not measured".to_owned());
    };
    let in_all = bytes(memory.used_bytes as f64);
    let remark = format!("{in_all} in all, of the whole machine");
    (name, bytes(memory.bytes_per_connection), remark)
}

fn server(report: &Report) -> Tile {
    let name = "Server CPU";
    let Some(server) = &report.server else {
        return (name, UNKNOWN.to_owned(), "not on this machine".to_owned());
    };
    let remark = match server.cpu_us_per_request {
        Some(us) => format!("{} a request", latency(us)),
        None => format!("process {}, {}", server.pid, server.name),
    };
    (name, cores(server.cpu_cores), remark)
}

fn generator(report: &Report) -> Tile {
    let generator = &report.generator;
    let remark = match generator.lag_us.count {
        0 if generator.shards == 1 => "one shard".to_owned(),
        0 => format!("{} shards", generator.shards),
        _ => format!("99 % sent within {} of due", latency(generator.lag_us.p99)),
    };
    ("Load tester CPU", cores(generator.cpu_cores), remark)
}

fn failures(report: &Report) -> Tile {
    let total = report.failures_total();
    let most = report.failures.iter().max_by_key(|failure| failure.count);
    let remark = match most {
        Some(most) if total > 0 => format!("most of them {}", most.kind.replace('_', " ")),
        _ => "nothing went wrong".to_owned(),
    };
    ("Failures", count(total), remark)
}

fn cores(number: f64) -> String {
    let unit = if number == 1.0 { "core" } else { "cores" };
    format!("{}\u{a0}{unit}", significant(number))
}
