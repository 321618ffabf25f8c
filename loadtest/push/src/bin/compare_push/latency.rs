//! From another thread's send to the peer: on a shard at rest, and among 1 000 connections that
//! talk.

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use loadtest::engine::{self, Observer, Show};
use loadtest::error::Error;
use loadtest::plan::{Mode, Plan};
use loadtest::{Stop, data};
use push::comparison::{by_turns, go_on};
use push::times::{Bound, Figure, header, quantile};

use crate::Arguments;
use crate::peer::{Peer, Pushes};
use crate::server::{Kind, Server};

/// How many times tokio's latency ours may be.
const BOUND: Bound = Bound::AtMost(1.5);
/// Between two pushes to a silent connection, and for how long in a round each server pushes.
const AT_REST: [(Duration, Duration); 2] = [
    (Duration::from_millis(13), Duration::from_secs(8)),
    (Duration::from_millis(1), Duration::from_secs(3)),
];
/// Connections that talk, and between two pushes to the one that listens.
const TALKERS: u32 = 1000;
const AMONG_TALKERS: Duration = Duration::from_millis(5);
/// How they talk: each at its times, 10 000 a second together; or each again as soon as it is
/// answered.
const TALKS: [(&str, Mode); 2] = [
    ("10 000 requests/s", Mode::Open),
    ("closed loop", Mode::Closed),
];
const TALK_INTERVAL: Duration = Duration::from_millis(100);
const TALK: Duration = Duration::from_secs(4);
/// Pushes that are not measured, of each connection at first.
const WARM_UP: Duration = Duration::from_millis(200);

/// Both servers, each with what was measured of it in a round.
type Round = [Pushes; 2];

pub(crate) fn at_rest(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    header("push to a silent connection, us", "corelane", "tokio");
    let servers = start(arguments)?;
    let mut holds = true;
    for (interval, time) in AT_REST {
        let rounds = by_turns(arguments.rounds, stop, |side| {
            let mut pushes = Pushes::none();
            listen(
                arguments,
                &servers[side as usize],
                interval,
                time,
                &mut pushes,
            )?;
            Ok(pushes)
        })?;
        holds &= show(&format!("at rest, every {interval:?}"), &rounds);
    }
    Ok(holds)
}

pub(crate) fn among_talkers(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    header(
        &format!("push beside {TALKERS} connections, us"),
        "corelane",
        "tokio",
    );
    let servers = start(arguments)?;
    let mut holds = true;
    for (name, mode) in TALKS {
        let rounds = by_turns(arguments.rounds, stop, |side| {
            let mut pushes = Pushes::none();
            let listen = || {
                listen(
                    arguments,
                    &servers[side as usize],
                    AMONG_TALKERS,
                    TALK,
                    &mut pushes,
                )
            };
            beside_talkers(arguments, &servers[side as usize], mode, stop, listen)?;
            Ok(pushes)
        })?;
        holds &= show(name, &rounds);
    }
    Ok(holds)
}

fn start(arguments: &Arguments) -> Result<[Server; 2], Error> {
    let start = |kind| Server::start(kind, arguments, &[]);
    Ok([start(Kind::Corelane)?, start(Kind::Tokio)?])
}

fn listen(
    arguments: &Arguments,
    server: &Server,
    interval: Duration,
    time: Duration,
    pushes: &mut Pushes,
) -> Result<(), Error> {
    let mut peer = Peer::connect(server.addr(), interval, arguments.cpu_client)?;
    peer.receive_for(WARM_UP, None)?;
    peer.receive_for(time, Some(pushes))
}

/// Calls `measure` while the load is steady.
fn beside_talkers(
    arguments: &Arguments,
    server: &Server,
    mode: Mode,
    stop: &Stop,
    measure: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let cpus = vec![arguments.cpu_client];
    let warmup = Duration::from_millis(500);
    let plan = Plan {
        connections: TALKERS,
        cpus,
        mode,
        interval: TALK_INTERVAL,
        warmup,
        duration: TALK + 2 * WARM_UP,
        ..Plan::to(server.addr())
    };
    let (opened, opens) = channel();
    thread::scope(|scope| {
        let load = scope.spawn(move || engine::run(plan, Show::Nothing, stop, &mut Opened(opened)));
        let measured = if opens.recv().is_ok() {
            measure()
        } else {
            Ok(())
        };
        let report: data::Report = load
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        go_on(stop)?;
        if report.failures.is_empty() {
            measured
        } else {
            Err(Error::Failed(format!("failures under load:\n{report}")))
        }
    })
}

struct Opened(Sender<()>);

impl Observer for Opened {
    fn window_opened(&mut self) {
        let _nobody_listens = self.0.send(());
    }

    fn window_closed(&mut self) {}
}

fn show(what: &str, rounds: &[Round]) -> bool {
    let figure = |name: &str, value: &dyn Fn(&Pushes) -> f64| {
        let pairs = rounds
            .iter()
            .map(|[ours, tokio]| (value(ours), value(tokio)))
            .collect();
        Figure {
            what: format!("{what}: {name}"),
            pairs,
            bound: BOUND,
        }
        .show()
    };
    let arrived = [("p50", 0.5), ("p99", 0.99)]
        .map(|(name, part)| figure(name, &|pushes| quantile(&pushes.arrived, part)));
    let received = [("p50 until it runs", 0.5), ("p99 until it runs", 0.99)]
        .map(|(name, part)| figure(name, &|pushes| quantile(&pushes.received, part)));
    arrived.iter().chain(&received).all(|holds| *holds)
}
