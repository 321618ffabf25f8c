//! A report as one page that stands alone.

mod course;
mod latency;
mod shards;
mod tables;
mod tiles;
mod verdict;
mod whole;

pub use tables::machine;
pub use whole::{html, write};
