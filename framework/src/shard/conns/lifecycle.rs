//! The life of a connection, from the accept or connect to the freeing of its slot. Phase
//! and reason are changed here alone; `table` begins and ends a life with those of a fresh slot.
//!
//! The end has an order: the handler returns, its output is sent, our FIN goes out, the peer's
//! comes in, the descriptor closes, the slot is free. A connection that failed skips to the
//! closing. A slot is free only when every operation it owes has completed.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;

use crate::error::CloseReason;
use crate::id::{ConnId, Key, ListenerIndex, SlotIndex};
use crate::ring::{Operation, Token};
use crate::shard::conns::conn_mut::{ConnMut, Conns};
use crate::shard::conns::interest::RunState;
use crate::shard::conns::proxied::Client;
use crate::shard::conns::slot::{Origin, PeerState, Phase, RecvState, SendState};
use crate::shard::policy::log_limit::LogKind;
use crate::time::Tick;

/// A connection that has ended, as it was.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) key: Key,
    pub(crate) id: ConnId,
    pub(crate) peer: SocketAddr,
    /// By which it has come, if it was accepted.
    pub(crate) listener: ListenerIndex,
    pub(crate) client: Client,
    /// Whether its handler has seen it.
    pub(crate) is_served: bool,
    pub(crate) origin: Origin,
    pub(crate) reason: CloseReason,
    /// How long it was open, to the tick.
    pub(crate) open_for: Duration,
}

impl Conns {
    // ---- the beginning ----

    /// A slot for a connection to or from `peer`: accepted ones are served or, in overflow, held;
    /// outbound ones are to be connected.
    pub(crate) fn occupy(&mut self, index: SlotIndex, peer: SocketAddr, origin: Origin) -> Key {
        let shared = &mut self.shared;
        shared.deadlines.grow_to(index);
        shared.places.occupied(origin);
        shared.requests.reset(index);
        shared.min_rate.reset(index);
        shared.proxies.reset(index);
        if origin != Origin::Outbound {
            shared.tls.begin(index, shared.entrances.of(index));
        }
        shared.recv_modes.begin(index);
        self.table.occupy(index, peer, origin, shared.now)
    }

    // ---- the end ----

    /// The descriptor of `key` is closed: nothing of the connection is left in the kernel, and the
    /// slot is free.
    pub(crate) fn closed(&mut self, key: Key, errno: i32) -> Option<Ended> {
        let mut conn = self.get(key)?;
        if errno != 0 && conn.shared.may_log(LogKind::CloseFailed) {
            tracing::error!(conn = %conn.id(), errno, "the descriptor did not close");
        }
        conn.release_input(); // a handler may have put some back meanwhile
        conn.release_output();
        conn.release_inbox();
        conn.leave_topics();
        let ended = Ended {
            key,
            id: conn.id(),
            peer: conn.slot.peer.addr(),
            listener: conn.entrance(),
            client: conn.client(),
            is_served: conn.is_served(),
            origin: conn.slot.origin,
            reason: conn.slot.reason,
            open_for: conn
                .shared
                .now
                .start()
                .saturating_sub(conn.slot.opened.start()),
        };
        let is_lap = self.table.vacate(key.slot);
        let shared = &mut self.shared;
        if is_lap {
            *shared.laps.entry(key.slot).or_default() += 1;
        }
        shared.deadlines.set(key.slot, Tick::NEVER);
        shared.places.vacated(ended.origin);
        shared.requests.reset(key.slot);
        shared.min_rate.reset(key.slot);
        shared.own_timeouts.reset(key.slot);
        shared.proxies.reset(key.slot);
        shared.unread -= u64::from(shared.tls.end(key.slot, &shared.buffers));
        debug_assert!(
            shared.places.open() > 0 || (shared.unread, shared.unsent) == (0, 0),
            "what went into the queues has left them"
        );
        Some(ended)
    }
}

