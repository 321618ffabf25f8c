//! The shard's buffers: provided to the kernel for receiving, or from the heap for collected output
//! and copied-out input.
//!
//! A [`BufRef`], buf for short, is one counted reference to a part of one buffer. A buffer goes
//! back when its last buf is released: a provided one to the kernel, a heap one to the spares or
//! the allocator, one that is shared with others ([`BufferPool::share`]) to whoever still has it. A
//! buffer is written only by the kernel while it is published (it has no buf then), behind its one and
//! only buf ([`BufferPool::append`]), or where a buf lies, by who has that buf
//! ([`BufferPool::bytes_mut`]): of a buffer that is not shared each byte has one buf at most.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::id::Key;
use crate::ring::mapping::{HEAP_GRAIN, Mapping, heap_allocate, heap_free};

/// Buffers published to the kernel at first, and at least. The set in use stays small and warm: it
/// grows only when the kernel ran out, and shrinks again.
const PUBLISHED_FIRST: u32 = 32;
/// Between two provided buffers. Buffers that all start at a page's start would share one set of
/// the first-level cache, and a batch of a hundred small messages would push each other out of it.
const STAGGER: usize = 64;
/// Freed heap buffers of the standard size that are kept for reuse.
const SPARE_HEAP_MAX: usize = 64;
/// Room for a record of TLS, and freed buffers of that room that are kept for reuse: the allocator
/// would give memory of that size back to the system, and fetch it again, many times a second.
#[cfg(feature = "tls")]
const RECORD_BYTES: u32 = 16 * 1024 + 256;
#[cfg(feature = "tls")]
const SPARE_RECORDS_MAX: usize = 64;
/// What those that are kept take at most, beside [`BufferPool::bytes_max`].
#[cfg(feature = "tls")]
pub(crate) const SPARE_RECORDS_BYTES: u64 = RECORD_BYTES as u64 * SPARE_RECORDS_MAX as u64;
#[cfg(not(feature = "tls"))]
pub(crate) const SPARE_RECORDS_BYTES: u64 = 0;
/// When fewer than one in this many provided buffers is free, input is copied out so that the
/// buffer is free at once.
const LOW_FRACTION: u32 = 8;

/// Every buffer of one shard.
#[derive(Debug)]
pub(crate) struct BufferPool {
    /// Bytes of a provided buffer, and of a collecting one.
    size: u32,
    /// Provided buffers: a power of two, at most 32 768 (io_uring_register(2),
    /// IORING_REGISTER_PBUF_RING).
    count: u32,
    entries: Mapping,
    memory: Mapping,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    buffers: Vec<Buffer>,
    /// Provided buffers that are neither published nor in use; the last freed is published first,
    /// while its lines are warm.
    free: Vec<u16>,
    /// Provided buffers that the kernel may fill.
    published: u32,
    /// How many the pool keeps published.
    window: u32,
    /// The fewest that were left of them since the tail last passed 0, which it does every 65 536
    /// receives.
    lowest: u32,
    /// More than the first window is published, or was since the memory was given back.
    wide: bool,
    /// Receives since the memory was given back.
    filled: u32,
    /// The producer's end of the ring of entries.
    tail: u16,
    /// Places in `buffers` past the provided ones that are vacant.
    vacant: Vec<u32>,
    /// Heap buffers of the standard size, kept for reuse.
    spare: Vec<u32>,
    /// The same with room for a record.
    #[cfg(feature = "tls")]
    spare_records: Vec<u32>,
    /// Bytes of all heap buffers in use.
    heap_bytes: u64,
    /// Those that others have too, by their places in `buffers`, where their capacity is 0: nothing
    /// is ever written to them.
    shared: BTreeMap<u32, Arc<[u8]>>,
}

#[derive(Debug)]
struct Buffer {
    base: NonNull<u8>,
    capacity: u32,
    /// Bufs of it.
    references: u32,
    /// Sends in flight that read from it, and where the part ends that they read, from the base.
    lent: u32,
    lent_end: u32,
    /// The connection on whose account it is in use.
    owner: Option<Key>,
}

