//! A connection as its handler sees it. [`handle`] has its operations, as polls and as futures; on
//! it stand [`connection`] (all of them, by name), [`frame`] (reading by a parser), [`framed`] (a
//! codec's frames, both ways), [`next`] (input beside what others send), [`split`] (the two halves),
//! `streams` (the futures-io traits), `hyper` (hyper's) and [`copy`] (passing on). Before the handler
//! come [`proxy_header`] and the handshake of `tls`, of which `tls_info` tells. [`chunk`] is what is
//! read, [`output`] what is written.

pub(crate) mod chunk;
pub(crate) mod connection;
pub(crate) mod copy;
pub(crate) mod frame;
pub(crate) mod framed;
pub(crate) mod handle;
#[cfg(feature = "hyper")]
mod hyper;
pub(crate) mod next;
pub(crate) mod output;
pub(crate) mod proxy_header;
pub(crate) mod split;
mod streams;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "tls")]
pub(crate) mod tls_info;
