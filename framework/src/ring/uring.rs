//! The socket ring: one io_uring per shard, the only place of the project that needs `unsafe`.
//!
//! A [`Ring`] owns everything the kernel may write to or read from on its behalf: the provided
//! buffers ([`BufferPool`]), the peer addresses of accepts in flight and the vectors of gathered
//! sends. Its callers pass slot numbers and bufs, never pointers.
//!
//! Reading order: [`Ring::new`] (setup), the operations a shard submits, [`Ring::enter`] (the one
//! system call of a turn), [`Ring::reap`]. Sources: io_uring_setup(2), io_uring_enter(2),
//! io_uring_register(2).
#![allow(unsafe_code)]

#[cfg(any(test, fuzzing, feature = "testing"))]
mod standing_in;

use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};

use crate::id::{Key, SlotIndex};
use crate::ring::buffers::{BufRef, BufferPool};
#[cfg(feature = "failpoints")]
use crate::ring::faked;
use crate::ring::lent_sends::LentSends;
use crate::ring::raw::{EnterArgument, enter_flags, register_own_descriptor};
use crate::ring::sockaddr::{ConnectStorage, PeerStorage};
use crate::ring::token::{Completion, Operation, Token};
use crate::ring::wake::WakeFd;

#[cfg(feature = "failpoints")]
use crate::failpoint::Point;

/// Entries of the submission queue, for each so many receive buffers: more than a turn submits in
/// the common case; when it is full the ring enters early.
const BUFFERS_PER_SUBMISSION: u32 = 4;
const SUBMISSIONS: (u32, u32) = (256, 1024);
/// Entries of the completion queue for each receive buffer: there are no more messages at a time
/// than buffers. The kernel keeps what does not fit (IORING_FEAT_NODROP), at a price.
const COMPLETIONS_PER_BUFFER: u32 = 2;
const COMPLETIONS: (u32, u32) = (1024, 8192);
/// Buffers that one gathered send takes along.
pub(crate) const SEND_VECTOR_MAX: usize = 16;
/// The wait in the ring, tasks, deadlines.
const TIMER_KINDS: usize = 3;
/// Pauses of the processor between two looks at the clock: together a fraction of a microsecond.
const PAUSES: usize = 4;
/// IORING_FILE_INDEX_ALLOC: the kernel picks the direct descriptor.
const FILE_INDEX_ALLOCATE: i32 = -1;
/// SOCKET_URING_OP_SIOCOUTQ of linux/io_uring.h.
pub(super) const SOCKET_SIOCOUTQ: u32 = 1;
/// The provided-buffer group; a ring of ours has just one.
pub(super) const BUFFER_GROUP: u16 = 0;

#[cfg(not(any(test, fuzzing, feature = "testing")))]
type Io = IoUring;
#[cfg(any(test, fuzzing, feature = "testing"))]
use crate::ring::stand_in::{Io, StandIn};

/// One shard's io_uring with the memory it lends to the kernel.
pub(crate) struct Ring {
    io: Io,
    /// Index of the ring's own descriptor in the thread's registered rings: spares a descriptor
    /// look-up per enter.
    registered: Option<u32>,
    /// What the kernel may touch while operations are in flight. Behind `io`, so that the ring is
    /// closed before this is freed.
    lent: Lent,
    quiet: QuietSends,
    /// Completions that were taken on the way to another; the next reap has them first.
    early: Vec<Completion>,
    #[cfg(feature = "failpoints")]
    faked: faked::Faked,
    /// Takes the kernel's part in tests that say what it does.
    #[cfg(any(test, fuzzing, feature = "testing"))]
    stand_in: Option<StandIn>,
    /// The first error that the ring itself met: its shard cannot go on.
    failure: Option<io::Error>,
}

/// Memory lent to the kernel, in boxes whose addresses stay.
struct Lent {
    memory: ManuallyDrop<LentMemory>,
    /// The buffers that sends in flight read from.
    sends: LentSends,
    /// Operations that use it and whose last completion has not come.
    in_flight: usize,
}

