//! The kernel's part: what is in flight, and how it may end. Every choice is a legal one, and the
//! seed's.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::error::CloseReason;
use crate::id::Key;
use crate::ring::buffers::BufferPool;
use crate::ring::stand_in::Submission;
use crate::ring::{Completion, Operation, Ring, Token};
use crate::shard::sim::random::Random;
use crate::time::Tick;

/// Errors that a receive or a send may end with (tcp(7)), one of them of no particular meaning.
const SOCKET_ERRORS: [i32; 5] = [
    libc::ECONNRESET,
    libc::EPIPE,
    libc::ETIMEDOUT,
    libc::EHOSTUNREACH,
    libc::EIO,
];
const ACCEPT_ERRORS: [i32; 4] = [
    libc::ECONNABORTED,
    libc::EPROTO,
    libc::EMFILE,
    libc::ENOBUFS,
];
/// How many of a file's operations of one sort a multishot receive may be found missing by its
/// cancel.
const MISSED: u32 = 8;

/// What the kernel takes from connections' peers and brings to them, as a test follows it.
pub(crate) trait Wire {
    /// A send is submitted.
    fn sends(&mut self, key: Key, now: Tick);
    /// A send of `bytes` has ended with `result`.
    fn sent(&mut self, key: Key, bytes: &[u8], result: i32);
    /// Our FIN is submitted.
    fn shuts_down(&mut self, key: Key);
    fn is_reset(&mut self, key: Key);
    /// Whether the peer has sent its FIN.
    fn has_ended(&mut self, key: Key) -> bool;
    fn end(&mut self, key: Key);
    /// The next bytes that the peer sends.
    fn next_input(&mut self, key: Key, length: usize) -> Vec<u8>;
    fn delivered(&mut self, key: Key, length: usize);
    fn failed_to_receive(&mut self, key: Key, errno: i32);

    /// Whether the peer keeps an operation waiting that was not taken back: it sends nothing, or
    /// reads nothing.
    fn keeps_waiting(&mut self, _token: Token) -> bool {
        false
    }
}

/// An operation whose last completion has not come.
#[derive(Debug)]
struct Pending {
    submission: Submission,
    cancelled: bool,
}

/// What the kernel knows.
#[derive(Debug)]
pub(crate) struct Kernel {
    pending: Vec<Pending>,
    /// Whose cancel has failed, as the next reap will tell.
    refused: Vec<Key>,
    /// Direct descriptors that are not in use.
    free: BTreeSet<u32>,
    /// Clients that have yet to come.
    pub(crate) clients: u32,
    /// Nothing unusual happens any more, and everybody goes.
    pub(crate) is_calm: bool,
}

impl Kernel {
    pub(crate) fn new(descriptors: u32, clients: u32) -> Self {
        Self {
            pending: Vec::new(),
            refused: Vec::new(),
            free: (0..descriptors).collect(),
            clients,
            is_calm: false,
        }
    }

    /// Operations in flight for `key`, by what they are.
    pub(crate) fn owed(&self, key: Key) -> Vec<Operation> {
        let of = self
            .pending
            .iter()
            .map(|pending| pending.submission.token)
            .filter(|token| token.key == key && of_connection(*token));
        of.map(|token| token.operation).collect()
    }

