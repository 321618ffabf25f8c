//! What is written.

use std::sync::Arc;

use crate::conn::chunk::Chunk;

/// What [`Conn::write`](crate::Conn::write) takes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output<'a> {
    /// Sent from where it lies, unless it is small and behind other output: then it is copied to
    /// that. Empty once it is queued.
    Chunk(Chunk),
    /// Copied behind what was written before.
    Slice(&'a [u8]),
    /// Sent from where it lies, to as many connections of as many shards as want it. It is kept
    /// until the kernel has taken the last byte. Counts as unsent for its whole length, on each.
    Shared(Arc<[u8]>),
}

impl Output<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Chunk(chunk) => chunk,
            Self::Slice(slice) => slice,
            Self::Shared(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.len(),
            Self::Slice(slice) => slice.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

impl From<Chunk> for Output<'_> {
    fn from(chunk: Chunk) -> Self {
        Self::Chunk(chunk)
    }
}

/// By value: a reference to it is a slice, and copied.
impl From<Arc<[u8]>> for Output<'_> {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Output<'a> {
    fn from(bytes: &'a T) -> Self {
        Self::Slice(bytes.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handler that writes holds one, and an idle connection the memory of its handler.
    #[test]
    fn what_is_written_is_small() {
        assert!(size_of::<Output<'_>>() <= 24, "{}", size_of::<Output<'_>>());
    }
}
