//! Listeners: one per shard on the same address (SO_REUSEPORT, socket(7)), with the options that
//! accepted sockets inherit (tcp(7)).
//!
//! The first shares its port only once it listens: until then the kernel refuses it beside any
//! other listener, one that shares included. So of two servers that start at the same instant one
//! is refused, where otherwise both would listen and each take half of the clients.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::config::{self, ListenerSettings};

/// An address in use is asked for again, for half a second in all: a killed process's ring may hold
/// its port for some milliseconds after the process is gone, and a listener that is about to be
/// refused stands in the way of others for an instant.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);
/// The state of a socket that listens (TCP_LISTEN), as the table of sockets writes it.
const LISTENING: &str = "0A";

/// `count` sockets that listen on `address`, with the options of `settings`. With port 0 the kernel
/// chooses one port, and all of them share it.
pub(crate) fn listen(
    settings: &ListenerSettings,
    address: SocketAddr,
    count: usize,
) -> io::Result<(Vec<OwnedFd>, SocketAddr)> {
    let first = while_in_use(|| bind(settings, address, false))?;
    SockRef::from(&first).set_reuse_port(true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first.into()];
    for _ in 1..count {
        let next = while_in_use(|| bind(settings, address, true))?;
        listeners.push(next.into());
    }
    Ok((listeners, address))
}

/// Tries again while the address is in use.
pub(crate) fn while_in_use<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(PAUSE),
            outcome => return outcome,
        }
    }
    bind()
}

/// One listener; it lets others onto its port if it `shares`.
pub(crate) fn bind(
    settings: &ListenerSettings,
    address: SocketAddr,
    shares: bool,
) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares)?;
    set_families(&socket, address, settings.bind.v6_only)?;
    set_options(SockRef::from(&socket), &settings.socket)?;
    socket.bind(&address.into())?;
    socket.listen(backlog(settings))?;
    Ok(socket.into())
}

/// Of a shard's queue in the kernel.
pub(crate) fn backlog(settings: &ListenerSettings) -> i32 {
    i32::try_from(settings.queue.backlog).unwrap_or(i32::MAX)
}

/// `[::]` stands for every address, those of IPv4 included unless it is for `v6_only`, whatever sysctl
/// net.ipv6.bindv6only says.
pub(crate) fn set_families(socket: &Socket, address: SocketAddr, v6_only: bool) -> io::Result<()> {
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)
    } else {
        Ok(())
    }
}

/// The options of the settings. Linux copies them from a listener to every socket it accepts: no
/// system call per connection.
pub(crate) fn set_options(socket: SockRef<'_>, settings: &config::Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(settings.nodelay)?;
    if let Some(keepalive) = settings.keepalive() {
        let keepalive = TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.count);
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

/// Clients that wait in the queues of the listeners on `address`, this server's or others':
/// connected, and not accepted yet.
pub(crate) fn queued(address: SocketAddr) -> Option<u64> {
    let (table, address) = (
        if address.is_ipv4() { "tcp" } else { "tcp6" },
        in_table(address),
    );
    let own = listening(table)
        .ok()?
        .filter(|(local, _)| *local == address);
    own.map(|(_, queue)| queue).sum()
}

/// The listeners of a table of sockets, `tcp` or `tcp6`: the address of each as [`in_table`] has it,
/// and the length of its queue, if that can be read.
///
/// The kernel's table has the listeners first, and of each the length of its queue in the column
/// `rx_queue` (proc(5), /proc/net/tcp); its other lines are not looked at, however many connections
/// there are.
///
/// # Errors
///
/// Where /proc is hidden.
pub(crate) fn listening(table: &str) -> io::Result<impl Iterator<Item = (String, Option<u64>)>> {
    let lines = BufReader::new(File::open(format!("/proc/self/net/{table}"))?).lines();
    Ok(lines.skip(1).map_while(|line| {
        let line = line.ok()?;
        let mut fields = line.split_whitespace().skip(1);
        let (local, state, queues) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let queue = queues.split_once(':').map(|(_, queue)| queue);
        let queue = queue.and_then(|queue| u64::from_str_radix(queue, 16).ok());
        (state == LISTENING).then(|| (local.to_owned(), queue))
    }))
}

/// An address as that table has it: words of four bytes as the machine reads them, then the port,
/// in hexadecimal digits.
fn in_table(address: SocketAddr) -> String {
    let words = match address.ip() {
        IpAddr::V4(ip) => vec![u32::from_ne_bytes(ip.octets())],
        IpAddr::V6(ip) => ip
            .octets()
            .as_chunks()
            .0
            .iter()
            .map(|word| u32::from_ne_bytes(*word))
            .collect(),
    };
    let words: String = words
        .into_iter()
        .map(|word| format!("{word:08X}"))
        .collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;

    fn only(config: &Config) -> ListenerSettings {
        config.listeners().remove(0)
    }

    #[test]
    fn accepted_sockets_have_the_options_of_the_settings() {
        let mut config = Config::default();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let second = Duration::from_secs(1);
        config.socket.keepalive = true;
        config.socket.keepalive_idle = 7 * second;
        config.socket.keepalive_interval = 5 * second;
        config.socket.keepalive_count = 3;
        config.socket.user_timeout = Some(9 * second);
        (config.socket.receive_buffer, config.socket.send_buffer) = (Some(16_384), Some(32_768));
        let (mut listeners, address) = listen(&only(&config), any_port, 1).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let listener = TcpListener::from(listeners.remove(0));
        let accepted = Socket::from(listener.accept().unwrap().0);
        // The kernel doubles what was asked for, for its own needs (socket(7)).
        assert_eq!(
            (
                accepted.recv_buffer_size().unwrap(),
                accepted.send_buffer_size().unwrap()
            ),
            (2 * 16_384, 2 * 32_768)
        );
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        let keepalive = (
            accepted.tcp_keepalive_time(),
            accepted.tcp_keepalive_interval(),
            accepted.tcp_keepalive_retries(),
        );
        assert_eq!(
            (
                keepalive.0.unwrap(),
                keepalive.1.unwrap(),
                keepalive.2.unwrap()
            ),
            (7 * second, 5 * second, 3)
        );
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(9 * second));
    }

    #[test]
    fn those_who_wait_to_be_accepted_are_counted_over_all_listeners() {
        for ip in ["127.0.0.1", "::1"] {
            let any_port = SocketAddr::new(ip.parse().unwrap(), 0);
            if ip == "::1" && TcpListener::bind(any_port).is_err() {
                continue; // a machine without IPv6
            }
            let (listeners, address) = listen(&only(&Config::default()), any_port, 2).unwrap();
            assert_eq!(queued(address), Some(0));
            let mut open = Vec::new();
            let clients = [(); 40].map(|()| TcpStream::connect(address).unwrap());
            assert_eq!(queued(address), Some(clients.len() as u64));
            for listener in listeners {
                let listener = TcpListener::from(listener);
                listener.set_nonblocking(true).unwrap();
                while listener.accept().is_ok() {}
                open.push(listener);
            }
            assert_eq!(
                queued(address),
                Some(0),
                "with connections and none that waits"
            );
        }
    }
}
