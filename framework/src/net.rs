//! Listening sockets and socket options.

pub(crate) mod endpoint;
pub(crate) mod handover;
pub(crate) mod inherited;
pub(crate) mod listen;
pub(crate) mod listener;
pub(crate) mod steer;
