//! The load tester: a client that checks every byte it gets back. The comparison of servers, a
//! package of its own, runs on it.
//!
//! In reading order: [`plan`] is the command line, judged, and its plan, [`machine`] whether
//! this machine can carry it. [`command`] is `loadtest run`. An [`engine`] leads the shards through
//! the stages of a run, each of which runs a `generator`: it opens connections, each of which sends
//! the [`workload`] in its protocol (`wire`) and verifies the replies, or speaks and listens in `rooms`, and counts failures
//! by [`failure`] kind. The outcome is [`data`], which a [`report`] shows as text, as JSON or as a
//! page.

#![warn(clippy::print_stdout, clippy::print_stderr)] // they panic where nothing can be written: `output` does not

pub mod command;
mod control;
pub mod data;
pub mod engine;
pub mod error;
pub mod failure;
mod generator;
pub mod launch;
pub mod machine;
pub mod output;
pub mod plan;
#[cfg(test)]
mod proptests;
mod protocol;
pub mod report;
mod rooms;
mod silenced;
mod stop;
mod token;
mod wire;
pub mod workload;

pub use control::RunStage;
pub use stop::Stop;
pub use token::{Participant, Token};
