//! The sessions of a shard, and of which connections they are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::id::{ListenerIndex, SlotIndex};
use crate::ring::buffers::{BufRef, BufferPool};
use crate::shard::conns::tls::record;
use crate::shard::conns::tls::session::Session;
use crate::shard::policy::handshakes::Handshakes;
use crate::shard::policy::silent_records::SilentRecords;
use crate::time::Tick;
use crate::tls::{Acceptance, Acceptances};

/// What a session takes while nothing of it is under way, as measured: 3.8 KB, rounded up. Some 1.2 KB
/// are the state that rustls has of either end, the rest are the keys of both directions, expanded
/// (0.6 KB each for AES), the key schedule of TLS 1.3, and what the allocator adds to a dozen pieces.
pub(crate) const BYTES: u64 = 4096;

/// The sessions of a shard.
pub(crate) struct Sessions {
    /// Of each listener.
    acceptances: Acceptances,
    /// Connections of some listener shake hands, or have.
    pub(super) is_on: bool,
    pub(super) handshakes: Vec<Handshakes>,
    /// Accepted connections whose handshake is not over, and how many bytes each of these holds.
    shaking_hands: BTreeMap<SlotIndex, u32>,
    /// Empty as long as there was none.
    by_slot: Vec<Option<Box<Tls>>>,
    /// For what rustls has to send, and for what is gathered to be sealed.
    pub(super) own: Vec<u8>,
    pub(super) scratch: Vec<u8>,
    pub(super) plain: Vec<BufRef>,
    /// Steps of handshakes that were computed before this turn.
    pub(super) steps_before: u64,
}

/// The session of a connection.
pub(super) struct Tls {
    pub(super) session: Session,
    /// The beginning of a record, if there is one.
    pub(super) partial: BufRef,
    /// When it must be whole.
    pub(super) partial_deadline: Tick,
    /// Bytes at the front of the connection's output that are sealed.
    pub(super) sealed: u32,
    pub(super) silent_records: SilentRecords,
    pub(super) end: OutputEnd,
    /// The peer has said that nothing more comes.
    pub(super) is_over: bool,
}

/// Where our side of a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputEnd {
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
            is_on: false,
            handshakes: Vec::new(),
            shaking_hands: BTreeMap::new(),
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
        self.is_on |= self.acceptances.iter().any(Option::is_some);
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
        self.is_on
    }

    /// By what the connections of that listener shake hands; none: they are plain.
    pub(crate) fn acceptance(&self, listener: ListenerIndex) -> Option<&Arc<Acceptance>> {
        self.acceptances.get(listener.place())?.as_ref()
    }

    /// An accepted connection begins.
    pub(crate) fn begin(&mut self, slot: SlotIndex, listener: ListenerIndex) {
        if self.acceptance(listener).is_some() {
            self.shaking_hands.insert(slot, 0);
        }
    }

    /// A connection has ended. Gives the bytes of it that were unread.
    pub(crate) fn end(&mut self, slot: SlotIndex, buffers: &BufferPool) -> u32 {
        let held = self.end_handshake(slot);
        let session = self.by_slot.get_mut(slot.0 as usize).and_then(Option::take);
        let partial = session.map_or(BufRef::NONE, |tls| tls.partial);
        let unread = held + partial.len();
        buffers.release(partial);
        unread
    }

    /// A handshake holds so many bytes from now on. Gives how many it held before; none: it is of no
    /// accepted connection.
    pub(super) fn set_held(&mut self, slot: SlotIndex, bytes: u32) -> Option<u32> {
        let held = self.shaking_hands.get_mut(&slot)?;
        Some(std::mem::replace(held, bytes))
    }

    /// Gives the bytes that it held.
    pub(super) fn end_handshake(&mut self, slot: SlotIndex) -> u32 {
        if self.shaking_hands.is_empty() {
            return 0;
        }
        self.shaking_hands.remove(&slot).unwrap_or_default()
    }

    pub(super) fn get(&self, slot: SlotIndex) -> Option<&Tls> {
        self.by_slot.get(slot.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: SlotIndex) -> Option<&mut Tls> {
        self.by_slot.get_mut(slot.0 as usize)?.as_deref_mut()
    }

    pub(super) fn insert(&mut self, slot: SlotIndex, tls: Tls) {
        let at = slot.0 as usize;
        if self.by_slot.len() <= at {
            self.by_slot.resize_with(at + 1, || None);
        }
        self.by_slot[at] = Some(Box::new(tls));
    }

    pub(crate) fn has(&self, slot: SlotIndex) -> bool {
        self.get(slot).is_some()
    }

    /// Whether all of so many bytes of output are sealed: nothing is written behind them in place.
    pub(crate) fn has_sealed(&self, slot: SlotIndex, bytes: u32) -> bool {
        self.get(slot).is_some_and(|tls| tls.sealed == bytes)
    }

    pub(crate) fn is_over(&self, slot: SlotIndex) -> bool {
        self.get(slot).is_some_and(|tls| tls.is_over)
    }

    /// Whether our last words are said, or to be said.
    pub(crate) fn is_ending(&self, slot: SlotIndex) -> bool {
        self.get(slot).is_some_and(|tls| tls.end != OutputEnd::Open)
    }

    /// Whether something is to be sealed, our last words perhaps.
    pub(super) fn has_unsealed(&self, slot: SlotIndex, bytes: u32) -> bool {
        let is_unsealed = |tls: &Tls| tls.sealed < bytes || tls.end == OutputEnd::Ending;
        self.get(slot).is_some_and(is_unsealed)
    }

    /// How many of so many bytes of output, the last ones, wait to be sealed.
    pub(crate) fn unsealed(&self, slot: SlotIndex, bytes: u32) -> u32 {
        self.get(slot).map_or(0, |tls| bytes - tls.sealed)
    }

    /// Whether a record has begun, and is not whole.
    pub(crate) fn has_partial(&self, slot: SlotIndex) -> bool {
        self.get(slot).is_some_and(|tls| !tls.partial.is_none())
    }

    /// How many bytes of the record that has begun are to come; 0 where none has, or nobody knows.
    pub(super) fn missing(&self, slot: SlotIndex) -> u32 {
        let Some(tls) = self.get(slot).filter(|tls| !tls.partial.is_none()) else {
            return 0;
        };
        let length = record::length(tls.partial.bytes()).unwrap_or_default();
        (length as u32).saturating_sub(tls.partial.len())
    }

    /// When the record that has begun must be whole.
    pub(crate) fn partial_deadline(&self, slot: SlotIndex) -> Tick {
        self.get(slot)
            .map_or(Tick::NEVER, |tls| tls.partial_deadline)
    }

    pub(crate) fn is_shaking_hands(&self, slot: SlotIndex) -> bool {
        !self.shaking_hands.is_empty() && self.shaking_hands.contains_key(&slot)
    }

    /// Those that wait for a turn in which their handshake goes on.
    pub(crate) fn waiting(&self) -> usize {
        if !self.is_on {
            return 0;
        }
        self.handshakes.iter().map(Handshakes::waiting).sum()
    }
}

/// Nothing of their keys.
impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.by_slot.iter().flatten().count();
        write!(formatter, "Sessions({sessions})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table has a pointer for each slot; this is what it points to, without what rustls has on
    /// the heap.
    #[test]
    fn a_session_has_its_size() {
        let (session, tls) = (size_of::<Session>(), size_of::<Tls>());
        println!("session {session}, with what is beside it {tls}");
        assert!(tls <= session + 64 && tls <= 1_536, "{session}, {tls}");
        assert_eq!(size_of::<Option<Box<Tls>>>(), size_of::<usize>());
    }
}
