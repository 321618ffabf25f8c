//! Writing an answer, or a part of one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::Error;
use crate::http::exchange::Reply;
use crate::http::field;
use crate::http::session::Session;

/// The end of content that comes in chunks (RFC 9112, 7.1).
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A part of an answer that was [taken over](super::Request::take_over), as a chunk (RFC 9112, 7.1),
/// framed once for all who are to get it: to be [published](crate::Topic::publish), or
/// [written](crate::Conn::write). Of no bytes it is nothing, for a chunk of none would be the last.
///
/// ```
/// use corelane::http::chunk_frame;
///
/// assert_eq!(&*chunk_frame("data: hello\n\n"), b"d\r\ndata: hello\n\n\r\n");
/// ```
pub fn chunk_frame(bytes: impl AsRef<[u8]>) -> Arc<[u8]> {
    let bytes = bytes.as_ref();
    if bytes.is_empty() {
        return Arc::new([]);
    }
    let mut line = Vec::new();
    field::write_number::<16>(bytes.len() as u64, &mut line);
    [&line, &b"\r\n"[..], bytes, b"\r\n"].concat().into()
}

/// The future of [`Request::respond`](super::Request::respond) and whatever else writes: it waits
/// while the peer takes nothing. Dropped half-way it leaves an answer that is not whole, and with it
/// the connection's end.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sending<'h> {
    session: &'h mut Session,
}

impl<'h> Sending<'h> {
    /// Writes what the session has to send.
    pub(super) fn new(session: &'h mut Session) -> Self {
        Self { session }
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.session.reply() {
            Reply::Sending => self.session.poll_write(context),
            Reply::Invalid(why) => Poll::Ready(Err(Error::handler(why))),
            _ => Poll::Ready(Ok(())), // there was room for all of it
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        match self.session.reply() {
            Reply::Sending => self.session.stop_waiting(),
            // The layer may stay for as long as its connection: it is not to hold the head's buffer.
            Reply::Upgraded => self.session.put_exchange(),
            _ => {}
        }
    }
}
