//! What an accept that failed means, and for how long accepting pauses then.

use std::time::Duration;

use crate::time::{Tick, Ticks};

/// Accepts in a row that failed for a reason of their own, and are taken for a fault of the
/// machine. No key: it is to be far more than the clients that can leave a queue in one go, and no
/// service is refused by it.
const RETRIES_MAX: u32 = 10_000;

/// What to do after an accept that failed (accept(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptVerdict {
    /// This client is gone, or its network is: the next one.
    Retry,
    /// Out of descriptors or memory: the queue is still full, and asking again at once would spin.
    BackOff,
    /// Our own drain took the accept back.
    Stop,
}

/// `recalled`: the drain has taken the accepts back.
pub(crate) fn classify(errno: i32, recalled: bool) -> AcceptVerdict {
    match errno {
        libc::ECANCELED | libc::EINVAL | libc::EBADF if recalled => AcceptVerdict::Stop,
        // The peer left while it was queued; a firewall forbids it.
        libc::ECONNABORTED | libc::EPROTO | libc::EPERM | libc::ETIMEDOUT | libc::ECONNRESET => {
            AcceptVerdict::Retry
        }
        // A signal; nobody there after all.
        libc::EINTR | libc::EAGAIN => AcceptVerdict::Retry,
        // Errors of the network that accept(2) passes on with the new socket.
        libc::ENETDOWN | libc::ENOPROTOOPT | libc::EHOSTDOWN | libc::ENONET => AcceptVerdict::Retry,
        libc::EHOSTUNREACH | libc::EOPNOTSUPP | libc::ENETUNREACH => AcceptVerdict::Retry,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever nobody has thought of: it may well go on.
        _ => AcceptVerdict::BackOff,
    }
}

/// The pauses of a shard's accepts.
#[derive(Debug)]
pub(crate) struct BackOff {
    /// The first pause; each that follows without an accept in between is twice as long, up to the
    /// last.
    first: Duration,
    last: Duration,
    /// No accept is posted before this tick.
    until: Tick,
    /// The last pause since an accept, if there was one.
    pause: Option<Duration>,
    /// Failures since the last accept.
    retries: u32,
}

impl BackOff {
    pub(crate) fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            last,
            until: Tick(0),
            pause: None,
            retries: 0,
        }
    }

    /// From the next pause on.
    pub(crate) fn set_pauses(&mut self, first: Duration, last: Duration) {
        (self.first, self.last) = (first, last);
    }

    pub(crate) fn is_over(&self, now: Tick) -> bool {
        now >= self.until
    }

    /// When accepting goes on; never if it has not stopped.
    pub(crate) fn resumes(&self, now: Tick) -> Tick {
        if self.is_over(now) {
            Tick::NEVER
        } else {
            self.until
        }
    }

    /// Accepts that may be posted of each listener: after a pause one, to see whether it was long
    /// enough. Of each, for one by whom nobody comes says nothing.
    pub(crate) fn accepts_max(&self) -> u32 {
        if self.pause.is_none() { u32::MAX } else { 1 }
    }

    /// One has failed in a way that says nothing of the next. True: so many have that accepting
    /// pauses all the same.
    pub(crate) fn retried(&mut self) -> bool {
        self.retries += 1;
        self.retries >= RETRIES_MAX
    }

    /// One has failed and so would the next. The pause that begins; none if those that were posted
    /// before it fail too.
    pub(crate) fn begin(&mut self, now: Tick) -> Option<Duration> {
        if !self.is_over(now) {
            return None;
        }
        let pause = self
            .pause
            .map_or(self.first, |before| (2 * before).min(self.last));
        self.until = now.after(Ticks::at_least(pause));
        self.pause = Some(pause);
        self.retries = 0;
        Some(pause)
    }

    /// One has succeeded.
    pub(crate) fn end(&mut self) {
        self.pause = None;
        self.retries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_of_accept_has_its_verdict() {
        use AcceptVerdict::{BackOff, Retry, Stop};
        // All of accept(2), and what io_uring adds: (errno, while serving, while the drain takes
        // the accepts back).
        let table = [
            (libc::EMFILE, BackOff, BackOff),
            (libc::ENFILE, BackOff, BackOff),
            (libc::ENOBUFS, BackOff, BackOff),
            (libc::ENOMEM, BackOff, BackOff),
            (libc::ECONNABORTED, Retry, Retry),
            (libc::EPROTO, Retry, Retry),
            (libc::EPERM, Retry, Retry),
            (libc::EINTR, Retry, Retry),
            (libc::EAGAIN, Retry, Retry),
            (libc::ETIMEDOUT, Retry, Retry),
            (libc::ECONNRESET, Retry, Retry),
            (libc::ENETDOWN, Retry, Retry),
            (libc::ENOPROTOOPT, Retry, Retry),
            (libc::EHOSTDOWN, Retry, Retry),
            (libc::ENONET, Retry, Retry),
            (libc::EHOSTUNREACH, Retry, Retry),
            (libc::EOPNOTSUPP, Retry, Retry),
            (libc::ENETUNREACH, Retry, Retry),
            (libc::ECANCELED, BackOff, Stop),
            (libc::EINVAL, BackOff, Stop),
            (libc::EBADF, BackOff, Stop),
            (libc::EFAULT, BackOff, BackOff),
            (libc::ENOTSOCK, BackOff, BackOff),
            (libc::ENOSR, BackOff, BackOff),
            (4095, BackOff, BackOff),
        ];
        for (errno, serving, recalled) in table {
            assert_eq!(
                (classify(errno, false), classify(errno, true)),
                (serving, recalled),
                "errno {errno}"
            );
        }
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_an_accept_ends_them() {
        for (first, last, expected) in [
            (100, 1600, [100, 200, 400, 800, 1600, 1600, 1600]),
            (300, 1000, [300, 600, 1000, 1000, 1000, 1000, 1000]),
            (500, 500, [500; 7]),
        ] {
            let mut back_off =
                BackOff::new(Duration::from_millis(first), Duration::from_millis(last));
            let mut now = Tick(1);
            let mut pauses = Vec::new();
            for _ in 0..7 {
                pauses.extend(back_off.begin(now).map(|pause| pause.as_millis()));
                assert_eq!(back_off.begin(now), None, "it has begun already");
                assert_eq!(back_off.accepts_max(), 1);
                assert!(back_off.resumes(now) > now);
                now = back_off.resumes(now);
                assert!(back_off.is_over(now) && back_off.resumes(now) == Tick::NEVER);
            }
            assert_eq!(pauses, expected);
            back_off.end();
            assert_eq!(
                (back_off.accepts_max(), back_off.begin(now)),
                (u32::MAX, Some(Duration::from_millis(first)))
            );
        }
    }

    #[test]
    fn failures_without_end_are_taken_for_a_fault_of_the_machine() {
        let mut back_off = BackOff::new(Duration::from_millis(100), Duration::from_millis(1600));
        assert!((1..RETRIES_MAX).all(|_| !back_off.retried()));
        assert!(back_off.retried());
        back_off.end();
        assert!(!back_off.retried());
    }
}
