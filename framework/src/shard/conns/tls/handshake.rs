//! When the handshake of an accepted connection goes on, and what is of it when it is over.

use std::sync::Arc;

use crate::error::CloseReason;
use crate::ring::buffers::BufRef;
use crate::shard::conns::conn_mut::{ConnMut, Conns};
use crate::shard::conns::slot::Phase;
use crate::shard::conns::tls::session::Session;
use crate::shard::conns::tls::sessions::{OutputEnd, Tls};
use crate::shard::policy::handshakes::{Stage, Verdict};
use crate::shard::policy::overload::OWN_BUFFERS;
use crate::shard::policy::silent_records::SilentRecords;
use crate::time::Tick;
use crate::tls::Acceptance;

impl Conns {
    /// A turn begins: handshakes go on, as many as may.
    pub(crate) fn grant_handshakes(&mut self) {
        if !self.shared.tls.is_on {
            return;
        }
        for listener in 0..self.shared.tls.handshakes.len() {
            self.begin_turn_of(listener);
            self.grant_of(listener);
        }
        let steps = self.shared.metrics.tls.steps.get();
        let before = std::mem::replace(&mut self.shared.tls.steps_before, steps);
        self.shared.metrics.tls.turned(steps - before);
        let waiting = self.shared.tls.waiting() as u64;
        self.shared.metrics.tls.waiting.set(waiting);
    }

    fn begin_turn_of(&mut self, listener: usize) {
        let mut handshakes = std::mem::take(&mut self.shared.tls.handshakes[listener]);
        handshakes.begin_turn(|key| {
            let conn = self.get(*key);
            conn.is_some_and(|conn| conn.waits_for_handshake())
        });
        self.shared.tls.handshakes[listener] = handshakes;
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
    pub(crate) fn awaits_handshake(&self) -> bool {
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

    /// Its handshake holds so many bytes, which count as unread. False: that is more than any connection
    /// may hold, and there is no room for it: half of what may be unread is for those who have shaken
    /// hands.
    pub(crate) fn hold_for_handshake(&mut self, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Some(before) = self.shared.tls.set_held(self.key.slot, bytes) else {
            return true; // we have opened it: so many as we like
        };
        self.shared.unread = self.shared.unread + u64::from(bytes) - u64::from(before);
        let own = OWN_BUFFERS * u64::from(self.shared.buffers.size());
        u64::from(bytes) <= own || self.shared.unread <= self.shared.bounds.unread_max / 2
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
        self.shared.unread -= u64::from(self.shared.tls.end_handshake(slot));
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