struct LentMemory {
    /// Kept alive for the ring; see [`BufferPool`] for what the kernel does with it.
    pool: Rc<BufferPool>,
    peers: Box<[PeerStorage]>,
    connects: Box<[ConnectStorage]>,
    #[expect(
        clippy::vec_box,
        reason = "submissions point to the vectors while the list grows"
    )]
    vectors: Vec<Box<SendVector>>,
    /// Vectors that submissions use which the kernel has not read yet (once it has consumed one it
    /// needs its vector no more: IORING_FEAT_SUBMIT_STABLE).
    vectors_used: usize,
    /// One for each kind of timer.
    timers: Box<[types::Timespec; TIMER_KINDS]>,
}

/// Sends of which the kernel tells only the failures ([`Cqe::OnError`]).
#[derive(Default)]
struct QuietSends {
    /// Submitted and not yet known to have succeeded, with the bytes each sends.
    submitted: Vec<(Key, u32)>,
    /// Those that failed since, as their completions told.
    failed: Vec<u64>,
}

/// Which ends of a send its submitter is told of at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cqe {
    /// A completion ends the wait, however the send ended; a full socket is waited for.
    Always,
    /// Success ends no wait: it is told with the next completions that are reaped. A full socket is
    /// a failure, and so is a part sent.
    OnError,
}

/// The `msghdr` of a gathered send with the vector it points to.
struct SendVector {
    header: libc::msghdr,
    parts: [libc::iovec; SEND_VECTOR_MAX],
}

/// Whether [`Ring::enter`] waits for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    /// However long it takes: the caller has a timer in the ring.
    ForOne,
    /// For several; then for those that there are.
    ForSome {
        completions: u32,
        at_most: Duration,
    },
}

impl Ring {
    /// A ring with a table of `files` direct descriptors, for so many accepts and connects in flight,
    /// for the calling thread alone.
    pub(crate) fn new(
        files: u32,
        accepts: u32,
        connects: u32,
        pool: Rc<BufferPool>,
    ) -> io::Result<Self> {
        let (io, registered) = open(files, &pool)?;
        let memory = LentMemory {
            pool,
            peers: (0..accepts).map(|_| PeerStorage::default()).collect(),
            connects: (0..connects).map(|_| ConnectStorage::default()).collect(),
            vectors: Vec::new(),
            vectors_used: 0,
            timers: Box::new([types::Timespec::new(); TIMER_KINDS]),
        };
        let lent = Lent {
            memory: ManuallyDrop::new(memory),
            sends: LentSends::default(),
            in_flight: 0,
        };
        Ok(Self {
            io,
            registered,
            lent,
            quiet: QuietSends::default(),
            early: Vec::new(),
            #[cfg(feature = "failpoints")]
            faked: faked::Faked::default(),
            #[cfg(any(test, fuzzing, feature = "testing"))]
            stand_in: StandIn::of_this_thread(),
            failure: None,
        })
    }

    /// Completes whenever `wake` is signalled, again and again ([`Completion::more`]); it must live
    /// as long as the ring.
    pub(crate) fn watch(&mut self, wake: &WakeFd) {
        let entry = opcode::PollAdd::new(types::Fd(wake.in_ring()), libc::POLLIN as u32)
            .multi(true)
            .build();
        self.push(entry, Token::WAKE);
    }

    /// Signals a parked shard's wait for completions while [`Ring::set_wakeups`] is on.
    pub(crate) fn register_wake(&mut self, wake: &WakeFd) -> io::Result<()> {
        #[cfg(any(test, fuzzing, feature = "testing"))]
        if self.stand_in.is_some() {
            return Ok(());
        }
        self.io.submitter().register_eventfd(wake.as_raw_fd())?;
        self.set_wakeups(false);
        Ok(())
    }

    /// Completions signal the wake descriptor only while this is on: a shard that is awake anyway
    /// must not pay for it.
    pub(crate) fn set_wakeups(&mut self, on: bool) {
        #[cfg(any(test, fuzzing, feature = "testing"))]
        if self.stand_in.is_some() {
            return;
        }
        let completions = self.io.completion();
        if on {
            completions.enable_eventfd()
        } else {
            completions.disable_eventfd()
        }
    }

