//! Receiving: from the poll or receive in which a connection waits to the queue that its reader
//! takes from. The only file that changes [`RecvState`] and [`PeerState`].

use crate::error::CloseReason;
use crate::id::{Key, SlotIndex};
use crate::ring::buffers::BufRef;
use crate::ring::{Completion, Operation, Ring, Token};
use crate::shard::conns::conn_mut::{ConnMut, Conns, Shared};
use crate::shard::conns::interest::{Interest, RunState};
use crate::shard::conns::slot::{PeerState, Phase, RecvState};
use crate::shard::policy::recv_mode::RecvMode;
use crate::time::Tick;

/// Why no more input comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOfInput {
    /// The peer has said that nothing more comes: by its FIN or, of a TLS session, in it.
    Peer,
    /// The peer has sent its FIN, and its TLS session was not over: whether it had more to say nobody
    /// knows, for anybody on the way could have sent that.
    Truncated,
    /// The server drains, and the peer was answered.
    Drain,
}

impl ConnMut<'_> {
    // ---- waiting for input ----

    /// The first wait of a connection: in a receive, for its first bytes are on their way.
    pub(crate) fn begin_receive(&mut self) {
        self.shared.recv_modes.begin(self.key.slot);
        self.submit_receive(Ring::receive_once);
    }

    /// Waits for input if the connection may hold more and does not wait already: in a receive if
    /// it speaks often, else in a poll.
    pub(crate) fn arm_receive(&mut self) {
        // A handler that waits for input has read all there is, but for the beginning of a frame.
        let wanted = self.slot.waits.has(Interest::Input)
            || self.slot.input_count < self.shared.bounds.recv_queue_max;
        let receives = matches!(self.slot.phase, Phase::Serving | Phase::Lingering);
        if self.slot.recv != RecvState::Disarmed || !wanted || !receives {
            return;
        }
        let short = self.shared.overload.is_on();
        if short && self.pause_reading() {
            return;
        }
        match self.shared.recv_modes.of(self.key.slot) {
            // The rest of a handshake is on its way.
            RecvMode::Idle | RecvMode::Once if self.awaits_handshake() => {
                self.submit_receive(Ring::receive_once);
            }
            RecvMode::Idle | RecvMode::Once => {
                self.slot.recv = RecvState::Polled;
                self.shared.ring.poll(self.key);
            }
            // One message at a time: more than one would have come before it can be taken back.
            RecvMode::Active | RecvMode::Cooling if short => {
                self.submit_receive(Ring::receive_once);
            }
            RecvMode::Active | RecvMode::Cooling => self.submit_receive(Ring::receive),
        }
    }

    fn submit_receive(&mut self, submit: impl FnOnce(&mut Ring, Key)) {
        if self.shared.buffers.is_dry() {
            self.slot.recv = RecvState::Starved;
            self.shared.starved.push(self.key);
            self.reset_window();
        } else {
            self.slot.recv = RecvState::Armed;
            submit(&mut self.shared.ring, self.key);
        }
    }

    /// There is something to receive. Who has spoken in this period already is taken for one who
    /// goes on to.
    pub(crate) fn polled(&mut self) {
        self.slot.recv = RecvState::Disarmed;
        if !matches!(self.slot.phase, Phase::Serving | Phase::Lingering) {
            return self.close_if_settled();
        }
        let short = self.shared.overload.is_on();
        if short && self.pause_reading() {
            return;
        }
        match self.shared.recv_modes.of(self.key.slot) {
            RecvMode::Idle => self.submit_receive(Ring::receive_once),
            RecvMode::Once | RecvMode::Active | RecvMode::Cooling if short => {
                self.submit_receive(Ring::receive_once);
            }
            RecvMode::Once | RecvMode::Active | RecvMode::Cooling => {
                self.shared.recv_modes.activate(self.key.slot);
                self.submit_receive(Ring::receive);
            }
        }
    }

    /// A receive that waited for a buffer, or for the end of a shortage, is submitted again.
    fn resume_receive(&mut self) {
        if self.slot.recv == RecvState::Starved {
            self.slot.recv = RecvState::Disarmed;
            self.arm_receive();
        }
    }

    /// Takes what waits for input back from the kernel.
    pub(super) fn cancel_receive(&mut self) {
        let operation = match self.slot.recv {
            RecvState::Armed => Operation::Receive,
            RecvState::Polled => Operation::Poll,
            _ => return,
        };
        self.slot.recv = RecvState::Cancelling;
        self.shared.ring.cancel(Token::new(operation, self.key));
    }

    /// A receive or send could not be cancelled. One that the kernel was about to run (EALREADY) is
    /// still there: once more. One that it did not find (ENOENT) has completed, or a receive went
    /// on between two of its completions: a connection that closes must not wait for its peer to
    /// say more.
    ///
    /// With `Cancelling` it is about a receive: the kernel finds a poll until it has completed, and
    /// that completion comes before the cancel's and has ended the state.
    pub(crate) fn cancel_failed(&mut self, errno: i32) {
        if self.slot.recv != RecvState::Cancelling {
            return;
        }
        if errno == libc::EALREADY || self.slot.phase == Phase::Closing {
            self.shared
                .ring
                .cancel(Token::new(Operation::Receive, self.key));
        } else {
            self.slot.recv = RecvState::Armed;
        }
    }

    // ---- input ----

    pub(crate) fn received(&mut self, completion: Completion, buffer: Option<BufRef>) {
        if !completion.more {
            self.slot.recv = RecvState::Disarmed;
        }
        match (completion.result, buffer) {
            (1.., Some(buffer)) => self.take_input(buffer),
            (result, buffer) => {
                if let Some(buffer) = buffer {
                    self.shared.buffers.release(buffer);
                }
                self.receive_ended(result);
            }
        }
        if !completion.more {
            self.close_if_settled();
        }
    }

    /// Input has come: into the connection's queue, or away with it if nobody will read it.
    fn take_input(&mut self, buffer: BufRef) {
        let bytes = buffer.len();
        self.shared.metrics.bytes_in.add(u64::from(bytes));
        self.shared.recv_modes.spoke(self.key.slot, self.shared.now);
        if self.slot.phase != Phase::Serving || self.slot.failed.is_some() {
            self.shared.buffers.release(buffer);
            if self.slot.phase == Phase::Lingering {
                self.arm_receive();
            }
            return;
        }
        let disarmed = self.slot.recv == RecvState::Disarmed;
        if self.shared.tls.has(self.key.slot) {
            self.open_input(buffer);
        } else if self.slot.waits.run() == RunState::Pooled {
            self.shared.buffers.release(buffer);
            // Nobody has asked for it, and it must not be taken for an answer.
            return self.fail(CloseReason::ProtocolError);
        } else {
            let buffer = self.shared.spare_buffers(buffer);
            self.accept_input(buffer, bytes);
        }
        if disarmed {
            self.arm_receive();
        }
    }

    /// What its reader is to have. `came`: bytes that its peer has sent for it, and that are not
    /// counted yet.
    pub(super) fn accept_input(&mut self, buffer: BufRef, came: u32) {
        self.queue_input(buffer);
        self.bound_input();
        if !self.slot.is_outbound() {
            self.begin_request(came);
        }
        self.fire(Interest::Input);
    }

    fn queue_input(&mut self, buffer: BufRef) {
        self.shared.unread += u64::from(buffer.len());
        self.shared.segments.push_back(&mut self.slot.input, buffer);
        self.slot.input_count = self.slot.input_count.saturating_add(1);
        if !self.slot.is_outbound() {
            self.slot.peer_state = if self.shared.is_draining {
                PeerState::Answering
            } else {
                PeerState::Spoken
            };
        }
    }

    /// Stops receiving for a reader that does not keep up.
    fn bound_input(&mut self) {
        let no_room = !self.slot.waits.has(Interest::Input) && self.shared.has_no_room_for_input();
        let is_full = self.slot.input_count >= self.shared.bounds.recv_queue_max;
        if (no_room || is_full) && self.slot.recv == RecvState::Armed {
            self.cancel_receive();
            self.reset_window();
        }
    }

    fn receive_ended(&mut self, result: i32) {
        match -result {
            0 => {
                self.slot.recv = RecvState::Ended;
                if self.slot.phase == Phase::Lingering {
                    self.begin_close();
                } else if self.slot.waits.run() == RunState::Pooled {
                    self.fail(CloseReason::PeerClosed);
                } else {
                    self.fire(Interest::Input);
                }
            }
            libc::ENOBUFS => {
                self.shared.metrics.buffers_exhausted.add(1);
                if !self.shared.overload.is_full() {
                    self.shared.buffers.widen();
                }
                self.arm_receive();
            }
            // We asked it to end; if the handler has caught up meanwhile it goes on.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.arm_receive(),
            errno => {
                self.slot.recv = RecvState::Ended;
                self.fail(CloseReason::of_errno(errno));
            }
        }
    }

    // ---- reading ----

    /// The next received bytes; the receive goes on when the queue has emptied.
    pub(crate) fn pop_input(&mut self) -> Option<BufRef> {
        let buffer = self.shared.segments.pop_front(&mut self.slot.input)?;
        self.slot.input_count -= 1;
        self.shared.unread -= u64::from(buffer.len());
        let has_caught_up = self.slot.input_count <= self.shared.bounds.recv_queue_max / 2;
        if self.slot.recv == RecvState::Disarmed && has_caught_up {
            self.arm_receive();
        }
        Some(buffer)
    }

    /// Puts the unread rest of a buffer back.
    pub(crate) fn unpop_input(&mut self, buffer: BufRef) {
        if buffer.len() == 0 {
            return self.shared.buffers.release(buffer);
        }
        self.shared.unread += u64::from(buffer.len());
        self.shared
            .segments
            .push_front(&mut self.slot.input, buffer);
        self.slot.input_count = self.slot.input_count.saturating_add(1);
    }

    /// Whether no more input will be given to the handler: the peer's FIN has come, or the server
    /// drains and the peer was answered. A handler that asks between frames has answered.
    pub(crate) fn input_is_over(&mut self) -> bool {
        let is_between_frames = self.slot.frame_deadline == Tick::NEVER;
        if self.slot.peer_state == PeerState::Answering && is_between_frames {
            self.slot.peer_state = PeerState::Over;
        }
        self.stream_is_over()
    }

    /// The PROXY header was read, and was none of the client's words: a client that has sent nothing
    /// else is as silent as one that came by itself.
    pub(crate) fn header_read(&mut self) {
        let has_spoken = matches!(
            self.slot.peer_state,
            PeerState::Spoken | PeerState::Answering
        );
        if has_spoken && self.slot.input.is_empty() {
            self.slot.peer_state = PeerState::Silent;
        }
    }

    /// The drain has waited long enough for the peer to speak: its next read ends the stream.
    pub(super) fn end_input(&mut self) {
        self.slot.peer_state = PeerState::Over;
        self.fire(Interest::Input);
    }

    /// As [`Self::input_is_over`] for a handler that passes a stream on and answers nothing: in a
    /// drain it is over once the peer has fallen silent.
    pub(crate) fn stream_is_over(&self) -> bool {
        let is_ended =
            self.slot.recv == RecvState::Ended || self.slot.peer_state == PeerState::Over;
        is_ended || self.shared.tls.is_over(self.key.slot)
    }

    /// Why no more comes behind what is unread, if so.
    pub(crate) fn end_of_input(&self) -> Option<EndOfInput> {
        let slot = self.key.slot;
        if self.shared.tls.is_over(slot) {
            return Some(EndOfInput::Peer);
        }
        match (self.slot.recv, self.slot.peer_state) {
            (RecvState::Ended, _) if self.shared.tls.has(slot) => Some(EndOfInput::Truncated),
            (RecvState::Ended, _) => Some(EndOfInput::Peer),
            (_, PeerState::Over) => Some(EndOfInput::Drain),
            _ => None,
        }
    }

    /// Whether an answer that is given now is the last one: the server drains, and nothing more has
    /// come that asks for another.
    pub(crate) fn is_last_answer(&self) -> bool {
        self.shared.is_draining && self.slot.input.is_empty()
    }

    /// Drops what is unread.
    pub(super) fn release_input(&mut self) {
        while let Some(buffer) = self.shared.segments.pop_front(&mut self.slot.input) {
            self.shared.unread -= u64::from(buffer.len());
            self.shared.buffers.release(buffer);
        }
        self.slot.input_count = 0;
    }

    // ---- overload ----

    /// Stops reading for now if the connection is one of the top holders, or would hold more than
    /// its own while there is no room. It goes on when its handler reads, or at the end of the
    /// shortage at the latest. True: it stops.
    fn pause_reading(&mut self) -> bool {
        if self.slot.phase != Phase::Serving {
            return false;
        }
        let is_read_paused = self.shared.overload.is_read_paused(self.key);
        if !is_read_paused {
            if !self.shared.overload.is_full() || self.slot.waits.run() == RunState::Pooled {
                return false;
            }
            if !self.slot.waits.has(Interest::Input) {
                // Its handler's next read asks again.
                self.reset_window();
                return true;
            }
            if self.slot.input_count == 0 {
                return false;
            }
        }
        // Nobody but the end of the shortage asks again for one that waits for the rest of a frame.
        self.slot.recv = RecvState::Starved;
        self.shared.overload.pause_receive(self.key);
        self.reset_window();
        true
    }

    /// A top holder is not read from: what waits for its input is taken back.
    pub(crate) fn stop_reading(&mut self) {
        if self.slot.phase == Phase::Serving {
            self.cancel_receive();
        }
    }
}

