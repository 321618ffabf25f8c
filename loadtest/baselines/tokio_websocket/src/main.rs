//! WebSocket echo by fastwebsockets on tokio and hyper: one thread, one task per connection.

use std::io;

use fastwebsockets::{Frame, OpCode, WebSocketError, upgrade};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

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
            Ok((stream, _)) => drop(tokio::spawn(shake_hands(stream))),
            Err(_) => tokio::time::sleep(baseline_common::ACCEPT_PAUSE).await,
        }
    }
}

async fn shake_hands(stream: TcpStream) {
    let http = http1::Builder::new();
    let served = http.serve_connection(TokioIo::new(stream), service_fn(upgraded));
    drop(served.with_upgrades().await);
}

async fn upgraded(
    mut request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, socket) = upgrade::upgrade(&mut request)?;
    tokio::spawn(echo(socket));
    Ok(response)
}

/// A failed connection ends like a finished one: the client sees it and counts it.
async fn echo(socket: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = socket.await?;
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                // The frame that came knows its key: sent as it is, it would be masked.
                let echoed = Frame::new(frame.fin, frame.opcode, None, frame.payload);
                socket.write_frame(echoed).await?;
            }
            _ => {}
        }
    }
}
