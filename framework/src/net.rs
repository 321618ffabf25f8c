//! Listening sockets and socket options.

pub(crate) mod endpoint;
pub(crate) mod listen;
