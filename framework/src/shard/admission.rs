//! Clients that were accepted: served, turned away, or held for a place that is being made.
//!
//! Those who are not served, or not yet, have spare places of the table
//! ([`Origin::Overflow`]), so that the limit of connections is exact whatever goes on here. Without
//! spare places, which is the default, an accept is posted only when there is a place to serve.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::error::CloseReason;
use crate::id::{Key, ListenerIndex, SlotIndex};
use crate::proxy::Proxied;
use crate::shard::conns::Ended;
use crate::shard::conns::proxied::Client;
use crate::shard::conns::slot::Origin;
#[cfg(feature = "tls")]
use crate::shard::conns::tls::session::Session;
use crate::shard::core::Core;
use crate::shard::policy::admission::{Room, Verdict};
use crate::shard::policy::log_limit::LogKind;
use crate::time::Tick;

impl Core {
    // ---- who is accepted ----

    /// How many accepts of that listener may be in flight, beside the bound on their number. Those of
    /// the others may fill the table with this one's, and no more.
    pub(crate) fn accepts_allowed(&mut self, listener: usize) -> u32 {
        let (all, clock) = (self.acceptor.in_flight(), self.conns.shared.clock);
        let in_flight = self.acceptor.queues[listener].in_flight();
        let room = self.room();
        let room = Room {
            free: room.free.saturating_sub(all - in_flight),
            ..room
        };
        let may_reclaim = self.oldest_silent().is_some();
        self.admissions[listener].accepts_allowed(room, may_reclaim, in_flight, clock)
    }

    fn room(&self) -> Room {
        let places = &self.conns.shared.places;
        Room {
            free: places.free(),
            served_free: places.accepted_free(),
        }
    }

    /// A client has been accepted.
    pub(crate) fn admit(&mut self, index: SlotIndex, peer: SocketAddr, listener: ListenerIndex) {
        let (room, clock) = (self.room(), self.conns.shared.clock);
        let may_hold = room.served_free == 0 && self.may_hold(listener);
        let admission = &mut self.admissions[listener.place()];
        match admission.decide(peer, room, may_hold, clock) {
            Verdict::Serve => self.open(index, peer, listener),
            Verdict::Refuse(reason) => self.refuse(index, peer, listener, reason),
            Verdict::Hold => self.hold(index, peer, listener),
        }
    }

    /// It is served: its slot lives, its receive is armed, its task is due.
    pub(crate) fn open(&mut self, index: SlotIndex, peer: SocketAddr, listener: ListenerIndex) {
        let key = self.occupy(index, peer, listener, Origin::Accepted);
        if let Some(mut conn) = self.conns.get(key) {
            conn.begin();
        }
        self.remember_silent(key);
    }

    fn refuse(
        &mut self,
        index: SlotIndex,
        peer: SocketAddr,
        listener: ListenerIndex,
        reason: CloseReason,
    ) {
        let key = self.occupy(index, peer, listener, Origin::Overflow);
        let text = self.refuse_with(key);
        if let Some(mut conn) = self.conns.get(key) {
            conn.refuse(reason, &text);
        }
    }

    /// The PROXY header of `key` was read: from now on it is served, unless the client has as many
    /// connections as it may. Gives whether it is.
    pub(crate) fn admit_proxied(&mut self, key: Key, proxied: Proxied) -> bool {
        let source = proxied.source();
        let Some(mut conn) = self.conns.get(key).filter(|conn| conn.is_open()) else {
            return false;
        };
        let admission = &mut self.admissions[conn.entrance().place()];
        let is_admitted = source.is_none_or(|source| admission.admits(source));
        conn.set_proxied(proxied, is_admitted);
        conn.header_read();
        if is_admitted {
            self.remember_silent(key);
        }
        is_admitted
    }

    /// What is sent to a client of `key` that is turned away; nothing where it would have to be in a
    /// TLS session, for which it has to shake hands first.
    pub(crate) fn refuse_with(&mut self, key: Key) -> Rc<[u8]> {
        let listener = self.conns.shared.entrances.of(key.slot);
        if self.conns.shared.tls.acceptance(listener).is_some() {
            return Rc::default();
        }
        self.admissions[listener.place()].refuse_with()
    }

    /// The handshake of `key` is over: from now on its client is heard, by `session`. `rest` has come
    /// behind the handshake.
    #[cfg(feature = "tls")]
    pub(crate) fn begin_session(&mut self, key: Key, session: Session, rest: &[u8]) {
        if let Some(mut conn) = self.conns.get(key) {
            conn.begin_session(session, rest);
            self.remember_silent(key);
        }
    }

