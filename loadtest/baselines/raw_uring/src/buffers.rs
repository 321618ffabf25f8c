//! The provided-buffer ring: the kernel takes buffers at its head, we give them back at its tail.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::sync::atomic::{AtomicU16, Ordering};
use std::{io, ptr::NonNull};

use io_uring::{Submitter, types::BufRingEntry};

pub(crate) const GROUP: u16 = 0;
const COUNT: u16 = 4096; // a power of two
const SIZE: u32 = 4096;

/// Both allocations live as long as the process: the kernel writes to them until the ring is gone.
pub(crate) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
    pub(crate) free: usize,
}

impl Buffers {
    pub(crate) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let entries = page_aligned(usize::from(COUNT) * size_of::<BufRingEntry>()).cast();
        let memory = page_aligned(usize::from(COUNT) * SIZE as usize);
        let address = entries.as_ptr() as u64;
        // SAFETY: `entries` is page-aligned, has room for COUNT entries and is never freed.
        unsafe { submitter.register_buf_ring_with_flags(address, COUNT, GROUP, 0)? };
        let mut buffers = Self { entries, memory, tail: 0, free: 0 };
        (0..COUNT).for_each(|buffer| buffers.give_back(buffer));
        buffers.publish();
        Ok(buffers)
    }

    pub(crate) fn address(&self, buffer: u16) -> *mut u8 {
        // SAFETY: `buffer < COUNT`: the kernel hands out only the numbers it was given.
        unsafe { self.memory.as_ptr().add(usize::from(buffer) * SIZE as usize) }
    }

    /// The kernel may use it after the next `publish`.
    pub(crate) fn give_back(&mut self, buffer: u16) {
        let index = usize::from(self.tail % COUNT);
        // SAFETY: within the ring, and the kernel reads no entry past the published tail.
        let entry = unsafe { self.entries.add(index).as_mut() };
        entry.set_addr(self.address(buffer) as u64);
        entry.set_len(SIZE);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    pub(crate) fn publish(&self) {
        // SAFETY: `entries` is the base of the live ring, whose tail only this thread writes.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

fn page_aligned(size: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(size, 4096).expect("a small size, a power of two");
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
