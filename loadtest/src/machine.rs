//! Whether this machine can carry the connections asked for, judged before the first of them is
//! opened; and `--tune`.
//!
//! [`Facts`] asks the machine, in one place; everything else is pure: a [`Demand`] and facts in,
//! [`Findings`] out. `descriptors` and `memory` judge what a connection takes, `ports` whether it
//! gets one, `queues` the connect rate. [`destinations()`] says over which addresses to spread. A
//! finding that a sysctl would settle carries the [`Change`]s, and [`Tuning`] makes them for as
//! long as the run lasts; a [`Guard`] sees to it that this holds even for a run that is killed.

mod change;
mod descriptors;
mod destinations;
mod facts;
mod guard;
mod memory;
mod ports;
#[cfg(test)]
mod proptests;
mod queues;
mod state;
mod sysctl;
mod tuning;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

pub use change::{Change, command};
pub use destinations::destinations;
pub use facts::{Facts, MemoryMarks, PortList, PortRange};
pub use guard::{Guard, stand_guard};
pub use tuning::{STATE_FILE, Tuning};

/// What a run asks of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Connections open at the same time.
    pub connections: u32,
    /// Threads, each with a ring and a table of direct descriptors of its own.
    pub shards: u32,
    /// Destination addresses over which the connections are spread.
    pub targets: Vec<IpAddr>,
    /// The destinations' port.
    pub port: u16,
    /// Local addresses named by the user; none: the kernel chooses. Each counts as a full range of
    /// ports per destination, which holds if sockets are bound with IP_BIND_ADDRESS_NO_PORT
    /// (ip(7)): without it bind(2) takes the port before the destination is known, and a port
    /// serves one connection only.
    pub sources: Vec<IpAddr>,
    /// Whether the server runs on this machine too, so that both ends of a connection are its own.
    pub target_is_local: bool,
    /// Bytes of one request.
    pub payload_bytes: u32,
    /// Connects begun and not yet established at most.
    pub connects_in_flight_max: u32,
    /// Whether connections are closed and opened again all the time.
    pub is_storm: bool,
    /// The longest that a connection says nothing.
    pub silence: Duration,
}

impl Demand {
    /// Sockets on this machine per connection.
    fn ends(&self) -> u64 {
        if self.target_is_local { 2 } else { 1 }
    }

    fn sockets(&self) -> u64 {
        u64::from(self.connections) * self.ends()
    }

    /// Pairs of source and destination address, each with a range of ports of its own.
    fn pairs(&self) -> u64 {
        self.targets.len().max(1) as u64 * self.sources.len().max(1) as u64
    }
}

/// Something about the machine that does not suit the run. Its `Display` is "what, why: remedy".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    what: String,
    why: String,
    remedy: String,
    changes: Vec<Change>,
}

impl Problem {
    fn new(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
            changes: Vec::new(),
        }
    }

    fn with(self, changes: Vec<Change>) -> Self {
        Self { changes, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {}: {}", self.what, self.why, self.remedy)
    }
}

impl std::error::Error for Problem {}

/// What was found: all of it at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What the run would fail of.
    pub problems: Vec<Problem>,
    /// What would slow it, or may stop it under a condition that the warning names.
    pub warnings: Vec<Problem>,
}

impl Findings {
    /// The sysctls that would settle what sysctls can settle, for [`Tuning::apply`]. Each only
    /// once, in the order in which they are to be made.
    pub fn changes(&self) -> Vec<Change> {
        let required = self
            .problems
            .iter()
            .flat_map(|problem| &problem.changes)
            .map(|change| (change, true));
        let wanted = self
            .warnings
            .iter()
            .flat_map(|warning| &warning.changes)
            .map(|change| (change, false));
        let mut changes: Vec<Change> = Vec::new();
        for (change, is_required) in required.chain(wanted) {
            if !changes.iter().any(|earlier| earlier.is_like(change)) {
                changes.push(change.clone().required(is_required));
            }
        }
        changes
    }
}

/// Judge this machine, after raising the soft descriptor limit to the hard one.
pub fn check(demand: &Demand) -> Findings {
    facts::raise_limits();
    judge(demand, &Facts::gather(Path::new("/")))
}

/// The judgement alone. A fact that is not known is no problem.
pub fn judge(demand: &Demand, facts: &Facts) -> Findings {
    let find = |checks: &[Check]| {
        checks
            .iter()
            .filter_map(|check| check(demand, facts))
            .collect()
    };
    Findings {
        problems: find(&REFUSALS),
        warnings: find(&WARNINGS),
    }
}

type Check = fn(&Demand, &Facts) -> Option<Problem>;

const REFUSALS: [Check; 5] = [
    descriptors::tables,
    descriptors::own,
    descriptors::files_refused,
    ports::shortage,
    memory::sockets,
];

const WARNINGS: [Check; 9] = [
    descriptors::files_of_others,
    ports::slow_half,
    ports::listen_port,
    ports::time_wait,
    memory::unread_data,
    queues::accept_queue,
    queues::half_open,
    queues::conntrack,
    queues::probes,
];

#[cfg(test)]
mod tests;
