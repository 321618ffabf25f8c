//! Whether a client that was accepted is served, turned away, or held until there is a place.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::config::{Clients, OnFull};
use crate::error::CloseReason;
use crate::shard::policy::per_address::PerAddress;
use crate::shard::policy::token_bucket::TokenBucket;

/// What becomes of an accepted client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Serve,
    Refuse(CloseReason),
    /// It waits for the place of somebody who is being closed.
    Hold,
}

/// The places of a shard, as an admission asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// How many more may be accepted, served or not.
    pub(crate) free: u32,
    /// How many more may be served.
    pub(crate) served_free: u32,
}

/// Who is let in.
#[derive(Debug)]
pub(crate) struct Admission {
    on_full: OnFull,
    /// What is sent to those who are turned away.
    refuse_with: Rc<[u8]>,
    /// None: no cap.
    per_address: Option<PerAddress>,
    /// The cap is on those whom proxies name, not on the proxies.
    is_proxied: bool,
    /// None: no bound.
    rate: Option<TokenBucket>,
    /// When there are tokens again, while nothing but that is waited for.
    refilled_at: Option<Duration>,
}

impl Admission {
    /// `is_proxied`: who is accepted is a proxy, and the clients are those that it names.
    pub(crate) fn new(on_full: OnFull, clients: &Clients, is_proxied: bool, now: Duration) -> Self {
        Self {
            on_full,
            refuse_with: clients.refuse_with.as_bytes().into(),
            per_address: per_address(clients),
            is_proxied,
            rate: rate(clients).map(|(rate, burst)| TokenBucket::new(rate, burst, now)),
            refilled_at: None,
        }
    }

    /// From `now` on it is that of other settings. Those who are `admitted` stay, however many they
    /// are, and whoever comes is counted with them.
    pub(crate) fn renew(
        &mut self,
        on_full: OnFull,
        clients: &Clients,
        admitted: impl Iterator<Item = SocketAddr>,
        now: Duration,
    ) {
        let rate = match (self.rate.take(), rate(clients)) {
            (Some(bucket), Some((rate, burst))) => Some(bucket.refitted(rate, burst, now)),
            (_, rate) => rate.map(|(rate, burst)| TokenBucket::new(rate, burst, now)),
        };
        let admitted = admitted.filter(is_counted);
        *self = Self {
            rate,
            per_address: per_address(clients).map(|counts| counts.counting(admitted)),
            ..Self::new(on_full, clients, self.is_proxied, now)
        };
    }

    /// How many accepts may be in flight, beside the bound on their number, where `in_flight` are.
    /// `may_reclaim`: somebody can make room for another.
    pub(crate) fn accepts_allowed(
        &mut self,
        room: Room,
        may_reclaim: bool,
        in_flight: u32,
        clock: Duration,
    ) -> u32 {
        let beyond = may_reclaim || self.on_full == OnFull::Refuse;
        let places = if beyond {
            room.free
        } else {
            room.free.min(room.served_free)
        };
        let Some(rate) = &mut self.rate else {
            return places;
        };
        // A token is taken by each that is accepted, so there are never more in flight than tokens.
        let tokens = rate.available(clock);
        let waits = tokens == 0 && in_flight == 0 && places > 0;
        self.refilled_at = waits.then(|| clock + rate.refilled_in());
        places.min(tokens)
    }

    /// A client has been accepted. `may_hold`: it may wait for a place that is being made.
    pub(crate) fn decide(
        &mut self,
        peer: SocketAddr,
        room: Room,
        may_hold: bool,
        clock: Duration,
    ) -> Verdict {
        if let Some(rate) = &mut self.rate {
            rate.take(clock);
        }
        let is_full = room.served_free == 0;
        if is_full && !may_hold {
            return Verdict::Refuse(CloseReason::Refused);
        }
        if !self.is_proxied && !self.admits(peer) {
            return Verdict::Refuse(CloseReason::AddressLimit);
        }
        if is_full {
            Verdict::Hold
        } else {
            Verdict::Serve
        }
    }

    /// Whether the client has fewer connections than an address may have; then this is one more.
    pub(crate) fn admits(&mut self, client: SocketAddr) -> bool {
        let per_address = self.per_address.as_mut().filter(|_| is_counted(&client));
        per_address.is_none_or(|per_address| per_address.admit(client))
    }

    /// A connection of `client` that was not turned away has ended.
    pub(crate) fn release(&mut self, client: SocketAddr) {
        if let Some(per_address) = &mut self.per_address
            && is_counted(&client)
        {
            per_address.release(client);
        }
    }

    /// Whether clients above the limit wait in the kernel's queue, unless there is room for them.
    pub(crate) fn waits_on_full(&self) -> bool {
        self.on_full == OnFull::Wait
    }

    pub(crate) fn refuse_with(&self) -> Rc<[u8]> {
        Rc::clone(&self.refuse_with)
    }

