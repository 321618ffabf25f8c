//! Raw io_uring fan-out, the reference: threads that send the same bytes to each of their sockets,
//! direct descriptors, in batches of submissions, and hear of failures alone.
#![allow(unsafe_code)] // It measures what the kernel interface costs with no layer between.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, thread};

use io_uring::opcode::{AcceptMulti, Send};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, cqueue};

/// Sends that are submitted at a time; as many as `topic.deliveries_per_turn_max` has by default.
const BATCH: u32 = 512;

/// Threads with a share of the sockets each. They end when this is dropped.
#[derive(Debug)]
pub struct Fanout {
    threads: Vec<Thread>,
}

#[derive(Debug)]
struct Thread {
    addr: SocketAddr,
    sockets: u32,
    publish: Sender<Arc<[u8]>>,
    told: Receiver<io::Result<()>>,
}

impl Fanout {
    /// A thread on each of these cores, each with a listener of its own that takes its share of so
    /// many `connections`.
    pub fn start(cores: &[usize], connections: u32) -> io::Result<Self> {
        let threads = cores.len() as u32;
        let share = |index| (connections + threads - 1 - index) / threads;
        let start = |(index, core): (u32, &usize)| Thread::start(*core, share(index));
        let threads = (0..).zip(cores).map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// Where each thread listens, and how many connections it takes.
    pub fn shares(&self) -> impl Iterator<Item = (SocketAddr, u32)> {
        self.threads
            .iter()
            .map(|thread| (thread.addr, thread.sockets))
    }

    /// Waits until all have come.
    pub fn accepted(&self) -> io::Result<()> {
        self.threads.iter().try_for_each(Thread::hear)
    }

    /// Begins to send `bytes` to all.
    pub fn publish(&self, bytes: &Arc<[u8]>) -> io::Result<()> {
        self.threads.iter().try_for_each(|thread| {
            let sent = thread.publish.send(Arc::clone(bytes));
            sent.map_err(|_| io::Error::other("a sending thread has ended"))
        })
    }

    /// Waits until all threads have submitted what was published last.
    pub fn published(&self) -> io::Result<()> {
        self.threads.iter().try_for_each(Thread::hear)
    }
}

impl Thread {
    fn start(core: usize, sockets: u32) -> io::Result<Self> {
        let listener = baseline_common::listen((Ipv4Addr::UNSPECIFIED, 0).into())?;
        let addr = listener.local_addr()?;
        let ((publish, published), (tell, told)) = (channel(), channel());
        thread::spawn(move || {
            let outcome = run(core, &listener, sockets, &published, &tell);
            outcome.or_else(|error| tell.send(Err(error))) // or nobody listens any more
        });
        Ok(Self {
            addr,
            sockets,
            publish,
            told,
        })
    }

    fn hear(&self) -> io::Result<()> {
        let told = self.told.recv();
        told.unwrap_or_else(|_| Err(io::Error::other("a sending thread has ended")))
    }
}

fn run(
    core: usize,
    listener: &TcpListener,
    sockets: u32,
    published: &Receiver<Arc<[u8]>>,
    tell: &Sender<io::Result<()>>,
) -> io::Result<()> {
    baseline_common::pin(core)?;
    let mut ring = ring(sockets)?;
    let mut kept = Vec::new(); // never freed while a send may be under way
    accept(&mut ring, listener, sockets)?;
    let mut listens = tell.send(Ok(())).is_ok();
    while listens && let Ok(bytes) = published.recv() {
        kept.push(Arc::clone(&bytes));
        send_all(&mut ring, sockets, &bytes)?;
        listens = tell.send(Ok(())).is_ok();
    }
    Ok(())
}

fn ring(sockets: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all();
    let ring: IoUring = builder.build(BATCH)?;
    ring.submitter().register_ring_fd()?;
    ring.submitter().register_files_sparse(sockets)?;
    Ok(ring)
}

/// Until so many sockets have the direct descriptors from 0 on.
fn accept(ring: &mut IoUring, listener: &TcpListener, sockets: u32) -> io::Result<()> {
    let accept = AcceptMulti::new(Fd(listener.as_raw_fd()))
        .allocate_file_index(true)
        .build();
    let (mut accepted, mut is_armed) = (0, false);
    while accepted < sockets {
        if !is_armed {
            push(ring, &accept)?;
            is_armed = true;
        }
        ring.submit_and_wait(1)?;
        for completion in ring.completion() {
            check(&completion)?;
            accepted += 1;
            is_armed &= cqueue::more(completion.flags());
        }
    }
    Ok(())
}

fn send_all(ring: &mut IoUring, sockets: u32, bytes: &[u8]) -> io::Result<()> {
    for slot in 0..sockets {
        let send = Send::new(Fixed(slot), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        push(ring, &send.flags(Flags::SKIP_SUCCESS))?;
    }
    ring.submit()?;
    ring.completion()
        .try_for_each(|completion| check(&completion))
}

fn push(ring: &mut IoUring, entry: &Entry) -> io::Result<()> {
    // SAFETY: the listener outlives its accept, and the bytes of a send are kept as long as the ring.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}

fn check(completion: &cqueue::Entry) -> io::Result<()> {
    match completion.result() {
        0.. => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}
