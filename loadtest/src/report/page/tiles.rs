//! The figures that matter most, each with the one to compare it with.

use maud::{Markup, html};

use crate::data::{Fanout, Report};
use crate::report::html::units::{UNKNOWN, bytes, cores, count, latency, rate, seconds, share};

pub(super) fn html(report: &Report) -> Markup {
    let (connections, requests, us) = (&report.connections, &report.requests, &report.latency_us);
    let slowest = format!("the slowest of {}", count(us.count));
    let tester = &report.generator;
    let per_second = match report.fanout {
        Some(_) => "Deliveries per second",
        None => "Requests per second",
    };
    html! {
        section class="tiles" aria-label="Key figures" {
            (of_wanted("Connections established", connections.established, connections.wanted))
            (of_wanted("Connections served", connections.served, connections.wanted))
            (tile("Connects per second", &rate(connections.connects_per_s), &connects(report)))
            (tile(per_second, &rate(requests.achieved_per_s), &offered(report)))
            (time("Latency p50", us.count, us.p50, "half were as fast"))
            (time("Latency p99", us.count, us.p99, "1 in 100 was slower"))
            (time("Latency p99.9", us.count, us.p99_9, "1 in 1\u{202f}000 was slower"))
            (time("Latency max", us.count, us.max, &slowest))
            @if let Some(fanout) = &report.fanout { (rooms(fanout)) }
            (memory(report))
            (server(report))
            (tile("Load tester CPU", &cores(tester.cpu_cores), &lateness(report)))
            (tile("Failures", &count(report.failures_total()), &most_frequent(report)))
        }
    }
}

fn tile(name: &str, value: &str, remark: &str) -> Markup {
    html! { div { h2 { (name) } p class="value" { (value) } p class="remark" { (remark) } } }
}

fn of_wanted(name: &str, part: u64, wanted: u64) -> Markup {
    let share = share(part as f64, wanted as f64);
    let remark = format!("{share} of {} wanted", count(wanted));
    match wanted {
        0 => tile(name, &count(part), "none wanted"),
        _ => tile(name, &count(part), &remark),
    }
}

fn time(name: &str, measured: u64, us: f64, remark: &str) -> Markup {
    match measured {
        0 => tile(name, UNKNOWN, "nothing measured"),
        _ => tile(name, &latency(us), remark),
    }
}

fn connects(report: &Report) -> String {
    let ramp = seconds(report.connections.ramp_s);
    match report.load.connect_rate {
        Some(asked) => format!("of {} asked for, over {ramp}", count(asked.into())),
        None => format!("as fast as served, over {ramp}"),
    }
}

fn offered(report: &Report) -> String {
    let requests = &report.requests;
    let window = seconds(requests.window_s);
    match requests.offered_per_s {
        Some(offered) => {
            let share = share(requests.achieved_per_s, offered);
            format!("{share} of {} offered", rate(offered))
        }
        None => format!("over {window}, nothing offered beyond it"),
    }
}

fn rooms(fanout: &Fanout) -> Markup {
    let name = "Deliveries per server core";
    let per_core = fanout.deliveries_per_core_s;
    let value = per_core.map_or_else(|| UNKNOWN.to_owned(), rate);
    let (said, rooms) = (count(fanout.said), count(fanout.rooms.into()));
    let lines = format!("a second; lines {said}, rooms {rooms}");
    let us = &fanout.last_us;
    html! {
        (tile(name, &value, &lines))
        @if us.count > 0 {
            (time("To the last, p50", us.count, us.p50, "from when it was due"))
            (time("To the last, max", us.count, us.max, "the slowest publication"))
        }
    }
}

fn memory(report: &Report) -> Markup {
    let name = "Memory per connection";
    let Some(memory) = &report.memory else {
        return tile(name, UNKNOWN, "not measured");
    };
    let in_all = bytes(memory.used_bytes as f64);
    let remark = format!("{in_all} in all, of the whole machine");
    tile(name, &bytes(memory.bytes_per_connection), &remark)
}

fn server(report: &Report) -> Markup {
    let name = "Server CPU";
    let Some(server) = &report.server else {
        return tile(name, UNKNOWN, "not on this machine");
    };
    let remark = match server.cpu_us_per_request {
        Some(us) => format!("{} a {}", latency(us), report.words()[0]),
        None => format!("process {}, {}{}", server.pid, server.name, server.more()),
    };
    tile(name, &cores(server.cpu_cores), &remark)
}

fn lateness(report: &Report) -> String {
    let tester = &report.generator;
    match (tester.lag_us.count, tester.shards) {
        (0, 1) => "one shard".to_owned(),
        (0, shards) => format!("{shards} shards"),
        _ => format!("99 % sent within {} of due", latency(tester.lag_us.p99)),
    }
}

fn most_frequent(report: &Report) -> String {
    let most = report.failures.iter().max_by_key(|failure| failure.count);
    match most.filter(|most| most.count > 0) {
        Some(most) => format!("most of them {}", most.kind.replace('_', " ")),
        None => "nothing went wrong".to_owned(),
    }
}
