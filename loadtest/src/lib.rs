//! The load tester: a client that checks every byte it gets back, and the comparison of servers.
//!
//! In reading order: [`args`] is the command line as typed, [`plan`] what it comes to once checked.
//! An [`engine`] carries a plan out: it opens connections, each of which sends the [`workload`] and
//! verifies the replies, and counts what went wrong by [`failure`] kind. The outcome is a
//! [`report`]. [`compare`] starts servers, lets an engine load each of them, and sets side by side
//! the processor time that a request cost them.

pub mod args;
pub mod compare;
mod connection;
pub mod engine;
pub mod error;
pub mod failure;
pub mod plan;
pub mod report;
pub mod statistics;
mod stop;
mod system;
pub mod workload;

pub use stop::Stop;
