//! What every baseline server does alike: `NAME ADDR:PORT [CPU|any]` on the command line, its core,
//! its descriptors, its listener. What sets the servers apart is all that is left in their own files.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use std::{env, io};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

const BACKLOG: i32 = 65535;
/// Instead of a core, for a server of several threads.
const ANY_CORE: &str = "any";

/// Pause when accept fails for want of descriptors or memory: the queue is still full, so retrying
/// at once would spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A blocking listener on the address of the command line, announced; this thread is on its core
/// from here on.
pub fn listener() -> io::Result<TcpListener> {
    let listener = listen(prepare()?)?;
    announce(listener.local_addr()?);
    Ok(listener)
}

/// A blocking listener.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?; // inherited by the accepted sockets
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// For a library that makes its own listener: pin the thread, raise the descriptor limit, tell the
/// address to bind.
pub fn prepare() -> io::Result<SocketAddr> {
    let (addr, core) = parse(env::args()).map_err(io::Error::other)?;
    core.map_or(Ok(()), pin)?;
    descriptors_raise()?;
    Ok(addr)
}

/// How many descriptors, direct ones included, this process may have.
pub fn descriptors_max() -> u32 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// Tell whoever started this server that it listens, and where.
pub fn announce(addr: SocketAddr) {
    println!("listening {addr}");
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<(SocketAddr, Option<usize>), String> {
    let name = args.next().unwrap_or_default();
    let addr = args
        .next()
        .ok_or_else(|| format!("usage: {name} ADDR:PORT [CPU|any]"))?;
    let addr = addr
        .parse()
        .map_err(|_| format!("{addr:?} is not ADDR:PORT, such as 127.0.0.1:7007"))?;
    let core = args.next().filter(|core| core != ANY_CORE).map(|core| {
        core.parse()
            .map_err(|_| format!("{core:?} is not the number of a core"))
    });
    Ok((addr, core.transpose()?))
}

/// Puts this thread on a core.
pub fn pin(id: usize) -> io::Result<()> {
    if core_affinity::set_for_current(core_affinity::CoreId { id }) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "core {id} is not available to this process"
    )))
}

fn descriptors_raise() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(args: &[&str]) -> Result<(SocketAddr, Option<usize>), String> {
        parse(args.iter().map(ToString::to_string))
    }

    #[test]
    fn an_address_and_perhaps_a_core_are_taken_and_nothing_else() {
        let addr = "127.0.0.1:7007".parse().unwrap();
        assert_eq!(parsed(&["name", "127.0.0.1:7007"]), Ok((addr, None)));
        assert_eq!(
            parsed(&["name", "127.0.0.1:7007", "1"]),
            Ok((addr, Some(1)))
        );
        assert_eq!(parsed(&["name", "127.0.0.1:7007", "any"]), Ok((addr, None)));
        assert!(
            parsed(&["name"])
                .unwrap_err()
                .contains("usage: name ADDR:PORT")
        );
        parsed(&["name", "7007"]).unwrap_err();
        parsed(&["name", "127.0.0.1:7007", "first"]).unwrap_err();
    }
}
