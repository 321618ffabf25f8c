//! The futures-io traits, for libraries that speak them. They copy; [`Conn::read`] and
//! [`Conn::write`] do not.
//!
//! What a library polls and then drops goes on waiting until its event comes, for the traits know
//! no dropping: it wakes its task once for nothing, and the deadlines of a read run on until the
//! task is polled next.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::conn::connection::Conn;
use crate::conn::handle::Handle;
use crate::conn::split::{ReadHalf, WriteHalf};

impl Handle {
    fn poll_read_into(
        self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(mut chunk) = ready!(self.poll_read(context))? else {
            return Poll::Ready(Ok(0));
        };
        let head = chunk.split_to(chunk.len().min(buffer.len()));
        buffer[..head.len()].copy_from_slice(&head);
        self.unread(chunk);
        Poll::Ready(Ok(head.len()))
    }
}

/// Each of the traits, for what has a handle.
macro_rules! streams {
    (read: $($reader:ty),*; write: $($writer:ty),*) => {
        $(impl AsyncRead for $reader {
            fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                self.handle.poll_read_into(context, buffer)
            }
        })*
        $(impl AsyncWrite for $writer {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
                self.handle.poll_write_some(context, buffer).map_err(io::Error::from)
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.handle.poll_flush(context).map_err(io::Error::from)
            }

            fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.handle.poll_close(context).map_err(io::Error::from)
            }
        })*
    };
}

streams!(read: Conn, ReadHalf<'_>; write: Conn, WriteHalf<'_>);
