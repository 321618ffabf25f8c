//! An answer whose content comes in parts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Error;
use crate::http::body::Body;
use crate::http::response::Content;
use crate::http::send::Sending;
use crate::http::session::Session;

/// The content of an answer, on its way out: of [`Request::respond_streamed`]. Dropped before
/// [`finish`](Self::finish) it is cut, and the connection with it, whatever its handler does then, so
/// that its reader does not take it for the whole.
///
/// [`Request::respond_streamed`]: super::Request::respond_streamed
#[derive(Debug)]
#[must_use = "an answer that is not finished ends its connection"]
pub struct Streamed<'h> {
    session: &'h mut Session,
}

impl<'h> Streamed<'h> {
    pub(super) fn new(session: &'h mut Session) -> Self {
        Self { session }
    }

    /// Writes a part. It goes out when the handler waits for anything; while the peer takes nothing
    /// of what was written, this waits. Dropped before its end it ends the answer: nothing can be
    /// written behind half a part.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`Conn::write`](crate::Conn::write), [`Error::Handler`] for more than
    /// [`Response::length`](super::Response::length) has announced, and behind a part that was
    /// dropped.
    pub fn write<'b>(&mut self, part: impl Into<Content<'b>>) -> Sending<'_> {
        self.session.answer_part(part.into());
        Sending::new(self.session)
    }

    /// Waits until the kernel has taken all that was written.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`Conn::write`](crate::Conn::write).
    pub async fn flush(&mut self) -> Result<(), Error> {
        let session = &mut *self.session;
        Flush(session).await
    }

    /// The request is over as far as `timeouts.request` goes, as [`Conn::request_done`]: for what is
    /// longer than an answer, as a stream of news.
    ///
    /// [`Conn::request_done`]: crate::Conn::request_done
    pub fn request_done(&mut self) {
        self.session.handle.with(|conn| conn.request_done());
    }

    /// The body of the request, for an answer that is made of it while it comes.
    pub fn body(&mut self) -> Body<'_> {
        Body::new(self.session)
    }

    /// The content is whole.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write), and for less than was announced.
    pub fn finish(self) -> Sending<'h> {
        self.session.answer_end();
        Sending::new(self.session)
    }
}

/// The future of [`Streamed::flush`].
struct Flush<'r>(&'r mut Session);

impl Future for Flush<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.handle.poll_flush(context)
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        self.0.stop_waiting();
    }
}
