//! [`Http`]: where a handler begins.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::conn::connection::Conn;
use crate::error::Error;
use crate::http::limits::Limits;
use crate::http::request::Request;
use crate::http::session::Session;
use crate::shard::conns::ConnTimeouts;

/// A connection that speaks HTTP/1.1.
///
/// ```
/// use std::rc::Rc;
///
/// use corelane::http::{Http, Limits, Response};
/// use corelane::{Conn, Error, Handler};
///
/// #[derive(Default)]
/// struct Hello {
///     limits: Rc<Limits>,
/// }
///
/// impl Handler for Hello {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         let mut http = Http::new(conn, &self.limits);
///         while let Some(request) = http.next().await? {
///             let hello = Response::ok().header("Content-Type", "text/plain").body("hello\n");
///             request.respond(hello).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// While it is silent it holds no buffer, and is some 32 bytes of its handler's future. It owns no
/// timer: the connection's deadlines run, with the times of [`Limits`].
#[derive(Debug)]
pub struct Http<'c> {
    session: Session,
    conn: PhantomData<&'c mut Conn>,
}

impl<'c> Http<'c> {
    /// Speaks HTTP on `conn` from now on.
    ///
    /// `limits` that [`Limits::check`] finds wrong are kept to as far as they can be.
    pub fn new(conn: &'c mut Conn, limits: &Rc<Limits>) -> Self {
        if limits.keep_alive.is_some() {
            conn.set_timeouts(ConnTimeouts::new().idle(limits.keep_alive));
        }
        let session = match limits.check().is_empty() {
            true => Session::new(conn, limits),
            false => Session::new(conn, &Rc::new(limits.clamped())),
        };
        Self {
            session,
            conn: PhantomData,
        }
    }

    /// The next request, once all of its head has come; `None` when there will be no more: the peer
    /// has ended, or was answered with `Connection: close`, as it is in a drain. Then the handler
    /// returns.
    ///
    /// What is unread of the body of the request before is read and thrown away, up to
    /// `unread_body_max`. A request that was dropped without an answer is answered with 500.
    ///
    /// May be dropped half-way: what has come stays there.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] for what is no request, or one that leaves room for two readings: it was
    /// answered with the status of [the table](super#rules), and the connection ends.
    /// [`Error::Truncated`] when the peer ends within a head, [`Error::Handler`] when the answer
    /// before was invalid or not brought to its end, [`Error::Closed`] as for
    /// [`Conn::read`](crate::Conn::read), with
    /// [`ReadTimeout`](crate::CloseReason::ReadTimeout) past `header_timeout`.
    #[cfg_attr(
        feature = "http",
        expect(
            clippy::should_implement_trait,
            reason = "the field's word for it, on a type that is no iterator"
        )
    )]
    pub fn next(&mut self) -> NextRequest<'_> {
        NextRequest(Some(&mut self.session))
    }
}

/// The future of [`Http::next`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct NextRequest<'h>(Option<&'h mut Session>);

impl<'h> Future for NextRequest<'h> {
    type Output = Result<Option<Request<'h>>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(session) = self.0.as_mut() else {
            return Poll::Ready(Ok(None));
        };
        let Poll::Ready(next) = session.poll_next(context) else {
            return Poll::Pending;
        };
        let session = self.0.take();
        Poll::Ready(next.map(|is_there| session.filter(|_| is_there).map(Request::new)))
    }
}

impl Drop for NextRequest<'_> {
    fn drop(&mut self) {
        if let Some(session) = &mut self.0 {
            session.stop_waiting();
        }
    }
}