/// A buf: a counted reference to bytes of one buffer. Not dropped but released:
/// [`BufferPool::release`].
#[derive(Debug)]
#[must_use = "a buf holds its buffer until it is released"]
pub(crate) struct BufRef {
    start: NonNull<u8>,
    length: u32,
    buffer: u32,
}

impl BufRef {
    /// No bytes of no buffer: what is left where a buf was taken. A pool releases it as it
    /// releases any other.
    pub(crate) const NONE: Self = Self {
        start: NonNull::dangling(),
        length: 0,
        buffer: u32::MAX,
    };

    pub(crate) fn is_none(&self) -> bool {
        self.buffer == Self::NONE.buffer
    }

    pub(crate) fn len(&self) -> u32 {
        self.length
    }

    pub(super) fn address(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a buf covers initialised bytes of the buffer it refers to, in a pool that its
        // holder keeps alive; nobody writes to them but through an exclusive borrow of this buf.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length as usize) }
    }

    /// Drops all but the first `length` bytes.
    #[cfg(feature = "tls")]
    pub(crate) fn truncate(&mut self, length: u32) {
        self.length = self.length.min(length);
    }

    /// Drops the first `count` bytes.
    pub(crate) fn advance(&mut self, count: u32) {
        assert!(count <= self.length, "a buf is advanced within itself");
        // SAFETY: the result is within the buf, or one past its end.
        self.start = unsafe { self.start.add(count as usize) };
        self.length -= count;
    }
}

/// A buffer that a send reads from; it goes to nobody else before [`BufferPool::take_back`].
#[derive(Debug)]
pub(super) struct LentBuffer(NonZeroU32);

impl BufferPool {
    /// `count` provided buffers of `size` bytes. Their pages are touched, and so resident, only
    /// once they are used.
    pub(crate) fn new(size: u32, count: u32) -> io::Result<Self> {
        assert!(
            count.is_power_of_two() && count <= 32_768,
            "checked settings: a power of two, at most 32768"
        );
        let entries = Mapping::new(count as usize * size_of::<BufRingEntry>())?;
        let stride = size as usize + STAGGER;
        let memory = Mapping::new(count as usize * stride)?;
        let buffers = (0..count as usize)
            .map(|index| Buffer {
                base: memory.at(index * stride),
                capacity: size,
                references: 0,
                lent: 0,
                lent_end: 0,
                owner: None,
            })
            .collect();
        let state = State {
            buffers,
            free: (0..count as u16).rev().collect(),
            published: 0,
            window: PUBLISHED_FIRST.min(count),
            lowest: 0,
            wide: false,
            filled: 0,
            tail: 0,
            vacant: Vec::new(),
            spare: Vec::new(),
            #[cfg(feature = "tls")]
            spare_records: Vec::new(),
            heap_bytes: 0,
            shared: BTreeMap::new(),
        };
        let pool = Self {
            size,
            count,
            entries,
            memory,
            state: RefCell::new(state),
        };
        pool.publish();
        Ok(pool)
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// What a provided buffer of `size` bytes takes.
    pub(crate) fn bytes_each(size: u32) -> u64 {
        u64::from(size) + STAGGER as u64
    }

    /// What a pool of such buffers takes at most besides the heap buffers in use: the provided ones
    /// and the spares of their size.
    pub(crate) fn bytes_max(size: u32, count: u32) -> u64 {
        Self::bytes_each(size) * u64::from(count) + u64::from(size) * SPARE_HEAP_MAX as u64
    }

    /// Bytes of the heap buffers in use.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.state.borrow().heap_bytes
    }

    /// Provided buffers in use.
    pub(crate) fn in_use(&self) -> u32 {
        let state = self.state.borrow();
        self.count - state.published - state.free.len() as u32
    }

    /// Moves the buffer of `buf` to the account of `owner`.
    pub(crate) fn set_owner(&self, buf: &BufRef, owner: Key) {
        if let Some(buffer) = self.state.borrow_mut().buffers.get_mut(buf.buffer as usize) {
            buffer.owner = Some(owner);
        }
    }

    /// Tells `tell` of each buffer in use, of the heap or provided, on whose account it is and how
    /// many bytes it has. Looks at every buffer there is.
    pub(crate) fn tell_holders(&self, mut tell: impl FnMut(Key, u32)) {
        for buffer in self
            .state
            .borrow()
            .buffers
            .iter()
            .filter(|buffer| buffer.references > 0 && buffer.capacity > 0)
        {
            if let Some(owner) = buffer.owner {
                tell(owner, buffer.capacity);
            }
        }
    }

