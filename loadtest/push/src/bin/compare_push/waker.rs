//! What a spawned task costs a request that keeps its waker and is never woken.

use std::time::Duration;

use loadtest::Stop;
use loadtest::engine::{self, Show};
use loadtest::error::Error;
use loadtest::plan::Plan;
use push::comparison::{Side, by_turns, go_on};
use push::times::{Bound, Figure, header};

use crate::Arguments;
use crate::server::{Kind, Server};

/// How many times the processor time of a request without such a task one beside it may take.
const BOUND: Bound = Bound::AtMost(1.1);
/// Echoing connections, in a closed loop.
const CONNECTIONS: [u32; 2] = [1, 100];
const DURATION: Duration = Duration::from_secs(1);

pub(crate) fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    header(
        "CPU of an echo beside a forgotten waker, us",
        "with it",
        "without",
    );
    let start = |settings: &[String]| Server::start(Kind::Corelane, arguments, settings);
    let (with, without) = (
        start(&["app.forgotten_waker=true".to_owned()])?,
        start(&[])?,
    );
    let mut holds = true;
    for connections in CONNECTIONS {
        let rounds = by_turns(arguments.rounds, stop, |side| match side {
            Side::Ours => cost(arguments, &with, connections, stop),
            Side::Other => cost(arguments, &without, connections, stop),
        })?;
        holds &= Figure {
            what: format!("{connections} connections"),
            pairs: rounds.into_iter().map(Into::into).collect(),
            bound: BOUND,
        }
        .show();
    }
    Ok(holds)
}

/// Processor time of the server per request, in microseconds.
fn cost(
    arguments: &Arguments,
    server: &Server,
    connections: u32,
    stop: &Stop,
) -> Result<f64, Error> {
    let (cpus, server_pid) = (vec![arguments.cpu_client], Some(server.pid()));
    let warmup = Duration::from_millis(200);
    let plan = Plan {
        connections,
        cpus,
        warmup,
        duration: DURATION,
        server_pid,
        ..Plan::to(server.addr())
    };
    let report = engine::run(plan, Show::Nothing, stop, &mut ())?;
    go_on(stop)?;
    if !report.failures.is_empty() {
        return Err(Error::Failed(format!("failures under load:\n{report}")));
    }
    let cost = report
        .server
        .as_ref()
        .and_then(|server| server.cpu_us_per_request);
    cost.ok_or_else(|| Error::Failed("the server's processor time is not known".to_owned()))
}
