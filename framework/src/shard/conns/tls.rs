//! TLS sessions of a shard's connections, beside the table: nothing where there are none.
//!
//! A session stands between the ring and the queues of its connection: what comes is opened before
//! it is queued as input ([`input`]), and what was written lies in the queue as it is until it is
//! sealed and sent ([`output`]). So whatever writes or reads a connection knows nothing of it. The
//! handshake is read and written as by a handler, before there is a session here.

mod hello;
mod input;
mod output;
mod record;
pub(crate) mod session;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub(crate) use record::begins_a_handshake;

use crate::error::CloseReason;
use crate::id::{ListenerIndex, SlotIndex};
use crate::ring::buffers::{BufRef, BufferPool};
use crate::shard::conns::conn_mut::{ConnMut, Conns};
use crate::shard::conns::slot::Phase;
use crate::shard::conns::tls::session::Session;
use crate::shard::policy::handshakes::{Handshakes, Stage, Verdict};
use crate::shard::policy::silent_records::SilentRecords;
use crate::time::Tick;
use crate::tls::{Acceptance, Acceptances};

/// The sessions of a shard.
pub(crate) struct Sessions {
    /// Of each listener.
    acceptances: Acceptances,
    handshakes: Vec<Handshakes>,
    /// Accepted connections whose handshake is not over.
    shaking_hands: BTreeSet<SlotIndex>,
    /// Empty as long as there was none.
    by_slot: Vec<Option<Box<Tls>>>,
    /// For what rustls has to send, and for what is gathered to be sealed.
    own: Vec<u8>,
    scratch: Vec<u8>,
    plain: Vec<BufRef>,
    /// Steps of handshakes that were computed before this turn.
    steps_before: u64,
}

/// The session of a connection.
struct Tls {
    session: Session,
    /// The beginning of a record, if there is one.
    partial: BufRef,
    /// When it must be whole.
    partial_deadline: Tick,
    /// Bytes at the front of the connection's output that are sealed.
    sealed: u32,
    silent_records: SilentRecords,
    end: OutputEnd,
    /// The peer has said that nothing more comes.
    is_over: bool,
}

/// Where our side of a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputEnd {
    Open,
    /// What was written is followed by our last words.
    Ending,
    /// They are said.
    Ended,
}

impl Sessions {
    pub(crate) fn new(acceptances: &Acceptances) -> Self {
        let mut sessions = Self {
            acceptances: Acceptances::default(),
            handshakes: Vec::new(),
            shaking_hands: BTreeSet::new(),
            by_slot: Vec::new(),
            own: Vec::new(),
            scratch: Vec::new(),
            plain: Vec::new(),
            steps_before: 0,
        };
        sessions.renew(acceptances);
        sessions
    }

    /// Connections that begin from now on shake hands by these.
    pub(crate) fn renew(&mut self, acceptances: &Acceptances) {
        self.acceptances = Acceptances::clone(acceptances);
        let listeners = self.acceptances.len().max(self.handshakes.len());
        self.handshakes.resize_with(listeners, Handshakes::default);
        for (handshakes, acceptance) in self.handshakes.iter_mut().zip(&*self.acceptances) {
            let most = acceptance
                .as_ref()
                .map(|acceptance| acceptance.handshakes_per_turn_max);
            handshakes.set_per_turn_max(most.unwrap_or_default());
        }
    }

    /// Whether the connections of some listener shake hands.
    pub(crate) fn are_accepted(&self) -> bool {
        self.acceptances.iter().any(Option::is_some)
    }

    /// By what the connections of that listener shake hands; none: they are plain.
    pub(crate) fn acceptance(&self, listener: ListenerIndex) -> Option<&Arc<Acceptance>> {
        self.acceptances.get(listener.place())?.as_ref()
    }

    /// An accepted connection begins.
    pub(super) fn begin(&mut self, slot: SlotIndex, listener: ListenerIndex) {
        if self.acceptance(listener).is_some() {
            self.shaking_hands.insert(slot);
        }
    }

    /// A connection has ended. Gives the bytes of it that were unread.
    pub(super) fn end(&mut self, slot: SlotIndex, buffers: &BufferPool) -> u32 {
        if !self.shaking_hands.is_empty() {
            self.shaking_hands.remove(&slot);
        }
        let session = self.by_slot.get_mut(slot.0 as usize).and_then(Option::take);
        let partial = session.map_or(BufRef::NONE, |tls| tls.partial);
        let unread = partial.len();
        buffers.release(partial);
        unread
    }

    fn get(&self, slot: SlotIndex) -> Option<&Tls> {
        self.by_slot.get(slot.0 as usize)?.as_deref()
    }

    fn get_mut(&mut self, slot: SlotIndex) -> Option<&mut Tls> {
        self.by_slot.get_mut(slot.0 as usize)?.as_deref_mut()
    }

    fn insert(&mut self, slot: SlotIndex, tls: Tls) {
        self.shaking_hands.remove(&slot);
        let at = slot.0 as usize;
        if self.by_slot.len() <= at {
            self.by_slot.resize_with(at + 1, || None);
        }
        self.by_slot[at] = Some(Box::new(tls));
    }

    pub(super) fn has(&self, slot: SlotIndex) -> bool {
        self.get(slot).is_some()
    }

    /// Whether all of so many bytes of output are sealed: nothing is written behind them in place.
    pub(super) fn has_sealed(&self, slot: SlotIndex, bytes: u32) -> bool {
        self.get(slot).is_some_and(|tls| tls.sealed == bytes)
    }

    pub(super) fn is_over(&self, slot: SlotIndex) -> bool {
        self.get(slot).is_some_and(|tls| tls.is_over)
    }

