//! A ring whose kernel is a [`StandIn`](super::stand_in::StandIn): what its tests do with it.
#![cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "the fuzzers only receive, and `testing` has no listener"
    )
)]

use std::sync::atomic::{AtomicU16, Ordering};

use crate::ring::buffers::BufferPool;
use crate::ring::token::Completion;
use crate::ring::uring::stand_in::Submission;
use crate::ring::uring::{Ring, account};

/// An entry of the ring of buffers, `struct io_uring_buf`; the producer's end lies where the first
/// has its last two bytes.
const ENTRY_BYTES: usize = 16;
const ENTRY_NUMBER: usize = 12;
const TAIL: usize = 14;

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
