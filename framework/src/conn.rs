//! A connection as its handler sees it. [`handle`] has the operations as polls; the futures, the two
//! halves and the futures-io traits stand on it.

pub(crate) mod chunk;
pub(crate) mod connection;
pub(crate) mod copy;
pub(crate) mod frame;
pub(crate) mod handle;
pub(crate) mod output;
pub(crate) mod split;
mod streams;
