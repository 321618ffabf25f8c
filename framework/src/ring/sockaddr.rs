//! Socket addresses that the kernel writes (the peer of an accept) and reads (the target of a
//! connect).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::SockAddr;

/// One `sockaddr` with its length, at a fixed address for as long as the ring lives.
pub(super) struct PeerStorage {
    address: libc::sockaddr_in6,
    length: libc::socklen_t,
}

impl Default for PeerStorage {
    fn default() -> Self {
        Self {
            // SAFETY: sockaddr_in6 is plain numbers; all-zero is AF_UNSPEC.
            address: unsafe { std::mem::zeroed() },
            length: 0,
        }
    }
}

impl PeerStorage {
    /// The pointers of an accept, with the length reset to the room there is (accept(2)).
    pub(super) fn pointers(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        self.length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        ((&raw mut self.address).cast(), &raw mut self.length)
    }

    /// What the kernel wrote: IPv4 or IPv6, for the listener is one of them; otherwise the
    /// unspecified address.
    pub(super) fn get(&self) -> SocketAddr {
        let port = u16::from_be(self.address.sin6_port);
        match i32::from(self.address.sin6_family) {
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(self.address.sin6_addr.s6_addr);
                SocketAddrV6::new(
                    ip,
                    port,
                    self.address.sin6_flowinfo,
                    self.address.sin6_scope_id,
                )
                .into()
            }
            // A sockaddr_in has its address where a sockaddr_in6 has the flow label: both follow
            // the port (ip(7), ipv6(7)).
            libc::AF_INET => SocketAddrV4::new(
                Ipv4Addr::from(self.address.sin6_flowinfo.to_ne_bytes()),
                port,
            )
            .into(),
            _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        }
    }
}

/// A socket on its way into the table of direct descriptors, and the address that it connects to.
pub(super) struct ConnectStorage {
    /// The socket's descriptor; once installed, the number of its direct descriptor.
    pub(super) descriptor: i32,
    address: SockAddr,
}

impl Default for ConnectStorage {
    fn default() -> Self {
        Self {
            descriptor: -1,
            address: SockAddr::from(SocketAddr::from(([0, 0, 0, 0], 0))),
        }
    }
}

impl ConnectStorage {
    pub(super) fn aim(&mut self, target: SocketAddr) -> (*const libc::sockaddr, libc::socklen_t) {
        self.address = target.into();
        (self.address.as_ptr().cast(), self.address.len())
    }
}

#[cfg(test)]
mod proptests {
    use proptest::prelude::*;

    use super::*;
    use crate::proptests::cases;

    /// What the kernel would have written.
    fn written(address: SocketAddr) -> PeerStorage {
        let mut storage = PeerStorage::default();
        let (at, _length) = storage.pointers();
        let address = SockAddr::from(address);
        // SAFETY: `at` has room for a sockaddr_in6, and no address of ours is longer.
        unsafe {
            std::ptr::copy_nonoverlapping(
                address.as_ptr().cast::<u8>(),
                at.cast(),
                address.len() as usize,
            )
        };
        storage
    }

    proptest! {
        #![proptest_config(cases(2000))]

        #[test]
        fn an_address_is_read_as_the_kernel_writes_it(v4: [u8; 4], v6: [u8; 16], port: u16, flow: u32, scope: u32) {
            for address in [SocketAddr::from((v4, port)), SocketAddrV6::new(v6.into(), port, flow, scope).into()] {
                prop_assert_eq!(written(address).get(), address);
            }
        }

        #[test]
        fn whatever_else_lies_there_is_some_address(family: u16, port: u16, bytes: [u8; 16], numbers: [u32; 2]) {
            let mut storage = PeerStorage::default();
            (storage.address.sin6_family, storage.address.sin6_port) = (family, port);
            (storage.address.sin6_addr.s6_addr, [storage.address.sin6_flowinfo, storage.address.sin6_scope_id]) = (bytes, numbers);
            let known = [libc::AF_INET, libc::AF_INET6].contains(&i32::from(family));
            prop_assert!(known || storage.get() == SocketAddr::from(([0, 0, 0, 0], 0)));
        }
    }
}