    /// Whether our last words are said, or to be said.
    pub(super) fn is_ending(&self, slot: SlotIndex) -> bool {
        self.get(slot).is_some_and(|tls| tls.end != OutputEnd::Open)
    }

    /// How many of so many bytes of output, the last ones, wait to be sealed.
    pub(super) fn unsealed(&self, slot: SlotIndex, bytes: u32) -> u32 {
        self.get(slot).map_or(0, |tls| bytes - tls.sealed)
    }

    /// Whether a record has begun, and is not whole.
    pub(super) fn has_partial(&self, slot: SlotIndex) -> bool {
        self.get(slot).is_some_and(|tls| !tls.partial.is_none())
    }

    /// When the record that has begun must be whole.
    pub(super) fn partial_deadline(&self, slot: SlotIndex) -> Tick {
        self.get(slot)
            .map_or(Tick::NEVER, |tls| tls.partial_deadline)
    }

    pub(super) fn is_shaking_hands(&self, slot: SlotIndex) -> bool {
        !self.shaking_hands.is_empty() && self.shaking_hands.contains(&slot)
    }

    /// Those that wait for a turn in which their handshake goes on.
    pub(crate) fn waiting(&self) -> usize {
        self.handshakes.iter().map(Handshakes::waiting).sum()
    }
}

impl Conns {
    /// A turn begins: handshakes go on, as many as may.
    pub(crate) fn grant_handshakes(&mut self) {
        if self.shared.tls.handshakes.is_empty() {
            return;
        }
        for listener in 0..self.shared.tls.handshakes.len() {
            self.shared.tls.handshakes[listener].begin_turn();
            self.grant_of(listener);
        }
        let steps = self.shared.metrics.tls.steps.get();
        let before = std::mem::replace(&mut self.shared.tls.steps_before, steps);
        self.shared.metrics.tls.turned(steps - before);
        let waiting = self.shared.tls.waiting() as u64;
        self.shared.metrics.tls.waiting.set(waiting);
    }

    fn grant_of(&mut self, listener: usize) {
        let now = self.shared.now;
        while let Some(verdict) = self.shared.tls.handshakes[listener].next(now) {
            let (Verdict::Grant(key) | Verdict::Expired(key)) = verdict;
            let Some(mut conn) = self.get(key).filter(ConnMut::waits_for_handshake) else {
                continue; // it has ended meanwhile
            };
            match verdict {
                Verdict::Expired(_) => conn.fail(CloseReason::TlsTimeout),
                Verdict::Grant(_) => {
                    conn.shared.tls.handshakes[listener].grant(key);
                    conn.wake();
                }
            }
        }
    }
}

impl ConnMut<'_> {
    // ---- the handshake ----

    /// By what it is to shake hands; none: it is plain, or has done so.
    pub(crate) fn acceptance(&self) -> Option<Arc<Acceptance>> {
        let is_due = self.shared.tls.is_shaking_hands(self.key.slot);
        let listener = self.entrance();
        let acceptance = self.shared.tls.acceptance(listener);
        acceptance.filter(|_| is_due).map(Arc::clone)
    }

    /// Whether what comes is still its handshake, and nothing of its handler's.
    pub(super) fn awaits_handshake(&self) -> bool {
        self.shared.tls.is_shaking_hands(self.key.slot)
    }

    fn waits_for_handshake(&self) -> bool {
        let is_open = self.slot.phase == Phase::Serving && self.slot.failed.is_none();
        is_open && self.awaits_handshake()
    }

    /// Whether it may compute a step of its handshake now; else its task is woken when it may, or
    /// its handshake must have ended.
    pub(crate) fn asks_for_handshake(&mut self, stage: Stage, until: Tick) -> bool {
        let (listener, key) = (self.entrance().place(), self.key);
        let handshakes = self.shared.tls.handshakes.get_mut(listener);
        let may = handshakes.is_none_or(|handshakes| handshakes.ask(key, stage, until));
        self.count_step(may);
        may
    }

    /// The same of one that has asked.
    pub(crate) fn takes_grant(&mut self) -> bool {
        let (listener, key) = (self.entrance().place(), self.key);
        let handshakes = self.shared.tls.handshakes.get_mut(listener);
        let may = handshakes.is_none_or(|handshakes| handshakes.take_grant(key));
        self.count_step(may);
        may
    }

    fn count_step(&self, is_computed: bool) {
        if is_computed {
            self.shared.metrics.tls.steps.add(1);
        }
    }

    /// From now on the connection is under `session`, which has shaken hands. What came behind the
    /// handshake is `rest`, and what lies unread in the queue.
    pub(crate) fn begin_session(&mut self, session: Session, rest: &[u8]) {
        let (slot, now) = (self.key.slot, self.shared.now);
        let tls = Tls {
            session,
            partial: BufRef::NONE,
            partial_deadline: Tick::NEVER,
            sealed: self.slot.output_bytes,
            silent_records: SilentRecords::new(now),
            end: OutputEnd::Open,
            is_over: false,
        };
        let mut raw = Vec::new();
        if !rest.is_empty() {
            raw.push(self.shared.buffers.copy(rest, Some(self.key)));
        }
        while let Some(buffer) = self.pop_input() {
            raw.push(buffer);
        }
        self.shared.tls.insert(slot, tls);
        self.clear_frame_deadline();
        self.header_read();
        for buffer in raw {
            self.open_input(buffer);
        }
        self.touch();
    }

    /// Looks at its session.
    pub(crate) fn session(&self) -> Option<&Session> {
        Some(&self.shared.tls.get(self.key.slot)?.session)
    }
}

/// Nothing of their keys.
impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.by_slot.iter().flatten().count();
        write!(formatter, "Sessions({sessions})")
    }
}
