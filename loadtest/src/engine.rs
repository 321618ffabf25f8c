//! Carries out a run: starts the shards, leads them through its stages, watches the machine
//! meanwhile, and sums up. It knows no page: it returns a report, for others to show.

mod observe;
mod progress;
mod run;
mod totals;
mod verdict;

pub use progress::Show;
pub use run::{Observer, run};