    pub(super) fn entries_addr(&self) -> u64 {
        self.entries.base.as_ptr() as u64
    }

    pub(super) fn count_u16(&self) -> u16 {
        self.count as u16
    }

    /// Hands free buffers to the kernel until the window is full.
    pub(crate) fn publish(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let before = state.tail;
        state.lowest = state.lowest.min(state.published);
        while state.published < state.window {
            let Some(index) = state.free.pop() else { break };
            self.write_entry(state.tail, index);
            state.tail = state.tail.wrapping_add(1);
            state.published += 1;
        }
        if state.tail != before {
            self.kernel_tail().store(state.tail, Ordering::Release);
        }
        if state.tail < before {
            // A quarter was enough all the while: a burst is over.
            if state.lowest > state.window / 4 * 3 {
                state.window = (state.window / 2).max(PUBLISHED_FIRST.min(self.count));
            }
            state.lowest = state.window;
        }
    }

    /// The kernel found no buffer: keep twice as many published from now on. Of the receives of a
    /// batch that found none, the first sees to it.
    pub(crate) fn widen(&self) {
        let mut state = self.state.borrow_mut();
        if state.published > 0 {
            return;
        }
        state.window = (state.window * 2).min(self.count);
        state.wide = true;
        drop(state);
        self.publish();
    }

    /// Keep as few published as at first, once the kernel has worked off what is: so that little
    /// comes in at a time.
    pub(crate) fn narrow(&self) {
        self.state.borrow_mut().window = PUBLISHED_FIRST.min(self.count);
    }

    /// Whether a burst may have left memory to give back.
    pub(crate) fn is_wide(&self) -> bool {
        let state = self.state.borrow();
        state.wide && state.filled >= PUBLISHED_FIRST
    }

    /// Gives the memory of provided buffers back to the system, if a burst has made many of them
    /// resident and none is in use. To be called when every completion was reaped. Cheap to ask;
    /// the pages come back, zeroed, as they are used again.
    pub(crate) fn trim(&self) {
        let mut state = self.state.borrow_mut();
        let in_use = self.count - state.published - state.free.len() as u32;
        if in_use == 0 && state.wide && state.filled >= PUBLISHED_FIRST {
            self.memory.discard();
            state.filled = 0;
            state.window = PUBLISHED_FIRST.min(self.count);
            // What is published above the window stays so until the kernel has worked it off, and
            // is resident then once more.
            state.wide = state.published > state.window;
        }
    }

    /// Buffers that somebody holds.
    pub(crate) fn referenced(&self) -> usize {
        self.state
            .borrow()
            .buffers
            .iter()
            .filter(|buffer| buffer.references > 0 || buffer.lent > 0)
            .count()
    }

    /// Whether the kernel has buffers to receive into.
    pub(crate) fn is_dry(&self) -> bool {
        self.state.borrow().published == 0
    }

    /// Whether provided buffers run short, so that input should be copied out.
    pub(crate) fn is_low(&self) -> bool {
        self.idle() < self.count / LOW_FRACTION
    }

    /// Whether they did with the last receives. A copy gives its buffer back, so that no fewer than
    /// this are ever left.
    pub(crate) fn was_low(&self) -> bool {
        self.idle() <= self.count / LOW_FRACTION
    }

    fn idle(&self) -> u32 {
        let state = self.state.borrow();
        state.published + state.free.len() as u32
    }

    /// The buf of a receive of `owner` that the kernel completed into provided buffer `index`.
    pub(crate) fn received(&self, index: u16, length: u32, owner: Key) -> BufRef {
        let mut state = self.state.borrow_mut();
        state.published -= 1;
        state.filled = state.filled.saturating_add(1);
        assert!(length <= self.size, "the kernel fills a buffer at most");
        // Written, not read: it is seldom in the cache, and nothing here has to wait for it.
        let buffer = &mut state.buffers[usize::from(index)];
        debug_assert_eq!(buffer.references, 0, "a published buffer has no buf");
        (buffer.references, buffer.owner) = (1, Some(owner));
        BufRef {
            start: self.base(index),
            length,
            buffer: u32::from(index),
        }
    }

