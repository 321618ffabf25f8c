//! Several shards of a server, with messages, publications and receipts between them, against a
//! model of what is sent and what comes: [`model`]. Each shard is its thread's; of all threads one
//! runs at a time, a part of a turn of its shard, as the seed says: so rings come between pushes,
//! looks and rests in every order, and a run is the same whenever it is played.
//!
//! `CORELANE_MODEL_RUNS=N` plays so many runs, `CORELANE_MODEL_SEED=N` the one of that seed.

mod actor;
mod member;
mod model;
mod peers;
mod play;
mod script;