    /// One accept from `listener` into a free direct descriptor; its peer's address lands in
    /// address `place`.
    pub(crate) fn accept(&mut self, listener: RawFd, place: u32) {
        let (address, length) = self.lent.memory.peers[place as usize].pointers();
        let entry = opcode::Accept::new(types::Fd(listener), address, length)
            .file_index(Some(types::DestinationSlot::auto_target()))
            .build();
        let token = Token::new(Operation::Accept, Key::of_place(place));
        #[cfg(feature = "failpoints")]
        let entry = self.faked.entry(Point::Accept, token, entry, || {
            opcode::PollAdd::new(types::Fd(listener), libc::POLLIN as u32).build()
        });
        self.push(entry, token);
    }

    /// The address that the completed accept of `place` left.
    pub(crate) fn accepted_peer(&self, place: u32) -> SocketAddr {
        self.lent.memory.peers[place as usize].get()
    }

    /// Puts `socket` into a free direct descriptor ([`Self::installed`] says which) once this has
    /// completed, with connect slot `place`.
    pub(crate) fn install(&mut self, place: u32, socket: RawFd) {
        let connect = &mut self.lent.memory.connects[place as usize];
        connect.descriptor = socket;
        let entry = opcode::FilesUpdate::new(&raw const connect.descriptor, 1)
            .offset(FILE_INDEX_ALLOCATE)
            .build();
        let token = Token::new(Operation::Install, Key::of_place(place));
        #[cfg(feature = "failpoints")]
        let entry = self
            .faked
            .entry(Point::Install, token, entry, || opcode::Nop::new().build());
        self.push(entry, token);
    }

    /// The direct descriptor that the completed installation of connect slot `place` left.
    pub(crate) fn installed(&self, place: u32) -> SlotIndex {
        SlotIndex(self.lent.memory.connects[place as usize].descriptor.max(0) as u32)
    }

    /// Connects to `target` (connect(2)); connect slot `place` is the caller's until this has completed.
    pub(crate) fn connect(&mut self, key: Key, place: u32, target: SocketAddr) {
        let (address, length) = self.lent.memory.connects[place as usize].aim(target);
        let entry = opcode::Connect::new(types::Fixed(key.slot.0), address, length).build();
        self.push(entry, Token::new(Operation::Connect, key));
    }

    /// Receives into provided buffers until cancelled, out of buffers, at the end of the stream or
    /// on an error.
    pub(crate) fn receive(&mut self, key: Key) {
        let entry = opcode::RecvMulti::new(types::Fixed(key.slot.0), BUFFER_GROUP).build();
        self.push_receive(key, entry);
    }

    /// Receives once, into a provided buffer.
    pub(crate) fn receive_once(&mut self, key: Key) {
        let entry = opcode::Recv::new(types::Fixed(key.slot.0), std::ptr::null_mut(), 0)
            .buf_group(BUFFER_GROUP)
            .build();
        self.push_receive(key, entry.flags(squeue::Flags::BUFFER_SELECT));
    }

    fn push_receive(&mut self, key: Key, entry: squeue::Entry) {
        let token = Token::new(Operation::Receive, key);
        #[cfg(feature = "failpoints")]
        let entry = self
            .faked
            .entry(Point::Receive, token, entry, || poll_entry(key));
        self.push(entry, token);
    }

    /// Completes once there is something to receive: bytes, the peer's FIN, or an error.
    pub(crate) fn poll(&mut self, key: Key) {
        self.push(poll_entry(key), Token::new(Operation::Poll, key));
    }

