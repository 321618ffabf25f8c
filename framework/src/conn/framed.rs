//! A connection that speaks a codec's frames.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::codec::Codec;
use crate::conn::connection::Conn;
use crate::conn::frame::{Frame, Reads};
use crate::conn::handle::{Flush, Handle};
use crate::conn::next::Next;
use crate::conn::output::Output;
use crate::error::Error;
use crate::shard::conns::interest::Interest;

/// A connection and a [`Codec`]: frames are read, and messages sent. Made by [`Conn::framed`].
///
/// It keeps no bytes: what was received and is not a frame yet stays unread with the connection,
/// what was sent lies in its queue. Deadlines are those of [`Conn::read_frame`]: each frame is a
/// request.
///
/// ```
/// use corelane::codec::Netstrings;
/// use corelane::{Conn, Error};
///
/// async fn echo(conn: &mut Conn) -> Result<(), Error> {
///     let mut strings = conn.framed(Netstrings::new(4096));
///     while let Some(string) = strings.next().await? {
///         strings.send(&string).await?;
///     }
///     Ok(())
/// }
/// # #[cfg(feature = "testing")]
/// # corelane::testing::block_on(async || {
/// #     let mut peer = corelane::testing::serve(corelane::from_fn(echo));
/// #     peer.send("5:hello,0:,");
/// #     assert_eq!(peer.receive(11).await, b"5:hello,0:,");
/// # });
/// ```
pub struct Framed<'a, C> {
    conn: &'a mut Conn,
    /// Borrowed for a call of it alone, never across a wait.
    codec: RefCell<C>,
}

impl Conn {
    /// Speaks `codec`: its frames are read and its messages sent, until the [`Framed`] is dropped.
    /// Bytes that came behind the last frame stay unread, so another codec may take over.
    ///
    /// See [`codec`](crate::codec) for those that there are. Where a single parser will do and
    /// nothing is encoded, [`read_frame`](Self::read_frame) is the same reading without a codec.
    ///
    /// ```
    /// use corelane::codec::{LengthPrefixed, Lines};
    /// use corelane::{Conn, Error};
    ///
    /// /// A greeting in a line, and messages behind it.
    /// async fn serve(conn: &mut Conn) -> Result<(), Error> {
    ///     let Some(name) = conn.framed(Lines::new(64)).next().await? else { return Ok(()) };
    ///     let mut messages = conn.framed(LengthPrefixed::new(4096).width(2));
    ///     while let Some(message) = messages.next().await? {
    ///         messages.send(&[&name, ": ".as_bytes(), &message].concat()).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # #[cfg(feature = "testing")]
    /// # corelane::testing::block_on(async || {
    /// #     let mut peer = corelane::testing::serve(corelane::from_fn(serve));
    /// #     peer.send("Ada\n\0\x02hi");
    /// #     assert_eq!(peer.receive(9).await, b"\0\x07Ada: hi");
    /// # });
    /// ```
    pub fn framed<C: Codec>(&mut self, codec: C) -> Framed<'_, C> {
        let (conn, codec) = (self, RefCell::new(codec));
        Framed { conn, codec }
    }
}

