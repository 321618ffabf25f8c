//! The report as text: the figures that matter, in at most 25 lines.

use std::fmt;

use crate::data::{Fanout, Handshakes, Quantiles, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        let (protocol, target, note) = (&load.protocol, load.target, &load.mode_note);
        let shape = format!("{} bytes x {}", load.payload_bytes, load.pipeline);
        let tls = if load.tls { " by TLS" } else { "" };
        writeln!(f, "{protocol}{tls} to {target}, {shape}, {note}")?;
        let mut lines = outcome(self);
        lines.extend(failures(self));
        lines.extend(costs(self));
        // Why the figures are not to be taken as they are.
        lines.extend(self.void.clone().map(|why| ("VOID", why)));
        let cut_short = || ("INTERRUPTED", "a signal ended the run early".to_owned());
        lines.extend(self.interrupted.then(cut_short));
        for (what, text) in lines {
            writeln!(f, "{what:<13}{text}")?;
        }
        Ok(())
    }
}

/// The subject of a line, and its text.
type Line = (&'static str, String);

fn outcome(report: &Report) -> Vec<Line> {
    let (connections, requests) = (&report.connections, &report.requests);
    let (wanted, established) = (connections.wanted, connections.established);
    let (served, per_s) = (connections.served, connections.connects_per_s);
    let counts = format!("{wanted} wanted, {established} established, {served} served");
    let mut lines = vec![("connections", counts)];
    if per_s > 0.0 {
        let took = quantiles(&report.connect_us);
        lines.push(("connects", format!("{per_s:.0}/s, {took}")));
    }
    let handshakes = report.handshakes.as_ref().map(handshakes);
    lines.extend(handshakes.map(|told| ("handshakes", told)));
    let due = |offered| format!(" of {offered:.0}/s due");
    let due = requests.offered_per_s.map(due);
    let missing = match requests.unanswered {
        0 => String::new(),
        unanswered => format!("; {unanswered} of the window's were not"),
    };
    let [_, what, done] = report.words();
    let answered = format!(
        "{:.0}/s {done}{} in a window of {:.1} s, {} in all{missing}",
        requests.achieved_per_s,
        due.unwrap_or_default(),
        requests.window_s,
        requests.total
    );
    let is_closed = report.load.mode == "closed";
    let label = if is_closed { "optimistic, " } else { "" };
    let latency = format!("{label}{}", quantiles(&report.latency_us));
    lines.extend([(what, answered), ("latency", latency)]);
    let fanout = report.fanout.as_ref();
    lines.extend(
        fanout
            .into_iter()
            .flat_map(|fanout| lines_of(report, fanout)),
    );
    lines
}

fn handshakes(handshakes: &Handshakes) -> String {
    let Handshakes { full, resumed, .. } = handshakes;
    let [full_per_s, resumed_per_s] = [handshakes.full_per_s, handshakes.resumed_per_s];
    let per_core = handshakes.per_core_s;
    let per_core = per_core.map(|rate| format!("; {rate:.0}/s per core of the server"));
    format!(
        "{full} full ({full_per_s:.0}/s), {resumed} resumed ({resumed_per_s:.0}/s){}",
        per_core.unwrap_or_default()
    )
}

fn lines_of(report: &Report, fanout: &Fanout) -> Vec<Line> {
    let Fanout { rooms, said, .. } = fanout;
    let [lost, doubled, late] =
        ["lost", "doubled", "out_of_order"].map(|kind| report.failures_of(kind));
    let per_core = fanout.deliveries_per_core_s;
    let per_core = per_core.map(|rate| format!("; {rate:.0} deliveries/s per core of the server"));
    let per_core = per_core.unwrap_or_default();
    let lines = format!(
        "{said} said in the window, rooms {rooms}; {lost} lost, {doubled} doubled, {late} out of \
         order{per_core}"
    );
    let last = fanout.deliveries_on_way_s.map(|rate| {
        let took = quantiles(&fanout.last_us);
        (
            "to the last",
            format!("{took}; {rate:.0} deliveries/s while one is on its way"),
        )
    });
    [("lines", lines)].into_iter().chain(last).collect()
}

fn failures(report: &Report) -> Vec<Line> {
    if report.failures.is_empty() {
        return vec![("failures", "none".to_owned())];
    }
    let lines = report.failures.iter().map(|failure| {
        let example = failure.examples.first().map_or("", String::as_str);
        let text = format!("{} {} ({example})", failure.count, failure.kind);
        ("failures", text)
    });
    lines.collect()
}

fn costs(report: &Report) -> Vec<Line> {
    let server = report.server.as_ref().map(|server| {
        let (name, pid, cores) = (&server.name, server.pid, server.cpu_cores);
        let resident = mb(server.resident_bytes);
        let more = server.more();
        let mut text = format!("{name} ({pid}){more}: {cores:.2} cores, {resident:.1} MB resident");
        let [each, ..] = report.words();
        if let Some(cpu) = server.cpu_us_per_request {
            text += &format!(", {cpu:.2} us per {each}");
        }
        if !report.server_shards.is_empty() {
            text += &format!(", {} shards", report.server_shards.len());
        }
        ("server", text)
    });
    let memory = report.memory.as_ref().map(|memory| {
        let (used, each) = (mb(memory.used_bytes), memory.bytes_per_connection);
        let slab = memory.slab_bytes_per_connection;
        let all = format!("{used:.1} MB of the machine's, {each:.0} bytes per connection");
        (
            "memory",
            format!("{all}; slab {slab:.0} bytes per connection"),
        )
    });
    let rest = report.rest.as_ref().map(|rest| {
        let (own, seconds) = (100.0 * rest.generator_cpu_cores, rest.seconds);
        let server = rest.server_cpu_cores;
        let server = server.map(|cores| format!(", server {:.2} %", 100.0 * cores));
        let server = server.unwrap_or_default();
        let text = format!("load tester {own:.2} % of a core{server}");
        ("at rest", format!("{text}, over {seconds:.0} s of silence"))
    });
    let lines = [server, memory, rest].into_iter().flatten();
    lines.chain([load_tester(report)]).collect()
}

fn load_tester(report: &Report) -> Line {
    let (generator, lag) = (&report.generator, &report.generator.lag_us);
    let (shards, cores) = (generator.shards, generator.cpu_cores);
    let resident = mb(generator.resident_bytes);
    let mut text = format!("{shards} shards, {cores:.2} cores, {resident:.1} MB resident");
    if lag.count > 0 {
        text += &format!(", late by {:.0} us (p50), {:.0} us (p99)", lag.p50, lag.p99);
    }
    ("load tester", text)
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn quantiles(us: &Quantiles) -> String {
    if us.count == 0 {
        return "nothing measured".to_owned();
    }
    format!(
        "us: p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, p99.99 {:.0}, max {:.0}",
        us.p50, us.p90, us.p99, us.p99_9, us.p99_99, us.max
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FailureCount, MemoryUse, ServerUse, served};

    #[test]
    fn the_text_stays_short_and_calls_a_closed_loop_optimistic() {
        let failure = |kind: &str| FailureCount {
            kind: kind.to_owned(),
            count: 7,
            examples: vec!["connection 1: gone".to_owned(); 3],
        };
        let kinds = [
            "refused",
            "reset",
            "closed_early",
            "timed_out",
            "wrong_bytes",
            "lost",
            "doubled",
            "out_of_order",
            "out_of_ports",
            "other",
        ];
        let report = Report {
            failures: kinds.map(failure).to_vec(),
            server: Some(ServerUse::default()),
            memory: Some(MemoryUse::default()),
            latency_us: Quantiles {
                count: 1,
                ..Quantiles::default()
            },
            void: Some("late".to_owned()),
            interrupted: true,
            fanout: Some(Fanout {
                deliveries_on_way_s: Some(1.0),
                ..Fanout::default()
            }),
            ..served(10, 10)
        };
        let text = report.to_string();
        assert!(text.lines().count() <= 25, "{text}");
        assert!(
            text.contains("optimistic") && text.contains("7 wrong_bytes (connection 1: gone)"),
            "{text}"
        );
    }
}
