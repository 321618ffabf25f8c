//! Whether what this process was passed at its start can be served.

use std::io;

use crate::config::{Endpoint, ListenerSettings};
use crate::net::inherited::{Fault, Passed, is_at};
use crate::preflight::problem::Problem;

/// More sockets of one listener than shards: clients would wait at those that nobody serves.
pub(super) fn surplus(sockets: usize, shards: u32) -> Option<Problem> {
    (sockets > shards as usize).then(|| {
        Problem::new(
            format!("cannot take {sockets} sockets of one listener"),
            format!("server.shards comes to {shards}, and each socket needs a shard"),
            format!("set server.shards to {sockets}, or stop the server and start it instead of a restart"),
        )
    })
}

/// A listener of the process before that the settings do not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) name: String,
    pub(super) from: Endpoint,
    /// The key and what it is; none: there is no listener of that name.
    pub(super) to: Option<(String, Endpoint)>,
}

/// Those whose address is another than in the settings, unless a service manager knows better.
pub(super) fn moved(listeners: &[ListenerSettings], passed: &[Passed]) -> Vec<Moved> {
    let own = passed.iter().filter(|passed| !passed.kept);
    let moved = own.filter_map(|passed| {
        let from = passed.endpoint()?;
        let settings = listeners
            .iter()
            .find(|listener| listener.name() == passed.name);
        let to = settings.map(|listener| (listener.key("listen"), listener.bind.listen.clone()));
        let stays = to.as_ref().is_some_and(|(_, wanted)| is_at(&from, wanted));
        (!stays).then(|| Moved {
            name: passed.name.clone(),
            from,
            to,
        })
    });
    moved.collect()
}

/// The process before listens where this one is not to: its clients would be nobody's.
pub(super) fn moved_problem(moved: &Moved) -> Problem {
    let Moved { name, from, to } = moved;
    Problem::new(
        format!("cannot take the listeners of {from} over"),
        to.as_ref().map_or_else(
            || format!("there is no listener {name}"),
            |(key, to)| format!("{key} is {to}"),
        ),
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
