//! The command line as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use loadtest::launch::LaunchArguments;
use loadtest::plan::args::{duration, duration_above_zero};

use super::kind::ServerKind;
use super::shape::Shape;
use super::suite::Suite;

/// Load the echo servers in turn and compare the processor time a request costs each of them.
#[derive(Debug, Parser)]
#[command(name = "compare", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// Something else than a comparison.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The comparison.
    #[command(flatten)]
    pub compare: CompareArguments,
}

/// Work for which the comparison starts itself.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Become a program that is killed when the process that started it dies: how a server is
    /// started that must not be left behind.
    #[command(hide = true)]
    Launch(LaunchArguments),
}

/// Servers and loads to compare, and how.
#[derive(Debug, Clone, Args)]
pub struct CompareArguments {
    /// What the servers do
    #[arg(long, value_enum, default_value_t = Suite::Echo)]
    pub suite: Suite,
    /// Servers to compare; ratios are to raw_uring, epoll_http, by WebSocket to echo, by TLS to
    /// tokio_rustls [default: all of the suite, go_netpoller if it is built]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub servers: Vec<ServerKind>,
    /// Numbers of connections, a table for each; 100x16: each sends 16 requests in one go, and then
    /// awaits the replies [default: 1,100,1000,10000,100x16,1000x16; by HTTP 100,100x16; by
    /// WebSocket 100,1000; by TLS 100]
    #[arg(long, value_delimiter = ',')]
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
    /// By TLS: the servers' certificate (PEM), of their own making, for 127.0.0.1
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// And its key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// Bytes per request; a GET has none
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    pub payload: u32,
    /// Idle connections whose memory and processor time to measure; 0: none [default: 15000; of the
    /// other suites none]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub idle: Option<u32>,
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
    /// connection at most 256 bytes and less than theirs; http_echo at most 1.1 of epoll_http's and
    /// less than 0.8 of hyper's; websocket_echo at most 1.15 of echo's and less than 0.8 of
    /// tokio_websocket's; echo_tls at most tokio_rustls'; says where it does not
    #[arg(long)]
    pub assert: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Write what was found as a page, with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
