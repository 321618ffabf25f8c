//! Frames: the unread bytes, contiguous, offered to a parser until it has a frame of them.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::conn::chunk::Chunk;
use crate::conn::handle::Handle;
use crate::error::Error;
use crate::shard::conns::interest::Interest;
use crate::shard::handle::Shard;
use crate::shard::policy::request_timer::Reading;
use crate::step::Step;

/// A frame that was read.
#[derive(Debug)]
pub struct Frame<T> {
    /// What the parser made of it.
    pub value: T,
    /// Its bytes, exactly.
    pub bytes: Chunk,
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
            .poll_frame(context, read.frame_max, &mut read.parse);
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
    line_max: usize,
    /// Bytes known to hold no line end: each byte is looked at once, however the line comes in.
    scanned: usize,
    pending: bool,
    borrow: PhantomData<&'a mut Handle>,
}

impl ReadLine<'_> {
    pub(super) fn of(handle: Handle, line_max: usize) -> Self {
        Self {
            handle,
            line_max,
            scanned: 0,
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
            .poll_frame(context, read.line_max, &mut |bytes| {
                find_line(bytes, &mut read.scanned)
            });
        read.pending = poll.is_pending();
        poll.map_ok(|frame| {
            frame.map(
                |Frame {
                     value: length,
                     mut bytes,
                 }| {
                    bytes.truncate(length);
                    bytes
                },
            )
        })
    }
}

impl Drop for ReadLine<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.handle.stop_waiting(Interest::Input);
        }
    }
}

/// A line ends with `\n`; a `\r` before it belongs to the end. The value is the length without the
/// end.
fn find_line(bytes: &[u8], scanned: &mut usize) -> Step<usize> {
    match memchr::memchr(b'\n', &bytes[*scanned..]) {
        None => {
            *scanned = bytes.len();
            Step::NeedMore
        }
        Some(offset) => {
            let end = *scanned + offset;
            let line = &bytes[..end];
            Step::Frame {
                value: line.strip_suffix(b"\r").unwrap_or(line).len(),
                length: end + 1,
            }
        }
    }
}

/// As [`Conn::read_exact`](crate::Conn::read_exact).
pub(super) async fn read_exact(handle: Handle, length: usize) -> Result<Option<Chunk>, Error> {
    if length == 0 {
        return Ok(Some(Chunk::empty()));
    }
    let parse = move |bytes: &[u8]| {
        if bytes.len() < length {
            Step::NeedMore
        } else {
            Step::Frame { value: (), length }
        }
    };
    Ok(ReadFrame::of(handle, length, parse)
        .await?
        .map(|frame| frame.bytes))
}

impl Handle {
    /// Waits for a frame that is a message to the handler.
    fn poll_frame<T>(
        self,
        context: &mut Context<'_>,
        frame_max: usize,
        parse: &mut impl FnMut(&[u8]) -> Step<T>,
    ) -> Poll<Result<Option<Frame<T>>, Error>> {
        let poll = self.poll_parsed(context, frame_max, parse);
        if let Poll::Ready(Ok(Some(_))) = poll {
            Shard::with(|shard| shard.metrics.messages.add(1));
        }
        poll
    }

    /// Waits for what `parse` finds whole.
    pub(super) fn poll_parsed<T>(
        self,
        context: &mut Context<'_>,
        frame_max: usize,
        parse: &mut impl FnMut(&[u8]) -> Step<T>,
    ) -> Poll<Result<Option<Frame<T>>, Error>> {
        loop {
            let mut unread = match self.take_unread(context)? {
                Poll::Ready(Some(unread)) => unread,
                Poll::Ready(None) => return self.poll_first_byte(context),
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
                    if self.poll_more(context, unread)?.is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// The first received buffer that was not read, if any; pending while it is the others' turn.
    fn take_unread(self, context: &mut Context<'_>) -> Result<Poll<Option<Chunk>>, Error> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = self.open(&mut core)?;
            conn.read_on(Reading::Frame);
            if conn.yields(context.waker()) {
                return Ok(Poll::Pending);
            }
            Ok(Poll::Ready(conn.pop_input().map(Chunk::new)))
        })
    }

    /// Nothing is unread: the end of the stream, or a wait for a frame to begin.
    fn poll_first_byte<T>(self, context: &mut Context<'_>) -> Poll<Result<Option<T>, Error>> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let Some(mut conn) = core.conns.get(self.key) else {
                return Poll::Ready(Ok(None));
            };
            if conn.input_is_over() {
                return Poll::Ready(Ok(None));
            }
            conn.wait(Interest::Input, context.waker());
            Poll::Pending
        })
    }

    /// `unread` is not yet a frame: more of it from the queue, or a wait under the frame's
    /// deadline.
    fn poll_more(self, context: &mut Context<'_>, unread: Chunk) -> Result<Poll<()>, Error> {
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
            conn.wait(Interest::Input, context.waker());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_scanned_once() {
        let mut scanned = 0;
        assert_eq!(find_line(b"hel", &mut scanned), Step::NeedMore);
        assert_eq!(scanned, 3);
        assert_eq!(find_line(b"hello\r", &mut scanned), Step::NeedMore);
        assert_eq!(
            find_line(b"hello\r\nmore", &mut scanned),
            Step::Frame {
                value: 5,
                length: 7
            }
        );
        assert_eq!(
            find_line(b"a\nb", &mut 2),
            Step::NeedMore,
            "what was scanned is not looked at again"
        );
    }

    #[test]
    fn lines_end_with_or_without_a_carriage_return() {
        assert_eq!(
            find_line(b"\n", &mut 0),
            Step::Frame {
                value: 0,
                length: 1
            }
        );
        assert_eq!(
            find_line(b"a\rb\n", &mut 0),
            Step::Frame {
                value: 3,
                length: 4
            }
        );
    }
}
