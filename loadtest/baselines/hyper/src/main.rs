//! HTTP by hyper on tokio: one thread, one task per connection. A GET says hello, the body of anything
//! else is that of its answer.

use std::convert::Infallible;
use std::io;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Body = Either<Full<Bytes>, Incoming>;

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
    // Answers to requests that were sent in one go leave in one go.
    let mut http = http1::Builder::new();
    http.pipeline_flush(true);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = http.serve_connection(TokioIo::new(stream), service_fn(answer));
                drop(tokio::spawn(served));
            }
            Err(_) => tokio::time::sleep(baseline_common::ACCEPT_PAUSE).await,
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.method() != Method::GET {
        return Ok(Response::new(Either::Right(request.into_body())));
    }
    let hello = Full::new(Bytes::from_static(b"hello\n"));
    let mut response = Response::new(Either::Left(hello));
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}
