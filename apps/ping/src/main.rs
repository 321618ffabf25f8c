//! A server that answers `PING`, `ECHO` and `QUIT` with the bytes a Redis server would send.

mod handler;
mod reply;
mod resp;
mod settings;

use std::process::ExitCode;

use handler::Ping;
use settings::PingSettings;

fn main() -> ExitCode {
    corelane::run(|_shard, settings: &PingSettings| Ping::new(settings.limits()))
}
