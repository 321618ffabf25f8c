//! The command line as typed. [`Plan`](crate::plan::Plan) is what is left of it once checked.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::compare::{ServerKind, Shape};
use crate::workload::Protocol;

/// Load tester for TCP servers: it checks every byte that comes back.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load one server: open connections, hold them, speak over them, and report what happened.
    Run(RunArguments),
    /// Load the echo servers in turn and compare the processor time a request costs each of them.
    Compare(CompareArguments),
    /// Become a program that is killed when the process that started it dies: how a server is
    /// started that must not be left behind.
    #[command(hide = true)]
    Launch(LaunchArguments),
    /// Wait until the process that started it is gone, and put back what its --tune changed.
    #[command(hide = true)]
    Restore(RestoreArguments),
}

/// Arguments of `loadtest launch`.
#[derive(Debug, Clone, Args)]
pub struct LaunchArguments {
    /// The process that starts it
    #[arg(long, value_name = "PID")]
    pub parent: i32,
    /// The program
    pub program: OsString,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Arguments of `loadtest restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArguments {
    /// The process that starts it
    #[arg(long, value_name = "PID")]
    pub parent: u32,
}

/// Between two turns of a connection, unless told otherwise.
pub(crate) const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Connections of a storm at most: hours of them.
const CYCLES_MAX: u64 = 1_000_000_000;

/// Arguments of `loadtest run`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Server to load; of several addresses that a name stands for, the first that answers. Many
    /// connections to 127.0.0.1 spread over 127.0.0.1, 127.0.0.2 and so on: have the server listen
    /// on 0.0.0.0
    #[arg(long, value_name = "HOST:PORT")]
    pub target: String,
    /// What the connections do
    #[arg(long, value_enum, default_value_t = ModeName::Open)]
    pub mode: ModeName,
    /// Connections open at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub connections: u32,
    /// Connects per second at most [default: as fast as they are served]
    #[arg(long, value_name = "CONNECTS_PER_S", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Length of the measured window, after the ramp and the warm-up. Every request due in it is
    /// measured from when it was due: replies are awaited beyond its end, up to --timeout
    #[arg(long, default_value = "30s", value_parser = duration_above_zero)]
    pub duration: Duration,
    /// Between two requests of a connection (open mode), or two bytes (slow mode); the connections'
    /// turns are spread over it [default: 1s]
    #[arg(long, value_parser = duration_above_zero)]
    pub interval: Option<Duration>,
    /// After the window, hold the connections in silence for so long and tell what that costs
    /// [default: no rest]
    #[arg(long, value_parser = duration_above_zero)]
    pub rest: Option<Duration>,
    /// Load that is not measured, before the window; 0s: none
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// Bytes per request (echo only) [default: 64]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    pub payload: Option<u32>,
    /// Requests sent in one go, before their replies are awaited
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub pipeline: u32,
    /// What is sent and expected back
    #[arg(long, value_enum, default_value_t = Protocol::Echo)]
    pub protocol: Protocol,
    /// Shards, each with a ring and a table of descriptors [default: one per core, more if the
    /// descriptor limit needs it]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub shards: Option<u32>,
    /// Cores to run on [default: all that are allowed]
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Local addresses to connect from, in turn [default: the kernel's choice]
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub source: Vec<IpAddr>,
    /// Connects begun and not yet served at most, while the connections are built up
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub connects_in_flight: u32,
    /// Connections in all, with `--mode storm` [default: as many as fit into the duration]
    #[arg(long, conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..=CYCLES_MAX))]
    pub cycles: Option<u64>,
    /// How long a connect, or the replies to one write, may take. One that takes longer has failed,
    /// to the microsecond; a connection on which nothing comes is given up to three eighths of a
    /// second later
    #[arg(long, default_value = "10s", value_parser = duration_above_zero)]
    pub timeout: Duration,
    /// Seed of the payloads: the same seed sends the same bytes
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Process of the server, for its processor time and memory [default: whoever listens there, if
    /// on this machine]
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Raise what the machine has too little of for the run (sysctl), and put it back afterwards,
    /// also if killed; as root
    #[arg(long)]
    pub tune: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Write the report as a page, with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// What the connections of `loadtest run` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeName {
    /// Requests at intended times, from which their latency counts: a server that stalls is seen to
    /// stall
    Open,
    /// Send, await the reply, send the next: capacity. Its latencies are optimistic
    Closed,
    /// One request each, then silence for the duration
    Idle,
    /// Connect, one request, close, and again
    Storm,
    /// A byte now and then
    Slow,
}

/// Arguments of `loadtest compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArguments {
    /// Servers to compare; ratios are to raw_uring [default: all, go_netpoller if it is built]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub servers: Vec<ServerKind>,
    /// Numbers of connections, a table for each; 100x16: each sends 16 requests in one go, and then
    /// awaits the replies
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,100,1000,10000,100x16,1000x16"
    )]
    pub connections: Vec<Shape>,
    /// Rounds per table; each starts every server once and loads them by turns, 100 ms at a time
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// For how long each server is loaded and measured in a round
    #[arg(long, default_value = "300ms", value_parser = duration_above_zero)]
    pub duration: Duration,
    /// Load that is not measured, of each server before the first turn
    #[arg(long, default_value = "100ms", value_parser = duration)]
    pub warmup: Duration,
    /// Bytes per request
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    pub payload: u32,
    /// Idle connections whose memory and processor time to measure; 0: none
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub idle: u32,
    /// Core of the servers
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    pub cpu_server: usize,
    /// Core of the client
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    pub cpu_client: usize,
    /// Directory of the server binaries [default: that of this one]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Exit with 1 unless, at 100 connections or more, echo takes at most 1.05 of raw_uring's
    /// processor time per request and less than tokio's, monoio's, glommio's and Go's, and an idle
    /// connection at most 256 bytes and less than theirs; says where it does not
    #[arg(long)]
    pub assert: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Write what was found as a page, with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// As [`duration`], and more than none.
fn duration_above_zero(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() {
            Err("want more than zero".to_owned())
        } else {
            Ok(duration)
        }
    })
}

/// "250ms", "30s", "5m", "2h" or "1d", as in the servers' configuration.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const HINT: &str = "want a number and a unit, such as \"250ms\", \"30s\", \"5m\"";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| HINT.to_owned())?;
    let milliseconds_per_unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(HINT.to_owned()),
    };
    match number.checked_mul(milliseconds_per_unit) {
        Some(milliseconds) if milliseconds <= DURATION_MAX_MS => {
            Ok(Duration::from_millis(milliseconds))
        }
        _ => Err("the longest is 365d".to_owned()),
    }
}

/// A bound far below what would overflow an `Instant`.
const DURATION_MAX_MS: u64 = 365 * 86_400_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit_and_have_a_bound() {
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("2h").unwrap(), Duration::from_secs(7200));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "9999999d",
            "99999999999999999999s",
        ] {
            duration(wrong).unwrap_err();
        }
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        duration_above_zero("0s").unwrap_err();
        duration_above_zero("1ms").unwrap();
    }
}
