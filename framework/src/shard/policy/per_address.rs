//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// With nobody connected, a map of more places than this gives them back.
const PLACES_KEPT: usize = 1024;

/// Connections by address, as many entries as there are addresses connected: no more than
/// connections. The map's hash is keyed at random (`RandomState`), so that nobody chooses addresses
/// that collide.
#[derive(Debug)]
pub(crate) struct PerAddress {
    each_max: u32,
    prefix_v6: u32,
    counts: HashMap<u128, u32>,
}

impl PerAddress {
    pub(crate) fn new(each_max: u32, prefix_v6: u32) -> Self {
        Self {
            each_max,
            prefix_v6,
            counts: HashMap::new(),
        }
    }

    /// With these connected, however many they are.
    pub(crate) fn counting(self, connected: impl Iterator<Item = SocketAddr>) -> Self {
        let mut counts = HashMap::new();
        for peer in connected {
            *counts.entry(group(peer.ip(), self.prefix_v6)).or_insert(0) += 1;
        }
        Self { counts, ..self }
    }

    /// Counts one more from `peer`, unless it has as many as it may.
    pub(crate) fn admit(&mut self, peer: SocketAddr) -> bool {
        let count = self
            .counts
            .entry(group(peer.ip(), self.prefix_v6))
            .or_insert(0);
        let admits = *count < self.each_max;
        *count += u32::from(admits);
        admits
    }

    /// One that was admitted has left.
    pub(crate) fn release(&mut self, peer: SocketAddr) {
        let group = group(peer.ip(), self.prefix_v6);
        match self.counts.get_mut(&group) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.counts.remove(&group)),
        }
        if self.counts.is_empty() && self.counts.capacity() > PLACES_KEPT {
            self.counts.shrink_to(PLACES_KEPT);
        }
    }
}

/// What counts as one address: IPv4 whole, also where it comes as v4-mapped (RFC 4291, 2.5.5.2);
/// the first `prefix_v6` bits of IPv6.
fn group(address: IpAddr, prefix_v6: u32) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() & u128::MAX.checked_shl(128 - prefix_v6).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("an address"), 1)
    }

    #[test]
    fn mapped_is_v4_and_v6_counts_by_its_prefix() {
        let same = |one: &str, other: &str, prefix| {
            group(peer(one).ip(), prefix) == group(peer(other).ip(), prefix)
        };
        assert!(same("::ffff:10.0.0.1", "10.0.0.1", 64));
        assert!(!same("10.0.0.1", "10.0.0.2", 1));
        assert!(
            !same("::ffff:10.0.0.1", "::ffff:10.0.0.2", 64),
            "mapped ones share the prefix ::/64"
        );
        assert!(same("2001:db8::1", "2001:db8::ffff:0:0:2", 64));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1", 64));
        assert!(!same("2001:db8::1", "2001:db8::2", 128));
        assert!(same("2001:db8::1", "3fff::1", 1));
    }

    #[test]
    fn the_cap_is_exact_and_an_address_that_left_takes_no_memory() {
        let mut addresses = PerAddress::new(2, 64);
        let (one, other) = (peer("127.0.0.2"), peer("127.0.0.3"));
        assert_eq!(
            [one, one, one, other].map(|peer| addresses.admit(peer)),
            [true, true, false, true]
        );
        addresses.release(one);
        assert_eq!([one, one].map(|peer| addresses.admit(peer)), [true, false]);
        [one, one, other]
            .into_iter()
            .for_each(|peer| addresses.release(peer));
        assert!(addresses.counts.is_empty());
    }
}
