//! The rig of the black-box tests: it starts the real binaries, talks to them over loopback, reads
//! their logs and sees how they end. Every wait in it is bounded and fails with what it waited for.
//!
//! In the order in which a test meets it: [`Launch`] describes a server, [`Server`] is one that
//! runs, [`Client`] is one connection to it, [`Counts`] is what it says it has done.
//!
//! Binaries are taken from the profile directory the test itself was built into and built first if
//! one is missing. They are not rebuilt when stale: run `cargo build --workspace` (with `--release`
//! for `cargo test --release`) before, as `make test` does.
//!
//! Environment: `CORELANE_TESTS_STRICT=1` turns a skipped test into a failed one;
//! `CORELANE_TESTS_SEED=N` repeats a run of the seeded tests; `CORELANE_TESTS_SLACK=N` stretches
//! bounds for an instrumented build.
#![allow(clippy::unwrap_used)] // A rig reports what it did not expect by panicking.

#[cfg(doctest)]
mod documents;

pub mod admin;
pub mod browser;
mod cable;
mod cage;
mod certificate;
pub mod chaos;
mod client;
pub mod duplex;
pub mod events;
mod free_address;
pub mod gateway;
pub mod http;
pub mod latency;
pub mod listeners;
pub mod load;
mod log;
mod process;
mod program;
mod random;
mod redis;
pub mod resp;
mod server;
pub mod siege;
mod skip;
pub mod terminal;
mod turn;
mod wait;
pub mod websocket;

pub use cable::{Cable, Talker};
pub use cage::Cage;
pub use certificate::Certificate;
pub use client::{Client, End, connect, connect_from, reset};
pub use free_address::{free_address, free_address_of};
pub use log::{Counts, Line, Log};
pub use process::{descriptors, has_ended, processor_time, raise_descriptor_limit, resident_bytes};
pub use program::{Program, cargo};
pub use random::Random;
pub use redis::Redis;
pub use server::{Exit, Launch, Server};
pub use skip::{announce, have};
pub use turn::{Turn, alone, shared};
pub use wait::{BOUND, within};

/// By how much bounds on memory and latency are stretched: 1, or what `CORELANE_TESTS_SLACK` says
/// for an instrumented build.
#[must_use]
pub fn slack() -> u32 {
    std::env::var("CORELANE_TESTS_SLACK")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}
