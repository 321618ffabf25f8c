//! The demands of a run on the machine.

use std::net::IpAddr;
use std::time::Duration;

/// The demands of a run on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Connections open at the same time.
    pub connections: u64,
    /// Threads, each with a ring and a table of direct descriptors of its own.
    pub shards: u64,
    /// Destination addresses over which the connections are spread.
    pub targets: Vec<IpAddr>,
    /// The destinations' port.
    pub port: u16,
    /// Local addresses named by the user; none: the kernel chooses. Each counts as a full range of
    /// ports per destination, which holds if sockets are bound with IP_BIND_ADDRESS_NO_PORT
    /// (ip(7)): without it bind(2) takes the port before the destination is known, and a port
    /// serves one connection only.
    pub sources: Vec<IpAddr>,
    /// Whether the server runs on this machine too, so that both ends of a connection are its own.
    pub target_is_local: bool,
    /// Bytes of one request.
    pub payload_bytes: u64,
    /// Connects begun and not yet established at most.
    pub connects_in_flight_max: u64,
    /// Whether connections are closed and opened again all the time.
    pub is_storm: bool,
    /// The longest that a connection says nothing.
    pub silence: Duration,
}

impl Demand {
    /// Sockets on this machine per connection.
    pub(super) fn ends(&self) -> u64 {
        if self.target_is_local { 2 } else { 1 }
    }

    pub(super) fn sockets(&self) -> u64 {
        self.connections * self.ends()
    }

    pub(super) fn targets(&self) -> u64 {
        self.targets.len().max(1) as u64
    }

    pub(super) fn sources(&self) -> u64 {
        self.sources.len().max(1) as u64
    }

    /// Pairs of source and destination address, each with a range of ports of its own.
    pub(super) fn pairs(&self) -> u64 {
        self.targets() * self.sources()
    }
}
