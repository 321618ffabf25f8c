//! Tests that take the kernel's part, peers' and handlers' themselves. [`play`] is a shard against
//! a model of it, [`fleet`] several with messages between them; [`framing`] says what holds of lines and frames, however bytes come in.

#[cfg(test)]
mod fleet;
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
