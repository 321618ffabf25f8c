//! Whether what this process was passed at its start can be served.

use std::io;
use std::net::SocketAddr;

use crate::net::inherited::Fault;
use crate::preflight::problem::Problem;

/// More listeners than shards: clients would wait in those that nobody serves.
pub(super) fn surplus(listeners: usize, shards: u32) -> Option<Problem> {
    (listeners > shards as usize).then(|| {
        Problem::new(
            format!("cannot take {listeners} listeners"),
            format!("server.shards comes to {shards}, and each listener needs a shard"),
            format!("set server.shards to {listeners}, or stop the server and start it instead of a restart"),
        )
    })
}

/// The settings want another address than that of the process before.
pub(super) fn moved(from: SocketAddr, to: SocketAddr) -> Problem {
    Problem::new(
        format!("cannot take the listeners of {from} over"),
        format!("server.listen is {to}"),
        "set it back, or stop the server and start it instead of a restart",
    )
}

/// What is wrong with the descriptors that the service manager has passed.
pub(crate) fn problem(fault: &Fault) -> Problem {
    Problem::new(
        format!("cannot take {}", fault.which),
        &fault.why,
        "mend the socket unit, or start it without LISTEN_FDS",
    )
}

/// Why those of the process before cannot be taken over.
pub(crate) fn handover_problem(error: &io::Error) -> Problem {
    Problem::new(
        "cannot take the listeners over",
        error.to_string(),
        "stop the server and start it instead of a restart",
    )
}
