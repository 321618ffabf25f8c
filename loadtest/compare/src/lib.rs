//! The comparison: the cost of a request, and of an idle connection, to each server.
//!
//! Servers and client have a core each. A server's processor time is taken over exactly the time in
//! which its requests are counted. Machines drift, so the servers take turns, several times in a
//! round, and each is set against the reference of its own round.

#![warn(clippy::print_stdout, clippy::print_stderr)] // they panic where nothing can be written: `output` does not

pub mod args;
mod assertion;
mod bench;
pub mod command;
mod comparison;
mod idle;
mod kind;
pub mod page;
#[cfg(test)]
mod proptests;
mod round;
mod server;
mod shape;
mod statistics;
mod suite;
mod table;
mod turns;

pub use comparison::{Case, Comparison, Idle, IdleCase, IdleRow, Load, Row};
pub use kind::ServerKind;
pub use shape::Shape;
pub use statistics::Spread;
pub use suite::Suite;
