//! Frames: the unread bytes, contiguous, offered to a parser until it has a frame of them.

use std::borrow::Borrow;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::codec::{Codec, Fixed, Lines, Payload};
use crate::conn::chunk::Chunk;
use crate::conn::handle::Handle;
use crate::error::Error;
use crate::shard::conns::ConnMut;
use crate::shard::conns::interest::Interest;
use crate::shard::handle::Shard;
use crate::shard::policy::request_timer::Reading;
use crate::step::Step;

/// No frame is longer, whatever its reader allows: the lengths of buffers have 32 bits, and the one
/// that a frame is gathered in grows by doubling.
const FRAME_MAX: usize = 1 << 30;

/// A frame that was read. One with a [`Payload`] is a slice of that.
///
/// It borrows nothing: what was received lies where the kernel has put it until the frame is
/// dropped.
#[derive(Debug)]
pub struct Frame<T> {
    /// What the parser made of it.
    pub value: T,
    /// Its bytes, exactly.
    pub bytes: Chunk,
}

impl Frame<Payload> {
    /// The payload alone, still where it lies: to be kept, or sent on.
    pub fn into_payload(self) -> Chunk {
        let (range, mut payload) = (self.value.range(), self.bytes);
        payload.truncate(range.end);
        payload.split_to(range.start);
        payload
    }
}

impl Deref for Frame<Payload> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.value.range()]
    }
}

impl Borrow<[u8]> for Frame<Payload> {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl AsRef<[u8]> for Frame<Payload> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The future of [`Conn::read_frame`](crate::Conn::read_frame).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct ReadFrame<'a, T, P> {
    handle: Handle,
    frame_max: usize,
    parse: P,
    pending: bool,
    value: PhantomData<fn() -> T>,
    borrow: PhantomData<&'a mut Handle>,
}

impl<T, P> ReadFrame<'_, T, P> {
    pub(super) fn of(handle: Handle, frame_max: usize, parse: P) -> Self {
        Self {
            handle,
            frame_max,
            parse,
            pending: false,
            value: PhantomData,
            borrow: PhantomData,
        }
    }
}

// Nothing in it is pinned.
impl<T, P> Unpin for ReadFrame<'_, T, P> {}

impl<T, P: FnMut(&[u8]) -> Step<T>> Future for ReadFrame<'_, T, P> {
    type Output = Result<Option<Frame<T>>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let read = &mut *self;
        let poll = read
            .handle
            .poll_frame(context, Reads::Next, read.frame_max, &mut read.parse);
        read.pending = poll.is_pending();
        poll
    }
}

impl<T, P> Drop for ReadFrame<'_, T, P> {
    fn drop(&mut self) {
        if self.pending {
            self.handle.stop_waiting(Interest::Input);
        }
    }
}

/// The future of [`Conn::read_line`](crate::Conn::read_line).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct ReadLine<'a> {
    handle: Handle,
    lines: Lines,
    pending: bool,
    borrow: PhantomData<&'a mut Handle>,
}

impl ReadLine<'_> {
    pub(super) fn of(handle: Handle, line_max: usize) -> Self {
        Self {
            handle,
            lines: Lines::new(line_max),
            pending: false,
            borrow: PhantomData,
        }
    }
}

impl Future for ReadLine<'_> {
    type Output = Result<Option<Chunk>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let read = &mut *self;
        let poll = read
            .handle
            .poll_decoded(context, Reads::Next, &mut read.lines);
        read.pending = poll.is_pending();
        poll.map_ok(|line| line.map(Frame::into_payload))
    }
}

impl Drop for ReadLine<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.handle.stop_waiting(Interest::Input);
        }
    }
}

/// As [`Conn::read_exact`](crate::Conn::read_exact).
pub(super) async fn read_exact(handle: Handle, length: usize) -> Result<Option<Chunk>, Error> {
    if length == 0 {
        return Ok(Some(Chunk::empty()));
    }
    let mut fixed = Fixed::new(length);
    let parse = move |unread: &[u8]| fixed.decode(unread);
    let frame = ReadFrame::of(handle, length, parse).await?;
    Ok(frame.map(|frame| frame.bytes))
}

/// What a handler reads a frame for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// It is done with the one before.
    Next,
    /// It has others in hand. It does not wait for the peer alone: none of the peer's deadlines
    /// runs, and the request in hand goes on.
    Ahead,
}

impl Handle {
    /// Waits for a frame of `codec`.
    pub(super) fn poll_decoded<C: Codec>(
        self,
        context: &mut Context<'_>,
        reads: Reads,
        codec: &mut C,
    ) -> Poll<Result<Option<Frame<C::In>>, Error>> {
        let frame_max = codec.frame_max();
        self.poll_frame(context, reads, frame_max, &mut |unread| {
            codec.decode(unread)
        })
    }

