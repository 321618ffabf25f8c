//! A request's body, as its handler reads it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::conn::chunk::Chunk;
use crate::error::Error;
use crate::http::exchange::Place;
use crate::http::session::Session;

/// A request's body. Nothing of it is read before it is asked for, and a peer that sends on meets a
/// closed window; one that waits for `100 Continue` gets it with the first call.
#[derive(Debug)]
pub struct Body<'r> {
    session: &'r mut Session,
}

impl<'r> Body<'r> {
    pub(super) fn new(session: &'r mut Session) -> Self {
        Self { session }
    }

    /// Bytes that are to come yet; none if the peer has not told how many.
    pub fn remaining(&self) -> Option<u64> {
        match self.session.exchange().body.place {
            Place::End => Some(0),
            Place::Length(left) => Some(left),
            Place::FirstLine | Place::Line | Place::Chunk(_) | Place::Trailers => None,
        }
    }

    /// The next bytes of it, at most a receive buffer, from where they were received; `None` behind
    /// the last. Trailer fields are checked and thrown away.
    ///
    /// May be dropped half-way: what has come stays there.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] when it is more than `body_max`, or its chunks are ill-formed: unless an
    /// answer had begun the peer was answered, and the connection ends. [`Error::Truncated`] when
    /// the peer ends within it; [`Error::Closed`] as for [`Conn::read`](crate::Conn::read), with
    /// [`ReadTimeout`](crate::CloseReason::ReadTimeout) past `body_timeout`.
    pub fn next_chunk(&mut self) -> NextChunk<'_> {
        NextChunk(Some(&mut *self.session))
    }

    /// All that is left of it; none when that is more than `bytes_max`: then some of it is gone, and
    /// the answer to give is 413.
    ///
    /// # Errors
    ///
    /// As for [`next_chunk`](Self::next_chunk).
    pub async fn read_all(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        match self.remaining() {
            Some(remaining) if remaining > bytes_max as u64 => return Ok(None),
            // What is announced is not yet there: the memory comes with the bytes.
            Some(remaining) => bytes.reserve((remaining as usize).min(64 * 1024)),
            None => {}
        }
        while let Some(chunk) = self.next_chunk().await? {
            if chunk.len() > bytes_max - bytes.len() {
                return Ok(None);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }
}

/// The future of [`Body::next_chunk`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct NextChunk<'r>(Option<&'r mut Session>);

impl Future for NextChunk<'_> {
    type Output = Result<Option<Chunk>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(session) = self.0.as_mut() else {
            return Poll::Ready(Ok(None));
        };
        let chunk = ready!(session.poll_body(context));
        self.0 = None;
        Poll::Ready(chunk)
    }
}

impl Drop for NextChunk<'_> {
    fn drop(&mut self) {
        if let Some(session) = &mut self.0 {
            session.stop_waiting();
        }
    }
}