    /// An empty buf at the start of a heap buffer with room for at least `capacity` bytes, on the
    /// account of `owner`.
    pub(crate) fn allocate(&self, capacity: u32, owner: Option<Key>) -> BufRef {
        let mut state = self.state.borrow_mut();
        if capacity == self.size
            && let Some(index) = state.spare.pop()
        {
            return state.reuse(index, capacity, owner);
        }
        let capacity = capacity.max(1).next_multiple_of(HEAP_GRAIN);
        state.allocate(capacity, owner)
    }

    /// As [`Self::allocate`], for a record of TLS or more: where `capacity` comes near a record's, it
    /// is that.
    #[cfg(feature = "tls")]
    pub(crate) fn allocate_record(&self, capacity: u32, owner: Option<Key>) -> BufRef {
        if capacity == self.size || !(RECORD_BYTES / 2..=RECORD_BYTES).contains(&capacity) {
            return self.allocate(capacity, owner);
        }
        let mut state = self.state.borrow_mut();
        match state.spare_records.pop() {
            Some(index) => state.reuse(index, RECORD_BYTES, owner),
            None => state.allocate(RECORD_BYTES, owner),
        }
    }

    /// So many zeros at the start of a heap buffer, to be written over.
    #[cfg(feature = "tls")]
    pub(crate) fn zeroed(&self, length: u32, owner: Option<Key>) -> BufRef {
        let mut buf = self.allocate_record(length, owner);
        // SAFETY: the buffer has room for `length` bytes at its start, and nobody else has a buf of
        // it.
        unsafe { buf.start.write_bytes(0, length as usize) };
        buf.length = length;
        buf
    }

    /// All of `bytes` where they lie, kept until the last span of them is released; none if they
    /// are 4 GiB or more.
    pub(crate) fn share(&self, bytes: Arc<[u8]>) -> Option<BufRef> {
        let length = u32::try_from(bytes.len()).ok()?;
        let start = NonNull::from(&*bytes).cast();
        let mut state = self.state.borrow_mut();
        let buffer = state.add(Buffer {
            base: start,
            capacity: 0,
            references: 1,
            lent: 0,
            lent_end: 0,
            owner: None,
        });
        state.shared.insert(buffer, bytes);
        Some(BufRef {
            start,
            length,
            buffer,
        })
    }

    /// One more buf of the same bytes, which are shared.
    pub(crate) fn again(&self, buf: &BufRef) -> BufRef {
        let buffer = &mut self.state.borrow_mut().buffers[buf.buffer as usize];
        assert!(
            buffer.capacity == 0,
            "bytes that may be written have one buf"
        );
        buffer.references += 1;
        BufRef {
            start: buf.start,
            length: buf.length,
            buffer: buf.buffer,
        }
    }

