//! What becomes of a client that was accepted: it is served, it is turned away, or it waits for a
//! place that is being made.
//!
//! Those who are not served, or not yet, have spare places of the table ([`Talk::Aside`]), so that
//! the limit of connections is exact whatever goes on here. Without spare places, which is the
//! default, an accept is posted only when there is a place to serve.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::State;
use super::addresses::Addresses;
use super::deadline::Tick;
use super::rate::Rate;
use super::table::{Phase, Table, Talk};
use crate::config::{self, OnFull};
use crate::error::CloseReason;
use crate::ring::{Key, SlotIndex};

/// The list of silent peers keeps names of some that are not, or not any more: no more than there
/// are connections, and this many. No key: it decides only how often the list is cleared.
const STALE_MAX: usize = 64;

/// Who is let in.
#[derive(Debug)]
pub(super) struct Admission {
    on_full: OnFull,
    /// What is sent to those who are turned away.
    refuse_with: Rc<[u8]>,
    /// None: nobody makes room for another.
    reclaim: Option<Reclaim>,
    /// None: no cap.
    addresses: Option<Addresses>,
    /// None: no bound.
    rate: Option<Rate>,
    /// When there are tokens again, while nothing but that is waited for.
    refilled_at: Option<Duration>,
}

/// Peers that never spoke, who make room for others.
#[derive(Debug, Default)]
struct Reclaim {
    /// In the order in which they came, with some that have spoken or left.
    silent: VecDeque<Key>,
    /// Accepted, and waiting for the places of those who are being closed.
    held: VecDeque<Key>,
    /// Being closed to make room.
    leaving: Vec<Key>,
}

impl Admission {
    pub(super) fn new(settings: &config::Admission, now: Duration) -> Self {
        let rate = settings.accepts_per_second_max;
        Self {
            on_full: settings.on_full,
            refuse_with: settings.refuse_with.as_bytes().into(),
            reclaim: settings.reclaim.then(Reclaim::default),
            addresses: settings
                .connections_per_address_max
                .map(|each| Addresses::new(each, settings.address_prefix_v6)),
            rate: rate.map(|rate| Rate::new(rate, settings.accepts_burst_max.unwrap_or(rate), now)),
            refilled_at: None,
        }
    }

    pub(super) fn waits_no_more(&mut self) {
        self.refilled_at = None;
    }

    pub(super) fn refilled_at(&self) -> Option<Duration> {
        self.refilled_at
    }
}

impl Reclaim {
    /// The peer that has been silent for longest, and since when.
    fn oldest(&mut self, table: &mut Table) -> Option<(Key, Tick)> {
        while let Some(key) = self.silent.front().copied() {
            if let Some(opened) = silent_since(table, key) {
                return Some((key, opened));
            }
            self.silent.pop_front();
        }
        None
    }

    fn remember(&mut self, key: Key, table: &mut Table) {
        if self.silent.len() >= 2 * table.open() as usize + STALE_MAX {
            self.silent
                .retain(|key| silent_since(table, *key).is_some());
        }
        self.silent.push_back(key);
    }
}

/// When `key` came, if it is served and has not sent a byte.
fn silent_since(table: &mut Table, key: Key) -> Option<Tick> {
    let slot = table.get(key)?;
    (slot.phase == Phase::Serving && slot.talk == Talk::Silent && slot.failed.is_none())
        .then_some(slot.opened)
}

impl State {
    /// How many accepts may be in flight, beside the bound on their number.
    pub(super) fn accepts_allowed(&mut self, in_flight: u32) -> u32 {
        let admission = &mut self.admission;
        let may_reclaim = admission
            .reclaim
            .as_mut()
            .is_some_and(|reclaim| reclaim.oldest(&mut self.table).is_some());
        let beyond = may_reclaim || admission.on_full == OnFull::Refuse;
        let free = self.table.places_free();
        let places = if beyond {
            free
        } else {
            free.min(self.table.accepted_free())
        };
        let Some(rate) = &mut admission.rate else {
            return places;
        };
        // A token is taken by each that is accepted, so there are never more in flight than tokens.
        let tokens = rate.available(self.clock);
        let waits = tokens == 0 && in_flight == 0 && places > 0;
        admission.refilled_at = waits.then(|| self.clock + rate.refilled_in());
        places.min(tokens)
    }

    /// A client has been accepted.
    pub(super) fn admit(&mut self, index: SlotIndex, peer: SocketAddr) {
        if let Some(rate) = &mut self.admission.rate {
            rate.take(self.clock);
        }
        let full = self.table.accepted_free() == 0;
        if full && !self.may_hold() {
            return self.refuse(index, peer, CloseReason::Refused);
        }
        if let Some(addresses) = &mut self.admission.addresses
            && !addresses.admit(peer)
        {
            return self.refuse(index, peer, CloseReason::AddressLimit);
        }
        if full {
            self.hold(index, peer);
        } else {
            self.open(index, peer);
        }
    }

