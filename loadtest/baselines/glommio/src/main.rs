//! glommio echo on its own sockets: one thread, one task and one 4 KiB buffer per connection.

use std::io;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{GlommioError, LocalExecutorBuilder, Placement};

const BUFFER_SIZE: usize = 4096;
const RING_DEPTH: usize = 4096;

fn main() -> io::Result<()> {
    let addr = baseline_common::prepare()?;
    // Unbound: on this thread, which is on its core already.
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(RING_DEPTH)
        .make()?;
    Ok(executor.run(serve(addr))?)
}

/// The listener is glommio's, for it takes no ready-made one; its backlog of 1024 is enough for the
/// load tester.
async fn serve(addr: std::net::SocketAddr) -> Result<(), GlommioError<()>> {
    let listener = TcpListener::bind(addr)?;
    baseline_common::announce(listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok(stream) => drop(glommio::spawn_local(echo(stream)).detach()),
            Err(_) => glommio::timer::sleep(baseline_common::ACCEPT_PAUSE).await,
        }
    }
}

/// A failed connection ends like a finished one: the client sees it and counts it.
async fn echo(mut stream: TcpStream) -> Result<(), GlommioError<()>> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER_SIZE];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}
