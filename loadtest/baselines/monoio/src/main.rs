//! monoio echo on its io_uring driver: one thread, one task and one 4 KiB buffer per connection.
//! The buffer is the kernel's while it receives and while it sends.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

const BUFFER_SIZE: usize = 4096;
const SUBMISSIONS: u32 = 4096;

fn main() -> io::Result<()> {
    let listener = baseline_common::listener()?;
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(SUBMISSIONS)
        .build()?;
    runtime.block_on(serve(listener))
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(monoio::spawn(echo(stream))),
            // The driver with timers costs more per turn, and a server out of descriptors may as
            // well stand still.
            Err(_) => std::thread::sleep(baseline_common::ACCEPT_PAUSE),
        }
    }
}

/// A failed connection ends like a finished one: the client sees it and counts it.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    loop {
        let (length, received) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        let (sent, given_back) = stream.write_all(received).await;
        sent?;
        buffer = given_back;
    }
}
