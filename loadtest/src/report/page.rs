//! A report as one page that stands alone.

mod figures;
mod tables;
mod tiles;
mod verdict;
mod whole;

pub use tables::machine;
pub use whole::{html, write};
