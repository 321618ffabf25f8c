//! The operations of a connection: as polls, which its halves, frames and the futures-io traits
//! stand on, and as futures.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::conn::chunk::Chunk;
use crate::conn::output::Output;
use crate::error::{CloseReason, Error};
use crate::id::Key;
use crate::shard::conns::ConnMut;
use crate::shard::conns::interest::Interest;
use crate::shard::core::Core;
use crate::shard::handle::Shard;
use crate::shard::policy::request_timer::Reading;

/// The key of a connection of this thread's shard. Whoever has it sees to it that nobody reads, or
/// writes, twice at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) key: Key,
}

impl Handle {
    // ---- reading ----

    pub(crate) fn poll_read(self, context: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        self.poll_read_until(|conn| conn.input_is_over(), context)
    }

    /// As [`Self::poll_read`], for who passes on what comes: a drain does not end it while the peer
    /// speaks.
    pub(super) fn poll_read_stream(
        self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, Error>> {
        self.poll_read_until(|conn| conn.stream_is_over(), context)
    }

    fn poll_read_until(
        self,
        is_over: fn(&mut ConnMut<'_>) -> bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, Error>> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = self.open(&mut core)?;
            conn.read_on(Reading::Bytes);
            if conn.yields(context.waker()) {
                return Poll::Pending;
            }
            if let Some(buffer) = conn.pop_input() {
                shard.metrics.messages.add(1);
                return Poll::Ready(Ok(Some(Chunk::new(buffer))));
            }
            if is_over(&mut conn) {
                return Poll::Ready(Ok(None));
            }
            conn.wait(Interest::Input, context.waker());
            Poll::Pending
        })
    }

    /// What has come, for a reader that finds frames in it by itself; none as well where it is to
    /// wait, or is to be told why not.
    pub(crate) fn take_input(self) -> Option<Chunk> {
        let taken = self.with(|conn| conn.may_read_on(false).then(|| conn.pop_input()));
        taken.flatten().flatten().map(Chunk::new)
    }

    /// Whether such a reader may go on with a further frame of what it has taken.
    pub(crate) fn may_read_on(self) -> bool {
        self.with(|conn| conn.may_read_on(true)).unwrap_or(false)
    }

    /// Puts the unread rest of a chunk back.
    pub(crate) fn unread(self, rest: Chunk) {
        let buffer = rest.into_buffer();
        Shard::with(|shard| match shard.core().conns.get(self.key) {
            Some(mut conn) => conn.unpop_input(buffer),
            None => shard.buffers.release(buffer),
        });
    }

    // ---- writing ----

    pub(crate) fn poll_write(
        self,
        context: &mut Context<'_>,
        data: &mut Output<'_>,
    ) -> Poll<Result<(), Error>> {
        if data.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = self.find(&mut core)?;
            conn.set_writing(false);
            while !data.is_empty() {
                if let Some(error) = conn.output_refusal() {
                    return Poll::Ready(Err(error));
                }
                if !conn.has_room() {
                    conn.set_writing(true);
                    conn.wait(Interest::Space, context.waker());
                    return Poll::Pending;
                }
                match data {
                    // Longer than a buffer is what is shared, or was put together of several.
                    Output::Chunk(chunk) if chunk.len() > shard.buffers.size() as usize => {
                        let piece = chunk.split_to(chunk.len().min(conn.output_room()));
                        conn.push_output(piece.into_buffer());
                    }
                    Output::Chunk(chunk) => {
                        conn.push_output(std::mem::take(chunk).into_buffer());
                    }
                    Output::Shared(bytes) => match shard.buffers.share(Arc::clone(bytes)) {
                        Some(buffer) => *data = Output::Chunk(Chunk::new(buffer)),
                        None => return Poll::Ready(Err(Error::handler("4 GiB in one write"))),
                    },
                    Output::Slice(slice) => *slice = &slice[conn.collect_output(slice)..],
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Queues as many of `bytes` as there is room for, and gives how many.
    pub(super) fn queue(self, bytes: &[u8]) -> Result<usize, Error> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = self.find(&mut core)?;
            match conn.output_refusal() {
                Some(error) => Err(error),
                None if bytes.is_empty() || !conn.has_room() => Ok(0),
                None => Ok(conn.collect_output(bytes)),
            }
        })
    }

