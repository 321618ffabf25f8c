//! A stand-in for the kernel, for tests that say themselves what it does. It takes what a ring
//! submits where the kernel would, and reads and writes the memory lent with it as the kernel does,
//! by the addresses in the submission itself.
#![cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "the fuzzers only receive, and `testing` has no listener"
    )
)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{IoUring, squeue};
use socket2::SockAddr;

use crate::ring::buffers::BufferPool;
use crate::ring::token::{Completion, Operation, Token};
use crate::ring::uring::{Ring, account};

/// `struct io_uring_sqe` of linux/io_uring.h in words: which of them hold what.
type Words = [u64; 8];
const ADDRESS: usize = 2;
const LENGTH: usize = 3;
const TOKEN: usize = 4;
const FILE: usize = 5;
/// IORING_OP_SENDMSG: its address is of a `msghdr`.
const SEND_MESSAGE: u8 = 9;
/// An entry of the ring of buffers, `struct io_uring_buf`; the producer's end lies where the first
/// has its last two bytes.
const ENTRY_BYTES: usize = 16;
const ENTRY_NUMBER: usize = 12;
const TAIL: usize = 14;

thread_local! {
    static BEGUN: Cell<bool> = const { Cell::new(false) };
}

/// The ring of the kernel; none on a thread with a stand-in, which works where the kernel refuses
/// rings.
pub(super) struct Io(Option<IoUring>);

impl Io {
    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl From<IoUring> for Io {
    fn from(io: IoUring) -> Self {
        Self(Some(io))
    }
}

impl Deref for Io {
    type Target = IoUring;

    fn deref(&self) -> &IoUring {
        self.0.as_ref().expect("a stand-in never asks the kernel")
    }
}

impl DerefMut for Io {
    fn deref_mut(&mut self) -> &mut IoUring {
        self.0.as_mut().expect("a stand-in never asks the kernel")
    }
}

/// What a ring has submitted and what it is to reap.
#[derive(Debug, Default)]
pub(crate) struct StandIn {
    submitted: Vec<Submission>,
    completed: VecDeque<Completion>,
    /// The consumer's end of the ring of buffers.
    head: u16,
}

/// An operation that the kernel would have.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) token: Token,
    words: Words,
    /// Address and length of what a send sends.
    parts: Vec<(usize, usize)>,
}

impl StandIn {
    /// Rings that are made on this thread from now on never reach the kernel.
    pub(crate) fn begin_on_this_thread() {
        BEGUN.set(true);
    }

    pub(super) fn of_this_thread() -> Option<Self> {
        BEGUN.get().then(Self::default)
    }

    pub(super) fn take(&mut self, entry: &squeue::Entry) {
        // SAFETY: an entry is one `struct io_uring_sqe`: 64 bytes of plain numbers.
        let words = unsafe { std::mem::transmute::<squeue::Entry, Words>(entry.clone()) };
        self.submitted.push(Submission {
            token: Token::decode(words[TOKEN]),
            words,
            parts: Vec::new(),
        });
    }
}

impl Submission {
    fn is_send(&self) -> bool {
        matches!(self.token.operation, Operation::Send | Operation::QuietSend)
    }

    /// What a cancel is to end.
    pub(crate) fn target(&self) -> Token {
        Token::decode(self.words[ADDRESS])
    }

    /// IORING_RECV_MULTISHOT: a receive that completes again and again.
    pub(crate) fn is_multishot(&self) -> bool {
        self.words[0] >> 16 & 2 != 0
    }

    /// The direct descriptor it is for.
    pub(crate) fn descriptor(&self) -> u32 {
        let number = (self.words[0] >> 32) as u32;
        // The close of a direct descriptor has its number, counted from 1, in another place
        // (io_uring_enter(2), IORING_OP_CLOSE).
        if self.token.operation == Operation::Close {
            (self.words[FILE] >> 32) as u32 - 1
        } else {
            number
        }
    }

    /// Remembers where the bytes of a send lie: the kernel reads the vector when it takes the
    /// submission, and the bytes later.
    fn read_vector(&mut self) {
        if self.words[0] as u8 != SEND_MESSAGE {
            self.parts = vec![(
                self.words[ADDRESS] as usize,
                self.words[LENGTH] as u32 as usize,
            )];
            return;
        }
        // SAFETY: the ring keeps header and vector as they are until the submission is taken, which
        // is now.
        let header = unsafe { &*(self.words[ADDRESS] as *const libc::msghdr) };
        // SAFETY: as above.
        let vector = unsafe { slice::from_raw_parts(header.msg_iov, header.msg_iovlen) };
        self.parts = vector
            .iter()
            .map(|part| (part.iov_base as usize, part.iov_len))
            .collect();
    }