    /// Waits for a frame that is a message to the handler.
    fn poll_frame<T>(
        self,
        context: &mut Context<'_>,
        reads: Reads,
        frame_max: usize,
        parse: &mut impl FnMut(&[u8]) -> Step<T>,
    ) -> Poll<Result<Option<Frame<T>>, Error>> {
        let poll = self.poll_parsed_as(context, reads, frame_max, parse);
        if let Poll::Ready(Ok(Some(_))) = poll {
            Shard::with(|shard| shard.metrics.messages.add(1));
        }
        poll
    }

    /// Waits for what `parse` finds whole.
    pub(crate) fn poll_parsed<T>(
        self,
        context: &mut Context<'_>,
        frame_max: usize,
        parse: &mut impl FnMut(&[u8]) -> Step<T>,
    ) -> Poll<Result<Option<Frame<T>>, Error>> {
        self.poll_parsed_as(context, Reads::Next, frame_max, parse)
    }

    fn poll_parsed_as<T>(
        self,
        context: &mut Context<'_>,
        reads: Reads,
        frame_max: usize,
        parse: &mut impl FnMut(&[u8]) -> Step<T>,
    ) -> Poll<Result<Option<Frame<T>>, Error>> {
        let frame_max = frame_max.min(FRAME_MAX);
        loop {
            let mut unread = match self.take_unread(context, reads)? {
                Poll::Ready(Some(unread)) => unread,
                Poll::Ready(None) => return self.poll_first_byte(context, reads),
                Poll::Pending => return Poll::Pending,
            };
            // No borrow of the shard is held: the parser is somebody else's code.
            match parse(&unread) {
                Step::Frame { length, .. } if length > frame_max => {
                    return self.refuse(unread, Error::FrameTooLong { max: frame_max });
                }
                Step::Frame { value, length } if length <= unread.len() => {
                    let bytes = unread.split_to(length);
                    self.end_frame(unread);
                    return Poll::Ready(Ok(Some(Frame { value, bytes })));
                }
                Step::Invalid(why) => return self.refuse(unread, Error::Protocol(why)),
                Step::NeedMore | Step::Frame { .. } if unread.len() >= frame_max => {
                    return self.refuse(unread, Error::FrameTooLong { max: frame_max });
                }
                Step::NeedMore | Step::Frame { .. } => {
                    if self.poll_more(context, reads, unread)?.is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// The first received buffer that was not read, if any; pending while it is the others' turn.
    fn take_unread(
        self,
        context: &mut Context<'_>,
        reads: Reads,
    ) -> Result<Poll<Option<Chunk>>, Error> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = self.open(&mut core)?;
            if reads == Reads::Next {
                conn.read_on(Reading::Frame);
            }
            if conn.yields(context.waker()) {
                return Ok(Poll::Pending);
            }
            Ok(Poll::Ready(conn.pop_input().map(Chunk::new)))
        })
    }

    /// Nothing is unread: the end of the stream, or a wait for a frame to begin.
    fn poll_first_byte<T>(
        self,
        context: &mut Context<'_>,
        reads: Reads,
    ) -> Poll<Result<Option<T>, Error>> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let Some(mut conn) = core.conns.get(self.key) else {
                return Poll::Ready(Ok(None));
            };
            if conn.input_is_over() {
                return Poll::Ready(Ok(None));
            }
            reads.wait(&mut conn, context);
            Poll::Pending
        })
    }

    /// `unread` is not yet a frame: more of it from the queue, or a wait under the frame's
    /// deadline.
    fn poll_more(
        self,
        context: &mut Context<'_>,
        reads: Reads,
        unread: Chunk,
    ) -> Result<Poll<()>, Error> {
        let unread = unread.into_buffer();
        Shard::with(|shard| {
            let mut core = shard.core();
            let Some(mut conn) = core.conns.get(self.key) else {
                shard.buffers.release(unread);
                return Err(Error::Truncated);
            };
            if let Some(next) = conn.pop_input() {
                conn.unpop_input(shard.buffers.concatenate(unread, next));
                return Ok(Poll::Ready(()));
            }
            conn.unpop_input(shard.buffers.copy_to_heap(unread));
            conn.begin_frame();
            if conn.input_is_over() {
                return Err(Error::Truncated);
            }
            reads.wait(&mut conn, context);
            Ok(Poll::Pending)
        })
    }

    fn end_frame(self, rest: Chunk) {
        self.with(|conn| conn.end_frame());
        self.unread(rest);
    }

    /// Leaves the bytes unread and tells why.
    fn refuse<T>(self, unread: Chunk, error: Error) -> Poll<Result<T, Error>> {
        self.unread(unread);
        Poll::Ready(Err(error))
    }
}

impl Reads {
    fn wait(self, conn: &mut ConnMut<'_>, context: &Context<'_>) {
        match self {
            Self::Next => conn.wait(Interest::Input, context.waker()),
            Self::Ahead => conn.wait_ahead(context.waker()),
        }
    }
}
