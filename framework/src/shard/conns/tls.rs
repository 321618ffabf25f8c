//! TLS sessions of a shard's connections, beside the table: nothing where there are none.
//!
//! A session stands between the ring and the queues of its connection: what comes is opened before
//! it is queued as input ([`input`]), and what was written lies in the queue as it is until it is
//! sealed and sent ([`output`]). So whatever writes or reads a connection knows nothing of it. The
//! handshake is read and written as by a handler, before there is a session here; [`handshake`] says
//! when it goes on. [`sessions`] has them, each a [`session`], which alone speaks to rustls; it looks
//! at [`record`]s and a client's `hello`.

mod handshake;
pub(crate) mod hello;
mod input;
mod output;
mod record;
pub(crate) mod session;
pub(crate) mod sessions;

pub(crate) use record::begins_a_handshake;
pub(crate) use sessions::{BYTES, Sessions};
