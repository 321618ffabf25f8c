//! A TCP proxy on tokio: one thread, a task for each connection, `copy_bidirectional` with its own
//! buffers of 8 KiB. `baseline_tokio_proxy ADDR:PORT CPU UPSTREAM:PORT`.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let upstream = std::env::args()
        .nth(3)
        .and_then(|upstream| upstream.parse().ok());
    let upstream = upstream.ok_or_else(|| {
        io::Error::other("usage: baseline_tokio_proxy ADDR:PORT CPU UPSTREAM:PORT")
    })?;
    let listener = baseline_common::listener()?;
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(listener, upstream))
}

async fn serve(listener: std::net::TcpListener, upstream: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(pass_on(stream, upstream))),
            Err(_) => tokio::time::sleep(baseline_common::ACCEPT_PAUSE).await,
        }
    }
}

async fn pass_on(mut stream: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut stream, &mut upstream).await?;
    Ok(())
}
