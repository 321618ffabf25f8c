//! Listeners: one per shard on the same address (SO_REUSEPORT, socket(7)), with the options that accepted sockets inherit (tcp(7)).

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::config::Config;

/// `count` listeners on the address of the settings. With port 0 the kernel chooses one port, and all of them share it.
pub(crate) fn listen(config: &Config, count: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let first = bind(config, config.server.listen)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind(config, address)?);
    }
    Ok((listeners, address))
}

fn bind(config: &Config, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    set_options(&socket, config)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(config.listener.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// The options of the settings. Linux copies them from a listener to every socket it accepts: no system call per connection.
pub(crate) fn set_options(socket: &Socket, config: &Config) -> io::Result<()> {
    let settings = &config.socket;
    socket.set_tcp_nodelay(settings.nodelay)?;
    if let Some(keepalive) = &settings.keepalive {
        let keepalive = TcpKeepalive::new().with_time(keepalive.idle).with_interval(keepalive.interval).with_retries(keepalive.count);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if let Some(timeout) = settings.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    if let Some(size) = settings.receive_buffer {
        socket.set_recv_buffer_size(size as usize)?;
    }
    if let Some(size) = settings.send_buffer {
        socket.set_send_buffer_size(size as usize)?;
    }
    Ok(())
}