    /// As [`Self::poll_write`], and ends once there was room for some of `bytes`. Gives how many.
    pub(super) fn poll_write_some(
        self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = self.find(&mut core)?;
            if let Some(error) = conn.output_refusal() {
                return Poll::Ready(Err(error));
            }
            conn.set_writing(!conn.has_room());
            if !conn.has_room() {
                conn.wait(Interest::Space, context.waker());
                return Poll::Pending;
            }
            Poll::Ready(Ok(conn.collect_output(bytes)))
        })
    }

    pub(crate) fn poll_flush(self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = self.open(&mut core)?;
            if conn.is_flushed() {
                return Poll::Ready(Ok(()));
            }
            conn.wait(Interest::Flushed, context.waker());
            Poll::Pending
        })
    }

    /// Waits until the kernel has taken everything that was written, with the last words of a TLS
    /// session behind it if the connection has one, and sends our FIN.
    pub(crate) fn poll_close(self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.with(|conn| conn.end_session());
        ready!(self.poll_flush(context))?;
        self.with(|conn| conn.shutdown_write());
        Poll::Ready(Ok(()))
    }

    pub(crate) fn close(self) -> Close {
        Close {
            handle: self,
            pending: false,
        }
    }

    // ---- both ----

    /// The future that waited for `interest` was dropped.
    pub(crate) fn stop_waiting(self, interest: Interest) {
        self.try_with(|conn| conn.stop_waiting(interest));
    }

    /// The future that waited to write was dropped.
    pub(crate) fn stop_writing(self) {
        self.try_with(|conn| {
            conn.set_writing(false);
            conn.stop_waiting(Interest::Space);
        });
    }

    /// A future that waited for whatever of the connection was dropped.
    pub(crate) fn stop_all(self) {
        self.stop_waiting(Interest::Input);
        self.stop_waiting(Interest::Flushed);
        self.stop_writing();
    }

    pub(crate) fn fail(self, reason: CloseReason) {
        self.try_with(|conn| conn.fail(reason));
    }

    /// The `Conn` is gone, perhaps at the thread's very end.
    pub(super) fn drop_conn(self) {
        self.try_with(|conn| conn.on_conn_dropped());
    }

    /// The connection, if there still is one.
    pub(crate) fn with<R>(self, act: impl FnOnce(&mut ConnMut<'_>) -> R) -> Option<R> {
        Shard::with(|shard| shard.core().conns.get(self.key).as_mut().map(act))
    }

    /// The same, perhaps at the thread's very end.
    pub(crate) fn try_with(self, act: impl FnOnce(&mut ConnMut<'_>)) {
        Shard::try_with(|shard| shard.core().conns.get(self.key).as_mut().map(act));
    }

    fn find(self, core: &mut Core) -> Result<ConnMut<'_>, Error> {
        let gone = Error::Closed(CloseReason::HandlerClosed);
        core.conns.get(self.key).ok_or(gone)
    }

    /// The connection, unless it can go on no more.
    pub(super) fn open(self, core: &mut Core) -> Result<ConnMut<'_>, Error> {
        let conn = self.find(core)?;
        match conn.failure() {
            None => Ok(conn),
            Some(reason) => Err(Error::Closed(reason)),
        }
    }
}

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
            self.handle.stop_writing();
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

/// [`Handle::poll_close`] as a future, which may be dropped half-way.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Close {
    handle: Handle,
    pending: bool,
}

impl Future for Close {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.handle.poll_close(context);
        self.pending = poll.is_pending();
        poll
    }
}

impl Drop for Close {
    fn drop(&mut self) {
        if self.pending {
            self.handle.stop_waiting(Interest::Flushed);
        }
    }
}