    /// How many bytes a send is to send.
    pub(crate) fn length(&self) -> usize {
        self.parts.iter().map(|(_, length)| length).sum()
    }

    /// Whether a send to a peer that has gone would raise SIGPIPE, unless the kernel forbids it by
    /// itself.
    pub(crate) fn may_raise_sigpipe(&self) -> bool {
        let flags = (self.words[LENGTH] >> 32) as i32;
        self.is_send() && flags & libc::MSG_NOSIGNAL == 0
    }

    /// The bytes of a send, as they are now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (address, length) in &self.parts {
            // SAFETY: whoever sends keeps the bytes until the completion, which has not been told
            // yet.
            bytes.extend_from_slice(unsafe {
                slice::from_raw_parts(*address as *const u8, *length)
            });
        }
        bytes
    }

    /// Leaves the peer's address where an accept wants it.
    pub(crate) fn write_peer(&self, peer: SocketAddr) {
        let peer = SockAddr::from(peer);
        // SAFETY: the ring keeps the place of an accept in flight, with room for a `sockaddr_in6`,
        // than which no address of ours is longer.
        unsafe {
            std::ptr::copy_nonoverlapping(
                peer.as_ptr().cast::<u8>(),
                self.words[ADDRESS] as *mut u8,
                peer.len() as usize,
            )
        };
    }

    /// Leaves the number of the direct descriptor where an installation wants it.
    pub(crate) fn write_descriptor(&self, number: i32) {
        // SAFETY: the ring keeps the place of an installation in flight.
        unsafe { *(self.words[ADDRESS] as *mut i32) = number };
    }
}

impl Ring {
    /// What was submitted since: the entry into the kernel.
    pub(crate) fn take_submissions(&mut self) -> Vec<Submission> {
        let Some(stand_in) = &mut self.stand_in else {
            return Vec::new();
        };
        let mut submitted = std::mem::take(&mut stand_in.submitted);
        submitted
            .iter_mut()
            .filter(|submission| submission.is_send())
            .for_each(Submission::read_vector);
        self.lent.memory.vectors_used = 0;
        submitted
    }

    /// The next reap finds this completion.
    pub(crate) fn complete(&mut self, completion: Completion) {
        if let Some(stand_in) = &mut self.stand_in {
            stand_in.completed.push_back(completion);
        }
    }

    /// Puts `bytes` into the next published buffer, as a receive does; none if no buffer is
    /// published.
    pub(crate) fn fill_buffer(&mut self, pool: &BufferPool, bytes: &[u8]) -> Option<u16> {
        let head = &mut self.stand_in.as_mut()?.head;
        let entries = pool.entries_addr() as usize;
        // SAFETY: the tail of a pool's ring of entries, which lives as long as the pool.
        let tail =
            unsafe { AtomicU16::from_ptr((entries + TAIL) as *mut u16) }.load(Ordering::Acquire);
        if *head == tail {
            return None;
        }
        let entry = entries + usize::from(*head & (pool.count_u16() - 1)) * ENTRY_BYTES;
        // SAFETY: an entry before the tail was written by the pool, and its buffer is the kernel's
        // until it is told filled.
        let number = unsafe {
            let (buffer, number) = (
                *(entry as *const usize),
                *((entry + ENTRY_NUMBER) as *const u16),
            );
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer as *mut u8, bytes.len());
            number
        };
        *head = head.wrapping_add(1);
        Some(number)
    }

    pub(super) fn reap_stand_in(&mut self, into: &mut Vec<Completion>, most: usize) {
        let Some(stand_in) = &mut self.stand_in else {
            return;
        };
        for completion in stand_in
            .completed
            .drain(..most.min(stand_in.completed.len()))
        {
            into.push(account(&mut self.lent, &mut self.quiet, completion));
        }
        if stand_in.completed.is_empty() && stand_in.submitted.is_empty() {
            self.lent.in_flight -= self.quiet.settle(into);
        }
    }

    /// Operations that have memory of ours.
    pub(crate) fn lent(&self) -> usize {
        self.lent.in_flight
    }
}
