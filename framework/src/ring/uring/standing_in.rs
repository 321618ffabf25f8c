//! A ring whose kernel is a stand-in: what it has submitted, and what it is to reap.
#![cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "the fuzzers only receive, and `testing` has no listener"
    )
)]

use std::sync::atomic::{AtomicU16, Ordering};

use crate::ring::buffers::BufferPool;
use crate::ring::stand_in::Submission;
use crate::ring::token::Completion;
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
            self.quiet.settle(&mut self.lent, into);
        }
    }

    /// Whether the next reap finds something.
    pub(crate) fn has_completed(&self) -> bool {
        let completed = self.stand_in.as_ref().map(|kernel| &kernel.completed);
        completed.is_some_and(|completed| !completed.is_empty())
    }

    /// Operations that have memory of ours.
    pub(crate) fn lent(&self) -> usize {
        self.lent.in_flight
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::id::Key;
    use crate::ring::stand_in::StandIn;
    use crate::ring::token::{Operation, Token};
    use crate::ring::uring::Cqe;

    fn completion(token: Token, result: i32) -> Completion {
        Completion {
            token,
            result,
            buffer: None,
            more: false,
        }
    }

    #[test]
    fn a_quiet_send_behind_one_that_failed_is_told_of_though_completions_were_left_over() {
        let pool = Rc::new(BufferPool::new(256, 64).expect("memory"));
        StandIn::begin_on_this_thread();
        let mut ring = Ring::new(4, 1, 1, Rc::clone(&pool)).expect("a ring");
        let (key, other) = (Key::of_place(1), Key::of_place(2));
        let buf = pool.copy_of(b"x");
        let noise = completion(Token::new(Operation::Poll, other), 1);
        let mut reaped = Vec::new();
        // Turn 1: a quiet send meets a full socket; more has completed than a turn takes.
        ring.send(key, [&buf].into_iter(), Cqe::OnError);
        ring.take_submissions();
        ring.complete(completion(
            Token::new(Operation::QuietSend, key),
            -libc::EAGAIN,
        ));
        ring.complete(noise);
        ring.reap(&mut reaped, 1);
        assert_eq!(reaped.len(), 1);
        // Turn 2: the one that waits for room succeeds, and again more has completed.
        ring.send(key, [&buf].into_iter(), Cqe::Always);
        ring.take_submissions();
        ring.complete(completion(Token::new(Operation::Send, key), 1));
        ring.complete(noise);
        reaped.clear();
        ring.reap(&mut reaped, 2);
        assert_eq!(reaped.len(), 2);
        // Turn 3: the next quiet send succeeds.
        ring.send(key, [&buf].into_iter(), Cqe::OnError);
        let sent = ring.take_submissions().pop().expect("it was submitted");
        assert_eq!(sent.token.operation, Operation::Send, "not a quiet one");
        ring.complete(completion(sent.token, 1));
        reaped.clear();
        ring.reap(&mut reaped, 64);
        reaped.retain(|seen| seen.token == Token::new(Operation::Send, key));
        let quiet = ring.has_quiet_sends();
        pool.release(buf);
        assert_eq!((reaped.len(), quiet, pool.referenced()), (1, false, 0));
    }
}
