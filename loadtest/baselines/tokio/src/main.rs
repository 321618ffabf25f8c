//! tokio echo: one thread, one task and one 4 KiB buffer per connection.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BUFFER_SIZE: usize = 4096;

fn main() -> io::Result<()> {
    let listener = baseline_common::listener()?;
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(listener))
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(echo(stream))),
            Err(_) => tokio::time::sleep(baseline_common::ACCEPT_PAUSE).await,
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
