//! A connection as its handler sees it.
//!
//! Every operation is a small future over the shard's state: nothing is boxed, and dropping one
//! half-way loses nothing, because what was received or written belongs to the connection's slot
//! and not to the future.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::conn::chunk::Chunk;
use crate::conn::frame::{self, ReadFrame, ReadLine};
use crate::conn::handle::{Flush, Handle, Read, Write};
use crate::conn::next::Next;
use crate::conn::output::Output;
use crate::conn::split::{self, ReadHalf, WriteHalf};
use crate::error::{CloseReason, Error};
use crate::id::{ConnId, Key, ShardId};
use crate::proxy::Proxied;
use crate::shard::conns::{ConnTimeouts, EndOfInput};
use crate::shard::futures::draining::{Draining, draining};
use crate::shard::futures::every::Every;
use crate::shard::handle::Shard;
use crate::step::Step;

/// One connection: accepted, or opened by a [`Connector`](crate::Connector).
///
/// Reading and writing go through the shard: `write` collects, and everything collected is sent
/// when the handler waits for anything or returns; [`flush`](Self::flush) waits for its end.
/// Deadlines of the settings apply by themselves.
///
/// # Requests
///
/// `timeouts.request` bounds a request from its first byte to the end of its answer, the handler's
/// own work included. What a request is follows from what the handler does:
///
/// - It begins with the first byte that comes while there is none, read or not; of requests that a
///   peer sends ahead, the next begins when the one before it ends.
/// - With [`read`](Self::read) it ends when the handler reads again **after it has written
///   something**: a handler with a framing of its own may read as often as it likes until its
///   request is whole, and all of it is one request.
/// - With [`read_frame`](Self::read_frame) and its kin, [`framed`](Self::framed) among them, each
///   frame is a request: it ends when the next one is asked for, answered or not. A request of several frames has its time for each of
///   them, unless a single parser takes it whole.
/// - It also ends with [`request_done`](Self::request_done), for what is read with `read` and wants
///   no answer.
///
/// The answer belongs to it until the kernel has taken all of it, or the next request has begun.
///
/// It is a name, not a resource: what it stands for is in its shard's table, and the shard is its
/// thread's.
pub struct Conn {
    pub(super) handle: Handle,
    /// Not `Send`: on another thread the name would mean another connection.
    of_this_thread: PhantomData<Rc<()>>,
}