impl ConnMut<'_> {
    // ---- the beginning ----

    /// An accepted connection has its place among the served: its receive is armed, its task is
    /// due.
    pub(crate) fn begin(&mut self) {
        let shared = &mut *self.shared;
        let accepted = shared.places.accepted();
        shared.metrics.connections.set(u64::from(accepted));
        self.start_task();
        self.begin_receive();
        self.set_deadline();
    }

    /// One that was held moves among the served: there is room. False if it has ended meanwhile.
    pub(crate) fn seat(&mut self) -> bool {
        let is_held = self.slot.phase == Phase::Held;
        if is_held {
            self.shared.places.seated();
            self.slot.origin = Origin::Accepted;
            self.slot.phase = Phase::Serving;
            self.slot.opened = self.shared.now;
            self.begin();
        }
        is_held
    }

    /// A client is turned away with `text`, and closed once the kernel has taken that.
    pub(crate) fn refuse(&mut self, reason: CloseReason, text: &[u8]) {
        self.slot.reason = reason;
        if text.is_empty() {
            return self.begin_close();
        }
        self.slot.phase = Phase::Flushing;
        let taken = self.collect_output(text);
        debug_assert_eq!(
            taken,
            text.len(),
            "the settings bound the text below any write queue"
        );
        self.flush();
        self.set_deadline();
    }

    /// The kernel has ended the connect with `errno`, 0 for success; `met_itself`: it is connected
    /// to its own port. The connection serves from now on, or closes, and the caller learns why.
    pub(crate) fn connected(&mut self, errno: i32, met_itself: bool) -> Result<(), i32> {
        self.connect_completed();
        self.clear_frame_deadline();
        let failure = match (errno, self.slot.failed) {
            (_, Some(CloseReason::ReadTimeout)) => libc::ETIMEDOUT,
            (_, Some(_)) => libc::ECANCELED,
            (0, None) if met_itself => libc::ECONNREFUSED,
            (errno, None) => errno,
        };
        if failure != 0 {
            self.begin_close();
            return Err(failure);
        }
        self.slot.phase = Phase::Serving;
        self.shared.metrics.connected.add(1);
        self.begin_receive();
        self.set_deadline();
        Ok(())
    }

    // ---- the end ----

    /// The connection can go on no more. A handler that runs learns it from its next operation; one
    /// that has returned is done with.
    pub(crate) fn fail(&mut self, reason: CloseReason) {
        match self.slot.phase {
            Phase::Serving if self.slot.waits.run() == RunState::Pooled => {
                self.close_unused(reason);
            }
            Phase::Serving => {
                self.slot.failed.get_or_insert(reason);
                self.fire_all();
            }
            // Whatever becomes of the text, it was turned away.
            Phase::Flushing if self.slot.origin == Origin::Overflow => self.begin_close(),
            Phase::Held | Phase::Flushing => {
                self.slot.reason = reason; // never served, or its last bytes never arrived
                self.begin_close();
            }
            Phase::Lingering => self.begin_close(),
            Phase::Connecting => self.cancel_connect(reason),
            Phase::Free | Phase::Closing | Phase::CloseInFlight => {}
        }
    }

    /// Why the connection can go on no more, if so.
    pub(crate) fn failure(&self) -> Option<CloseReason> {
        self.slot.failed
    }

    /// The `Conn` is gone: the end of an outbound connection, unless a pool has it.
    pub(crate) fn on_conn_dropped(&mut self) {
        let is_used =
            self.slot.phase == Phase::Serving && self.slot.waits.run() != RunState::Pooled;
        if self.slot.is_outbound() && is_used {
            self.finish(None);
        }
    }

    /// The handler's task is over.
    pub(crate) fn finish(&mut self, outcome: Option<CloseReason>) {
        self.forget_waits();
        self.set_run(RunState::Idle);
        // An answer that was found cut: its handler may tell why, and what is before it is sent.
        let cut = self
            .slot
            .failed
            .take_if(|reason| *reason == CloseReason::HandlerFailed);
        let outcome = outcome.or(cut);
        self.slot.reason = match (outcome, self.slot.failed) {
            (Some(CloseReason::HandlerPanicked), _) => CloseReason::HandlerPanicked,
            (_, Some(failure)) => failure,
            (Some(reason), None) => reason,
            (None, None) if self.has_peer_ended() => CloseReason::PeerClosed,
            (None, None) if self.slot.peer_state == PeerState::Over => CloseReason::Drained,
            (None, None) => CloseReason::HandlerClosed,
        };
        if self.slot.reason == CloseReason::TlsInvalid && self.keeps_alert() {
            return self.begin_flush();
        }
        if self.slot.failed.is_some() || self.slot.reason == CloseReason::HandlerPanicked {
            return self.begin_close();
        }
        self.end_session();
        if let Some(failure) = self.slot.failed {
            self.slot.reason = failure; // what was written cannot be sealed any more
            return self.begin_close();
        }
        self.begin_flush();
    }

    /// What was written goes out, and then the connection ends.
    fn begin_flush(&mut self) {
        self.count_leaving();
        self.slot.phase = Phase::Flushing;
        self.release_input();
        self.release_inbox();
        self.flush();
        self.output_moved();
    }

    fn has_peer_ended(&self) -> bool {
        self.slot.recv == RecvState::Ended || self.shared.tls.is_over(self.key.slot)
    }

    /// An outbound connection ends at once, for nobody uses it or whoever does has no use for it
    /// any more.
    pub(super) fn close_unused(&mut self, reason: CloseReason) {
        if self.is_checked_in() {
            self.shared.metrics.outbound_idle.subtract(1);
        }
        self.set_run(RunState::Idle);
        self.forget_waits();
        self.slot.reason = reason;
        self.begin_close();
    }

    /// Everything is sent: the polite end. Our FIN, then the peer's, then the close. One that was
    /// cut short closes at once, and so does one whose peer has said that nothing more comes: the
    /// close sends our FIN.
    pub(super) fn begin_linger(&mut self) {
        // A session that has failed ends with its alert, whatever its peer says.
        let ended = self.has_peer_ended() || self.slot.reason == CloseReason::TlsInvalid;
        let is_crowded =
            self.slot.origin == Origin::Overflow && self.shared.places.is_overflow_crowded();
        if ended || self.needs_reset() || is_crowded {
            return self.begin_close();
        }
        self.slot.phase = Phase::Lingering;
        self.shutdown_write();
        self.arm_receive();
        self.set_deadline();
    }

    /// Whether its peer is told by a reset: without our FIN so far, the close would send it, and
    /// the peer would take for whole what was cut.
    fn needs_reset(&self) -> bool {
        !self.slot.send.has_fin() && self.slot.reason.resets()
    }

    /// Takes back what is in the kernel and closes when that is done.
    pub(super) fn begin_close(&mut self) {
        self.release_input();
        self.release_inbox();
        self.shared.deadlines.set(self.key.slot, Tick::NEVER);
        self.count_leaving();
        self.slot.phase = Phase::Closing;
        self.cancel_receive();
        self.cancel_send();
        self.close_if_settled();
    }

    pub(super) fn close_if_settled(&mut self) {
        let receiving = matches!(
            self.slot.recv,
            RecvState::Armed | RecvState::Polled | RecvState::Cancelling
        );
        let sending = matches!(self.slot.send, SendState::InFlight | SendState::FinInFlight);
        if self.slot.phase != Phase::Closing || receiving || sending {
            return;
        }
        self.slot.phase = Phase::CloseInFlight;
        self.release_output();
        if self.needs_reset() {
            self.shared.ring.reset(self.key);
        }
        self.shared.ring.close(self.key);
    }

    /// Takes a connect back; it completes nevertheless, and that completion closes the slot.
    pub(crate) fn cancel_connect(&mut self, reason: CloseReason) {
        if self.slot.phase != Phase::Connecting || self.slot.failed.is_some() {
            return;
        }
        self.count_leaving();
        self.slot.failed = Some(reason);
        self.shared
            .ring
            .cancel(Token::new(Operation::Connect, self.key));
    }

    /// The connection is about to go from being used, or from being connected, to its end.
    fn count_leaving(&mut self) {
        let leaves = match self.slot.phase {
            Phase::Serving => self.slot.is_outbound(),
            Phase::Connecting => self.slot.failed.is_none(), // else it was counted when it was taken back
            _ => false,
        };
        if leaves {
            self.shared.places.leaves();
        }
    }

    // ---- questions ----

    pub(crate) fn peer(&self) -> SocketAddr {
        self.slot.peer.addr()
    }

    /// The name of the listener by which it has come, and the address that was listened on; none: the
    /// shard has opened it.
    pub(crate) fn listener(&self) -> Option<(Rc<str>, SocketAddr)> {
        let entrance = self.shared.entrances.entrance_of(self.key.slot);
        let entrance = entrance.filter(|_| !self.is_outbound())?;
        Some((Rc::clone(&entrance.name), entrance.address))
    }

    /// Its own address, as the kernel has it (getsockname(2)).
    pub(crate) fn local_addr(&mut self) -> Option<SocketAddr> {
        let descriptor = self.shared.ring.descriptor(self.key)?;
        SockRef::from(&descriptor).local_addr().ok()?.as_socket()
    }

    /// Whether the shard opened it.
    pub(crate) fn is_outbound(&self) -> bool {
        self.slot.is_outbound()
    }

    /// Whether its handler has it, or had.
    fn is_served(&self) -> bool {
        self.slot.origin == Origin::Accepted && !self.is_kept_from_handler()
    }

    /// When it was accepted, if it is served and its peer has not sent a byte.
    pub(crate) fn silent_since(&self) -> Option<Tick> {
        let is_silent =
            self.slot.origin == Origin::Accepted && self.slot.peer_state == PeerState::Silent;
        let is_served = self.slot.phase == Phase::Serving && self.slot.failed.is_none();
        (is_silent && is_served).then_some(self.slot.opened)
    }

    /// Whether it goes on, and could be ended by [`Self::fail`].
    pub(crate) fn is_open(&self) -> bool {
        let is_open = matches!(
            self.slot.phase,
            Phase::Serving | Phase::Flushing | Phase::Lingering
        );
        is_open && self.slot.failed.is_none()
    }
}
