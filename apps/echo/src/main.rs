//! The echo service of RFC 862 over TCP: whatever a client sends comes back.

mod handler;

use std::process::ExitCode;

use corelane::AppSettings;
use handler::Echo;

/// The echo service has nothing of its own to set: `[app]` stays empty.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EchoSettings {}

impl AppSettings for EchoSettings {
    const NAME: &'static str = "echo";
    const ABOUT: &'static str = "Sends back what it receives (RFC 862)";
    const LISTEN: &'static str = "127.0.0.1:7007";
}

fn main() -> ExitCode {
    corelane::run(|_shard, _settings: &EchoSettings| Echo)
}
