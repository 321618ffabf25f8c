//! The report as text: what a person wants to know, in at most 25 lines.

use std::fmt;

use crate::data::{Quantiles, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (load, connections) = (&self.load, &self.connections);
        writeln!(
            f,
            "{} to {}, {} bytes x {}, {}",
            load.protocol, load.target, load.payload_bytes, load.pipeline, load.mode_note
        )?;
        writeln!(
            f,
            "connections  {} wanted, {} established, {} served",
            connections.wanted, connections.established, connections.served
        )?;
        if connections.connects_per_s > 0.0 {
            writeln!(
                f,
                "connects     {:.0}/s, {}",
                connections.connects_per_s,
                Spelled(&self.connect_us)
            )?;
        }
        self.fmt_requests(f)?;
        self.fmt_failures(f)?;
        self.fmt_costs(f)?;
        if let Some(why) = &self.void {
            writeln!(f, "VOID         {why}")?;
        }
        if self.interrupted {
            writeln!(f, "INTERRUPTED  a signal ended the run early")?;
        }
        Ok(())
    }
}

impl Report {
    fn fmt_requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = &self.requests;
        write!(f, "requests     {:.0}/s answered", requests.achieved_per_s)?;
        if let Some(offered) = requests.offered_per_s {
            write!(f, " of {offered:.0}/s due")?;
        }
        write!(
            f,
            " in a window of {:.1} s, {} in all",
            requests.window_s, requests.total
        )?;
        if requests.unanswered > 0 {
            write!(f, "; {} of the window's were not", requests.unanswered)?;
        }
        writeln!(f)?;
        let label = if self.load.mode == "closed" {
            "optimistic, "
        } else {
            ""
        };
        writeln!(f, "latency      {label}{}", Spelled(&self.latency_us))
    }

    fn fmt_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return writeln!(f, "failures     none");
        }
        for failure in &self.failures {
            let example = failure.examples.first().map_or("", String::as_str);
            writeln!(
                f,
                "failures     {} {} ({example})",
                failure.count, failure.kind
            )?;
        }
        Ok(())
    }

    fn fmt_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = &self.server {
            write!(
                f,
                "server       {} ({}): {:.2} cores, {:.1} MB resident",
                server.name,
                server.pid,
                server.cpu_cores,
                mb(server.resident_bytes)
            )?;
            if let Some(cpu) = server.cpu_us_per_request {
                write!(f, ", {cpu:.2} us per request")?;
            }
            if !self.server_shards.is_empty() {
                write!(f, ", {} shards", self.server_shards.len())?;
            }
            writeln!(f)?;
        }
        if let Some(memory) = &self.memory {
            writeln!(
                f,
                "memory       {:.1} MB of the machine's, {:.0} bytes per connection; slab {:.0} bytes per connection",
                mb(memory.used_bytes),
                memory.bytes_per_connection,
                memory.slab_bytes_per_connection
            )?;
        }
        if let Some(rest) = &self.rest {
            write!(
                f,
                "at rest      load tester {:.2} % of a core",
                100.0 * rest.generator_cpu_cores
            )?;
            if let Some(server) = rest.server_cpu_cores {
                write!(f, ", server {:.2} %", 100.0 * server)?;
            }
            writeln!(f, ", over {:.0} s of silence", rest.seconds)?;
        }
        let generator = &self.generator;
        write!(
            f,
            "load tester  {} shards, {:.2} cores, {:.1} MB resident",
            generator.shards,
            generator.cpu_cores,
            mb(generator.resident_bytes)
        )?;
        if generator.lag_us.count > 0 {
            write!(
                f,
                ", late by {:.0} us (p50), {:.0} us (p99)",
                generator.lag_us.p50, generator.lag_us.p99
            )?;
        }
        writeln!(f)
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Quantiles on one line.
struct Spelled<'a>(&'a Quantiles);

impl fmt::Display for Spelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quantiles {
            count,
            p50,
            p90,
            p99,
            p99_9,
            p99_99,
            max,
        } = self.0;
        if *count == 0 {
            return f.write_str("nothing measured");
        }
        write!(
            f,
            "us: p50 {p50:.0}, p90 {p90:.0}, p99 {p99:.0}, p99.9 {p99_9:.0}, p99.99 {p99_99:.0}, max {max:.0}"
        )
    }
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
