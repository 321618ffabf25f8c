//! Whether an address can be listened on by us alone.
//!
//! The shards share their port (SO_REUSEPORT), so a second copy of the server would bind it in
//! silence and take half of the clients. Only a socket that does not share finds out. Asked here,
//! before anything is started, so that it is told with whatever else is wrong; who comes between
//! this and our own listeners meets the first of them, which does not share either
//! ([`crate::net::listen`]).

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::config::{Endpoint, ListenerSettings};
use crate::net::endpoint::bind_file;
use crate::net::listen::{backlog, set_families, while_in_use};
use crate::preflight::admin;
use crate::preflight::problem::Problem;

/// Bind the listener's address, alone, and let go of it again.
pub(super) fn probe(listener: &ListenerSettings) -> io::Result<()> {
    match &listener.bind.listen {
        Endpoint::Tcp(address) => probe_tcp(*address, listener.bind.v6_only),
        Endpoint::Unix(path) => {
            bind_file(path, listener.bind.mode, backlog(listener))?;
            Ok(())
        }
    }
}

fn probe_tcp(address: SocketAddr, v6_only: bool) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(()); // the kernel chooses one that is free
    }
    while_in_use(|| bind(address, v6_only))
}

/// SO_REUSEADDR looks past connections in TIME_WAIT, but not past a listener (socket(7)). Bound is
/// enough to know: were we to listen, a client could connect to this socket, and would be reset.
fn bind(address: SocketAddr, v6_only: bool) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    set_families(&socket, address, v6_only)?;
    socket.bind(&address.into())
}

/// Why the listener cannot listen where the settings say: found by the probe, or by the listener
/// itself.
pub(crate) fn problem(listener: &ListenerSettings, error: &io::Error) -> Problem {
    let key = listener.key("listen");
    match &listener.bind.listen {
        Endpoint::Tcp(address) => tcp_problem(&key, *address, error),
        endpoint @ Endpoint::Unix(_) => admin::problem(&key, endpoint, error),
    }
}

/// Why `address`, which stands at `key`, cannot be listened on.
fn tcp_problem(key: &str, address: SocketAddr, error: &io::Error) -> Problem {
    let port = address.port();
    let what = format!("cannot listen on {address}");
    match error.kind() {
        io::ErrorKind::AddrInUse => Problem::new(
            what,
            "another program or another copy of this one does",
            format!(
                "stop it (`ss -ltnp 'sport = :{port}'` names it), or choose another port in {key}"
            ),
        ),
        io::ErrorKind::PermissionDenied => Problem::new(
            what,
            format!("port {port} needs the capability CAP_NET_BIND_SERVICE"),
            "choose a port from 1024 up, run `setcap cap_net_bind_service=+ep` on the program, or set \
             AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit",
        ),
        io::ErrorKind::AddrNotAvailable => Problem::new(
            what,
            "no interface of this machine has that address",
            format!("choose one that `ip address` lists, or \"0.0.0.0:{port}\" for all, in {key}"),
        ),
        _ => Problem::new(
            what,
            format!("the kernel says: {error}"),
            format!("choose another address in {key}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn listener(reuse_port: bool) -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(reuse_port).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(1).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn a_listener_is_found_even_if_it_would_share() {
        for reuse_port in [false, true] {
            let (_open, address) = listener(reuse_port);
            let error = probe_tcp(address, false).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::AddrInUse,
                "reuse_port {reuse_port}"
            );
        }
    }

    #[test]
    fn a_listener_on_every_interface_is_found_on_one() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into())
            .unwrap();
        socket.listen(1).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        assert_eq!(
            bind(([127, 0, 0, 1], port).into(), false)
                .unwrap_err()
                .kind(),
            io::ErrorKind::AddrInUse
        );
    }

    #[test]
    fn a_port_whose_listener_is_gone_is_free() {
        let (open, address) = listener(true);
        drop(open);
        probe_tcp(address, false).unwrap();
    }

    #[test]
    fn connections_in_time_wait_do_not_hold_the_port() {
        let (open, address) = listener(true);
        let client = std::net::TcpStream::connect(address).unwrap();
        drop(open.accept().unwrap()); // we close first, so the port's side waits
        drop(client);
        drop(open);
        probe_tcp(address, false).unwrap();
    }

    #[test]
    fn the_probe_leaves_nothing_behind() {
        let (open, address) = listener(true);
        drop(open);
        probe_tcp(address, false).unwrap();
        probe_tcp(address, false).unwrap();
        probe_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_named_as_such() {
        let address = SocketAddr::from(([192, 0, 2, 1], 7007)); // TEST-NET-1, RFC 5737
        let error = probe_tcp(address, false).unwrap_err();
        let problem = tcp_problem("server.listen", address, &error).to_string();
        let start = "cannot listen on 192.0.2.1:7007, no interface of this machine has that address: choose";
        assert!(problem.starts_with(start), "{problem}");
    }
}