    /// The bytes of `buf`, to be changed where they lie; none if others have them, too.
    #[cfg(any(test, feature = "tls", feature = "websocket"))]
    pub(crate) fn bytes_mut<'b>(&self, buf: &'b mut BufRef) -> Option<&'b mut [u8]> {
        let state = self.state.borrow();
        let buffer = state.buffers.get(buf.buffer as usize)?;
        let offset = buf.start.as_ptr() as usize - buffer.base.as_ptr() as usize;
        // Whatever a send reads ends there, so that what lies behind is nobody else's.
        if buffer.capacity == 0 || offset < buffer.lent_end as usize {
            return None;
        }
        // SAFETY: the buf covers initialised bytes of its buffer, in a pool that its holder keeps
        // alive. No other buf covers any of them, for the buffer is not shared (`again` refuses
        // others), and a split or a join leaves one buf a byte; the kernel does not write to a
        // buffer that has a buf, and no send in flight reads them. The borrow of the buf keeps it
        // so while the slice lives.
        Some(unsafe { std::slice::from_raw_parts_mut(buf.start.as_ptr(), buf.length as usize) })
    }

    /// `bytes` in a heap buffer of their own.
    pub(crate) fn copy(&self, bytes: &[u8], owner: Option<Key>) -> BufRef {
        let mut buf = self.allocate(bytes.len() as u32, owner);
        let copied = self.append(&mut buf, bytes);
        debug_assert_eq!(copied, bytes.len(), "the buffer was allocated for them");
        buf
    }

    #[cfg(test)]
    pub(crate) fn copy_of(&self, bytes: &[u8]) -> BufRef {
        self.copy(bytes, None)
    }

    /// Copies as much of `bytes` behind `buf` as its buffer has room for; nothing while another buf
    /// shares the buffer, or a send reads what lies there.
    pub(crate) fn append(&self, buf: &mut BufRef, bytes: &[u8]) -> usize {
        let state = self.state.borrow();
        let buffer = &state.buffers[buf.buffer as usize];
        if buffer.references != 1 || buffer.capacity == 0 {
            return 0;
        }
        let offset = buf.start.as_ptr() as usize - buffer.base.as_ptr() as usize;
        let end = offset + buf.length as usize;
        if end < buffer.lent_end as usize {
            return 0;
        }
        let room = buffer.capacity as usize - end;
        let count = room.min(bytes.len());
        // SAFETY: `count` bytes behind the buf lie within its buffer, and no other buf, no send in
        // flight and no published entry covers them.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                buf.start.add(buf.length as usize).as_ptr(),
                count,
            )
        };
        buf.length += count as u32;
        count
    }

    /// `next` behind `buf`, contiguous: in place if there is room, else in a heap buffer that
    /// grows by doubling.
    pub(crate) fn concatenate(&self, mut buf: BufRef, next: BufRef) -> BufRef {
        let copied = self.append(&mut buf, next.bytes());
        if copied < next.length as usize {
            let mut grown = self.allocate(
                (buf.length + next.length).max(2 * buf.length),
                self.owner(&buf),
            );
            self.append(&mut grown, buf.bytes());
            self.append(&mut grown, &next.bytes()[copied..]);
            self.release(std::mem::replace(&mut buf, grown));
        }
        self.release(next);
        buf
    }

    /// Whether it is none that the kernel has provided.
    #[cfg(feature = "tls")]
    pub(crate) fn is_on_heap(&self, buf: &BufRef) -> bool {
        buf.buffer >= self.count
    }

    /// Moves the bytes of a provided buffer to a heap buffer just large enough, so that the
    /// provided one is free while they wait.
    pub(crate) fn copy_to_heap(&self, buf: BufRef) -> BufRef {
        if buf.buffer >= self.count {
            return buf;
        }
        let copy = self.copy(buf.bytes(), self.owner(&buf));
        self.release(buf);
        copy
    }

    fn owner(&self, buf: &BufRef) -> Option<Key> {
        self.state.borrow().buffers[buf.buffer as usize].owner
    }

    /// Makes `next` continue `buf` if it lies right behind it in the same buffer. Gives `next` back
    /// otherwise.
    pub(crate) fn join(&self, buf: &mut BufRef, next: BufRef) -> Result<(), BufRef> {
        // SAFETY: one past the end of a buf is within its buffer or one past its end.
        let end = unsafe { buf.start.add(buf.length as usize) };
        if buf.buffer != next.buffer || end != next.start {
            return Err(next);
        }
        buf.length += next.length;
        self.release(next);
        Ok(())
    }

    /// Cuts the first `count` bytes off `buf`; both share the buffer.
    pub(crate) fn split(&self, buf: &mut BufRef, count: u32) -> BufRef {
        assert!(count <= buf.length, "a buf is split within itself");
        self.state.borrow_mut().buffers[buf.buffer as usize].references += 1;
        let head = BufRef {
            start: buf.start,
            length: count,
            buffer: buf.buffer,
        };
        buf.advance(count);
        head
    }

    /// Gives up one buf; the last one frees the buffer.
    pub(crate) fn release(&self, buf: BufRef) {
        if buf.is_none() {
            return;
        }
        let mut state = self.state.borrow_mut();
        let index = buf.buffer;
        let buffer = &mut state.buffers[index as usize];
        buffer.references -= 1;
        if buffer.references == 0 && buffer.lent == 0 {
            self.free(&mut state, index);
        }
    }

    /// A send is to read `buf`: its buffer stays as it is until the send has given it back.
    pub(super) fn lend(&self, buf: &BufRef) -> LentBuffer {
        let buffer = &mut self.state.borrow_mut().buffers[buf.buffer as usize];
        let offset = buf.start.as_ptr() as usize - buffer.base.as_ptr() as usize;
        buffer.lent += 1;
        buffer.lent_end = buffer.lent_end.max(offset as u32 + buf.length);
        LentBuffer(NonZeroU32::MIN.saturating_add(buf.buffer))
    }

    /// The send has completed; without any buf left the buffer is free.
    pub(super) fn take_back(&self, LentBuffer(number): LentBuffer) {
        let (mut state, index) = (self.state.borrow_mut(), number.get() - 1);
        let buffer = &mut state.buffers[index as usize];
        buffer.lent -= 1;
        if buffer.lent == 0 {
            buffer.lent_end = 0;
            if buffer.references == 0 {
                self.free(&mut state, index);
            }
        }
    }

    fn free(&self, state: &mut State, index: u32) {
        let buffer = &state.buffers[index as usize];
        let (base, capacity) = (buffer.base, buffer.capacity);
        if index < self.count {
            state.free.push(index as u16);
            return;
        }
        if capacity == 0 {
            state.shared.remove(&index);
            state.vacant.push(index);
            return;
        }
        state.heap_bytes -= u64::from(capacity);
        #[cfg(feature = "tls")]
        if capacity == RECORD_BYTES && state.spare_records.len() < SPARE_RECORDS_MAX {
            return state.spare_records.push(index);
        }
        if capacity == self.size && state.spare.len() < SPARE_HEAP_MAX {
            state.spare.push(index);
        } else {
            heap_free(base, capacity);
            state.buffers[index as usize].capacity = 0;
            state.vacant.push(index);
        }
    }

    /// Where provided buffer `index` starts.
    fn base(&self, index: u16) -> NonNull<u8> {
        self.memory
            .at(usize::from(index) * (self.size as usize + STAGGER))
    }

    fn write_entry(&self, tail: u16, index: u16) {
        let place = usize::from(tail) & (self.count as usize - 1);
        // SAFETY: `place` is within the mapping's `count` entries, and the kernel reads an entry
        // only once the tail has passed it.
        let entry = unsafe { self.entries.base.cast::<BufRingEntry>().add(place).as_mut() };
        entry.set_addr(self.base(index).as_ptr() as u64);
        entry.set_len(self.size);
        entry.set_bid(index);
    }

    fn kernel_tail(&self) -> &AtomicU16 {
        // SAFETY: the address is of the ring's first entry, whose reserved field is the tail
        // (io_uring_register(2)); the kernel reads it.
        unsafe {
            AtomicU16::from_ptr(BufRingEntry::tail(self.entries.base.as_ptr().cast()).cast_mut())
        }
    }
}

