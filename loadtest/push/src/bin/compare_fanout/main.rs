//! What a line to many subscribers costs, and how soon it is at the last of them: published by a
//! topic, beside a raw loop of io_uring sends. By turns in one run. `make compare-fanout`.
//!
//! The shards are those of a server in this process; so are the threads that they are set beside,
//! each of which has its share of as many sockets. The subscribers are processes of their own, and
//! rest until a line has come to all of them: when that was, the kernel tells by the time of each
//! arrival. So what is compared is the senders' alone.

mod publisher;
mod subscriber;
mod subscribers;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use baseline_raw_fanout::Fanout;
use clap::Parser;
use loadtest::Stop;
use loadtest::error::Error;
use push::comparison::{Side, by_turns, check, exit_code};
use push::times::{Bound, Figure, header};
use push::{Message, cpu};
use rustix::thread::{CpuSet, sched_setaffinity};

use publisher::Publisher;
use subscribers::Subscribers;

/// How many times the processor's time of a raw send a delivery may take.
const CPU_BOUND: Bound = Bound::AtMost(1.15);
/// How many times the time of the raw loop it may take to the last arrival.
const LAST_BOUND: Bound = Bound::AtMost(1.3);
/// Bytes of a line.
const LINE: usize = 64;
const CONNECTIONS_DEFAULT: u32 = 100_000;
/// Far longer than a send takes: subscribers rest so long for each of them.
const REST: Duration = Duration::from_micros(12);

/// What a line to many subscribers costs.
#[derive(Debug, Parser)]
#[command(name = "compare_fanout", version)]
struct Arguments {
    /// Subscribers of each side [default: 100000, or as many as the descriptor limit allows]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: Option<u32>,
    /// Shards, and threads that send; half of them on each core
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    /// Rounds; in a round each side sends a line
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Core of the first shard, and of the first thread
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    cpu_first: usize,
    /// Core of the second
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    cpu_second: usize,
    /// Exit with 1 unless every ratio is within its bound
    #[arg(long)]
    assert: bool,
    /// Be the subscribers of this address
    #[arg(long, value_name = "ADDR:PORT", hide = true)]
    subscribe: Option<SocketAddr>,
}

impl Arguments {
    /// Of each shard.
    fn cores(&self) -> Vec<usize> {
        let cores = [self.cpu_first, self.cpu_second].into_iter().cycle();
        cores.take(self.shards as usize).collect()
    }

    /// As asked for, if the descriptors allow so many.
    fn connections(&self) -> Result<u32, Error> {
        let shares = u64::from(baseline_common::descriptors_max()) * u64::from(self.shards);
        let allowed = shares / 5 * 4; // the kernel does not spread connections evenly
        match self.connections {
            None => Ok(u64::from(CONNECTIONS_DEFAULT).min(allowed) as u32),
            Some(connections) if u64::from(connections) <= allowed => Ok(connections),
            Some(connections) => Err(Error::Refused(format!(
                "--connections {connections}: by the descriptor limit {} shards have room for \
                 {allowed}, see --shards and `ulimit -n`",
                self.shards
            ))),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.subscribe {
        Some(addr) => subscriber::run(addr, arguments.connections.unwrap_or(1)).map(|()| true),
        None => Stop::on_signals().and_then(|stop| compare(&arguments, &stop)),
    };
    exit_code("compare_fanout", outcome, arguments.assert)
}

/// True: every ratio is within its bound.
fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    check([arguments.cpu_first, arguments.cpu_second])?;
    let connections = arguments.connections()?;
    stay_on(&arguments.cores()).map_err(Error::failed("cannot stay on the cores"))?;
    let publisher = Publisher::start(arguments.shards, connections)?;
    let raw = Fanout::start(&arguments.cores(), connections).map_err(Error::failed("io_uring"))?;
    let mut subscribed = [
        Subscribers::start([(publisher.addr(), connections)])?,
        Subscribers::start(raw.shares())?,
    ];
    publisher.subscribed(connections)?;
    raw.accepted().map_err(Error::failed("accept"))?;
    let mut turn = |side| {
        let [ours, other] = &mut subscribed;
        match side {
            Side::Ours => measure(connections, ours, |line| publisher.publish(line)),
            Side::Other => measure(connections, other, |line| send(&raw, &line)),
        }
    };
    by_turns(1, stop, &mut turn)?; // what comes first takes longer
    let rounds = by_turns(arguments.rounds, stop, turn)?;
    publisher.end()?;
    Ok(show(connections, &rounds))
}

/// All threads that are started from here on are on these cores: a server has more shards than it
/// may name cores, and spreads them evenly.
fn stay_on(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    Ok(sched_setaffinity(None, &set)?)
}

/// What a line has taken.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// Of the processor for each delivery, in nanoseconds.
    cpu: f64,
    /// To the last arrival, in milliseconds.
    last: f64,
}

