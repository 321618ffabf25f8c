//! The futures of a connection's operations.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::conn::chunk::Chunk;
use crate::conn::handle::Handle;
use crate::conn::output::Output;
use crate::error::Error;
use crate::shard::conns::interest::Interest;

/// The future of [`Conn::read`](crate::Conn::read).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Read<'a> {
    handle: Handle,
    pending: bool,
    borrow: PhantomData<&'a mut Handle>,
}

impl Read<'_> {
    pub(super) fn of(handle: Handle) -> Self {
        Self {
            handle,
            pending: false,
            borrow: PhantomData,
        }
    }
}

impl Future for Read<'_> {
    type Output = Result<Option<Chunk>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.handle.poll_read(context);
        self.pending = poll.is_pending();
        poll
    }
}

impl Drop for Read<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.handle.stop_waiting(Interest::Input);
        }
    }
}

/// The future of [`Conn::write`](crate::Conn::write).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Write<'a> {
    handle: Handle,
    /// What is not queued yet: empty once it has ended well.
    data: Output<'a>,
    borrow: PhantomData<&'a mut Handle>,
}

impl<'a> Write<'a> {
    pub(super) fn of(handle: Handle, data: Output<'a>) -> Self {
        Self {
            handle,
            data,
            borrow: PhantomData,
        }
    }
}

impl Future for Write<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let write = &mut *self;
        write.handle.poll_write(context, &mut write.data)
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.data.is_empty() {
            self.handle.stop_waiting(Interest::Space);
        }
    }
}

/// The future of [`Conn::flush`](crate::Conn::flush).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Flush<'a> {
    handle: Handle,
    pending: bool,
    borrow: PhantomData<&'a mut Handle>,
}

impl Flush<'_> {
    pub(super) fn of(handle: Handle) -> Self {
        Self {
            handle,
            pending: false,
            borrow: PhantomData,
        }
    }
}

impl Future for Flush<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.handle.poll_flush(context);
        self.pending = poll.is_pending();
        poll
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.handle.stop_waiting(Interest::Flushed);
        }
    }
}
