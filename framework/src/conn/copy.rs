//! Passing everything on between two connections, as a proxy does.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::future::try_zip;

use crate::conn::chunk::Chunk;
use crate::conn::connection::Conn;
use crate::conn::handle::Handle;
use crate::conn::split::{ReadHalf, WriteHalf};
use crate::error::Error;
use crate::shard::conns::interest::Interest;

/// Copies each connection's input to the other until both have ended, and gives the bytes from `a`
/// to `b` and from `b` to `a`.
///
/// What was received is sent from where it lies. A peer that ends its side has that passed on to
/// the other, and may still be answered: a half-close (shutdown(2)). A side that takes nothing is
/// not read for, up to `limits.write_queue_max` of each. When the server drains, it goes on until
/// neither side has said anything for `timeouts.drain_quiet`; that is taken for the end of the
/// accepted side.
///
/// ```
/// use corelane::{Conn, Connector, Error, Handler, copy_bidirectional};
///
/// /// A TCP proxy. `limits.outbound_per_shard_max` bounds what it opens.
/// struct Proxy(std::net::SocketAddr);
///
/// impl Handler for Proxy {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         let mut upstream = Connector::new().connect(self.0).await?;
///         copy_bidirectional(conn, &mut upstream).await?;
///         Ok(())
///     }
/// }
/// ```
///
/// A proxy of bulk wants larger receive buffers than the default: `buffers.profile = "medium"`.
///
/// Dropped half-way it leaves both connections as they are: what was read is queued for the other,
/// or unread.
///
/// # Errors
///
/// [`Error::Closed`] when either connection has failed. The other is aborted then
/// ([`Conn::abort`]): its peer must not take half of a stream for the whole.
pub async fn copy_bidirectional(a: &mut Conn, b: &mut Conn) -> Result<(u64, u64), Error> {
    let outcome = {
        let ((mut from_a, mut to_a), (mut from_b, mut to_b)) = (a.split(), b.split());
        try_zip(copy(&mut from_a, &mut to_b), copy(&mut from_b, &mut to_a)).await
    };
    if outcome.is_err() {
        a.abort();
        b.abort();
    }
    outcome
}

/// Copies until the end of `from`, and ends `to`.
async fn copy(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Result<u64, Error> {
    let mut copied = 0;
    while let Some(chunk) = ReadStream(from.handle).await? {
        copied += chunk.len() as u64;
        to.write(chunk).await?;
    }
    to.close().await?;
    Ok(copied)
}

/// The next of what comes, where a drain does not end it while the peer speaks.
struct ReadStream(Handle);

impl Future for ReadStream {
    type Output = Result<Option<Chunk>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_read_stream(context)
    }
}

impl Drop for ReadStream {
    fn drop(&mut self) {
        self.0.stop_waiting(Interest::Input);
    }
}
