//! What an operator sees: settings in, settings or messages out.

mod accepted;
mod changes;
mod documents;
mod listeners;
mod refused;
mod rig;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod upstream_tls;
#[cfg(not(feature = "tls"))]
mod without_tls;
