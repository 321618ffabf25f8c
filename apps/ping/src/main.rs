//! A server that answers `PING`, `ECHO` and `QUIT` with the bytes a Redis server would send, and passes `PING` on if it is
//! told to.

mod forward;
mod handler;
mod reply;
mod resp;
mod settings;

use std::process::ExitCode;

use forward::UPSTREAM;
use handler::Ping;
use settings::PingSettings;

fn main() -> ExitCode {
    corelane::run(|shard, settings: &PingSettings| Ping::new(settings.limits(), shard.pool(UPSTREAM)))
}
