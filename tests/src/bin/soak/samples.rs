//! What a server takes, once a second, and whether it takes ever more.

use std::fmt;

use tests::{BOUND, Server, descriptors, resident_bytes};

use crate::slope::slope;

/// By how much the resident memory may grow over the second half of a run, by its slope: what an
/// allocator and a pool under random load do in half a minute, and in the five minutes of a long
/// run a few bytes for each session.
const RESIDENT_GROWTH_MAX: f64 = 1024.0 * 1024.0;
/// The same for descriptors: connections have none of the process's, so their number does not move
/// at all.
const DESCRIPTORS_GROWTH_MAX: f64 = 1.0;
/// The same for connections, whose number follows from what the clients happen to do.
const CONNECTIONS_GROWTH_MAX: f64 = 30.0;
/// Fewer samples say nothing of a growth.
const SAMPLES_MIN: usize = 10;

#[derive(Debug, Clone, Copy)]
struct Sample {
    resident: u64,
    descriptors: usize,
    connections: u64,
}

/// The samples of one server.
#[derive(Debug)]
pub(super) struct Samples {
    name: &'static str,
    /// Before any client came.
    base: Sample,
    taken: Vec<Sample>,
}

impl Samples {
    pub(super) fn of(name: &'static str, server: &Server) -> Self {
        Self {
            name,
            base: sample(server),
            taken: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, server: &Server) {
        self.taken.push(sample(server));
    }

    pub(super) fn count(&self) -> usize {
        self.taken.len()
    }

    /// What grew over the second half of the run.
    pub(super) fn growth(&self) -> Vec<String> {
        let half = &self.taken[self.taken.len() / 2..];
        if half.len() < SAMPLES_MIN {
            return Vec::new();
        }
        let grown = |what: &str, of: fn(&Sample) -> f64, max: f64| {
            let values: Vec<f64> = half.iter().map(of).collect();
            let growth = slope(&values) * values.len() as f64;
            println!(
                "{}: {what} grew by {growth:.0} in {} s, {max:.0} is the bound",
                self.name,
                half.len()
            );
            (growth > max).then(|| {
                format!(
                    "{}: {what} grew by {growth:.0} in {} s",
                    self.name,
                    half.len()
                )
            })
        };
        let found = [
            grown(
                "resident memory",
                |sample| sample.resident as f64,
                RESIDENT_GROWTH_MAX,
            ),
            grown(
                "descriptors",
                |sample| sample.descriptors as f64,
                DESCRIPTORS_GROWTH_MAX,
            ),
            grown(
                "connections",
                |sample| sample.connections as f64,
                CONNECTIONS_GROWTH_MAX,
            ),
        ];
        found.into_iter().flatten().collect()
    }

    /// What is not back at its base once the clients are gone and every deadline has passed.
    pub(super) fn left_behind(&self, server: &Server) -> Option<String> {
        let from = server.log().lines().len();
        let empty = server.log().find(from, 2 * BOUND, |line| {
            line.message() == "stats" && line.number("connections") == 0
        });
        let open = descriptors(server.pid());
        match empty {
            None => Some(format!(
                "{}: connections are left {:?} after the last client went",
                self.name,
                2 * BOUND
            )),
            Some(line) if line.number("tasks") > 0 => Some(format!(
                "{}: {} tasks are left",
                self.name,
                line.number("tasks")
            )),
            _ => (open != self.base.descriptors).then(|| {
                format!(
                    "{}: {open} descriptors, {} before",
                    self.name, self.base.descriptors
                )
            }),
        }
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.taken.last().unwrap_or(&self.base);
        let kibibytes = last.resident / 1024;
        write!(
            formatter,
            "[{} s] {}: {kibibytes} KiB, {} connections;",
            self.taken.len(),
            self.name,
            last.connections
        )
    }
}

fn sample(server: &Server) -> Sample {
    let lines = server.log().lines();
    let stats = lines.iter().rev().find(|line| line.message() == "stats");
    Sample {
        resident: resident_bytes(server.pid()),
        descriptors: descriptors(server.pid()),
        connections: stats.map_or(0, |line| line.number("connections")),
    }
}
