//! A gateway: what is posted to a topic by HTTP goes to all who are subscribed to it, by WebSocket or
//! as server-sent events, on whatever shard.

mod answer;
mod event;
mod handler;
mod origin;
mod page;
mod policy;
#[cfg(any(test, fuzzing))]
mod properties;
mod publisher;
mod route;
mod settings;
mod subscriber;
mod tokens;

fn main() -> std::process::ExitCode {
    corelane::run(handler::Gateway::new)
}
