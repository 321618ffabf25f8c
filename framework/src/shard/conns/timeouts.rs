//! The one deadline of a connection: the next thing that must happen, and what its passing means.
//! The only file that changes the frame deadline.

use std::time::Duration;

use crate::error::CloseReason;
use crate::shard::conns::conn_mut::ConnMut;
use crate::shard::conns::interest::{Interest, RunState};
use crate::shard::conns::own_timeouts::ConnTimeouts;
use crate::shard::conns::slot::{PeerState, Phase, SendState, Slot};
use crate::shard::policy::log_limit::LogKind;
use crate::shard::policy::request_timer::Reading;
use crate::time::{Tick, Ticks};

impl ConnMut<'_> {
    // ---- frames and requests ----

    /// What is read from now on must have come by `within`, whatever frames it is made of; none:
    /// each frame has its own deadline.
    pub(crate) fn set_read_deadline(&mut self, within: Option<Duration>) {
        self.slot.frame_deadline = self.shared.now.after(Ticks::of(within));
    }

    /// A frame has begun: it must be complete within `timeouts.read`, however many bytes trickle
    /// in.
    pub(crate) fn begin_frame(&mut self) {
        if self.slot.frame_deadline == Tick::NEVER && !self.slot.is_outbound() {
            let own = &self.shared.own_timeouts;
            let read = own.of(self.key.slot, |own| own.read, self.shared.bounds.read);
            self.slot.frame_deadline = self.shared.now.after(read);
        }
    }

    pub(crate) fn end_frame(&mut self) {
        if !self.slot.is_outbound() {
            self.slot.frame_deadline = Tick::NEVER;
            self.shared.requests.framed(self.key.slot);
        }
    }

    /// From now on it has these instead of those of the settings, as far as they are named.
    pub(crate) fn set_timeouts(&mut self, timeouts: ConnTimeouts) {
        self.shared.own_timeouts.set(self.key.slot, timeouts);
        self.touch(); // its deadline is set anew when its task has been polled
    }

    /// So many bytes have come: a request may begin with them.
    pub(super) fn begin_request(&mut self, bytes: u32) {
        if self.awaits_header() || self.awaits_handshake() {
            return;
        }
        let now = self.shared.now;
        if let Some(deadline) = self.shared.requests.heard(self.key.slot, bytes, now) {
            self.shared.deadlines.lower(self.key.slot, deadline);
        }
    }

    /// The handler reads on, a whole frame of what it `has` taken or will take. False: there is
    /// none, or it has had its share of this turn.
    pub(crate) fn may_read_on(&mut self, has: bool) -> bool {
        let is_there = has || !self.slot.input.is_empty();
        if !is_there || self.shared.reads_left == 0 || self.slot.failed.is_some() {
            return false;
        }
        self.shared.reads_left -= 1;
        self.read_on_with(Reading::Frame, true);
        self.shared.requests.framed(self.key.slot);
        true
    }

    /// The handler reads on. This ends a request that it has answered or got whole; if more is
    /// unread, the next begins.
    pub(crate) fn read_on(&mut self, reading: Reading) {
        self.read_on_with(reading, !self.slot.input.is_empty());
    }

    fn read_on_with(&mut self, reading: Reading, unread: bool) {
        if self.slot.is_outbound() || self.awaits_header() || self.awaits_handshake() {
            return;
        }
        let within_frame = self.slot.frame_deadline != Tick::NEVER;
        let (requests, now) = (&mut self.shared.requests, self.shared.now);
        if let Some(deadline) = requests.read_on(self.key.slot, reading, unread, within_frame, now)
        {
            self.shared.deadlines.lower(self.key.slot, deadline);
        }
    }

    /// The handler is done with a request, and has read frames behind it: `in_hand`, if one of them
    /// is whole. The next request's time begins, if any of it is here.
    pub(crate) fn request_answered(&mut self, in_hand: bool) {
        if self.slot.is_outbound() {
            return;
        }
        let begun = in_hand || !self.slot.input.is_empty();
        let (requests, now, slot) = (&mut self.shared.requests, self.shared.now, self.key.slot);
        if let Some(deadline) = requests.read_on(slot, Reading::Frame, begun, false, now) {
            self.shared.deadlines.lower(slot, deadline);
        }
        if in_hand {
            requests.framed(slot);
        }
    }

    /// The handler says that the request is over.
    pub(crate) fn request_done(&mut self) {
        self.shared.requests.done(self.key.slot);
    }

    /// The peer cannot be judged by what it delivers in this window of its least rate: for a part
    /// of it we do not read.
    pub(crate) fn reset_window(&mut self) {
        self.shared.requests.reset_window(self.key.slot);
    }

    /// A connect must have ended by then.
    pub(crate) fn set_connect_deadline(&mut self, within: Duration) {
        self.slot.frame_deadline = self.shared.now.after(Ticks::at_least(within));
        self.set_deadline();
    }

    /// A pool keeps the connection for so long; none: for as long as it lives.
    pub(super) fn set_pool_deadline(&mut self, within: Option<Duration>) {
        self.slot.frame_deadline = self.shared.now.after(Ticks::of(within));
    }

    /// The connect has ended, or the connection has left its pool.
    pub(super) fn clear_frame_deadline(&mut self) {
        self.slot.frame_deadline = Tick::NEVER;
    }

    // ---- the deadline ----

    /// Sets the one deadline of the connection to the next thing that must happen.
    pub(crate) fn set_deadline(&mut self) {
        let deadline = self
            .phase_deadline()
            .min(self.lifetime_deadline())
            .min(self.request_deadline());
        self.shared.deadlines.set(self.key.slot, deadline);
    }

    /// That of the phase, and of what is waited for in it.
    fn phase_deadline(&self) -> Tick {
        let (slot, shared) = (&*self.slot, &*self.shared);
        let (now, bounds) = (shared.now, &shared.bounds);
        let sending = slot.send == SendState::InFlight;
        let write = || shared.deadlines.of_send(self.key.slot);
        let reading = slot.waits.is_reading();
        let record = shared.tls.partial_deadline(self.key.slot);
        let due = slot.frame_deadline.min(record);
        match slot.phase {
            Phase::Connecting => slot.frame_deadline,
            // Whoever has set a deadline for an answer means the request to be sent by then, too.
            Phase::Serving if sending && slot.is_outbound() => write().min(slot.frame_deadline),
            Phase::Serving | Phase::Flushing if sending => write(),
            Phase::Serving if slot.waits.run() == RunState::Pooled => slot.frame_deadline,
            Phase::Serving if reading && due != Tick::NEVER => due,
            Phase::Serving if reading && shared.is_draining && !slot.is_outbound() => {
                now.after(bounds.drain_quiet)
            }
            Phase::Serving if reading && is_silent(slot) => slot.opened.after(bounds.first_byte),
            Phase::Serving if reading => {
                let own = &shared.own_timeouts;
                now.after(own.of(self.key.slot, |own| own.idle, bounds.idle))
            }
            Phase::Lingering => now.after(bounds.close),
            _ => Tick::NEVER,
        }
    }

    fn lifetime_deadline(&self) -> Tick {
        match self.slot.phase {
            Phase::Serving | Phase::Flushing if !self.slot.is_outbound() => {
                let (own, general) = (&self.shared.own_timeouts, self.shared.bounds.lifetime);
                let lifetime = own.of(self.key.slot, |own| own.lifetime, general);
                self.slot.opened.after(lifetime)
            }
            _ => Tick::NEVER,
        }
    }

    fn request_deadline(&mut self) -> Tick {
        match self.slot.phase {
            Phase::Serving | Phase::Flushing if !self.slot.is_outbound() => {
                let unsent = !self.slot.output.is_empty();
                self.shared.requests.deadline(self.key.slot, unsent)
            }
            _ => Tick::NEVER,
        }
    }

    /// The deadline has passed.
    pub(crate) fn expire(&mut self) {
        let passed = self.passed(self.shared.now);
        match verdict(self.slot, passed, self.shared.is_draining) {
            Verdict::Fail(CloseReason::ReadTimeout) if self.awaits_header() => {
                self.fail(CloseReason::ProxyTimeout);
            }
            Verdict::Fail(CloseReason::ReadTimeout) if self.awaits_handshake() => {
                self.fail(CloseReason::TlsTimeout);
            }
            Verdict::Fail(reason) => {
                if reason == CloseReason::WriteTimeout {
                    self.log_write_limit();
                }
                self.fail(reason);
            }
            Verdict::CancelConnect => self.cancel_connect(CloseReason::ReadTimeout),
            Verdict::EndInput => self.end_input(),
            Verdict::Close => self.begin_close(),
            Verdict::Stale => self.set_deadline(),
        }
    }

    /// What the deadline that runs will do, and when: the close reason that it stands for, or a word.
    pub(super) fn next_end(&mut self) -> Option<(&'static str, Tick)> {
        let due = self.shared.deadlines.of(self.key.slot);
        let passed = self.passed(due);
        let does = match verdict(self.slot, passed, self.shared.is_draining) {
            Verdict::Fail(reason) => reason.as_str(),
            Verdict::CancelConnect => "connect_timeout",
            Verdict::EndInput => "drained",
            Verdict::Close => "close_timeout",
            Verdict::Stale => return None,
        };
        (due != Tick::NEVER).then_some((does, due))
    }

    /// Which deadlines have passed at `now`.
    fn passed(&mut self, now: Tick) -> Passed {
        Passed {
            write: now >= self.shared.deadlines.of_send(self.key.slot),
            lifetime: now >= self.lifetime_deadline(),
            request: now >= self.request_deadline(),
            answer: now >= self.slot.frame_deadline,
            record: now >= self.shared.tls.partial_deadline(self.key.slot),
        }
    }

    /// A peer that takes nothing while its handler waits for room, as one does that writes its
    /// whole pipeline before it reads: its operator is told which limit has brought both to a
    /// stand.
    fn log_write_limit(&mut self) {
        if self.slot.waits.has(Interest::Space) && self.shared.may_log(LogKind::WriteLimit) {
            tracing::warn!(
                conn = %self.id(), peer = %self.peer(), shard = self.shared.id.0,
                unsent_bytes = self.slot.output_bytes,
                write_queue_max = self.shared.bounds.write_queue_max,
                "its peer reads nothing: at limits.write_queue_max its requests were not read \
                 either, and timeouts.write ends it",
            );
        }
    }

    // ---- least rates ----

    /// Whether its handler has read all there is, and wants more.
    pub(crate) fn is_input_pending(&self) -> bool {
        let slot = &*self.slot;
        let listens = slot.recv.is_listening();
        // One drop of a slow stream, come in this turn, does not make its peer prompt.
        let reads = slot.waits.is_reading() || slot.waits.is_fed();
        let is_read = slot.phase == Phase::Serving && reads;
        is_read && listens && !slot.is_outbound()
    }

    /// Whether too little of its request has come since the last look; `is_pending`: its peer is
    /// waited for.
    pub(crate) fn receives_too_slowly(&mut self, is_pending: bool) -> bool {
        self.shared.requests.is_too_slow(self.key.slot, is_pending)
    }

    /// Whether its peer has taken too little since the last look: the kernel has `unacknowledged`
    /// bytes for it.
    pub(crate) fn sends_too_slowly(&mut self, unacknowledged: u32) -> bool {
        let min_rate = &mut self.shared.min_rate;
        min_rate.is_too_slow(self.key.slot, unacknowledged)
    }

    /// Whether output waits for its peer.
    pub(crate) fn is_output_pending(&self) -> bool {
        let slot = &*self.slot;
        let sends = matches!(slot.phase, Phase::Serving | Phase::Flushing);
        sends && slot.send == SendState::InFlight && !slot.is_outbound()
    }
}