impl Conns {
    /// Submits the receives that waited for a buffer, once there are some.
    pub(crate) fn feed_starved(&mut self) {
        if self.shared.starved.is_empty() || self.shared.buffers.is_dry() {
            return;
        }
        for key in std::mem::take(&mut self.shared.starved) {
            if let Some(mut conn) = self.get(key) {
                conn.resume_receive();
            }
        }
    }

    /// Ends the period of the receive modes if it is over: connections that have fallen silent
    /// leave their receive for a poll, in the course of the next period.
    pub(crate) fn cool_receives(&mut self) {
        let (now, clock) = (self.shared.now, self.shared.clock);
        for index in self.shared.recv_modes.take_cooled(now, clock) {
            self.poll_instead(index);
        }
    }

    fn poll_instead(&mut self, index: SlotIndex) {
        let speaks_again = self.shared.recv_modes.is_active(index);
        let Some(mut conn) = self.at(index).filter(|_| !speaks_again) else {
            return;
        };
        let slot = &conn.slot;
        if slot.recv == RecvState::Armed && slot.phase == Phase::Serving && slot.input.is_empty() {
            conn.cancel_receive();
        }
    }
}

impl Shared {
    fn has_no_room_for_input(&self) -> bool {
        self.unread >= self.bounds.unread_max || self.overload.is_full()
    }

    /// Copies what was received when provided buffers run short: a slow handler must not starve the
    /// shard.
    fn spare_buffers(&mut self, buffer: BufRef) -> BufRef {
        if !self.buffers.is_low() {
            return buffer;
        }
        self.metrics.copied_out.add(1);
        self.buffers.copy_to_heap(buffer)
    }
}
