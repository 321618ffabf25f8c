//! An answer as a handler makes it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use crate::conn::chunk::Chunk;
use crate::http::field::{self, InvalidField};
use crate::http::status::Status;

/// Room for fields that a thread keeps for its next answer, at most. No key: an answer gives it back
/// as soon as it is written.
const SPARE_BYTES_MAX: usize = 4096;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An answer to a request: its status, its header fields and its content.
///
/// `Date`, `Content-Length`, `Transfer-Encoding` and `Connection` follow from it, and are written by
/// [`Request::respond`](super::Request::respond).
///
/// ```
/// use corelane::http::{Response, Status};
///
/// let hello = Response::ok().header("Content-Type", "text/plain").body("hello");
/// let gone = Response::new(Status::GONE);
/// let moved = |to: &str| Response::new(Status::FOUND).try_header("Location", to);
/// assert!(moved("/a\r\nSet-Cookie: b").is_err());
/// # let _ = (hello, gone);
/// ```
#[must_use = "it is sent by `Request::respond`"]
pub struct Response<'b> {
    pub(super) status: Status,
    /// Lines, each with its end.
    pub(super) fields: Vec<u8>,
    pub(super) content: Content<'b>,
    pub(super) closes: bool,
    pub(super) length: Option<u64>,
    pub(super) fault: Option<&'static str>,
}

impl Response<'static> {
    /// `200 OK`, without content.
    #[inline]
    pub fn ok() -> Self {
        Self::new(Status::OK)
    }

    /// An answer of `status`, without content.
    #[inline]
    pub fn new(status: Status) -> Self {
        Self {
            status,
            fields: SPARE.try_with(Cell::take).unwrap_or_default(),
            content: Content::Slice(&[]),
            closes: false,
            length: None,
            fault: None,
        }
    }
}

impl<'b> Response<'b> {
    /// A header field more.
    ///
    /// A name that is no token, a value with a control character, and a name that is the server's to
    /// send (`Date`, `Connection`, `Content-Length` and the like) spoil the answer: nothing of it is
    /// sent, and [`Request::respond`](super::Request::respond) fails. For a value of a peer's words
    /// [`try_header`](Self::try_header) tells it at once.
    #[inline]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if let Err(InvalidField(why)) = field::write(name, value.as_ref(), &mut self.fields) {
            self.fault = Some(why);
        }
        self
    }

    /// As [`Self::header`].
    ///
    /// # Errors
    ///
    /// Name or value are none that may be sent: the answer without them is lost.
    pub fn try_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, InvalidField> {
        field::write(name, value.as_ref(), &mut self.fields)?;
        Ok(self)
    }

    /// With this content: a [`Chunk`] and an `Arc<[u8]>` are sent from where they lie, everything
    /// else is copied.
    #[inline]
    pub fn body<'c>(self, content: impl Into<Content<'c>>) -> Response<'c> {
        Response {
            content: content.into(),
            status: self.status,
            fields: self.fields,
            closes: self.closes,
            length: self.length,
            fault: self.fault,
        }
    }

    /// Announces so many bytes of content, of an answer that is streamed: else it is sent in chunks.
    pub fn length(self, bytes: u64) -> Self {
        Self {
            length: Some(bytes),
            ..self
        }
    }

    /// With `Connection: close`: no further request of the connection is read.
    pub fn close(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    /// Names the protocol to go over to, as 426 must (RFC 9110, 15.5.22).
    #[cfg(feature = "websocket")]
    pub(crate) fn asks_for(mut self, protocol: &str) -> Self {
        if let Err(InvalidField(why)) =
            field::write_any("Upgrade", protocol.as_bytes(), &mut self.fields)
        {
            self.fault = Some(why);
        }
        self
    }

    /// Its status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// It is written: the memory of its fields is for the next one.
    pub(super) fn recycle_fields(mut fields: Vec<u8>) {
        fields.clear();
        if fields.capacity() > SPARE_BYTES_MAX {
            return;
        }
        let _at_the_threads_end = SPARE.try_with(|spare| spare.set(fields));
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Response")
            .field("status", &self.status)
            .field("fields", &self.fields.escape_ascii().to_string())
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// The content of an answer, or a part of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Content<'b> {
    /// Copied.
    Slice(&'b [u8]),
    /// Copied, too: for what nobody else has.
    Owned(Vec<u8>),
    /// Sent from where it was received.
    Chunk(Chunk),
    /// Sent from where it lies.
    Shared(Arc<[u8]>),
}

impl Content<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Slice(slice) => slice.len(),
            Self::Owned(bytes) => bytes.len(),
            Self::Chunk(chunk) => chunk.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

impl<'b, T: AsRef<[u8]> + ?Sized> From<&'b T> for Content<'b> {
    #[inline]
    fn from(bytes: &'b T) -> Self {
        Self::Slice(bytes.as_ref())
    }
}

impl From<Vec<u8>> for Content<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}

impl From<String> for Content<'_> {
    fn from(text: String) -> Self {
        Self::Owned(text.into_bytes())
    }
}

impl From<Chunk> for Content<'_> {
    fn from(chunk: Chunk) -> Self {
        Self::Chunk(chunk)
    }
}

impl From<Arc<[u8]>> for Content<'_> {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}