    /// Sends the first [`SEND_VECTOR_MAX`] of `bufs`. Their buffers stay as they are until the
    /// completion has come, whatever the caller does with the bufs.
    ///
    /// # Panics
    ///
    /// When a send of the slot is in flight.
    pub(crate) fn send<'a>(
        &mut self,
        key: Key,
        bufs: impl Iterator<Item = &'a BufRef> + Clone,
        cqe: Cqe,
    ) {
        let bufs = bufs.take(SEND_VECTOR_MAX);
        let LentMemory { pool, .. } = &*self.lent.memory;
        self.lent.sends.lend(pool, key.slot, bufs.clone());
        let cqe = self.quiet.allowed(key, cqe);
        let Some((entry, length)) = self.lent.memory.send_entry(key, bufs, cqe) else {
            return;
        };
        match cqe {
            Cqe::Always => self.push(entry, Token::new(Operation::Send, key)),
            Cqe::OnError => {
                self.push(
                    entry.flags(squeue::Flags::SKIP_SUCCESS),
                    Token::new(Operation::QuietSend, key),
                );
                self.quiet.submitted.push((key, length));
            }
        }
    }

    /// Completes, within the entry that submits it, with the bytes that the kernel was given to
    /// send and the peer has not acknowledged (SIOCOUTQ, tcp(7)). Only where
    /// [`tells_unacknowledged`](crate::ring::tells_unacknowledged) says so.
    pub(crate) fn ask_unacknowledged(&mut self, key: Key) {
        let entry = opcode::UringCmd16::new(types::Fixed(key.slot.0), SOCKET_SIOCOUTQ).build();
        self.push(entry, Token::new(Operation::Unacknowledged, key));
    }

    /// A descriptor of the process for the direct one of `key`, at once and until it is dropped;
    /// none before Linux 6.8. What was submitted before goes out with it.
    pub(crate) fn descriptor(&mut self, key: Key) -> Option<OwnedFd> {
        #[cfg(any(test, fuzzing, feature = "testing"))]
        if self.stand_in.is_some() {
            return None;
        }
        let token = Token::new(Operation::Expose, key);
        let entry = opcode::FixedFdInstall::new(types::Fixed(key.slot.0), 0).build();
        self.push(entry, token);
        self.enter(Wait::No);
        let mut early = std::mem::take(&mut self.early);
        self.take(&mut early, usize::MAX);
        let place = early
            .iter()
            .position(|completion| completion.token == token);
        let result = place.map(|place| early.remove(place).result);
        self.early = early;
        let descriptor = result.filter(|result| *result >= 0)?;
        // SAFETY: the kernel has just made it, for nobody but us.
        Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }

    /// Ends the sending half (FIN), after what was sent.
    pub(crate) fn shutdown(&mut self, key: Key) {
        let entry = opcode::Shutdown::new(types::Fixed(key.slot.0), libc::SHUT_WR).build();
        self.push(entry, Token::new(Operation::Shutdown, key));
    }

    /// Ends the connection with a reset instead of a FIN, and drops what the kernel has yet to send
    /// of it. A connect to no address is how connect(2) disconnects; the kernel does it within the
    /// entry that submits it. A later [`Self::close`] frees the descriptor.
    pub(crate) fn reset(&mut self, key: Key) {
        static NO_ADDRESS: libc::sockaddr = libc::sockaddr {
            sa_family: libc::AF_UNSPEC as u16,
            sa_data: [0; 14],
        };
        let entry = opcode::Connect::new(
            types::Fixed(key.slot.0),
            &raw const NO_ADDRESS,
            size_of::<libc::sockaddr>() as u32,
        )
        .build();
        self.push(
            entry.flags(squeue::Flags::SKIP_SUCCESS),
            Token::new(Operation::Reset, key),
        );
    }

    /// Closes the direct descriptor; its number is free again once this has completed.
    pub(crate) fn close(&mut self, key: Key) {
        let entry = opcode::Close::new(types::Fixed(key.slot.0)).build();
        self.push(entry, Token::new(Operation::Close, key));
    }

    /// Asks for the early end of the operation that was submitted under `token`; that operation
    /// still completes.
    pub(crate) fn cancel(&mut self, token: Token) {
        let entry = opcode::AsyncCancel::new(token.encode()).build();
        self.push(entry, Token::new(Operation::Cancel, token.key));
    }

    /// A completion after `delay`. `token` tells it from others. Of two of one kind that wait for
    /// their submission both take the delay of the second: the first must have been given up.
    pub(crate) fn timer(&mut self, delay: Duration, token: Token) {
        let kind = match token.operation {
            Operation::WaitTimer => 0,
            Operation::TaskTimer => 1,
            _ => 2,
        };
        let place = &mut self.lent.memory.timers[kind];
        *place = types::Timespec::from(delay);
        let timespec: *const types::Timespec = place;
        let entry = opcode::Timeout::new(timespec).build();
        self.push(entry, token);
    }

    fn push(&mut self, entry: squeue::Entry, token: Token) {
        let entry = entry.user_data(token.encode());
        if !self.queue(&entry) {
            self.enter(Wait::No);
            if !self.queue(&entry) {
                self.failure
                    .get_or_insert_with(|| io::Error::from_raw_os_error(libc::EBUSY));
                return;
            }
        }
        self.lent.in_flight += usize::from(token.operation.lends_memory());
    }

    /// False: the queue is full.
    fn queue(&mut self, entry: &squeue::Entry) -> bool {
        #[cfg(any(test, fuzzing, feature = "testing"))]
        if let Some(stand_in) = &mut self.stand_in {
            stand_in.take(entry);
            return true;
        }
        // SAFETY: every address in an entry of this module lies in `lent` or in a buf that its
        // slot keeps until the completion.
        unsafe { self.io.submission().push(entry) }.is_ok()
    }

    /// Submits everything, runs the kernel's deferred work and waits as told: the one system call
    /// of a turn.
    pub(crate) fn enter(&mut self, wait: Wait) {
        let submit = self.io.submission().len() as u32;
        let entered = match wait {
            Wait::No => self.enter_raw(submit, 0, None),
            Wait::ForOne => self.enter_raw(submit, 1, None),
            Wait::ForSome {
                completions,
                at_most,
            } => self.enter_raw(submit, completions, Some(at_most)),
        };
        // An entry that failed may have left some of the queue unread.
        if self.io.submission().is_empty() {
            self.lent.memory.vectors_used = 0;
        }
        if let Err(error) = entered
            // Too few came in time, a signal came first, or completions must be reaped before more
            // is taken: all of them a plain "go on".
            && !matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN))
        {
            self.failure.get_or_insert(error);
        }
    }

    fn enter_raw(&self, submit: u32, complete: u32, at_most: Option<Duration>) -> io::Result<()> {
        let timespec = at_most.map(types::Timespec::from);
        let argument = timespec.as_ref().map(|limit| EnterArgument {
            timespec: limit as *const types::Timespec as u64,
            ..Default::default()
        });
        let (pointer, size, timed) = match &argument {
            None => (std::ptr::null(), 0, 0),
            Some(argument) => (
                argument as *const EnterArgument,
                size_of::<EnterArgument>(),
                enter_flags::EXT_ARG,
            ),
        };
        let (descriptor, registered) = match self.registered {
            Some(index) => (index as i32, enter_flags::REGISTERED_RING),
            None => (self.io.as_raw_fd(), 0),
        };
        let flags = enter_flags::GETEVENTS | timed | registered;
        // SAFETY: the argument lives through the call, and so does the timespec it points to.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                descriptor,
                submit,
                complete,
                flags,
                pointer,
                size,
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Moves at most `most` completions into `into`, and behind them the quiet sends that have
    /// succeeded.
    pub(crate) fn reap(&mut self, into: &mut Vec<Completion>, most: usize) {
        #[cfg(any(test, fuzzing, feature = "testing"))]
        if self.stand_in.is_some() {
            return self.reap_stand_in(into, most);
        }
        into.append(&mut self.early);
        let all_seen = self.take(into, most);
        if all_seen && self.has_quiet_ends() {
            self.quiet.settle(&mut self.lent, into);
        }
    }

    /// Moves at most `most` completions from the queue into `into`. True: there are no more.
    fn take(&mut self, into: &mut Vec<Completion>, most: usize) -> bool {
        let mut completions = self.io.completion();
        for entry in completions.by_ref().take(most) {
            let completion = Completion::decode(entry.user_data(), entry.result(), entry.flags());
            #[cfg_attr(
                not(feature = "failpoints"),
                expect(unused_mut, reason = "a failpoint changes it")
            )]
            let mut completion = account(&mut self.lent, &mut self.quiet, completion);
            #[cfg(feature = "failpoints")]
            self.faked.complete(&mut completion);
            into.push(completion);
        }
        completions.is_empty()
    }

    /// Whether every quiet send has ended: the kernel has taken all that was submitted, and it has
    /// no completions that it could not place.
    fn has_quiet_ends(&mut self) -> bool {
        let submissions = self.io.submission();
        !self.quiet.submitted.is_empty() && submissions.is_empty() && !submissions.cq_overflow()
    }

    /// Whether quiet sends were submitted whose ends are not known yet: another entry and a reap
    /// tell.
    pub(crate) fn has_quiet_sends(&self) -> bool {
        !self.quiet.submitted.is_empty()
    }

    /// The error after which the ring is of no use, once.
    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Looks until `until` whether the kernel has work of ours, without a system call: it says so
    /// in shared memory. Whether completions wait to be reaped; if not, the next entry finds what
    /// there is.
    pub(crate) fn spin(&mut self, until: Instant) -> bool {
        while !self.has_completions() && !self.io.submission().taskrun() && Instant::now() < until {
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
        }
        self.has_completions()
    }

    /// Whether completions wait to be reaped.
    pub(crate) fn has_completions(&mut self) -> bool {
        #[cfg(any(test, fuzzing, feature = "testing"))]
        if self.stand_in.is_some() {
            return false; // each turn reaps whatever there is
        }
        !self.early.is_empty() || !self.io.completion().is_empty()
    }

    /// Whether a reap or another entry would find something to do at once: completions, ends of
    /// quiet sends, or work that the kernel has deferred and not run. Parking over the latter would
    /// be for ever, because the wake descriptor is signalled when it is queued and not again.
    pub(crate) fn has_work(&mut self) -> bool {
        #[cfg(any(test, fuzzing, feature = "testing"))]
        if self.stand_in.is_some() {
            return self.has_quiet_sends();
        }
        self.has_completions() || !self.quiet.submitted.is_empty() || self.io.submission().taskrun()
    }
}

