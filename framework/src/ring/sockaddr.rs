//! Socket addresses that the kernel writes (the peer of an accept) and reads (the target of a connect).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::SockAddr;

/// One `sockaddr` with its length, at a fixed address for as long as the ring lives.
pub(super) struct PeerStorage {
    address: libc::sockaddr_in6,
    length: libc::socklen_t,
}

impl Default for PeerStorage {
    fn default() -> Self {
        // SAFETY: sockaddr_in6 is plain numbers; all-zero is AF_UNSPEC.
        Self { address: unsafe { std::mem::zeroed() }, length: 0 }
    }
}

impl PeerStorage {
    /// The pointers of an accept, with the length reset to the room there is (accept(2)).
    pub(super) fn pointers(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        self.length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        ((&raw mut self.address).cast(), &raw mut self.length)
    }

    /// What the kernel wrote: IPv4 or IPv6, for the listener is one of them; otherwise the unspecified address.
    pub(super) fn get(&self) -> SocketAddr {
        let port = u16::from_be(self.address.sin6_port);
        match i32::from(self.address.sin6_family) {
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(self.address.sin6_addr.s6_addr);
                SocketAddrV6::new(ip, port, self.address.sin6_flowinfo, self.address.sin6_scope_id).into()
            }
            // A sockaddr_in has its address where a sockaddr_in6 has the flow label: both follow the port (ip(7), ipv6(7)).
            libc::AF_INET => SocketAddrV4::new(Ipv4Addr::from(self.address.sin6_flowinfo.to_ne_bytes()), port).into(),
            _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        }
    }
}

/// A socket on its way into the table of direct descriptors, and the address that it connects to.
pub(super) struct DialStorage {
    /// The socket's descriptor; once installed, the number of its direct descriptor.
    pub(super) descriptor: i32,
    address: SockAddr,
}

impl Default for DialStorage {
    fn default() -> Self {
        Self { descriptor: -1, address: SockAddr::from(SocketAddr::from(([0, 0, 0, 0], 0))) }
    }
}

impl DialStorage {
    pub(super) fn aim(&mut self, target: SocketAddr) -> (*const libc::sockaddr, libc::socklen_t) {
        self.address = target.into();
        (self.address.as_ptr().cast(), self.address.len())
    }
}