    /// Remembers a new connection as silent, if that ever matters.
    pub(super) fn remember_silent(&mut self, key: Key) {
        if let Some(reclaim) = &mut self.admission.reclaim {
            reclaim.remember(key, &mut self.table);
        }
    }

    /// The connection is closed and its place free. `served`: it was not one that was turned away.
    pub(super) fn has_left(&mut self, key: Key, peer: SocketAddr, served: bool) {
        if let Some(addresses) = self.admission.addresses.as_mut().filter(|_| served) {
            addresses.release(peer);
        }
        if let Some(reclaim) = &mut self.admission.reclaim {
            reclaim.leaving.retain(|leaving| *leaving != key);
            self.seat_held();
        }
    }

    // ---- turning away ----

    fn refuse(&mut self, index: SlotIndex, peer: SocketAddr, reason: CloseReason) {
        let key = self.set_aside(index, peer);
        let Some(slot) = self.table.get(key) else {
            return;
        };
        slot.reason = reason;
        if self.admission.refuse_with.is_empty() {
            return self.begin_close(key);
        }
        slot.phase = Phase::Flushing;
        let text = Rc::clone(&self.admission.refuse_with);
        let taken = self.collect_output(key, &text);
        debug_assert_eq!(
            taken,
            text.len(),
            "the settings bound the text below any write queue"
        );
        self.flush(key);
        self.set_deadline(key);
    }

    /// A slot for a client that is not served.
    fn set_aside(&mut self, index: SlotIndex, peer: SocketAddr) -> Key {
        let key = self.table.occupy_aside(index, peer, self.now);
        self.metrics.accepted.add(1);
        self.tempos.begin(index);
        self.requests.reset(index);
        self.flows.reset(index);
        key
    }

    /// Whether those who were turned away take so many places that the next is closed without
    /// waiting for its FIN.
    pub(super) fn is_crowded_aside(&self) -> bool {
        self.table.aside() > self.table.spare_max() / 2
    }

    // ---- making room ----

    /// Whether a client above the limit is kept, for there will be room.
    fn may_hold(&mut self) -> bool {
        let Some(reclaim) = &mut self.admission.reclaim else {
            return false;
        };
        // Whoever would have waited in the backlog may as well wait here; whoever would be refused,
        // only if there is somebody to go.
        self.admission.on_full == OnFull::Wait
            || reclaim
                .oldest(&mut self.table)
                .is_some_and(|(_, opened)| self.now >= opened.after(self.bounds.reclaim))
    }

    fn hold(&mut self, index: SlotIndex, peer: SocketAddr) {
        let key = self.set_aside(index, peer);
        if let Some(slot) = self.table.get(key) {
            slot.phase = Phase::Held;
        }
        if let Some(reclaim) = &mut self.admission.reclaim {
            reclaim.held.push_back(key);
        }
        self.reclaim();
    }

    /// Closes as many of those who never spoke as there are clients waiting for a place.
    pub(super) fn reclaim(&mut self) {
        while let Some(reclaim) = &mut self.admission.reclaim
            && reclaim.held.len() > reclaim.leaving.len()
            && let Some((key, opened)) = reclaim.oldest(&mut self.table)
            && self.now >= opened.after(self.bounds.reclaim)
        {
            reclaim.silent.pop_front();
            reclaim.leaving.push(key);
            self.fail(key, CloseReason::Reclaimed);
        }
    }

    /// When [`Self::reclaim`] has something to do, if nothing happens until then.
    pub(super) fn reclaims_at(&mut self) -> Tick {
        let Some(reclaim) = self
            .admission
            .reclaim
            .as_mut()
            .filter(|reclaim| reclaim.held.len() > reclaim.leaving.len())
        else {
            return Tick::NEVER;
        };
        reclaim
            .oldest(&mut self.table)
            .map_or(Tick::NEVER, |(_, opened)| opened.after(self.bounds.reclaim))
    }

    /// Serves those who were held, as far as there are places now.
    fn seat_held(&mut self) {
        while self.table.accepted_free() > 0
            && let Some(key) = self
                .admission
                .reclaim
                .as_mut()
                .and_then(|reclaim| reclaim.held.pop_front())
        {
            if self
                .table
                .get(key)
                .is_some_and(|slot| slot.phase == Phase::Held)
            {
                self.table.seat(key, self.now);
                self.begin(key);
            }
        }
    }
}
