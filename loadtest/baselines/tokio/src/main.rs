//! tokio echo: one thread, one task and one 4 KiB buffer per connection. `baseline_tokio ADDR:PORT [CPU]`.

use std::net::SocketAddr;
use std::time::Duration;
use std::{env, io};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const BUFFER_SIZE: usize = 4096;
const BACKLOG: u32 = 65535;
/// Pause when accept fails for want of descriptors or memory: the queue is still full, so retrying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let addr: SocketAddr =
        (args.next().and_then(|a| a.parse().ok())).ok_or_else(|| io::Error::other("usage: baseline_tokio ADDR:PORT [CPU]"))?;
    if let Some(cpu) = args.next() {
        pin(&cpu)?;
    }
    nofile_raise()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(addr))
}

async fn serve(addr: SocketAddr) -> io::Result<()> {
    let listener = listen(addr)?;
    println!("listening {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(echo(stream))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// A failed connection ends like a finished one: the client sees it and counts it.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER_SIZE];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}

/// Nodelay is set once on the listener; the accepted sockets inherit it.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn pin(cpu: &str) -> io::Result<()> {
    let id = cpu.parse().map_err(io::Error::other)?;
    if core_affinity::set_for_current(core_affinity::CoreId { id }) {
        return Ok(());
    }
    Err(io::Error::other(format!("core {id} is not available to this process")))
}

fn nofile_raise() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