/// Takes down what has completed, and shows a quiet send as the send that it is.
fn account(lent: &mut Lent, quiet: &mut QuietSends, mut completion: Completion) -> Completion {
    let operation = completion.token.operation;
    lent.in_flight -= usize::from(operation.lends_memory() && !completion.more);
    if matches!(operation, Operation::Send | Operation::QuietSend) {
        lent.take_back(completion.token.key.slot);
    }
    if operation == Operation::QuietSend {
        completion.token.operation = Operation::Send;
        quiet.failed.push(completion.token.encode());
    }
    completion
}

impl QuietSends {
    /// Not quiet while a failure of the same connection is unsettled: the two could not be told
    /// apart.
    fn allowed(&self, key: Key, cqe: Cqe) -> Cqe {
        let token = Token::new(Operation::Send, key).encode();
        if self.failed.contains(&token) {
            Cqe::Always
        } else {
            cqe
        }
    }

    /// Completes those that did not fail, and forgets all of them.
    fn settle(&mut self, lent: &mut Lent, into: &mut Vec<Completion>) {
        self.failed.sort_unstable();
        for (key, length) in self.submitted.drain(..) {
            let token = Token::new(Operation::Send, key);
            if self.failed.is_empty() || self.failed.binary_search(&token.encode()).is_err() {
                lent.in_flight -= 1;
                lent.take_back(key.slot);
                into.push(Completion {
                    token,
                    result: length as i32,
                    buffer: None,
                    more: false,
                });
            }
        }
        self.failed.clear();
    }
}

