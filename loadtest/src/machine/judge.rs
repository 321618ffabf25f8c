//! The judgement: every check, all findings at once.

use std::path::Path;

use super::cores::descriptors_raise;
use super::demand::Demand;
use super::facts::Facts;
use super::{descriptors, memory, ports, queues};

/// All that was found, at once, each in words: "what, why: what to type".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The run would fail of these.
    pub problems: Vec<String>,
    /// These would slow it, or may stop it under a condition that the warning names.
    pub warnings: Vec<String>,
}

type Check = fn(&Demand, &Facts) -> Option<String>;

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

/// Judge this machine, after raising the soft descriptor limit to the hard one.
pub fn check(demand: &Demand) -> Findings {
    descriptors_raise();
    judge(demand, &Facts::read(Path::new("/")))
}

/// The judgement alone. A fact that is not known is no problem.
pub fn judge(demand: &Demand, facts: &Facts) -> Findings {
    let found = |check: &Check| check(demand, facts);
    let find = |checks: &[Check]| checks.iter().filter_map(found).collect();
    Findings {
        problems: find(&REFUSALS),
        warnings: find(&WARNINGS),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
