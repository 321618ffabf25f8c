//! The figures that matter most, each with what it is to be compared with.

use super::markup::escape;
use super::units::{bytes, count, latency, rate, seconds, share, significant};
use super::verdict;
use crate::data::Report;

const UNKNOWN: &str = "\u{2013}";

/// A figure: what it is, how much, and a remark.
struct Tile {
    name: &'static str,
    value: String,
    remark: String,
}

pub(super) fn html(report: &Report) -> String {
    let groups = [counts(report), latencies(report), costs(report)];
    let tiles: String = groups.iter().flatten().map(Tile::html).collect();
    format!("<section class=\"tiles\" aria-label=\"Key figures\">\n{tiles}</section>\n")
}

impl Tile {
    fn html(&self) -> String {
        let Self {
            name,
            value,
            remark,
        } = self;
        let (value, remark) = (escape(value), escape(remark));
        format!(
            "<div><h2>{name}</h2><p class=\"value\">{value}</p><p class=\"remark\">{remark}</p></div>\n"
        )
    }
}

fn tile(name: &'static str, value: String, remark: String) -> Tile {
    Tile {
        name,
        value,
        remark,
    }
}

fn counts(report: &Report) -> [Tile; 4] {
    let connections = &report.connections;
    let of_wanted = |part: u64| match connections.wanted {
        0 => "none wanted".to_owned(),
        wanted => format!(
            "{} of {} wanted",
            share(part as f64, wanted as f64),
            count(wanted)
        ),
    };
    [
        tile(
            "Connections established",
            count(connections.established),
            of_wanted(connections.established),
        ),
        tile(
            "Connections served",
            count(connections.served),
            of_wanted(connections.served),
        ),
        tile(
            "Connects per second",
            rate(connections.connects_per_s),
            connect_remark(report),
        ),
        tile(
            "Requests per second",
            rate(report.requests.achieved_per_s),
            request_remark(report),
        ),
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
        Some(offered) => format!(
            "{} of {} offered",
            share(requests.achieved_per_s, offered),
            rate(offered)
        ),
        None => format!(
            "over {}, nothing offered beyond it",
            seconds(requests.window_s)
        ),
    }
}

fn latencies(report: &Report) -> [Tile; 4] {
    let latency_us = &report.latency_us;
    let shown = |us: f64| {
        if latency_us.count == 0 {
            UNKNOWN.to_owned()
        } else {
            latency(us)
        }
    };
    let remark = |text: &str| {
        if latency_us.count == 0 {
            "nothing measured".to_owned()
        } else {
            text.to_owned()
        }
    };
    [
        tile(
            "Latency p50",
            shown(latency_us.p50),
            remark("half were as fast"),
        ),
        tile(
            "Latency p99",
            shown(latency_us.p99),
            remark("1 in 100 was slower"),
        ),
        tile(
            "Latency p99.9",
            shown(latency_us.p99_9),
            remark("1 in 1\u{202f}000 was slower"),
        ),
        tile(
            "Latency max",
            shown(latency_us.max),
            remark(&format!("the slowest of {}", count(latency_us.count))),
        ),
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
    match &report.memory {
        Some(memory) => {
            let remark = format!(
                "{} in all, of the whole machine",
                bytes(memory.used_bytes as f64)
            );
            tile(name, bytes(memory.bytes_per_connection), remark)
        }
        None => tile(name, UNKNOWN.to_owned(), "not measured".to_owned()),
    }
}

fn server(report: &Report) -> Tile {
    let name = "Server CPU";
    match &report.server {
        Some(server) => {
            let remark = match server.cpu_us_per_request {
                Some(us) => format!("{} a request", latency(us)),
                None => format!("process {}, {}", server.pid, server.name),
            };
            tile(name, cores(server.cpu_cores), remark)
        }
        None => tile(name, UNKNOWN.to_owned(), "not on this machine".to_owned()),
    }
}

fn generator(report: &Report) -> Tile {
    let generator = &report.generator;
    let remark = match generator.lag_us.count {
        0 if generator.shards == 1 => "one shard".to_owned(),
        0 => format!("{} shards", generator.shards),
        _ => format!("99 % sent within {} of due", latency(generator.lag_us.p99)),
    };
    tile("Load tester CPU", cores(generator.cpu_cores), remark)
}

fn failures(report: &Report) -> Tile {
    let total = verdict::failures(report);
    let remark = match report.failures.iter().max_by_key(|failure| failure.count) {
        Some(most) if total > 0 => format!("most of them {}", most.kind.replace('_', " ")),
        _ => "nothing went wrong".to_owned(),
    };
    tile("Failures", count(total), remark)
}

fn cores(number: f64) -> String {
    format!(
        "{}\u{a0}{}",
        significant(number),
        if number == 1.0 { "core" } else { "cores" }
    )
}
