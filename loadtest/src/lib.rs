//! The load tester: a client that checks every byte it gets back, and the comparison of servers.
//!
//! In reading order: [`args`] is the command line as typed, `check` judges it, `target` finds the
//! server, [`plan`] is what it comes to, [`machine`] whether this machine can carry it. [`command`]
//! is `loadtest run`. An [`engine`] leads the shards through the run, each of which runs a
//! `generator`: it opens connections, each of which sends the [`workload`] and verifies the
//! replies, and counts what went wrong by [`failure`] kind. The outcome is [`data`], shown as text
//! ([`report`]) or as a [`page`]. [`compare`] starts servers, lets an engine load each of them, and
//! sets side by side the processor time that a request cost them.

#![warn(clippy::print_stdout, clippy::print_stderr)] // they panic where nothing can be written: `output` does not

pub mod args;
mod check;
pub mod command;
pub mod compare;
pub mod data;
pub mod engine;
pub mod error;
pub mod failure;
mod floor;
mod generator;
pub mod launch;
pub mod machine;
mod orders;
pub mod output;
pub mod page;
pub mod plan;
#[cfg(test)]
mod proptests;
pub mod report;
pub mod statistics;
mod stop;
mod system;
mod target;
pub mod workload;

pub use floor::Seat;
pub use stop::Stop;
