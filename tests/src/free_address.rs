//! Addresses where nobody listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// One that was free a moment ago, for a server with a fixed port or for nobody. It is not the address
/// that connects come from: a port that is closed could connect to itself.
///
/// # Panics
/// When there is no port left.
#[must_use]
pub fn free_address() -> SocketAddr {
    free_address_of(Ipv4Addr::new(127, 0, 0, 2))
}

/// The same of this host.
///
/// The port is bound, never listened on: a test beside this one starts a process, which has a copy of
/// every descriptor until it runs its program, and a listener's copy would take clients.
///
/// # Panics
/// When there is no port left.
#[must_use]
pub fn free_address_of(host: impl Into<IpAddr>) -> SocketAddr {
    let any = SocketAddr::new(host.into(), 0);
    let socket = Socket::new(Domain::for_address(any), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap(); // or such a copy would refuse the port to a listener
    socket.bind(&any.into()).unwrap();
    socket.local_addr().unwrap().as_socket().unwrap()
}