impl LentMemory {
    /// What sends `bufs`, gathered if there are several, and the bytes in them. None: there are no
    /// bufs.
    fn send_entry<'a>(
        &mut self,
        key: Key,
        bufs: impl Iterator<Item = &'a BufRef>,
        cqe: Cqe,
    ) -> Option<(squeue::Entry, u32)> {
        let (file, flags) = (types::Fixed(key.slot.0), send_flags(cqe));
        let mut parts = bufs.map(|buf| (buf.address(), buf.len()));
        let first = parts.next()?;
        let Some(second) = parts.next() else {
            let send = opcode::Send::new(file, first.0, first.1).flags(flags);
            return Some((send.build(), first.1));
        };
        let (header, length) = self.vector([first, second].into_iter().chain(parts));
        let send = opcode::SendMsg::new(file, header).flags(flags as u32);
        Some((send.build(), length))
    }

    /// The next free vector, filled, and the bytes in it; it stays as it is until the submission
    /// was consumed.
    fn vector(
        &mut self,
        parts: impl Iterator<Item = (*const u8, u32)>,
    ) -> (*const libc::msghdr, u32) {
        if self.vectors_used == self.vectors.len() {
            self.vectors.push(Box::new(SendVector::empty()));
        }
        let vector = &mut self.vectors[self.vectors_used];
        self.vectors_used += 1;
        let (mut used, mut bytes) = (0, 0);
        for (place, (address, length)) in vector.parts.iter_mut().zip(parts) {
            *place = libc::iovec {
                iov_base: address.cast_mut().cast(),
                iov_len: length as usize,
            };
            used += 1;
            bytes += length;
        }
        vector.header.msg_iov = vector.parts.as_mut_ptr();
        vector.header.msg_iovlen = used;
        (&raw const vector.header, bytes)
    }
}

