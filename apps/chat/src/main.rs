//! Rooms to talk in, by lines of text: what somebody says is heard by everybody in the room, on
//! whatever shard.

mod command;
mod handler;
mod rate;
mod settings;

fn main() -> std::process::ExitCode {
    corelane::run(|shard, settings: &settings::ChatSettings| handler::Chat {
        settings: settings.clone(),
        shard: shard.clone(),
        rooms: Default::default(),
    })
}