impl State {
    /// A heap buffer that was kept.
    fn reuse(&mut self, index: u32, capacity: u32, owner: Option<Key>) -> BufRef {
        self.heap_bytes += u64::from(capacity);
        let buffer = &mut self.buffers[index as usize];
        (buffer.references, buffer.owner) = (1, owner);
        BufRef {
            start: buffer.base,
            length: 0,
            buffer: index,
        }
    }

    /// A new heap buffer.
    fn allocate(&mut self, capacity: u32, owner: Option<Key>) -> BufRef {
        self.heap_bytes += u64::from(capacity);
        let buffer = Buffer {
            base: heap_allocate(capacity),
            capacity,
            references: 1,
            lent: 0,
            lent_end: 0,
            owner,
        };
        BufRef {
            start: buffer.base,
            length: 0,
            buffer: self.add(buffer),
        }
    }

    /// Gives its place.
    fn add(&mut self, buffer: Buffer) -> u32 {
        if let Some(index) = self.vacant.pop() {
            self.buffers[index as usize] = buffer;
            return index;
        }
        self.buffers.push(buffer);
        self.buffers.len() as u32 - 1
    }
}

impl Drop for BufferPool {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        for buffer in state
            .buffers
            .iter()
            .skip(self.count as usize)
            .filter(|buffer| buffer.capacity > 0)
        {
            heap_free(buffer.base, buffer.capacity);
        }
    }
}

#[cfg(test)]
mod tests;
