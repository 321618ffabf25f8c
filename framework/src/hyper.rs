//! hyper's HTTP/1 on a connection, for programs that are built on it, or on what stands on it, such
//! as axum. With the feature `hyper`.
//!
//! [`Conn`] implements [`hyper::rt::Read`] and [`hyper::rt::Write`]. [`serve`]
//! has hyper serve it, and end it as a drain asks. There is no runtime beside the shard's: hyper's
//! timer is unset, and the connection's deadlines run. Of tokio hyper has a channel, and nothing else.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use corelane::{Conn, Error, Handler};
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::server::conn::http1;
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//!
//! struct Hello {
//!     http: http1::Builder,
//! }
//!
//! async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from(format!("hello from {}\n", request.uri().path()))))
//! }
//!
//! impl Handler for Hello {
//!     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
//!         corelane::hyper::serve(conn, &self.http, service_fn(hello)).await
//!     }
//! }
//! # let _ = Hello { http: corelane::hyper::builder() };
//! ```
//!
//! `corelane::http` takes a fiftieth of its memory and is stricter: see `docs/guide.md`.

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;

use ::hyper::body::{Body, Incoming};
use ::hyper::server::conn::http1::Builder;
use ::hyper::service::Service;
use ::hyper::{Request, Response};

use crate::conn::connection::Conn;
use crate::error::Error;

/// What hyper reads ahead of a connection at most, and with it the longest head. hyper's own bound is
/// some 400 KB. No key: who wants another one calls `max_buf_size`.
const BUFFER_MAX: usize = 64 * 1024;

/// hyper's settings, as they suit a connection of a shard.
///
/// A peer may end its side behind its request (`half_close`): else hyper would read while the answer
/// is being made, to see that end, and the framework would take the wait for the peer's silence. At
/// most 64 KB are read ahead (`max_buf_size`).
pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.half_close(true).max_buf_size(BUFFER_MAX);
    builder
}

/// Serves HTTP/1 on `conn` by `service`, with hyper's settings of [`builder`], until either side has
/// ended it.
///
/// In a drain ([`Conn::draining`]) the request in hand is answered, with `Connection: close`, and a
/// connection between two requests ends. `timeouts.request` bounds a request, its head included;
/// `timeouts.idle` the silence between two. `timeouts.read` knows no frame of hyper's.
///
/// # Errors
///
/// [`Error::Protocol`] for what is no request, which hyper has answered; [`Error::Truncated`] when the
/// peer ends within a head (of an end within a body the service hears); [`Error::Closed`] as for [`Conn::read`]; [`Error::Handler`] for an error of
/// `service` or of a body that it gives, of which the peer sees a connection that is cut.
pub async fn serve<S, B>(conn: &mut Conn, builder: &Builder, service: S) -> Result<(), Error>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let served = {
        let mut draining = pin!(conn.draining());
        let mut served = pin!(builder.serve_connection(&mut *conn, service));
        let mut knows_drain = false;
        poll_fn(|context| {
            if !knows_drain && draining.as_mut().poll(context).is_ready() {
                knows_drain = true;
                served.as_mut().graceful_shutdown();
            }
            served.as_mut().poll(context)
        })
        .await
    };
    let Err(error) = served else {
        return Ok(());
    };
    let error = told(error);
    if let Error::Protocol(_) = error {
        // An end without our FIN would reset what the peer has yet to read: why it was refused.
        conn.close().await?;
    }
    Err(error)
}

/// hyper's error in the framework's words.
fn told(error: ::hyper::Error) -> Error {
    let of_io = error.source().and_then(<dyn StdError>::downcast_ref);
    let of_conn = of_io
        .and_then(io::Error::get_ref)
        .and_then(|inner| inner.downcast_ref());
    match of_conn {
        Some(Error::Closed(reason)) => Error::Closed(*reason),
        _ if error.is_parse() => Error::Protocol("hyper takes it for no request of HTTP/1"),
        _ if error.is_incomplete_message() => Error::Truncated,
        _ => Error::handler(error),
    }
}