    /// Whether all that `key` waits for was taken back, or it will hear that it was not.
    pub(crate) fn is_taken_back(&self, key: Key) -> bool {
        let waits = |pending: &&Pending| {
            matches!(
                pending.submission.token.operation,
                Operation::Receive | Operation::Poll
            )
        };
        let mut own = self
            .pending
            .iter()
            .filter(|pending| pending.submission.token.key == key)
            .filter(waits);
        self.refused.contains(&key) || own.all(|pending| pending.cancelled)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Whether something of what is in flight could go on now.
    pub(crate) fn can_go_on(&self, wire: &mut impl Wire) -> bool {
        self.pending.iter().any(|pending| {
            let token = pending.submission.token;
            let accepts = self.clients > 0 && !self.free.is_empty();
            pending.cancelled
                || if token.operation == Operation::Accept {
                    accepts
                } else {
                    !wire.keeps_waiting(token)
                }
        })
    }

    /// The entry: everything submitted is the kernel's now. Cancels and quiet sends end within it.
    pub(crate) fn enter(
        &mut self,
        ring: &mut Ring,
        wire: &mut impl Wire,
        random: &mut Random,
        now: Tick,
    ) {
        for submission in ring.take_submissions() {
            self.assert_legal(&submission);
            if matches!(
                submission.token.operation,
                Operation::Send | Operation::QuietSend
            ) {
                wire.sends(submission.token.key, now);
            }
            if submission.token.operation == Operation::Shutdown {
                wire.shuts_down(submission.token.key);
            }
            match submission.token.operation {
                Operation::Cancel => self.cancel(&submission, ring, random),
                Operation::QuietSend => self.send_at_once(&submission, ring, wire, random),
                Operation::Timer
                | Operation::WaitTimer
                | Operation::TaskTimer
                | Operation::Wake => {}
                Operation::Reset => {
                    assert!(
                        self.owed(submission.token.key).is_empty(),
                        "{:?} while something is in flight",
                        submission.token
                    );
                    wire.is_reset(submission.token.key);
                }
                _ => self.pending.push(Pending {
                    submission,
                    cancelled: false,
                }),
            }
        }
    }

    /// One receive or poll, one send or connect of a connection at a time; a close is the last of
    /// all.
    fn assert_legal(&self, new: &Submission) {
        let token = new.token;
        if !of_connection(token) {
            return;
        }
        assert_eq!(
            new.descriptor(),
            token.key.slot.0,
            "{token:?} is for its slot's descriptor"
        );
        assert!(!new.may_raise_sigpipe(), "{token:?} forbids signals");
        let owed = self.owed(token.key);
        let rivals: &[Operation] = match token.operation {
            Operation::Receive | Operation::Poll => &[Operation::Receive, Operation::Poll],
            Operation::Send | Operation::QuietSend | Operation::Connect => {
                &[Operation::Send, Operation::Connect]
            }
            Operation::Shutdown => &[Operation::Shutdown, Operation::Send],
            _ => &owed,
        };
        let rival = owed
            .iter()
            .find(|operation| rivals.contains(operation) || **operation == Operation::Close);
        assert!(rival.is_none(), "{token:?} while {rival:?} is in flight");
    }

    fn cancel(&mut self, cancel: &Submission, ring: &mut Ring, random: &mut Random) {
        let target = cancel.target();
        let found = self
            .pending
            .iter_mut()
            .find(|pending| pending.submission.token == target && !pending.cancelled);
        let receive = target.operation == Operation::Receive;
        let errno = match found {
            None => libc::ENOENT,
            // A receive that is about to run, or that is between two of its completions.
            Some(_) if receive && !self.is_calm && random.one_in(MISSED) => libc::EALREADY,
            Some(pending)
                if receive
                    && !self.is_calm
                    && pending.submission.is_multishot()
                    && random.one_in(MISSED) =>
            {
                libc::ENOENT
            }
            Some(pending) => {
                pending.cancelled = true;
                0
            }
        };
        if errno != 0 {
            self.refused.push(target.key);
        }
        ring.complete(Completion {
            token: cancel.token,
            result: -errno,
            buffer: None,
            more: false,
        });
    }

    /// All that has completed is about to be reaped.
    pub(crate) fn begin_turn(&mut self) {
        self.refused.clear();
    }

    /// A send that does not wait for room: it succeeds without a word, or says how far it came.
    fn send_at_once(
        &mut self,
        send: &Submission,
        ring: &mut Ring,
        wire: &mut impl Wire,
        random: &mut Random,
    ) {
        let length = send.length();
        let result = match random.below(if self.is_calm { 1 } else { 12 }) {
            0..=7 => length as i32,
            8 | 9 => -libc::EAGAIN,
            10 if length > 1 => random.between(1, length as u32 - 1) as i32,
            _ => -random.pick(&SOCKET_ERRORS),
        };
        let waits = wire.keeps_waiting(send.token);
        let result = if waits { -libc::EAGAIN } else { result };
        wire.sent(send.token.key, &send.bytes(), result);
        if result != length as i32 {
            ring.complete(Completion {
                token: send.token,
                result,
                buffer: None,
                more: false,
            });
        }
    }

    /// Something of what is in flight goes on. False if there is nothing that could.
    pub(crate) fn act(
        &mut self,
        ring: &mut Ring,
        pool: &BufferPool,
        wire: &mut impl Wire,
        random: &mut Random,
    ) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let at = random.below(self.pending.len() as u32) as usize;
        let Pending {
            submission,
            cancelled,
        } = &self.pending[at];
        if !cancelled && wire.keeps_waiting(submission.token) {
            return false;
        }
        let Some((result, buffer, more)) = self.outcome(at, ring, pool, wire, random) else {
            return false;
        };
        let pending = &self.pending[at];
        let token = pending.submission.token;
        if let (Operation::Receive, errno @ 1..) = (token.operation, -result) {
            wire.failed_to_receive(token.key, errno);
        }
        if token.operation == Operation::Close {
            assert_eq!(
                self.owed(token.key),
                [Operation::Close],
                "{token:?} with operations in flight"
            );
            self.free.insert(token.key.slot.0);
        }
        if !more {
            self.pending.swap_remove(at);
        }
        ring.complete(Completion {
            token,
            result,
            buffer,
            more,
        });
        true
    }

