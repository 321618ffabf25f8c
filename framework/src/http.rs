//! HTTP/1.1 on a connection (RFC 9110, RFC 9112), as straight sequential code: [`Http`] gives one
//! [`Request`] after the other, each is answered with a [`Response`]. With the feature `http`.
//!
//! It is strict: a request that two readers could read differently is refused, and its connection
//! ends, for whoever stands before this server may be the other reader (request smuggling). Every
//! [bound](Limits) has a name. HTTP/1.0 is answered in kind.
//!
//! # Rules
//!
//! Whatever is refused gets the status below with `Connection: close` and a line that says why;
//! nothing behind it is read. The handler never sees it: [`Http::next`] or [`Body::next_chunk`]
//! fails with [`Error::Protocol`](crate::Error::Protocol).
//!
//! | of | is refused | status | RFC |
//! |---|---|---|---|
//! | lines | that end with a line feed alone, or have a carriage return in their midst | 400 | 9112, 2.2 |
//! | | that are empty, before a request, from the fifth on | 400 | 9112, 2.2 |
//! | request line | other than one method, target and version with one space between | 400 | 9112, 3 |
//! | | longer than `head_max` | 414 | 9112, 3 |
//! | version | other than HTTP/1.0 and HTTP/1.1 | 505 | 9110, 15.6.6 |
//! | method | that is no token | 400 | 9110, 9.1 |
//! | | `CONNECT` | 501 | 9110, 9.3.6 |
//! | target | with spaces, control characters, bytes beyond ASCII or `#` | 400 | 9112, 3.2 |
//! | | other than a path, an `http` or `https` URL, or `*` of OPTIONS | 400 | 9112, 3.2 |
//! | | a URL with a user, or without a host | 400 | 9110, 4.2 |
//! | fields | with a space before the colon, or a name that is no token | 400 | 9112, 5.1 |
//! | | that go on in a further line (obs-fold) | 400 | 9112, 5.2 |
//! | | with control characters | 400 | 9110, 5.5 |
//! | | more than `fields_max`, or longer than `head_max` together | 431 | 6585, 5 |
//! | `Host` | none in HTTP/1.1, several, or that is no host | 400 | 9112, 3.2 |
//! | `Content-Length` | twice, as a list, or other than 1 to 19 digits | 400 | 9112, 6.3 |
//! | | beside `Transfer-Encoding` | 400 | 9112, 6.3 |
//! | | above `body_max` | 413 | 9110, 15.5.14 |
//! | `Transfer-Encoding` | in HTTP/1.0 | 400 | 9112, 6.1 |
//! | | twice, without `chunked` at its end, or with more than one of it | 400 | 9112, 6.3 |
//! | | with another coding before `chunked` | 501 | 9112, 6.1 |
//! | `Expect` | other than `100-continue` | 417 | 9110, 10.1.1 |
//! | chunks | with a size other than 1 to 16 hexadecimal digits, or other than their size | 400 | 9112, 7.1 |
//! | | whose line is longer than 256 bytes, extensions longer than `head_max` in sum | 400 | 9112, 7.1.1 |
//! | | above `body_max` in sum | 413 | 9110, 15.5.14 |
//! | trailers | that are no fields | 400 | 9112, 7.1.2 |
//! | | longer than `head_max` | 431 | 6585, 5 |
//!
//! Leading zeros of a length, an absolute URL with another `Host` beside it (the URL counts), a
//! single empty line before a request, chunk extensions and trailers are allowed; the latter two are
//! thrown away.

mod answer;
mod body;
mod chunk;
mod class;
mod connection;
mod date;
mod exchange;
pub(crate) mod field;
mod head;
mod incoming;
pub(crate) mod limits;
mod next;
mod refusal;
mod request;
mod response;
mod send;
mod session;
mod status;
mod streamed;
mod target;

pub use body::{Body, NextChunk};
pub use connection::{Http, NextRequest};
#[cfg(test)]
pub(crate) use exchange::spare as spare_exchanges;
pub use field::InvalidField;
pub use limits::Limits;
pub use request::{Method, Request};
pub use response::{Content, Response};
pub use send::{LAST_CHUNK, Sending, chunk_frame};
pub use status::Status;
pub use streamed::Streamed;
