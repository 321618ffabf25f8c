//! Listening sockets and socket options.

pub(crate) mod listen;
