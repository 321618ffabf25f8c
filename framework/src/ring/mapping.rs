//! Where the memory of buffers comes from: a mapping for those that the kernel fills, the heap for
//! the others.

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;

use memmap2::{MmapMut, MmapRaw, UncheckedAdvice};

/// Heap buffers are sized in multiples of this many bytes.
pub(super) const HEAP_GRAIN: u32 = 64;

fn heap_layout(capacity: u32) -> Layout {
    Layout::from_size_align(capacity as usize, HEAP_GRAIN as usize)
        .expect("a buffer's size is below 2^32, its alignment a power of two")
}

/// Memory of `capacity` bytes, which is at least one grain.
pub(super) fn heap_allocate(capacity: u32) -> NonNull<u8> {
    let layout = heap_layout(capacity);
    // SAFETY: the capacity is at least one grain, so the layout is not empty.
    NonNull::new(unsafe { alloc::alloc(layout) })
        .unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

/// Gives back what [`heap_allocate`] gave for the same capacity.
pub(super) fn heap_free(base: NonNull<u8>, capacity: u32) {
    // SAFETY: allocated by `heap_allocate` with the same capacity, and freed once: its place is
    // vacant afterwards.
    unsafe { alloc::dealloc(base.as_ptr(), heap_layout(capacity)) };
}

/// Anonymous private memory, page-aligned and zero: mmap(2). Raw, for the kernel writes into it too.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) base: NonNull<u8>,
    memory: MmapRaw,
}

impl Mapping {
    /// `length` bytes; pages are resident once they are touched.
    pub(super) fn new(length: usize) -> io::Result<Self> {
        let memory = MmapRaw::from(MmapMut::map_anon(length)?);
        Ok(Self {
            base: NonNull::new(memory.as_mut_ptr()).expect("a mapping is nowhere near null"),
            memory,
        })
    }

    /// The place `offset` bytes from the start.
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.memory.len(), "a place in the mapping");
        // SAFETY: it is inside the mapping.
        unsafe { self.base.add(offset) }
    }

    /// Drops the pages; the next touch finds zeroes (madvise(2), MADV_DONTNEED).
    pub(super) fn discard(&self) {
        // SAFETY: the mapping is ours and whole, and nobody holds a reference into it: the caller
        // has no buffer in use.
        let done = unsafe { self.memory.unchecked_advise(UncheckedAdvice::DontNeed) };
        debug_assert!(done.is_ok(), "the range is a whole mapping");
    }
}
