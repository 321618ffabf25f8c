//! The handler of ten lines on tokio's current-thread runtime: `push_tokio ADDR:PORT [CPU]`.

use std::io;

use async_channel::{Receiver, RecvError};
use futures_lite::future::or;
use push::{Message, Request, messages};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BUFFER_SIZE: usize = 4096;

enum Event {
    Peer(usize),
    Pushed(Result<Message, RecvError>),
}

fn main() -> io::Result<()> {
    let listener = baseline_common::listener()?;
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(accept(listener))
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
            Err(_) => tokio::time::sleep(baseline_common::ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER_SIZE];
    let mut length = stream.read(&mut buffer).await?;
    if let Request::Push { interval, core } = Request::of(&buffer[..length]) {
        return Box::pin(push(stream, messages(interval, core))).await;
    }
    while length > 0 {
        stream.write_all(&buffer[..length]).await?;
        length = stream.read(&mut buffer).await?;
    }
    Ok(())
}

async fn push(mut stream: TcpStream, channel: Receiver<Message>) -> io::Result<()> {
    let mut buffer = [0; BUFFER_SIZE];
    loop {
        match or(
            async { stream.read(&mut buffer).await.map(Event::Peer) },
            async { Ok(Event::Pushed(channel.recv().await)) },
        )
        .await?
        {
            Event::Peer(0) | Event::Pushed(Err(_)) => return Ok(()),
            Event::Peer(length) => stream.write_all(&buffer[..length]).await?,
            Event::Pushed(Ok(message)) => stream.write_all(&message.to_bytes()).await?,
        }
    }
}
