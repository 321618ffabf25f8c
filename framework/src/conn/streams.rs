//! The futures-io traits, for libraries that speak them. They copy; [`Conn::read`] and [`Conn::write`] do not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::Conn;
use crate::shard::{Shard, Waiting};

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(mut chunk) = ready!(Conn::poll_read(&mut self, context))? else { return Poll::Ready(Ok(0)) };
        let head = chunk.split_to(chunk.len().min(buffer.len()));
        buffer[..head.len()].copy_from_slice(&head);
        Shard::with(|shard| shard.state().unpop_input(self.key, chunk.into_span()));
        Poll::Ready(Ok(head.len()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Shard::with(|shard| {
            let mut state = shard.state();
            if let Some(error) = state.output_refusal(self.key) {
                return Poll::Ready(Err(error.into()));
            }
            if !state.has_room(self.key) {
                state.wait(self.key, Waiting::Space, context.waker());
                return Poll::Pending;
            }
            Poll::Ready(Ok(state.collect_output(self.key, buffer)))
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_flush(&mut self, context).map_err(io::Error::from)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Conn::poll_flush(&mut self, context))?;
        Shard::with(|shard| shard.state().close_output(self.key));
        Poll::Ready(Ok(()))
    }
}
