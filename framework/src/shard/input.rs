//! What a connection receives: from the poll or receive in which it waits to the queue that its
//! reader takes from.

use super::State;
use super::deadline::Tick;
use super::interest::{Interest, RunState};
use super::table::{Phase, Receive, Talk};
use super::tempo::Tempo;
use crate::conn::EndOfInput;
use crate::error::CloseReason;
use crate::ring::buffers::Span;
use crate::ring::{Completion, Key, Operation, Ring, Token};

impl State {
    /// The first wait of a connection: in a receive, for its first bytes are on their way.
    pub(super) fn begin_receive(&mut self, key: Key) {
        self.tempos.begin(key.slot);
        self.submit_receive(key, Ring::receive_once);
    }

    /// Waits for input if the connection may hold more and does not wait already: in a receive if
    /// it speaks often, else in a poll.
    pub(crate) fn arm_receive(&mut self, key: Key) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        // A handler that waits for input has read all there is, but for the beginning of a frame.
        let wanted =
            slot.waits.has(Interest::Input) || slot.input_count < self.bounds.recv_queue_max;
        if slot.receive != Receive::Disarmed
            || !wanted
            || !matches!(slot.phase, Phase::Serving | Phase::Lingering)
        {
            return;
        }
        let pressed = self.pressure.is_on();
        if pressed && self.is_held_back(key) {
            self.excuse(key);
            return;
        }
        match self.tempos.of(key.slot) {
            Tempo::Still | Tempo::Spoken => {
                if let Some(slot) = self.table.get(key) {
                    slot.receive = Receive::Polled;
                    self.ring.poll(key);
                }
            }
            // One message at a time: more than one would have come before it can be taken back.
            Tempo::Dense | Tempo::Ebbing if pressed => self.submit_receive(key, Ring::receive_once),
            Tempo::Dense | Tempo::Ebbing => self.submit_receive(key, Ring::receive),
        }
    }

    fn submit_receive(&mut self, key: Key, submit: impl FnOnce(&mut Ring, Key)) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        if self.pool.is_dry() {
            slot.receive = Receive::Starved;
            self.starved.push(key);
            self.excuse(key);
        } else {
            slot.receive = Receive::Armed;
            submit(&mut self.ring, key);
        }
    }

    /// There is something to receive. Who has spoken in this period already is taken for one who
    /// goes on to.
    pub(super) fn polled(&mut self, completion: Completion) {
        let key = completion.token.key;
        let Some(slot) = self.table.get(key) else {
            return;
        };
        slot.receive = Receive::Disarmed;
        if !matches!(slot.phase, Phase::Serving | Phase::Lingering) {
            return self.close_if_settled(key);
        }
        let pressed = self.pressure.is_on();
        if pressed && self.is_held_back(key) {
            self.excuse(key);
            return;
        }
        match self.tempos.of(key.slot) {
            Tempo::Still => self.submit_receive(key, Ring::receive_once),
            Tempo::Spoken | Tempo::Dense | Tempo::Ebbing if pressed => {
                self.submit_receive(key, Ring::receive_once)
            }
            Tempo::Spoken | Tempo::Dense | Tempo::Ebbing => {
                self.tempos.quicken(key.slot);
                self.submit_receive(key, Ring::receive);
            }
        }
    }

    /// Submits the receives that waited for a buffer, once there are some.
    pub(super) fn feed_starved(&mut self) {
        if self.starved.is_empty() || self.pool.is_dry() {
            return;
        }
        for key in std::mem::take(&mut self.starved) {
            if let Some(slot) = self.table.get(key)
                && slot.receive == Receive::Starved
            {
                slot.receive = Receive::Disarmed;
                self.arm_receive(key);
            }
        }
    }

    pub(super) fn received(&mut self, completion: Completion) {
        let key = completion.token.key;
        let span = completion.buffer.map(|buffer| {
            self.pool
                .received(buffer, completion.result.max(0) as u32, key)
        });
        let Some(slot) = self.table.get(key) else {
            debug_assert!(false, "a slot lives until its operations have completed");
            span.into_iter().for_each(|span| self.pool.release(span));
            return;
        };
        if !completion.more {
            slot.receive = Receive::Disarmed;
        }
        match (completion.result, span) {
            (1.., Some(span)) => self.take_input(key, span),
            (result, span) => {
                span.into_iter().for_each(|span| self.pool.release(span));
                self.receive_ended(key, result);
            }
        }
        if !completion.more {
            self.close_if_settled(key);
        }
    }

    /// Input has come: into the connection's queue, or away with it if nobody will read it.
    fn take_input(&mut self, key: Key, span: Span) {
        self.metrics.bytes_in.add(u64::from(span.len()));
        self.tempos.spoke(key.slot, self.now);
        let span = self.spare_buffers(span);
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return;
        };
        if slot.phase != Phase::Serving || slot.failed.is_some() {
            self.pool.release(span);
            if slot.phase == Phase::Lingering {
                self.arm_receive(key);
            }
            return;
        }
        if slot.waits.run() == RunState::Pooled {
            self.pool.release(span);
            return self.fail(key, CloseReason::ProtocolError); // nobody has asked for it, and it must not be taken for an answer
        }
        let bytes = span.len();
        self.unread += u64::from(bytes);
        segments.push_back(&mut slot.input, span);
        slot.input_count = slot.input_count.saturating_add(1);
        let accepted = slot.talk != Talk::Dialed;
        if accepted {
            slot.talk = if self.drain.is_on() {
                Talk::Answering
            } else {
                Talk::Spoken
            };
        }
        let no_room = !slot.waits.has(Interest::Input)
            && (self.unread >= self.bounds.unread_max || self.pressure.is_full());
        if (no_room || slot.input_count >= self.bounds.recv_queue_max)
            && slot.receive == Receive::Armed
        {
            slot.receive = Receive::Cancelling;
            self.ring.cancel(Token::new(Operation::Receive, key));
            self.requests.excuse(key.slot);
        }
        let disarmed = slot.receive == Receive::Disarmed;
        if accepted && let Some(deadline) = self.requests.heard(key.slot, bytes, self.now) {
            self.table.deadlines.lower(key.slot, deadline);
        }
        self.fire(key, Interest::Input);
        if disarmed {
            self.arm_receive(key);
        }
    }

    /// Copies what was received when provided buffers run short: a slow handler must not starve the
    /// shard.
    fn spare_buffers(&mut self, span: Span) -> Span {
        if !self.pool.is_low() {
            return span;
        }
        self.metrics.copied_out.add(1);
        self.pool.set_aside(span)
    }

    fn receive_ended(&mut self, key: Key, result: i32) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        match -result {
            0 => {
                slot.receive = Receive::Ended;
                if slot.phase == Phase::Lingering {
                    self.begin_close(key);
                } else if slot.waits.run() == RunState::Pooled {
                    self.fail(key, CloseReason::PeerClosed);
                } else {
                    self.fire(key, Interest::Input);
                }
            }
            libc::ENOBUFS => {
                self.metrics.buffers_exhausted.add(1);
                if !self.pressure.is_full() {
                    self.pool.widen();
                }
                self.arm_receive(key);
            }
            // We asked it to end; if the handler has caught up meanwhile it goes on.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.arm_receive(key),
            errno => {
                slot.receive = Receive::Ended;
                self.fail(key, CloseReason::of_errno(errno));
            }
        }
    }

    /// A receive or send could not be cancelled. One that the kernel was about to run (EALREADY) is
    /// still there: once more. One that it did not find (ENOENT) has completed, or a receive went
    /// on between two of its completions: a connection that closes must not wait for its peer to
    /// say more.
    pub(super) fn cancel_failed(&mut self, key: Key, errno: i32) {
        let Some(slot) = self
            .table
            .get(key)
            .filter(|slot| slot.receive == Receive::Cancelling)
        else {
            return;
        };
        if errno == libc::EALREADY || slot.phase == Phase::Closing {
            self.ring.cancel(Token::new(Operation::Receive, key));
        } else {
            slot.receive = Receive::Armed;
        }
    }

    /// The next received bytes; the receive goes on when the queue has emptied.
    pub(crate) fn pop_input(&mut self, key: Key) -> Option<Span> {
        let (slot, segments) = self.table.get_with_segments(key)?;
        let span = segments.pop_front(&mut slot.input)?;
        slot.input_count -= 1;
        self.unread -= u64::from(span.len());
        if slot.receive == Receive::Disarmed && slot.input_count <= self.bounds.recv_queue_max / 2 {
            self.arm_receive(key);
        }
        Some(span)
    }

    /// Whether no more input will be given to the handler: the peer's FIN has come, or the server
    /// drains and the peer was answered.
    pub(crate) fn input_is_over(&mut self, key: Key) -> bool {
        let Some(slot) = self.table.get(key) else {
            return true;
        };
        if slot.talk == Talk::Answering && slot.frame_deadline == Tick::NEVER {
            slot.talk = Talk::Over;
        }
        self.stream_is_over(key)
    }

    /// As [`Self::input_is_over`] for who passes on a stream and answers nothing: in a drain it is
    /// over once the peer has fallen silent.
    pub(crate) fn stream_is_over(&mut self, key: Key) -> bool {
        self.table
            .get(key)
            .is_none_or(|slot| slot.receive == Receive::Ended || slot.talk == Talk::Over)
    }

    /// Why no more comes behind what is unread, if so.
    pub(crate) fn end_of_input(&mut self, key: Key) -> Option<EndOfInput> {
        let slot = self.table.get(key)?;
        match slot.receive {
            Receive::Ended => Some(EndOfInput::Peer),
            _ => (slot.talk == Talk::Over).then_some(EndOfInput::Drain),
        }
    }

    /// Why the connection can go on no more, if so; a key of an earlier life has no connection.
    pub(crate) fn failure(&mut self, key: Key) -> Option<CloseReason> {
        match self.table.get(key) {
            Some(slot) => slot.failed,
            None => Some(CloseReason::HandlerClosed),
        }
    }

    /// Puts the unread rest of a span back.
    pub(crate) fn unpop_input(&mut self, key: Key, span: Span) {
        if span.len() == 0 {
            return self.pool.release(span);
        }
        match self.table.get_with_segments(key) {
            Some((slot, segments)) => {
                self.unread += u64::from(span.len());
                segments.push_front(&mut slot.input, span);
                slot.input_count = slot.input_count.saturating_add(1);
            }
            None => self.pool.release(span),
        }
    }
}
