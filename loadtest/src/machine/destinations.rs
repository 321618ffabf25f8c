//! Over which addresses the connections are spread.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::facts::Facts;

/// Connections to one address at most, however many ports there are.
const CONNECTIONS_PER_ADDRESS_MAX: u64 = 20_000;
/// Destinations at most; if they cannot hold the connections either, the ports' check says so.
const DESTINATIONS_MAX: u32 = 256;
/// Addresses of 127.0.0.0/8 that one can connect to: all but its first and its last.
const LOOPBACK_HOSTS: u32 = (1 << 24) - 2;

/// Destinations for so many connections. A target in 127.0.0.0/8 is continued by its neighbours,
/// for the whole network is this machine (RFC 1122, 3.2.1.3), and a server on 0.0.0.0 listens on
/// all of it. Any other target stays alone.
///
/// To one address go 20 000 connections at most, and no more than half of
/// net.ipv4.ip_local_port_range: connect(2) tries every second port first, and once those are gone
/// each call looks at all of them before it comes to the others. Measured with 28 232 ports: 22
/// microseconds up to connection 14 116, 1100 from there on. When more addresses are needed anyway,
/// each gets half of that: of a million connections that took every second port, the last twentieth
/// came ten times slower.
pub fn destinations(target: SocketAddr, connections: u32, facts: &Facts) -> Vec<SocketAddr> {
    let IpAddr::V4(address) = target.ip() else {
        return vec![target];
    };
    let half = facts.ports().unwrap_or(u64::MAX) / 2;
    let most = half.clamp(1, CONNECTIONS_PER_ADDRESS_MAX) as u32;
    if !address.is_loopback() || connections <= most {
        return vec![target];
    }
    let count = connections.div_ceil(most.div_ceil(2)).min(DESTINATIONS_MAX);
    let addresses = (0..count).map(|step| neighbour(address, step));
    let port = target.port();
    addresses.map(|address| (address, port).into()).collect()
}

/// So many addresses further on, and from 127.255.255.254 to 127.0.0.1.
fn neighbour(address: Ipv4Addr, step: u32) -> Ipv4Addr {
    let network = u32::from(Ipv4Addr::new(127, 0, 0, 0));
    let host = (u32::from(address) - network).saturating_sub(1);
    Ipv4Addr::from(network + 1 + (host + step) % LOOPBACK_HOSTS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn spread(target: &str, connections: u32, range: &str) -> Vec<String> {
        let facts = Facts {
            port_range: range.parse().ok(),
            ..Facts::default()
        };
        destinations(target.parse().unwrap(), connections, &facts)
            .iter()
            .map(SocketAddr::to_string)
            .collect()
    }

    #[test]
    fn a_million_go_to_a_hundred_loopback_addresses() {
        assert_eq!(spread("127.0.0.1:7007", 1_000_000, "1024 65535").len(), 100);
        assert_eq!(spread("127.0.0.1:7007", 1_000_000, "unknown").len(), 100);
        assert_eq!(
            spread("127.0.0.1:7007", 1_000_000, "32768 60999").len(),
            142
        );
    }

    #[test]
    fn half_of_the_ports_of_one_address_are_used_and_a_quarter_of_several() {
        assert_eq!(
            spread("127.0.0.1:7007", 14_116, "32768 60999"),
            ["127.0.0.1:7007"]
        );
        assert_eq!(spread("127.0.0.1:7007", 14_117, "32768 60999").len(), 3);
        assert_eq!(
            spread("127.0.0.1:7007", 21_174, "32768 60999"),
            ["127.0.0.1:7007", "127.0.0.2:7007", "127.0.0.3:7007"]
        );
    }

    #[test]
    fn few_ports_do_not_mean_endless_addresses() {
        assert_eq!(spread("127.0.0.1:7007", 1_000_000, "1024 1024").len(), 256);
        assert_eq!(spread("127.0.0.1:7007", 0, "1024 1024").len(), 1);
    }

    #[test]
    fn the_spread_stays_within_the_loopback_network() {
        let last = ["127.255.255.254:1", "127.0.0.1:1", "127.0.0.2:1"];
        assert_eq!(spread("127.255.255.254:1", 30_000, "1024 65535"), last);
    }

    #[test]
    fn any_other_target_stays_alone() {
        for target in ["192.0.2.1:7007", "[::1]:7007", "0.0.0.0:7007"] {
            assert_eq!(spread(target, 1_000_000, "1024 65535"), [target]);
        }
    }
}
