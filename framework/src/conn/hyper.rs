//! The traits of hyper's runtime (`hyper::rt`). They copy, for hyper has buffers of its own.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::conn::connection::Conn;
use crate::conn::handle::Handle;

impl Handle {
    /// A drain does not end it while the peer speaks: hyper reads within a request, too.
    fn poll_fill(
        self,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut chunk) = ready!(self.poll_read_stream(context))? else {
            return Poll::Ready(Ok(()));
        };
        let head = chunk.split_to(chunk.len().min(buffer.remaining()));
        buffer.put_slice(&head);
        self.unread(chunk);
        Poll::Ready(Ok(()))
    }

    /// Waits for room for some of `slices`, and takes as many as there is room for then.
    fn poll_write_slices(
        self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut slices = slices.iter().filter(|slice| !slice.is_empty());
        let Some(first) = slices.next() else {
            return Poll::Ready(Ok(0));
        };
        let mut written = ready!(self.poll_write_some(context, first))?;
        let mut is_whole = written == first.len();
        while is_whole && let Some(slice) = slices.next() {
            let queued = self.queue(slice)?;
            written += queued;
            is_whole = queued == slice.len();
        }
        Poll::Ready(Ok(written))
    }
}

/// For [`serve`](crate::hyper::serve), and whatever else is built on hyper's traits.
impl Read for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.handle.poll_fill(context, buffer)
    }
}

/// What is written is queued, up to `limits.write_queue_max`, and goes out when the task waits: a
/// flush has nothing to wait for, as with a socket. `poll_shutdown` waits until the kernel has taken
/// everything, and sends our FIN.
impl Write for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.handle.poll_write_some(context, bytes);
        written.map_err(io::Error::from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.handle.poll_write_slices(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.poll_close(context).map_err(io::Error::from)
    }
}
