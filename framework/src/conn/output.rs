//! What is written.

use crate::conn::chunk::Chunk;

/// What [`Conn::write`](crate::Conn::write) takes.
#[derive(Debug)]
pub enum Output<'a> {
    /// Sent from where it lies, unless it is small and behind other output: then it is copied to that.
    /// Empty once it is queued.
    Chunk(Chunk),
    /// Copied behind what was written before.
    Slice(&'a [u8]),
}

impl Output<'_> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Chunk(chunk) => chunk.is_empty(),
            Self::Slice(slice) => slice.is_empty(),
        }
    }
}

impl From<Chunk> for Output<'_> {
    fn from(chunk: Chunk) -> Self {
        Self::Chunk(chunk)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Output<'a> {
    fn from(bytes: &'a T) -> Self {
        Self::Slice(bytes.as_ref())
    }
}