impl Conn {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            handle: Handle { key },
            of_this_thread: PhantomData,
        }
    }

    pub(crate) fn key(&self) -> Key {
        self.handle.key
    }

    /// Its polls, for a protocol that stands on them.
    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    /// The next bytes that have come, at most one receive buffer of them; `None` when there will be
    /// no more: the peer has sent its FIN, or the server is stopping and this peer was answered
    /// ([`end_of_input`](Self::end_of_input) says which).
    ///
    /// May be dropped half-way: what has come stays unread.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the connection was reset, timed out or was cut. Bytes that came
    /// before a reset are discarded.
    pub fn read(&mut self) -> Read<'_> {
        Read::of(self.handle)
    }

    /// Waits for one frame, as `parse` sees it.
    ///
    /// `parse` is given the unread bytes from the frame's start, contiguous, and is called again
    /// when more have come; it may keep state from call to call. The bytes of an
    /// [`Invalid`](Step::Invalid) frame stay unread. `None` as for [`read`](Self::read). A
    /// `frame_max` above 1 GiB is taken for that.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if `parse` says the bytes are invalid, [`Error::FrameTooLong`] if the
    /// frame is not complete within `frame_max` bytes, [`Error::Truncated`] if the peer ends its
    /// side within it; [`Error::Closed`] as for [`read`](Self::read), and with
    /// [`ReadTimeout`](crate::CloseReason::ReadTimeout) when a frame is not complete
    /// `timeouts.read` after its first byte.
    ///
    /// May be dropped half-way: the beginning of the frame stays unread, and its clock runs on.
    pub fn read_frame<T, P: FnMut(&[u8]) -> Step<T>>(
        &mut self,
        frame_max: usize,
        parse: P,
    ) -> ReadFrame<'_, T, P> {
        ReadFrame::of(self.handle, frame_max, parse)
    }

    /// Waits for a line of at most `line_max` bytes, its end included. Gives it without the `\n` or
    /// `\r\n`.
    ///
    /// # Errors
    ///
    /// As for [`read_frame`](Self::read_frame).
    pub fn read_line(&mut self, line_max: usize) -> ReadLine<'_> {
        ReadLine::of(self.handle, line_max)
    }

    /// Waits for exactly `length` bytes, contiguous.
    ///
    /// # Errors
    ///
    /// As for [`read_frame`](Self::read_frame).
    pub async fn read_exact(&mut self, length: usize) -> Result<Option<Chunk>, Error> {
        frame::read_exact(self.handle, length).await
    }

    /// The next thing that comes to the connection: input as [`read`](Self::read) gives it, bytes
    /// that somebody sends to it ([`Peers::send_to`](crate::Peers::send_to)), or, once, that the
    /// server drains. `None` when there will be no more input.
    ///
    /// From the first call on such bytes are the handler's, up to `limits.write_queue_max` of them
    /// beside its output; before it, and of a handler that never calls it, they go out to the peer
    /// as they are. A connection that takes them is some 100 bytes larger.
    ///
    /// May be dropped half-way: what has come stays there. With frames instead of bytes it is
    /// [`Framed::next_event`](crate::Framed::next_event).
    ///
    /// ```
    /// use corelane::{Conn, Error, Event};
    ///
    /// async fn serve(conn: &mut Conn) -> Result<(), Error> {
    ///     while let Some(event) = conn.next().await? {
    ///         match event {
    ///             Event::Input(bytes) => println!("{} says {bytes:?}", conn.peer_addr()),
    ///             Event::Message(bytes) => conn.write(bytes).await?,
    ///             Event::Draining => conn.write("closing soon\n").await?,
    ///             _ => {}
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = serve;
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    #[expect(
        clippy::should_implement_trait,
        reason = "the field's word for it, on a type that is no iterator"
    )]
    pub fn next(&mut self) -> Next<Read<'_>> {
        Next::of(self.handle, Read::of(self.handle))
    }

    /// Queues `data` for sending: a [`Chunk`] and an `Arc<[u8]>` are sent from where they lie (a
    /// small one behind other output is copied to it), a slice is collected. Waits while the queue
    /// is at `limits.write_queue_max`.
    ///
    /// Dropped half-way it leaves what was queued so far: of a slice, and of whatever is longer than
    /// `buffers.size` (an `Arc`, a frame that came in several buffers), an unknown part, of a shorter
    /// one nothing or all. So what must go out whole or not at all is written where nothing drops it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the connection was reset, timed out or was cut. Success says only
    /// that the bytes are queued.
    pub fn write<'a>(&'a mut self, data: impl Into<Output<'a>>) -> Write<'a> {
        Write::of(self.handle, data.into())
    }

    /// Waits until the kernel has taken everything that was written. May be dropped half-way: the
    /// bytes go out all the same.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`write`](Self::write).
    pub fn flush(&mut self) -> Flush<'_> {
        Flush::of(self.handle)
    }

    /// Sends everything that was written, then our FIN: nothing can be written after it, while the
    /// peer may go on and be read.
    ///
    /// Not needed at the end of [`serve`](crate::Handler::serve), which does the same and waits for
    /// the peer's FIN besides.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`write`](Self::write).
    pub async fn close(&mut self) -> Result<(), Error> {
        self.handle.close().await
    }

    /// Gives the connection up: what is queued is dropped, and the peer gets a reset, so that it
    /// takes nothing it has received for the whole. Every further operation fails with
    /// [`Aborted`](CloseReason::Aborted). The reset goes out when the handler returns or, of a
    /// connection that the shard opened, when its `Conn` is dropped.
    ///
    /// A handler that returns an error, panics, or is cut does the same to its own connection,
    /// behind what was sent by then; only what [`close`](Self::close) has ended before is whole.
    pub fn abort(&mut self) {
        self.handle.fail(CloseReason::Aborted);
    }

    /// The two directions, to be used at the same time by futures of one task: both are this
    /// connection, and what one waits for is not in the other's way.
    ///
    /// ```
    /// use corelane::{Conn, Error};
    /// use futures_lite::future::try_zip;
    ///
    /// /// Speaks whatever the peer says, and listens whatever it has to say itself.
    /// async fn both_ways(conn: &mut Conn) -> Result<(), Error> {
    ///     let (mut reader, mut writer) = conn.split();
    ///     let speak = async {
    ///         for _ in 0..1000 {
    ///             writer.write(&[b'x'; 8192]).await?;
    ///         }
    ///         writer.close().await
    ///     };
    ///     let listen = async {
    ///         while reader.read().await?.is_some() {}
    ///         Ok(())
    ///     };
    ///     try_zip(speak, listen).await.map(|_| ())
    /// }
    /// # let _ = both_ways;
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::halves(self.handle)
    }

    /// Ends when the server drains: for a handler that waits for something else than input
    /// meanwhile, and would not hear of it. It borrows nothing, so it can be raced against any
    /// operation of the connection.
    pub fn draining(&self) -> Draining {
        draining()
    }

    /// Ticks once per `period`, for a heartbeat. It borrows nothing, so a tick can be raced against
    /// any operation of the connection, again and again.
    ///
    /// A period is rounded up to whole milliseconds, and cut to 2^32 of them (49 days). The first
    /// tick comes within the first period, and all others whole periods after it. Where in the
    /// period they lie follows from the connection's place in its shard's table and from the
    /// server's start: a million heartbeats are even over the period, also those of connections that
    /// came together.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use corelane::{Chunk, Conn, Error};
    /// use futures_lite::future::or;
    ///
    /// enum Event {
    ///     Input(Result<Option<Chunk>, Error>),
    ///     Tick,
    /// }
    ///
    /// /// An echo with a heartbeat.
    /// async fn serve(conn: &mut Conn) -> Result<(), Error> {
    ///     let mut heartbeat = conn.every(Duration::from_secs(30));
    ///     loop {
    ///         let input = async { Event::Input(conn.read().await) };
    ///         let tick = async {
    ///             heartbeat.tick().await;
    ///             Event::Tick
    ///         };
    ///         match or(input, tick).await {
    ///             Event::Input(input) => match input? {
    ///                 Some(bytes) => conn.write(bytes).await?,
    ///                 None => return Ok(()),
    ///             },
    ///             Event::Tick => conn.write("still here\n").await?,
    ///         }
    ///     }
    /// }
    /// # let _ = serve;
    /// ```
    pub fn every(&self, period: Duration) -> Every {
        Every::at_place(self.key().slot.0, period)
    }

    /// Why [`read`](Self::read) has given `None`, or would when what has come is read; `None` while
    /// more may come.
    pub fn end_of_input(&self) -> Option<EndOfInput> {
        self.handle.with(|conn| conn.end_of_input()).flatten()
    }

    /// What the PROXY header has said with which the connection began; none where none are read
    /// ([`listener.proxy`](https://docs.rs/corelane)), and of a connection that the shard opened.
    ///
    /// ```
    /// use corelane::{Conn, Error};
    ///
    /// async fn serve(conn: &mut Conn) -> Result<(), Error> {
    ///     let proxied = conn.proxied();
    ///     let client = proxied.and_then(|proxied| proxied.source());
    ///     let greeting = match client {
    ///         Some(client) => format!("hello {client}, by {}\n", conn.peer_addr()),
    ///         None => format!("hello {}\n", conn.peer_addr()),
    ///     };
    ///     conn.write(&greeting).await
    /// }
    /// # let _ = serve;
    /// ```
    pub fn proxied(&self) -> Option<Rc<Proxied>> {
        self.handle.with(|conn| conn.proxied()).flatten()
    }

    /// The peer's address: where connections come through a proxy, the proxy's. Unspecified
    /// (`0.0.0.0:0`) where it has come by a Unix socket, and once the connection is gone.
    pub fn peer_addr(&self) -> SocketAddr {
        self.handle
            .with(|conn| conn.peer())
            .unwrap_or(([0, 0, 0, 0], 0).into())
    }

    /// The name of the listener by which the peer has come: of a `[[listener]]` its `name`, else
    /// `"1"`. None where the shard has opened the connection, and once it is gone.
    ///
    /// ```
    /// use corelane::{Conn, Error};
    ///
    /// async fn serve(conn: &mut Conn) -> Result<(), Error> {
    ///     match conn.listener().as_deref() {
    ///         Some("private") => conn.write("at your service\n").await,
    ///         _ => conn.write("hello\n").await,
    ///     }
    /// }
    /// # let _ = serve;
    /// ```
    pub fn listener(&self) -> Option<Rc<str>> {
        let listener = self.handle.with(|conn| conn.listener()).flatten();
        listener.map(|(name, _)| name)
    }

    /// What is read from now on must have come by `within`, up to three ticks (375 ms) later,
    /// however many reads that takes; `None`: no such bound. For the one who asks: a connection
    /// that the shard opened has no other deadlines but `timeouts.write` and `timeouts.idle`.
    ///
    /// Past it the connection has ended with [`ReadTimeout`](crate::CloseReason::ReadTimeout).
    pub fn set_read_deadline(&mut self, within: Option<Duration>) {
        self.handle.with(|conn| conn.set_read_deadline(within));
    }

    /// The request in hand is over, as far as `timeouts.request` goes: for a handler that
    /// [`read`](Self::read)s what it does not answer, and for one that goes on to something longer
    /// than a request, as a stream of news. The next request begins with the next bytes to come, or
    /// when the handler reads those that have come already.
    pub fn request_done(&mut self) {
        self.handle.with(|conn| conn.request_done());
    }

    /// Timeouts of its own, instead of those of the settings and of those that it was given before.
    /// One that has none costs nothing for this, and one that has is some 60 bytes larger.
    pub fn set_timeouts(&mut self, timeouts: ConnTimeouts) {
        self.handle.with(|conn| conn.set_timeouts(timeouts));
    }

    /// The connection's own address, to which its peer has connected or from which it was opened
    /// (getsockname(2)); unspecified once the connection is gone.
    ///
    /// Where the listener has one address that is it. Where it listens on all of them, and for a
    /// connection that the shard opened, the kernel is asked, in three system calls: whoever needs
    /// it often keeps it. A kernel before Linux 6.8 cannot be asked: then it is that of the
    /// listener, or unspecified. So it is where the peer has come by a Unix socket.
    pub fn local_addr(&self) -> SocketAddr {
        let own = self.handle.with(|conn| {
            let Some((_, listener)) = conn.listener() else {
                return conn.local_addr();
            };
            let is_one = !listener.ip().is_unspecified() || listener.port() == 0;
            let asked = if is_one { None } else { conn.local_addr() };
            asked.or(Some(listener))
        });
        own.flatten().unwrap_or(([0, 0, 0, 0], 0).into())
    }

    /// A span of `tracing` for what its handler logs: `conn` with the fields `shard`, `id` and
    /// `peer`, and `client` if a proxy has named it, at the level INFO. It is made anew each time; nothing is kept.
    ///
    /// ```
    /// use corelane::{Conn, Error};
    ///
    /// async fn serve(conn: &mut Conn) -> Result<(), Error> {
    ///     let span = conn.span();
    ///     while let Some(line) = conn.read_line(100).await? {
    ///         // Entered for what does not wait: a guard must not live across an `await`.
    ///         span.in_scope(|| tracing::info!(bytes = line.len(), "a line"));
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = serve;
    /// ```
    pub fn span(&self) -> tracing::Span {
        let (shard, peer) = (self.shard().0, self.peer_addr());
        let client = self.proxied().and_then(|proxied| proxied.source());
        let client = client.map(tracing::field::display);
        tracing::info_span!("conn", shard, id = %self.id(), %peer, client)
    }

    /// The shard that the connection lives on.
    pub fn shard(&self) -> ShardId {
        Shard::with(|shard| shard.id)
    }

    /// The connection's name, as in the log.
    pub fn id(&self) -> ConnId {
        Shard::with(|shard| shard.core().conns.shared.conn_id(self.key()))
    }

    /// [`Self::read`] for hand-written futures: pending, it wakes the task at the next bytes or the
    /// end.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        self.handle.poll_read(context)
    }
}

/// A connection that the shard opened ends with its `Conn`; of an accepted one the shard takes
/// leave when its handler returns.
impl Drop for Conn {
    fn drop(&mut self) {
        self.handle.drop_conn();
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Conn({})", self.id())
    }
}
