//! The tables: failures, quantiles, how it was run.

use std::cmp::Reverse;

use maud::{Markup, html};

use crate::data::{Machine, Quantiles, Report};
use crate::report::html::units::{
    UNKNOWN, bytes, cores, count, latency, moment, rate, seconds, share, significant,
};
use crate::report::html::{cell, pair, settings, table};

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

pub(super) fn quantiles(report: &Report) -> Markup {
    let [request, ..] = report.words();
    let last = report
        .fanout
        .as_ref()
        .filter(|fanout| fanout.last_us.count > 0);
    let last = last.map(|fanout| quantile_row("to the last", &fanout.last_us));
    let rows = [quantile_row(request, &report.latency_us)]
        .into_iter()
        .chain(last);
    let rows = rows.chain([
        quantile_row("connect", &report.connect_us),
        quantile_row("lag", &report.generator.lag_us),
    ]);
    let caption = "Time within which that share was done. Request: from the time it was due (open \
                   mode) or sent to its whole reply; delivery: from the time the line was due. \
                   Connect: from its start to its end. Lag: how late requests were sent, the load \
                   tester's own share.";
    let heads = ["", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    table("Quantiles", caption, &heads, rows)
}

fn quantile_row(name: &str, us: &Quantiles) -> Vec<Markup> {
    let times = [us.p50, us.p90, us.p99, us.p99_9, us.p99_99, us.max];
    let measured = |time| (us.count > 0).then_some(time);
    let times = times.map(|time| cell(known(measured(time), latency)));
    let head = [cell(name), cell(count(us.count))];
    head.into_iter().chain(times).collect()
}

pub(super) fn setting(report: &Report) -> Markup {
    let parts = [
        ("Load", load(report)),
        ("Outcome", outcome(report)),
        ("Processes", processes(report)),
        ("Machine", machine(&report.machine)),
    ];
    settings(&report.command, &parts)
}

fn load(report: &Report) -> Markup {
    let load = &report.load;
    let per_second = |rate: u32| format!("{} per second", count(rate.into()));
    let connects = load.connect_rate.map(per_second);
    html! {
        (pair("target", load.target))
        (pair("mode", &load.mode))
        (pair("protocol", if load.tls { format!("{} by TLS", load.protocol) } else { load.protocol.clone() }))
        (pair("payload", bytes(load.payload_bytes.into())))
        (pair("requests under way per connection", count(load.pipeline.into())))
        (pair("connects asked for", connects.as_deref().unwrap_or("as fast as served")))
        (pair("a connection asks every", known(load.interval_s, seconds)))
        (pair("measured window", seconds(load.duration_s)))
    }
}

fn outcome(report: &Report) -> Markup {
    let (requests, [_, many, done]) = (&report.requests, report.words());
    let answered = rate(requests.achieved_per_s);
    html! {
        (pair("began", moment(&report.began)))
        (pair("ramp", seconds(report.connections.ramp_s)))
        @if let Some(handshakes) = &report.handshakes {
            (pair("TLS handshakes, full", count(handshakes.full)))
            (pair("TLS handshakes, resumed", count(handshakes.resumed)))
        }
        (pair("window", seconds(requests.window_s)))
        (pair(&format!("{many} {done}, ramp included"), count(requests.total)))
        (pair(&format!("{many} {done} in the window"), format!("{answered} per second")))
        (pair(&format!("{many} due in the window and never {done}"), count(requests.unanswered)))
        @if let Some(fanout) = &report.fanout {
            (pair("lines said in the window", count(fanout.said)))
            (pair("rooms", count(fanout.rooms.into())))
            (pair("lines lost", count(report.failures_of("lost"))))
            (pair("lines doubled", count(report.failures_of("doubled"))))
            (pair("lines out of order", count(report.failures_of("out_of_order"))))
            (pair("deliveries a second of a core of the server", known(fanout.deliveries_per_core_s, rate)))
            (pair("deliveries a second while a publication is on its way", known(fanout.deliveries_on_way_s, rate)))
        }
        @if let Some(memory) = &report.memory {
            (pair("memory of the machine", bytes(memory.used_bytes as f64)))
            (pair("memory per connection", bytes(memory.bytes_per_connection)))
            (pair("of it slab of the kernel", bytes(memory.slab_bytes_per_connection)))
        } @else {
            (pair("memory of the machine", "not measured"))
        }
    }
}

fn processes(report: &Report) -> Markup {
    let (tester, [one, ..]) = (&report.generator, report.words());
    let shards = Some(report.server_shards.len() as u64).filter(|shards| *shards > 0);
    let share = |cores: f64| format!("{} % of a core", significant(100.0 * cores));
    html! {
        (pair("load tester, shards", count(tester.shards.into())))
        (pair("load tester, CPU", cores(tester.cpu_cores)))
        (pair("load tester, resident", bytes(tester.resident_bytes as f64)))
        @if let Some(server) = &report.server {
            (pair("server", format!("{} (process {}){}", server.name, server.pid, server.more())))
            (pair("server, CPU", cores(server.cpu_cores)))
            (pair(&format!("server, CPU per {one}"), known(server.cpu_us_per_request, latency)))
            (pair("server, resident", bytes(server.resident_bytes as f64)))
            (pair("server, shards", known(shards, count)))
        } @else {
            (pair("server", "not on this machine"))
        }
        @if let Some(rest) = &report.rest {
            (pair("load tester at rest, CPU", share(rest.generator_cpu_cores)))
            (pair("server at rest, CPU", known(rest.server_cpu_cores, share)))
        }
    }
}

fn known<T>(value: Option<T>, words: impl Fn(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), words)
}

/// The machine, as a page describes it.
pub fn machine(machine: &Machine) -> Markup {
    html! {
        (pair("kernel", &machine.kernel))
        (pair("processor", &machine.processor))
        (pair("cores allowed", count(machine.cores.into())))
        (pair("memory", bytes(machine.memory_bytes as f64)))
        (pair("descriptors at most", count(machine.descriptors_max)))
    }
}