impl SendVector {
    fn empty() -> Self {
        // SAFETY: all-zero is the documented empty state of both C structs (null pointers, zero
        // lengths).
        unsafe { std::mem::zeroed() }
    }
}

impl Lent {
    /// The send of `slot` has completed.
    fn take_back(&mut self, slot: SlotIndex) {
        self.sends.take_back(&self.memory.pool, slot);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A kernel that still owes completions may still write: then the memory is leaked, which
        // only a shard that died can reach.
        if self.in_flight == 0 {
            // SAFETY: taken once, here.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}

/// With MSG_DONTWAIT a send ends within the entry that submits it; with MSG_WAITALL a part of it
/// counts as a failure.
fn send_flags(cqe: Cqe) -> i32 {
    match cqe {
        Cqe::Always => libc::MSG_NOSIGNAL,
        Cqe::OnError => libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL,
    }
}

fn poll_entry(key: Key) -> squeue::Entry {
    opcode::PollAdd::new(
        types::Fixed(key.slot.0),
        (libc::POLLIN | libc::POLLRDHUP) as u32,
    )
    .build()
}

/// A ring of the kernel with a table of `files` direct descriptors and the pool's buffers, and its
/// own descriptor's index among the registered ones.
fn open(files: u32, pool: &BufferPool) -> io::Result<(Io, Option<u32>)> {
    #[cfg(any(test, fuzzing, feature = "testing"))]
    if StandIn::of_this_thread().is_some() {
        return Ok((Io::none(), None));
    }
    let (submissions, completions) = queues(pool.count_u16().into());
    let io = setup(submissions, completions)?;
    io.submitter().register_files_sparse(files)?;
    // SAFETY: the pool's ring of entries is page-aligned, holds `count` entries and outlives
    // the ring: see `Drop`.
    unsafe {
        io.submitter().register_buf_ring_with_flags(
            pool.entries_addr(),
            pool.count_u16(),
            BUFFER_GROUP,
            0,
        )?
    };
    let registered = register_own_descriptor(io.as_raw_fd());
    #[cfg(any(test, fuzzing, feature = "testing"))]
    let io = Io::from(io);
    Ok((io, registered))
}

/// Entries of the submission and of the completion queue beside so many receive buffers.
pub(super) fn queues(buffers: u32) -> (u32, u32) {
    (
        (buffers / BUFFERS_PER_SUBMISSION).clamp(SUBMISSIONS.0, SUBMISSIONS.1),
        (buffers * COMPLETIONS_PER_BUFFER).clamp(COMPLETIONS.0, COMPLETIONS.1),
    )
}

/// The flags every ring of ours has. Each is known to Linux 6.1, the oldest kernel that passes
/// preflight.
pub(super) fn setup(submissions: u32, completions: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        // Says when the kernel has work of ours left: it runs only so much in one entry (20 pieces
        // since Linux 6.13).
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(submissions)
}