fn measure(
    connections: u32,
    subscribers: &mut Subscribers,
    publish: impl FnOnce(Arc<[u8]>) -> Result<(), Error>,
) -> Result<Taken, Error> {
    let before = cpu();
    let message = subscribers.next_message();
    publish(line(message).into())?;
    thread::sleep(REST * connections);
    let arrived = subscribers.hear()?;
    let cpu = cpu() - before;
    Ok(Taken {
        cpu: cpu.as_nanos() as f64 / f64::from(connections),
        last: arrived.saturating_sub(message.sent) as f64 / 1e6,
    })
}

fn send(raw: &Fanout, line: &Arc<[u8]>) -> Result<(), Error> {
    let sent = raw.publish(line).and_then(|()| raw.published());
    sent.map_err(Error::failed("io_uring"))
}

/// A message with which a line begins; the rest of it is the same in all.
fn line(message: Message) -> [u8; LINE] {
    let mut line = [b'.'; LINE];
    let bytes = message.to_bytes();
    line[..bytes.len()].copy_from_slice(&bytes);
    line
}

fn show(connections: u32, rounds: &[[Taken; 2]]) -> bool {
    let figure = |what: &str, of: fn(&Taken) -> f64, bound| {
        let pair = |[ours, other]: &[Taken; 2]| (of(ours), of(other));
        Figure {
            what: what.to_owned(),
            pairs: rounds.iter().map(pair).collect(),
            bound,
        }
        .show()
    };
    header(
        &format!("{LINE} bytes to {connections}"),
        "topic",
        "io_uring",
    );
    let cpu = figure("CPU of a delivery, ns", |taken| taken.cpu, CPU_BOUND);
    figure("to the last arrival, ms", |taken| taken.last, LAST_BOUND) && cpu
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn arguments(more: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["compare_fanout"], more].concat()).unwrap()
    }

    #[test]
    fn half_of_the_shards_are_on_each_core() {
        let of_four = arguments(&["--shards=4", "--cpu-first=2", "--cpu-second=3"]);
        assert_eq!(of_four.cores(), [2, 3, 2, 3]);
    }

    #[test]
    fn more_subscribers_than_descriptors_allow_are_refused_and_not_the_default() {
        let all = arguments(&["--shards=1"]).connections().unwrap();
        assert!((1..=CONNECTIONS_DEFAULT).contains(&all), "{all}");
        if baseline_common::descriptors_max() < 1_000_000 {
            let refusal = arguments(&["--shards=1", "--connections=1000000"]);
            let refusal = refusal.connections().unwrap_err().to_string();
            assert!(refusal.contains("--shards"), "{refusal}");
        }
    }

    #[test]
    fn a_line_carries_its_message() {
        let message = Message { serial: 7, sent: 9 };
        let line = line(message);
        let (head, rest) = line.split_at(push::MESSAGE_BYTES);
        assert_eq!(Message::from_bytes(head), Some(message));
        assert!(rest.iter().all(|byte| *byte == b'.'));
    }
}
