//! Tests that take the kernel's part, peers' and handlers' themselves. [`play`] is a shard against
//! a model of it; [`framing`] says what holds of lines and frames, however bytes come in.

pub(crate) mod framing;
#[cfg(test)]
mod handler;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod play;
#[cfg(test)]
pub(crate) mod random;
#[cfg(test)]
mod rules;
pub(crate) mod stand_in;
#[cfg(test)]
mod world;
