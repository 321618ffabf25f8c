//! The command line of `loadtest run` as typed. [`Plan`](super::run::Plan) is the
//! same, checked.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::workload::Protocol;

/// Between two turns of a connection, unless told otherwise.
pub(crate) const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Connections of a storm at most: hours of them.
const CYCLES_MAX: u64 = 1_000_000_000;
/// A bound far below what would overflow an `Instant`.
const DURATION_MAX: Duration = Duration::from_secs(365 * 86_400);
/// The longest ramp, warm-up or rest: a longer one is a number mistyped.
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// Latencies are told apart up to an hour, so nothing is awaited for longer.
const HOUR: Duration = Duration::from_secs(3600);

/// Arguments of `loadtest run`.
#[derive(Debug, Clone, Parser)]
pub struct RunArguments {
    /// Server to load; of several addresses that a name stands for, the first that answers. Many
    /// connections to 127.0.0.1 spread over 127.0.0.1, 127.0.0.2 and so on: have the server listen
    /// on 0.0.0.0
    #[arg(long, value_name = "HOST:PORT")]
    pub target: String,
    /// What the connections do
    #[arg(long, value_enum, default_value_t = Mode::Open)]
    pub mode: Mode,
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
    /// Between two requests of a connection (open mode), two bytes (slow mode), two lines (chat
    /// mode) or two publications (push mode); the connections' turns are spread over it [default:
    /// 1s]
    #[arg(long, value_parser = duration_above_zero)]
    pub interval: Option<Duration>,
    /// Rooms that the connections of --mode chat are in, a share in each [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rooms: Option<u32>,
    /// After the window, hold the connections in silence for so long and tell what that costs
    /// [default: no rest]
    #[arg(long, value_parser = rest)]
    pub rest: Option<Duration>,
    /// Load that is not measured, before the window; 0s: none
    #[arg(long, default_value = "1s", value_parser = at_most_a_day)]
    pub warmup: Duration,
    /// Bytes per request that come back (not for ping), or of a line [default: 64]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    pub payload: Option<u32>,
    /// Requests sent in one go, before their replies are awaited
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub pipeline: u32,
    /// What is sent and expected back
    #[arg(long, value_enum, default_value_t = Protocol::Echo)]
    pub protocol: Protocol,
    /// What is asked for by HTTP or WebSocket [default: /]
    #[arg(long, value_parser = path)]
    pub path: Option<String>,
    /// GET by HTTP instead of a POST whose body comes back: this, to the byte, is to answer it
    #[arg(long, value_name = "BODY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub expect: Option<String>,
    /// TLS, to a server with a certificate of an authority that browsers trust
    #[arg(long)]
    pub tls: bool,
    /// TLS, to a server with a certificate of this file (PEM): an authority's, or the server's own
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Whom the server's certificate is to name [default: the host of --target]
    #[arg(long, value_name = "NAME")]
    pub tls_name: Option<String>,
    /// Every TLS handshake is a full one: none goes on from the session of an earlier connection
    #[arg(long)]
    pub tls_full: bool,
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
    #[arg(long, default_value = "10s", value_parser = timeout)]
    pub timeout: Duration,
    /// Seed of the payloads: the same seed sends the same bytes
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Process of the server, for its processor time and memory [default: whoever listens there, if
    /// on this machine]
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Write the report as a page, with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl RunArguments {
    pub(super) fn has_tls(&self) -> bool {
        self.tls || self.tls_ca.is_some()
    }
}

/// A mode of `loadtest run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
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
    /// Connections in rooms, each of which says a line at intended times to all of its room; that
    /// each comes once, and those of a speaker in order. Latency counts to each that hears it
    Chat,
    /// Connections that only receive what the first of them publishes
    Push,
}

impl Mode {
    /// Whether each connection asks at times of its own.
    pub(crate) fn has_turns(self) -> bool {
        matches!(self, Self::Open | Self::Slow) || self.has_rooms()
    }

    /// Whether what one connection sends comes to others.
    pub(crate) fn has_rooms(self) -> bool {
        matches!(self, Self::Chat | Self::Push)
    }
}

/// The word of a choice, as on the command line.
pub(super) fn word(choice: &impl ValueEnum) -> String {
    let value = choice.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// A length of time as [`duration`] reads it, and more than none.
///
/// # Errors
/// With an example of a right one.
pub fn duration_above_zero(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("want more than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// "250ms", "30s", "5m", "2h" or "1d", as in the servers' configuration; also "1h 30m".
///
/// # Errors
/// With an example of a right one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}: want a number and a unit, such as 250ms, 30s or 5m"))?;
    at_most(duration, DURATION_MAX, "the longest is 365d")
}

/// A target in the form of a path (RFC 9112, 3.2.1).
fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    match is_path && !text.contains('#') {
        true => Ok(text.to_owned()),
        false => Err("want a path, such as /echo, without spaces".to_owned()),
    }
}

fn at_most_a_day(text: &str) -> Result<Duration, String> {
    at_most(duration(text)?, DAY, "want a day at most (1d)")
}

fn rest(text: &str) -> Result<Duration, String> {
    duration_above_zero(text).and(at_most_a_day(text))
}

fn timeout(text: &str) -> Result<Duration, String> {
    let why = "want an hour at most (1h), latencies are told apart up to that";
    at_most(duration_above_zero(text)?, HOUR, why)
}

fn at_most(duration: Duration, longest: Duration, why: &str) -> Result<Duration, String> {
    let is_allowed = duration <= longest;
    is_allowed.then_some(duration).ok_or_else(|| why.to_owned())
}

/// These options of `loadtest run`, as typed.
#[cfg(test)]
pub(crate) fn parsed<'a>(
    options: impl IntoIterator<Item = &'a str>,
) -> Result<RunArguments, clap::Error> {
    let line = ["run", "--target", "127.0.0.1:7007"].into_iter();
    RunArguments::try_parse_from(line.chain(options))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_need_a_unit_and_have_a_bound() {
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("2h").unwrap(), Duration::from_secs(7200));
        assert_eq!(duration("1.5s").unwrap(), Duration::from_millis(1500));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1,5s",
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
