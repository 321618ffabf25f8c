//! What an operator sees: settings in, settings or messages out.

mod accepted;
mod documents;
mod refused;
mod rig;
