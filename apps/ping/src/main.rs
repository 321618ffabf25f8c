//! A server that answers `PING`, `ECHO`, `QUIT` and what clients say before them with the bytes a
//! Redis server would send, and passes `PING` on if it is told to.

mod client;
mod codec;
mod forward;
mod handler;
mod reply;
mod resp;
mod settings;
mod setup;

use std::process::ExitCode;

use client::Ids;
use forward::UPSTREAM;
use handler::Ping;
use settings::PingSettings;

fn main() -> ExitCode {
    corelane::run(|shard, settings: &PingSettings| {
        Ping::new(
            settings.limits(),
            shard.pool(UPSTREAM),
            Ids::of_shard(shard.id.0, shard.shards),
        )
    })
}
