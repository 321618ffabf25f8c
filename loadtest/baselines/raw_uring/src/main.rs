//! Raw io_uring echo, the reference Corelane is measured against: `baseline_raw_uring ADDR:PORT [CPU]`.
//! Multishot accept into direct descriptors, multishot receive from one provided-buffer ring, sends
//! from the very buffer received, one kernel entry per batch. No deadlines, no limits, no drain.
#![allow(unsafe_code)] // It measures what the kernel interface costs with no layer between.

mod buffers;

use std::{collections::VecDeque, env, io, net::SocketAddr, os::fd::AsRawFd};

use buffers::{Buffers, GROUP};
use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue::Entry};
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

const SUBMISSIONS: u32 = 4096;
const SLOTS_MAX: u64 = 1 << 17;
// user_data: the operation above bit 32, the slot below.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const CLOSE: u64 = 3;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let addr = args.next().and_then(|addr| addr.parse().ok());
    let addr = addr.ok_or_else(|| io::Error::other("usage: baseline_raw_uring ADDR:PORT [CPU]"))?;
    if let Some(cpu) = args.next() {
        let id = cpu.parse().map_err(io::Error::other)?;
        let pinned = core_affinity::set_for_current(core_affinity::CoreId { id });
        assert!(pinned, "core {id} is not available to this process");
    }
    let mut nofile = getrlimit(Resource::Nofile);
    nofile.current = nofile.maximum;
    setrlimit(Resource::Nofile, nofile)?;
    let slots = nofile.maximum.map_or(SLOTS_MAX, |max| max.min(SLOTS_MAX));
    serve(&listen(addr)?, slots as u32)
}

fn listen(addr: SocketAddr) -> io::Result<Socket> {
    let listener = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.set_tcp_nodelay(true)?; // inherited by the accepted sockets
    listener.bind(&addr.into())?;
    listener.listen(65535)?;
    Ok(listener)
}

fn serve(listener: &Socket, slots: u32) -> io::Result<()> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all();
    let mut ring: IoUring = builder.setup_cqsize(4 * SUBMISSIONS).build(SUBMISSIONS)?;
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    submitter.register_files_sparse(slots)?;
    let buffers = Buffers::register(&submitter)?;
    let slots = vec![Slot::default(); slots as usize];
    let listener_fd = Fd(listener.as_raw_fd());
    let mut echo = Echo { submitter, queue, listener_fd, buffers, slots, starved: Vec::new() };
    echo.accept()?;
    println!("listening {}", listener.local_addr()?.as_socket().expect("bound to an IP address"));
    loop {
        echo.enter(1)?;
        completions.sync();
        completions.by_ref().try_for_each(|completion| echo.complete(&completion))?;
        echo.buffers.publish();
        for _ in 0..echo.starved.len().min(echo.buffers.free) {
            let slot = echo.starved.pop().expect("the loop is bounded by its length");
            echo.receive(slot)?;
        }
    }
}

/// A connection. Only its first unsent buffer is in flight: that keeps the bytes in order.
#[derive(Clone, Default)]
struct Slot {
    unsent: VecDeque<Unsent>,
    ended: bool, // no receive is armed: close once all is sent
}

#[derive(Clone, Copy)]
struct Unsent {
    buffer: u16,
    start: u32,
    end: u32,
}

struct Echo<'a> {
    submitter: Submitter<'a>,
    queue: SubmissionQueue<'a>,
    listener_fd: Fd,
    buffers: Buffers,
    slots: Vec<Slot>,
    starved: Vec<u32>, // slots whose receive ended for want of a buffer
}

impl Echo<'_> {
    fn complete(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (result, flags) = (completion.result(), completion.flags());
        let slot = completion.user_data() as u32;
        match completion.user_data() >> 32 {
            RECEIVE => self.on_receive(slot, result, flags),
            SEND => self.on_send(slot, result),
            ACCEPT => self.on_accept(result, flags),
            _ => Ok(()), // CLOSE: the kernel has freed the slot
        }
    }

    fn on_accept(&mut self, result: i32, flags: u32) -> io::Result<()> {
        if let Ok(slot) = u32::try_from(result) {
            self.slots[slot as usize].ended = false;
            self.receive(slot)?;
        }
        if cqueue::more(flags) { Ok(()) } else { self.accept() }
    }

    fn on_receive(&mut self, slot: u32, result: i32, flags: u32) -> io::Result<()> {
        if let Some(buffer) = cqueue::buffer_select(flags) {
            self.buffers.free -= 1;
            let unsent = &mut self.slots[slot as usize].unsent;
            unsent.push_back(Unsent { buffer, start: 0, end: result.max(0) as u32 });
            if unsent.len() == 1 {
                self.send(slot)?;
            }
        }
        match result {
            _ if cqueue::more(flags) => return Ok(()),
            1.. => return self.receive(slot), // the kernel may end a multishot early
            _ if result == -libc::ENOBUFS => self.starved.push(slot),
            _ => self.slots[slot as usize].ended = true,
        }
        self.close_if_done(slot)
    }

    /// After a failed send the rest fails too, so dropping its buffer empties the list.
    fn on_send(&mut self, slot: u32, result: i32) -> io::Result<()> {
        let unsent = &mut self.slots[slot as usize].unsent;
        let first = unsent.front_mut().expect("the first of the list is the one in flight");
        first.start += u32::try_from(result).unwrap_or(first.end - first.start);
        if first.start == first.end {
            self.buffers.give_back(first.buffer);
            unsent.pop_front();
        }
        if unsent.is_empty() { self.close_if_done(slot) } else { self.send(slot) }
    }

    fn close_if_done(&mut self, slot: u32) -> io::Result<()> {
        let Slot { unsent, ended } = &self.slots[slot as usize];
        if !ended || !unsent.is_empty() {
            return Ok(());
        }
        self.push(opcode::Close::new(Fixed(slot)).build(), CLOSE, slot)
    }

    fn accept(&mut self) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(self.listener_fd).allocate_file_index(true);
        self.push(accept.build(), ACCEPT, 0)
    }

    fn receive(&mut self, slot: u32) -> io::Result<()> {
        self.push(opcode::RecvMulti::new(Fixed(slot), GROUP).build(), RECEIVE, slot)
    }

    fn send(&mut self, slot: u32) -> io::Result<()> {
        let first = self.slots[slot as usize].unsent[0];
        let data = self.buffers.address(first.buffer).wrapping_add(first.start as usize);
        let send = opcode::Send::new(Fixed(slot), data, first.end - first.start);
        self.push(send.flags(libc::MSG_NOSIGNAL).build(), SEND, slot)
    }

    fn push(&mut self, entry: Entry, operation: u64, slot: u32) -> io::Result<()> {
        let entry = entry.user_data(operation << 32 | u64::from(slot));
        // SAFETY: the only memory named is a receive buffer's: never freed, and not given back to
        // the kernel before its send has completed.
        while unsafe { self.queue.push(&entry) }.is_err() {
            self.enter(0)?;
        }
        Ok(())
    }

    fn enter(&mut self, completions_min: usize) -> io::Result<()> {
        self.queue.sync();
        let entered = self.submitter.submit_and_wait(completions_min);
        self.queue.sync();
        match entered {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
            _ => Ok(()),
        }
    }
}
