//! Bytes received, where they lie.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;

#[cfg(feature = "websocket")]
use crate::id::Key;
use crate::ring::buffers::BufRef;
use crate::shard::handle::Shard;

/// Received bytes in the buffer that the kernel put them in. Dropping the chunk gives the buffer
/// back; writing it to a connection sends the bytes from where they lie.
///
/// A handler may keep a chunk as long as it likes: when buffers run short, the shard copies what it
/// receives.
pub struct Chunk {
    buffer: BufRef,
    /// Not `Send`: the buffer is its thread's.
    of_this_thread: PhantomData<Rc<()>>,
}

impl Chunk {
    pub(crate) fn new(buffer: BufRef) -> Self {
        Self {
            buffer,
            of_this_thread: PhantomData,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new(BufRef::NONE)
    }

    /// The buffer, for whoever releases it.
    pub(crate) fn into_buffer(mut self) -> BufRef {
        std::mem::replace(&mut self.buffer, BufRef::NONE)
    }

    /// Cuts the first `count` bytes off; the two share the buffer, and nothing is copied.
    ///
    /// # Panics
    ///
    /// When `count` is more than the chunk's length, as for slices.
    pub fn split_to(&mut self, count: usize) -> Self {
        assert!(
            count <= self.len(),
            "split at {count} of a chunk of {} bytes",
            self.len()
        );
        if count == self.len() {
            return std::mem::take(self);
        }
        if count == 0 {
            return Self::empty();
        }
        Self::new(Shard::with(|shard| {
            shard.buffers.split(&mut self.buffer, count as u32)
        }))
    }

    /// Keeps the first `count` bytes; no effect when there are not more.
    pub fn truncate(&mut self, count: usize) {
        if count < self.len() {
            *self = self.split_to(count);
        }
    }
}

/// For protocols whose frames are not what their handlers get.
#[cfg(feature = "websocket")]
impl Chunk {
    /// `bytes` on the heap, on the account of `owner`.
    pub(crate) fn copy_of(bytes: &[u8], owner: Key) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        Self::new(Shard::with(|shard| shard.buffers.copy(bytes, Some(owner))))
    }

    /// Drops the first `count` bytes, which are there.
    pub(crate) fn advance(&mut self, count: usize) {
        self.buffer.advance(count as u32);
        if self.buffer.len() == 0 {
            *self = Self::empty();
        }
    }

    /// Its bytes, to be changed where they lie; copied before if others have them, too.
    pub(crate) fn make_mut(&mut self, owner: Key) -> &mut [u8] {
        let is_own = Shard::with(|shard| shard.buffers.bytes_mut(&mut self.buffer).is_some());
        if !is_own {
            *self = Self::copy_of(self, owner);
        }
        Shard::with(|shard| shard.buffers.bytes_mut(&mut self.buffer)).unwrap_or_default()
    }

    /// `next` behind it, contiguous, on the heap: in a buffer that doubles as it fills.
    pub(crate) fn append(&mut self, next: Self) {
        if next.is_empty() {
            return;
        }
        let (buffer, next) = (std::mem::take(self).into_buffer(), next.into_buffer());
        *self = Self::new(Shard::with(|shard| match buffer.is_none() {
            true => shard.buffers.copy_to_heap(next),
            false => shard.buffers.concatenate(buffer, next),
        }));
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::empty()
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.bytes()
    }
}

impl Borrow<[u8]> for Chunk {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.buffer, BufRef::NONE);
        if !buffer.is_none() {
            Shard::release(buffer);
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Chunk(\"{}\")", self.escape_ascii())
    }
}