    /// Nothing waits for tokens, unless [`Self::accepts_allowed`] finds so again.
    pub(crate) fn clear_refill_time(&mut self) {
        self.refilled_at = None;
    }

    pub(crate) fn refilled_at(&self) -> Option<Duration> {
        self.refilled_at
    }
}

/// The unspecified address stands for whoever has come by a Unix socket.
fn is_counted(client: &SocketAddr) -> bool {
    !client.ip().is_unspecified()
}

fn per_address(settings: &Clients) -> Option<PerAddress> {
    let each_max = settings.connections_per_address_max;
    each_max.map(|each_max| PerAddress::new(each_max, settings.address_prefix_v6))
}

/// Accepts a second, and at once.
fn rate(settings: &Clients) -> Option<(u32, u32)> {
    let rate = settings.accepts_per_second_max?;
    Some((rate, settings.accepts_burst_max.unwrap_or(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 1);
    const ROOM: Room = Room {
        free: 3,
        served_free: 1,
    };
    const FULL: Room = Room {
        free: 2,
        served_free: 0,
    };

    const WAIT: OnFull = OnFull::Wait;

    fn admission(clients: &Clients) -> Admission {
        Admission::new(WAIT, clients, false, Duration::ZERO)
    }

    fn capped(cap: u32) -> Clients {
        Clients {
            connections_per_address_max: Some(cap),
            ..Clients::default()
        }
    }

    #[test]
    fn above_the_limit_a_client_is_held_only_for_a_place_that_comes_free() {
        let mut admission = admission(&Clients::default());
        let mut decide =
            |room, may_hold| admission.decide(PEER.into(), room, may_hold, Duration::ZERO);
        assert_eq!(decide(ROOM, false), Verdict::Serve);
        assert_eq!(decide(FULL, true), Verdict::Hold);
        assert_eq!(decide(FULL, false), Verdict::Refuse(CloseReason::Refused));
    }

    #[test]
    fn an_address_at_its_cap_is_refused_until_one_of_it_leaves() {
        let mut admission = admission(&capped(1));
        let decide =
            |admission: &mut Admission| admission.decide(PEER.into(), ROOM, false, Duration::ZERO);
        assert_eq!(decide(&mut admission), Verdict::Serve);
        let refused = Verdict::Refuse(CloseReason::AddressLimit);
        assert_eq!(decide(&mut admission), refused);
        admission.release(PEER.into());
        assert_eq!(decide(&mut admission), Verdict::Serve);
    }

    #[test]
    fn the_cap_is_on_the_clients_that_a_proxy_names_and_not_on_the_proxy() {
        let mut admission = Admission::new(WAIT, &capped(1), true, Duration::ZERO);
        for _ in 0..3 {
            let verdict = admission.decide(PEER.into(), ROOM, false, Duration::ZERO);
            assert_eq!(verdict, Verdict::Serve);
        }
        assert_eq!(
            [admission.admits(PEER.into()), admission.admits(PEER.into())],
            [true, false]
        );
        admission.release(PEER.into());
        assert!(admission.admits(PEER.into()));
    }

    #[test]
    fn accepts_beyond_the_served_places_are_for_those_who_are_turned_away_or_held() {
        for (on_full, may_reclaim, allowed) in [
            (WAIT, false, 1),
            (WAIT, true, 3),
            (OnFull::Refuse, false, 3),
        ] {
            let clients = Clients::default();
            let mut admission = Admission::new(on_full, &clients, false, Duration::ZERO);
            let now = admission.accepts_allowed(ROOM, may_reclaim, 0, Duration::ZERO);
            assert_eq!(now, allowed);
        }
    }

    #[test]
    fn other_settings_count_those_who_are_connected() {
        let mut admission = admission(&Clients::default());
        let decide =
            |admission: &mut Admission| admission.decide(PEER.into(), ROOM, false, Duration::ZERO);
        let connected = [PEER.into(); 3].into_iter();
        admission.renew(WAIT, &capped(2), connected, Duration::ZERO);
        let refused = Verdict::Refuse(CloseReason::AddressLimit);
        assert_eq!(decide(&mut admission), refused);
        admission.release(PEER.into());
        assert_eq!(
            decide(&mut admission),
            refused,
            "there are still as many as may be"
        );
        admission.release(PEER.into());
        assert_eq!(decide(&mut admission), Verdict::Serve);
        let none = std::iter::empty();
        admission.renew(WAIT, &Clients::default(), none, Duration::ZERO);
        assert_eq!(decide(&mut admission), Verdict::Serve);
    }

    #[test]
    fn clients_of_a_unix_socket_have_no_address_to_be_counted_by() {
        let mut admission = admission(&capped(1));
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        assert_eq!([(); 3].map(|()| admission.admits(nobody)), [true; 3]);
        admission.release(nobody);
        admission.renew(WAIT, &capped(1), [nobody; 2].into_iter(), Duration::ZERO);
        assert!(admission.admits(nobody));
    }
}