    /// How the operation at `at` goes on: its result, its buffer, and whether it completes again.
    /// None: not yet.
    fn outcome(
        &mut self,
        at: usize,
        ring: &mut Ring,
        pool: &BufferPool,
        wire: &mut impl Wire,
        random: &mut Random,
    ) -> Option<(i32, Option<u16>, bool)> {
        let Pending {
            submission,
            cancelled,
        } = &self.pending[at];
        let (token, cancelled, calm) = (submission.token, *cancelled, self.is_calm);
        let gives_way = cancelled && (calm || random.below(3) > 0);
        let last = |result: i32| Some((result, None, false));
        match token.operation {
            Operation::Receive | Operation::Poll | Operation::Send | Operation::Connect
                if gives_way =>
            {
                last(-libc::ECANCELED)
            }
            Operation::Accept if cancelled => last(-libc::ECANCELED),
            Operation::Accept if !calm && random.one_in(10) => last(-random.pick(&ACCEPT_ERRORS)),
            Operation::Accept => {
                let peer = SocketAddr::from(([127, 0, 0, 1], 1024 + self.clients as u16));
                self.clients = self.clients.checked_sub(1)?;
                submission.write_peer(peer);
                last(self.allocate(random)? as i32)
            }
            Operation::Install => {
                submission.write_descriptor(self.free.first().copied()? as i32);
                if !calm && random.one_in(10) {
                    return last(-libc::ENFILE);
                }
                let number = self.allocate(random)?;
                self.pending[at].submission.write_descriptor(number as i32);
                last(1)
            }
            Operation::Connect => last(if random.one_in(4) {
                -random.pick(&[libc::ECONNREFUSED, libc::ETIMEDOUT])
            } else {
                0
            }),
            Operation::Poll => last(libc::POLLIN.into()),
            Operation::Receive => Some(receive(submission, calm, ring, pool, wire, random)),
            Operation::Send => {
                let result = sent(submission.length() as u32, calm, random);
                wire.sent(token.key, &submission.bytes(), result);
                last(result)
            }
            Operation::Shutdown => last(if random.one_in(8) { -libc::ENOTCONN } else { 0 }),
            _ => last(0),
        }
    }

    fn allocate(&mut self, random: &mut Random) -> Option<u32> {
        let at = random.below(self.free.len().max(1) as u32) as usize;
        let number = self.free.iter().nth(at).copied()?;
        self.free.remove(&number);
        Some(number)
    }
}

/// What becomes of a send of so many bytes.
fn sent(length: u32, calm: bool, random: &mut Random) -> i32 {
    match random.below(if calm { 5 } else { 10 }) {
        0..=4 => length as i32,
        5 | 6 => random.between(1, length) as i32,
        7 => -libc::EINTR,
        8 => -libc::EAGAIN,
        _ => -random.pick(&SOCKET_ERRORS),
    }
}

/// Bytes of the peer's stream, its end, an error, or no buffer for them.
fn receive(
    submission: &Submission,
    calm: bool,
    ring: &mut Ring,
    pool: &BufferPool,
    wire: &mut impl Wire,
    random: &mut Random,
) -> (i32, Option<u16>, bool) {
    let key = submission.token.key;
    match random.below(24) {
        _ if wire.has_ended(key) => (0, None, false),
        0 if !calm => (-random.pick(&SOCKET_ERRORS), None, false),
        1 if !calm => (
            -random.pick(&[libc::EINTR, libc::EAGAIN, libc::ENOBUFS]),
            None,
            false,
        ),
        2..=5 => {
            wire.end(key);
            (0, None, false)
        }
        _ if calm => {
            wire.end(key);
            (0, None, false)
        }
        _ => {
            let length = if random.one_in(3) {
                pool.size()
            } else {
                random.between(1, pool.size())
            };
            let bytes = wire.next_input(key, length as usize);
            let Some(buffer) = ring.fill_buffer(pool, &bytes) else {
                return (-libc::ENOBUFS, None, false);
            };
            wire.delivered(key, bytes.len());
            (
                bytes.len() as i32,
                Some(buffer),
                submission.is_multishot() && !random.one_in(8),
            )
        }
    }
}

fn of_connection(token: Token) -> bool {
    use Operation::{Close, Connect, Poll, QuietSend, Receive, Send, Shutdown};
    matches!(
        token.operation,
        Close | Connect | Poll | QuietSend | Receive | Send | Shutdown
    )
}

/// The reason that an errno of a receive or send stands for; none for those that a connection
/// survives.
pub(crate) fn reason_of(errno: i32) -> Option<CloseReason> {
    let survives = [libc::ECANCELED, libc::EINTR, libc::EAGAIN, libc::ENOBUFS].contains(&errno);
    (!survives).then(|| CloseReason::of_errno(errno))
}