    fn occupy(
        &mut self,
        index: SlotIndex,
        peer: SocketAddr,
        listener: ListenerIndex,
        origin: Origin,
    ) -> Key {
        let shared = &mut self.conns.shared;
        shared.metrics.accepted.add(1);
        if let Some(counters) = shared.metrics.listeners.get(listener.place()) {
            counters.accepted.add(1);
        }
        shared.entrances.set(index, listener);
        self.conns.occupy(index, peer, origin)
    }

    // ---- making room ----

    fn oldest_silent(&mut self) -> Option<(Key, Tick)> {
        self.reclaim.as_mut()?.oldest(&mut self.conns)
    }

    /// The same, if it has been silent for so long that it may be closed.
    fn reclaimable(&mut self) -> Option<Key> {
        let (now, young) = (self.conns.shared.now, self.conns.shared.bounds.reclaim);
        let (key, since) = self.oldest_silent()?;
        (now >= since.after(young)).then_some(key)
    }

    /// Whether a client above the limit is kept, for there will be room. Whoever would have waited
    /// in the backlog may as well wait here; whoever would be refused, only if there is somebody to
    /// go.
    fn may_hold(&mut self, listener: ListenerIndex) -> bool {
        let has_spare_places = self.reclaim.is_some() || self.conns.shared.entrances.are_several();
        let waits = has_spare_places && self.admissions[listener.place()].waits_on_full();
        waits || self.reclaimable().is_some()
    }

    fn hold(&mut self, index: SlotIndex, peer: SocketAddr, listener: ListenerIndex) {
        let key = self.occupy(index, peer, listener, Origin::Overflow);
        self.held.push_back(key);
        self.make_room();
    }

    /// Remembers a new connection as silent, if that ever matters.
    fn remember_silent(&mut self, key: Key) {
        if let Some(reclaim) = &mut self.reclaim {
            reclaim.remember(key, &mut self.conns);
        }
    }

    /// Closes as many of those who never spoke as there are clients waiting for a place.
    pub(crate) fn make_room(&mut self) {
        while self.wants_room()
            && let Some(key) = self.reclaimable()
            && let Some(reclaim) = &mut self.reclaim
        {
            reclaim.silent.pop_front();
            reclaim.leaving.push(key);
            if let Some(mut conn) = self.conns.get(key) {
                conn.fail(CloseReason::Reclaimed);
            }
        }
    }

    /// Whether more clients wait for a place than places are about to come free.
    fn wants_room(&self) -> bool {
        let reclaim = self.reclaim.as_ref();
        reclaim.is_some_and(|reclaim| self.held.len() > reclaim.leaving.len())
    }

    /// When [`Self::make_room`] has something to do, if nothing happens until then.
    pub(crate) fn makes_room_at(&mut self) -> Tick {
        if !self.wants_room() {
            return Tick::NEVER;
        }
        let young = self.conns.shared.bounds.reclaim;
        self.oldest_silent()
            .map_or(Tick::NEVER, |(_, since)| since.after(young))
    }

    /// Serves those who were held, as far as there are places now.
    fn seat_held(&mut self) {
        while self.conns.shared.places.accepted_free() > 0
            && let Some(key) = self.held.pop_front()
        {
            if self.conns.get(key).is_some_and(|mut conn| conn.seat()) {
                self.remember_silent(key);
            }
        }
    }

    // ---- who leaves ----

    /// An accepted connection is closed and its place free.
    pub(crate) fn accepted_closed(&mut self, ended: &Ended) {
        let Ended {
            key,
            peer,
            listener,
            client,
            reason,
            ..
        } = *ended;
        let shared = &mut self.conns.shared;
        shared.metrics.closed[reason as usize].add(1);
        let was_admitted = !matches!(reason, CloseReason::Refused | CloseReason::AddressLimit);
        let admission = &mut self.admissions[listener.place()];
        match client {
            Client::Peer if was_admitted => admission.release(peer),
            Client::Named {
                source,
                is_admitted: true,
            } => admission.release(source),
            _ => {}
        }
        if let Some(reclaim) = &mut self.reclaim {
            reclaim.leaving.retain(|leaving| *leaving != key);
        }
        self.seat_held();
        let shared = &mut self.conns.shared;
        let accepted = u64::from(shared.places.accepted());
        shared.metrics.connections.set(accepted);
        if shared.may_log(LogKind::Closed(reason)) {
            let conn = ended.id;
            let client = client.named().map(tracing::field::display);
            let listener = shared.entrances.told(listener);
            tracing::debug!(%conn, %peer, client, listener, %reason, shard = shared.id.0, "closed");
        }
    }
}
