//! Raw io_uring echo, the reference: multishot accept into direct descriptors, multishot receive
//! from one provided-buffer ring, sends from the very buffer received, one kernel entry per batch.
#![allow(unsafe_code)] // It measures what the kernel interface costs with no layer between.

use std::sync::atomic::{AtomicU16, Ordering};
use std::{collections::VecDeque, io, os::fd::AsRawFd};

use io_uring::opcode::{AcceptMulti, Close, RecvMulti, Send};
use io_uring::types::{BufRingEntry, Fd, Fixed};
use io_uring::{IoUring, SubmissionQueue, Submitter, cqueue, squeue::Entry};

const SUBMISSIONS: u32 = 4096;
const SLOTS_MAX: u32 = 1 << 17;
const GROUP: u16 = 0;
const BUFFERS: u16 = 4096; // a power of two
const BUFFER_SIZE: usize = 4096; // a page
const RING_SIZE: usize = BUFFERS as usize * size_of::<BufRingEntry>();

#[derive(Clone, Default)]
struct Slot {
    unsent: VecDeque<(u16, u32)>, // buffer and length; only the first is in flight: that keeps the order
    ended: bool,                  // no receive is armed: close once all is sent
}

struct Echo<'a> {
    submitter: Submitter<'a>,
    queue: SubmissionQueue<'a>,
    accept: Entry,
    slots: Vec<Slot>,
    memory: *mut u8, // the ring of buffers, at whose head the kernel takes them, then the buffers
    tail: u16,       // of that ring: here they are given back
}

fn main() -> io::Result<()> {
    let listener = baseline_common::listener()?;
    let slots = baseline_common::descriptors_max().min(SLOTS_MAX);
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(4 * SUBMISSIONS);
    let mut ring: IoUring = builder.build(SUBMISSIONS)?;
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    submitter.register_files_sparse(slots)?;
    let memory = vec![0_u8; BUFFER_SIZE + RING_SIZE + usize::from(BUFFERS) * BUFFER_SIZE]
        .leak()
        .as_mut_ptr();
    let memory = memory.wrapping_add(memory.align_offset(BUFFER_SIZE));
    // SAFETY: at a page, room for BUFFERS entries, never freed.
    unsafe { submitter.register_buf_ring_with_flags(memory as u64, BUFFERS, GROUP, 0)? };
    let accept = AcceptMulti::new(Fd(listener.as_raw_fd()))
        .allocate_file_index(true)
        .build();
    let mut echo = Echo {
        submitter,
        queue,
        accept,
        slots: vec![Slot::default(); slots as usize],
        memory,
        tail: 0,
    };
    (0..BUFFERS).for_each(|buffer| echo.give_back(buffer));
    echo.accept()?;
    loop {
        echo.publish();
        echo.enter(1)?;
        completions.sync();
        completions
            .by_ref()
            .try_for_each(|completion| echo.complete(&completion))?;
    }
}

impl Echo<'_> {
    fn complete(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (slot, result, flags) = (
            completion.user_data() as u32,
            completion.result(),
            completion.flags(),
        );
        match (completion.user_data() >> 32) as u8 {
            RecvMulti::CODE => self.on_receive(slot, result, flags),
            Send::CODE => self.on_send(slot),
            AcceptMulti::CODE => self.on_accept(result, flags),
            _ => Ok(()), // closed: the kernel has freed the slot
        }
    }

    fn on_accept(&mut self, result: i32, flags: u32) -> io::Result<()> {
        u32::try_from(result).map_or(Ok(()), |slot| self.receive(slot))?;
        if cqueue::more(flags) {
            Ok(())
        } else {
            self.accept()
        }
    }

    fn on_receive(&mut self, slot: u32, result: i32, flags: u32) -> io::Result<()> {
        let Slot { unsent, ended } = &mut self.slots[slot as usize];
        let sending = !unsent.is_empty();
        unsent.extend(cqueue::buffer_select(flags).map(|buffer| (buffer, result.max(0) as u32)));
        // A receive may end early, and for want of a buffer: those that came back are published
        // before it is armed again.
        let again = result > 0 || result == -libc::ENOBUFS;
        *ended = !again && !cqueue::more(flags);
        if again && !cqueue::more(flags) {
            self.receive(slot)?;
        }
        if sending { Ok(()) } else { self.proceed(slot) }
    }

    /// It went whole or failed; after a failure those behind it fail too, and so come back.
    fn on_send(&mut self, slot: u32) -> io::Result<()> {
        if let Some((buffer, _)) = self.slots[slot as usize].unsent.pop_front() {
            self.give_back(buffer);
        }
        self.proceed(slot)
    }

    fn proceed(&mut self, slot: u32) -> io::Result<()> {
        let Slot { unsent, ended } = &self.slots[slot as usize];
        match unsent.front() {
            Some(&(buffer, length)) => {
                let send = Send::new(Fixed(slot), self.buffer(buffer), length)
                    .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
                self.push(send.build(), Send::CODE, slot)
            }
            None if *ended => self.push(Close::new(Fixed(slot)).build(), Close::CODE, slot),
            None => Ok(()),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        self.push(self.accept.clone(), AcceptMulti::CODE, 0)
    }

    fn receive(&mut self, slot: u32) -> io::Result<()> {
        self.push(
            RecvMulti::new(Fixed(slot), GROUP).build(),
            RecvMulti::CODE,
            slot,
        )
    }

    fn push(&mut self, entry: Entry, operation: u8, slot: u32) -> io::Result<()> {
        let entry = entry.user_data(u64::from(operation) << 32 | u64::from(slot));
        // SAFETY: the only memory named is a buffer's, which is not given back before its send has
        // completed.
        while unsafe { self.queue.push(&entry) }.is_err() {
            self.enter(0)?;
        }
        Ok(())
    }

    fn enter(&mut self, completions_min: usize) -> io::Result<()> {
        self.queue.sync();
        self.submitter.submit_and_wait(completions_min)?;
        self.queue.sync();
        Ok(())
    }

    fn buffer(&self, buffer: u16) -> *mut u8 {
        self.memory
            .wrapping_add(RING_SIZE + usize::from(buffer) * BUFFER_SIZE)
    }

    fn give_back(&mut self, buffer: u16) {
        // SAFETY: within the ring, and the kernel reads no entry past the published tail.
        let entry = unsafe {
            &mut *self
                .memory
                .cast::<BufRingEntry>()
                .add(usize::from(self.tail % BUFFERS))
        };
        entry.set_addr(self.buffer(buffer) as u64);
        entry.set_len(BUFFER_SIZE as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the tail of the live ring, which only this thread writes.
        unsafe { &*BufRingEntry::tail(self.memory.cast()).cast::<AtomicU16>() }
            .store(self.tail, Ordering::Release);
    }
}