impl<C: Codec> Framed<'_, C> {
    /// The next frame; `None` when there will be no more, as for [`Conn::read`].
    ///
    /// May be dropped half-way: the beginning of the frame stays unread, and its clock runs on.
    ///
    /// # Errors
    ///
    /// As for [`Conn::read_frame`]: [`Error::Protocol`] with the codec's text,
    /// [`Error::FrameTooLong`], [`Error::Truncated`], [`Error::Closed`]. The bytes stay unread, and
    /// whoever asks again is told the same.
    #[expect(
        clippy::should_implement_trait,
        reason = "the field's word for it, on a type that is no iterator"
    )]
    pub fn next(&mut self) -> NextFrame<'_, C> {
        NextFrame::of(self.conn.handle, &self.codec)
    }

    /// The next frame, message or drain: as [`Conn::next`], with input as [`next`](Self::next)
    /// gives it.
    ///
    /// # Errors
    ///
    /// As for [`next`](Self::next).
    pub fn next_event(&mut self) -> Next<NextFrame<'_, C>> {
        Next::of(self.conn.handle, self.next())
    }

    /// Queues a message for sending, as [`Conn::write`] queues bytes: it is encoded into the
    /// connection's queue, and goes out when the handler waits for anything or returns. Waits while
    /// the queue is at `limits.write_queue_max`; so a message longer than the room in it is held
    /// once more until there is.
    ///
    /// Dropped half-way it leaves an unknown part of the message queued. What others send to the
    /// connection goes out before it or behind it, never within.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`Conn::write`], and those of [`Codec::encode`].
    pub fn send<'s, 'o>(&'s mut self, out: &'s C::Out<'o>) -> SendFrame<'s, 'o, C> {
        SendFrame::of(self.conn.handle, &self.codec, out)
    }

    /// The two directions, to be used at the same time by futures of one task, as
    /// [`Conn::split`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use corelane::codec::Lines;
    /// use corelane::{Conn, Error, sleep};
    /// use futures_lite::future::try_zip;
    ///
    /// /// Says something each second, whatever the peer says; until it leaves.
    /// async fn serve(conn: &mut Conn) -> Result<(), Error> {
    ///     let mut lines = conn.framed(Lines::new(1024));
    ///     let (mut reader, mut writer) = lines.split();
    ///     let speak = async {
    ///         for second in 0..60 {
    ///             writer.send(second.to_string().as_bytes()).await?;
    ///             sleep(Duration::from_secs(1)).await;
    ///         }
    ///         writer.close().await
    ///     };
    ///     let listen = async {
    ///         while reader.next().await?.is_some() {}
    ///         Ok(())
    ///     };
    ///     try_zip(speak, listen).await.map(|_| ())
    /// }
    /// # let _ = serve;
    /// ```
    pub fn split(&mut self) -> (FrameReader<'_, C>, FrameWriter<'_, C>) {
        let (handle, codec) = (self.conn.handle, &self.codec);
        (FrameReader { handle, codec }, FrameWriter { handle, codec })
    }

    /// The connection: to flush or close it, to send a [`Chunk`](crate::Chunk) from where it lies,
    /// for its names and timeouts. Bytes that are read from it are none of the codec's: between two
    /// frames, where a protocol goes over to another, it is right.
    pub fn conn(&mut self) -> &mut Conn {
        self.conn
    }

    /// The codec.
    pub fn codec(&mut self) -> &mut C {
        self.codec.get_mut()
    }

    /// The next frame, for who has frames in hand that are not answered yet: see [`Reads::Ahead`].
    pub(crate) fn poll_ahead(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<C::In>>, Error>> {
        let codec = self.codec.get_mut();
        self.conn.handle.poll_decoded(context, Reads::Ahead, codec)
    }

    /// A frame was answered; others are `in_hand`, or not.
    pub(crate) fn answered(&mut self, in_hand: bool) {
        let handle = self.conn.handle;
        handle.with(|conn| conn.request_answered(in_hand));
    }
}

impl<C: fmt::Debug> fmt::Debug for Framed<'_, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("Framed");
        text.field("conn", &self.conn).field("codec", &self.codec);
        text.finish()
    }
}

/// The reading half of [`Framed::split`].
#[derive(Debug)]
pub struct FrameReader<'a, C> {
    handle: Handle,
    codec: &'a RefCell<C>,
}

impl<C: Codec> FrameReader<'_, C> {
    /// As [`Framed::next`].
    ///
    /// # Errors
    ///
    /// As for [`Framed::next`].
    #[expect(clippy::should_implement_trait, reason = "as for `Framed::next`")]
    pub fn next(&mut self) -> NextFrame<'_, C> {
        NextFrame::of(self.handle, self.codec)
    }
}

