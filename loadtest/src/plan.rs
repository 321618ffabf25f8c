//! The plan of a run: the arguments as typed ([`args`]), judged ([`check`]), the server they name
//! found (`target`) and trusted (`trust`), and the [`Plan`] that this comes to.

pub mod args;
pub mod check;
mod run;
pub(crate) mod target;
mod trust;

pub use args::Mode;
pub use run::Plan;
pub use trust::trusting;