fn is_silent(slot: &Slot) -> bool {
    slot.peer_state == PeerState::Silent && !slot.is_outbound()
}

/// A passed deadline means one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fail(CloseReason),
    /// The drain has waited long enough for it to speak.
    EndInput,
    /// The peer's FIN did not come.
    Close,
    /// The connect took too long.
    CancelConnect,
    /// The event that the deadline was set for has come.
    Stale,
}

/// Which of the deadlines that run side by side have passed.
#[derive(Clone, Copy, Debug)]
struct Passed {
    lifetime: bool,
    request: bool,
    write: bool,
    answer: bool,
    /// That of a record of TLS which has begun.
    record: bool,
}

fn verdict(slot: &Slot, passed: Passed, draining: bool) -> Verdict {
    let reading = slot.waits.is_reading();
    let sending = slot.send == SendState::InFlight;
    let outbound = slot.is_outbound();
    match slot.phase {
        Phase::Lingering => Verdict::Close,
        Phase::Connecting => Verdict::CancelConnect,
        Phase::Free | Phase::Held | Phase::Closing | Phase::CloseInFlight => Verdict::Stale,
        _ if passed.lifetime => Verdict::Fail(CloseReason::LifetimeExceeded),
        _ if passed.request => Verdict::Fail(CloseReason::RequestTimeout),
        Phase::Serving if sending && outbound && passed.answer => {
            Verdict::Fail(CloseReason::ReadTimeout)
        }
        _ if sending && passed.write => Verdict::Fail(CloseReason::WriteTimeout),
        _ if sending => Verdict::Stale,
        Phase::Serving if slot.waits.run() == RunState::Pooled => {
            Verdict::Fail(CloseReason::IdleTimeout)
        }
        Phase::Serving if reading && (slot.frame_deadline != Tick::NEVER || passed.record) => {
            Verdict::Fail(CloseReason::ReadTimeout)
        }
        Phase::Serving if reading && draining && !outbound => Verdict::EndInput,
        Phase::Serving if reading && is_silent(slot) => {
            Verdict::Fail(CloseReason::FirstByteTimeout)
        }
        Phase::Serving if reading => Verdict::Fail(CloseReason::IdleTimeout),
        Phase::Serving | Phase::Flushing => Verdict::Stale,
    }
}