/// The writing half of [`Framed::split`].
#[derive(Debug)]
pub struct FrameWriter<'a, C> {
    handle: Handle,
    codec: &'a RefCell<C>,
}

impl<C: Codec> FrameWriter<'_, C> {
    /// As [`Framed::send`].
    ///
    /// # Errors
    ///
    /// As for [`Framed::send`].
    pub fn send<'s, 'o>(&'s mut self, out: &'s C::Out<'o>) -> SendFrame<'s, 'o, C> {
        SendFrame::of(self.handle, self.codec, out)
    }

    /// As [`Conn::flush`].
    ///
    /// # Errors
    ///
    /// As for [`Conn::flush`].
    pub fn flush(&mut self) -> Flush<'_> {
        Flush::of(self.handle)
    }

    /// As [`Conn::close`].
    ///
    /// # Errors
    ///
    /// As for [`Conn::close`].
    pub async fn close(&mut self) -> Result<(), Error> {
        self.handle.close().await
    }
}

/// The future of [`Framed::next`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct NextFrame<'a, C> {
    handle: Handle,
    codec: &'a RefCell<C>,
    pending: bool,
}

impl<'a, C> NextFrame<'a, C> {
    fn of(handle: Handle, codec: &'a RefCell<C>) -> Self {
        Self {
            handle,
            codec,
            pending: false,
        }
    }
}

impl<C: Codec> Future for NextFrame<'_, C> {
    type Output = Result<Option<Frame<C::In>>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut codec = self.codec.borrow_mut();
        let poll = self.handle.poll_decoded(context, Reads::Next, &mut *codec);
        drop(codec);
        self.pending = poll.is_pending();
        poll
    }
}

impl<C> Drop for NextFrame<'_, C> {
    fn drop(&mut self) {
        if self.pending {
            self.handle.stop_waiting(Interest::Input);
        }
    }
}

/// The future of [`Framed::send`].
#[must_use = "futures do nothing unless awaited"]
pub struct SendFrame<'a, 'o, C: Codec> {
    handle: Handle,
    codec: &'a RefCell<C>,
    /// None once it is encoded.
    out: Option<&'a C::Out<'o>>,
    /// What of it the queue had no room for, and how much of that is queued by now.
    rest: Vec<u8>,
    queued: usize,
}

impl<'a, 'o, C: Codec> SendFrame<'a, 'o, C> {
    fn of(handle: Handle, codec: &'a RefCell<C>, out: &'a C::Out<'o>) -> Self {
        Self {
            handle,
            codec,
            out: Some(out),
            rest: Vec::new(),
            queued: 0,
        }
    }
}

impl<C: Codec> Future for SendFrame<'_, '_, C> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let send = &mut *self;
        if let Some(out) = send.out.take() {
            let mut queue = Queue {
                handle: send.handle,
                rest: Vec::new(),
            };
            send.codec.borrow_mut().encode(out, &mut queue)?;
            send.rest = queue.rest;
        }
        let mut unqueued = Output::Slice(&send.rest[send.queued..]);
        let poll = send.handle.poll_write(context, &mut unqueued);
        send.queued = send.rest.len() - unqueued.len();
        poll
    }
}

impl<C: Codec> Drop for SendFrame<'_, '_, C> {
    fn drop(&mut self) {
        if self.queued < self.rest.len() {
            self.handle.stop_writing();
        }
    }
}

impl<C: Codec> fmt::Debug for SendFrame<'_, '_, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unqueued = self.rest.len() - self.queued;
        write!(formatter, "SendFrame({unqueued} bytes to be queued)")
    }
}

/// The connection's output as a codec writes to it: what there is room for is queued, the rest kept
/// in its order.
struct Queue {
    handle: Handle,
    rest: Vec<u8>,
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let has_room = self.rest.is_empty();
        let queued = if has_room {
            self.handle.queue(bytes)?
        } else {
            0
        };
        self.rest.extend_from_slice(&bytes[queued..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
