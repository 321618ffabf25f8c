//! [`WebSocket`], and its halves.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::conn::connection::Conn;
use crate::conn::handle::Handle;
use crate::error::Error;
use crate::id::ConnId;
use crate::websocket::code::Code;
use crate::websocket::message::{Message, Outgoing};
use crate::websocket::options::Options;
use crate::websocket::outgoing::Send;
use crate::websocket::session::{Session, Shared};
use crate::websocket::state::{Agreed, End};

/// A connection that speaks WebSocket, at either end: [`Request::websocket`] gives a server's,
/// [`connect`](super::connect) a client's.
///
/// Pings are answered, and the peer's closing too, while [`next`](Self::next) is waited for. It owns
/// no timer but, with `ping_interval`, a ticker, and while nothing is half-way no buffer.
///
/// [`Request::websocket`]: crate::http::Request::websocket
#[derive(Debug)]
pub struct WebSocket<'c> {
    session: Shared,
    conn: PhantomData<&'c mut Conn>,
}

impl WebSocket<'_> {
    pub(super) fn new(
        handle: Handle,
        options: &Rc<Options>,
        is_client: bool,
        agreed: Agreed,
    ) -> Self {
        Self {
            session: Shared::new(Session::new(handle, options, is_client, agreed)),
            conn: PhantomData,
        }
    }

    /// One whose handshake is over.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn behind_handshake<'c>(
        conn: &'c mut Conn,
        options: &Rc<Options>,
        is_client: bool,
        deflates: bool,
    ) -> WebSocket<'c> {
        let agreed = Agreed {
            subprotocol: 0,
            deflates: deflates && options.may_deflate(),
        };
        WebSocket::new(conn.handle(), options, is_client, agreed)
    }

    /// The next message, once all of it has come; `None` when there will be no more:
    /// [`end`](Self::end) says why. Then the handler returns.
    ///
    /// May be dropped half-way: what has come stays there.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] when the peer has broken a rule: it was told [which](super#rules), and the
    /// connection ends. [`Error::Truncated`] when the peer ends within a message; [`Error::Closed`] as
    /// for [`Conn::read`], with [`ReadTimeout`](crate::CloseReason::ReadTimeout) past
    /// `message_timeout` or `pong_timeout`.
    #[expect(
        clippy::should_implement_trait,
        reason = "the field's word for it, on a type that is no iterator"
    )]
    pub fn next(&mut self) -> Next<'_> {
        Next(&self.session)
    }

    /// Sends a message, in one frame. Success says only that it is queued: it goes out when the
    /// handler waits for anything.
    ///
    /// ```
    /// use corelane::Error;
    /// use corelane::websocket::WebSocket;
    ///
    /// async fn greet(ws: &mut WebSocket<'_>) -> Result<(), Error> {
    ///     ws.send("hello").await?;
    ///     ws.send(&[1, 2, 3]).await
    /// }
    /// # let _ = greet;
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`Conn::write`], and once either side has closed.
    pub fn send<'a>(&'a mut self, message: impl Into<Outgoing<'a>>) -> Send<'a> {
        Send::new(&self.session, message.into())
    }

    /// Waits until the kernel has taken everything that was sent. May be dropped half-way.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`Conn::write`].
    pub fn flush(&mut self) -> Flush<'_> {
        Flush(&self.session)
    }

    /// Closes: says why, in at most 123 bytes, which is what there is room for, and waits for the peer
    /// to close, too, for `close_timeout` at most. Messages that come until then are thrown away.
    ///
    /// # Errors
    ///
    /// As for [`next`](Self::next).
    pub fn close(&mut self, code: Code, reason: &str) -> Close<'_> {
        self.session
            .with(|session| session.begin_close(code, reason));
        Close(&self.session)
    }

    /// The two directions, to be used at the same time by futures of one task.
    ///
    /// ```
    /// use corelane::Error;
    /// use corelane::websocket::{Message, WebSocket};
    /// use futures_lite::future::or;
    ///
    /// /// Speaks until it is told to stop.
    /// async fn count(ws: &mut WebSocket<'_>) -> Result<(), Error> {
    ///     let (mut reader, mut writer) = ws.split();
    ///     let count = async {
    ///         for number in 0_u64.. {
    ///             writer.send(&number.to_string()).await?;
    ///             writer.flush().await?;
    ///         }
    ///         Ok(())
    ///     };
    ///     let stop = async { reader.next().await.map(drop) };
    ///     or(stop, count).await
    /// }
    /// # let _ = count;
    /// ```
    pub fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let session = &self.session;
        (Reader { session }, Writer { session })
    }

    /// The subprotocol that was agreed to.
    pub fn subprotocol(&self) -> Option<String> {
        self.session.with(|session| {
            let number = usize::from(session.subprotocol).checked_sub(1)?;
            session.options.subprotocols.get(number).cloned()
        })
    }

    /// Why [`next`](Self::next) has given `None`, or has failed.
    pub fn end(&self) -> Option<End> {
        let end = |session: &mut Session| session.rare_if_any()?.end.clone();
        self.session.with(end)
    }

    /// The connection's name, to subscribe it with ([`Topic::subscribe`](crate::Topic::subscribe)).
    pub fn id(&self) -> ConnId {
        let key = self.session.with(|session| session.owner());
        crate::shard::handle::Shard::with(|shard| shard.core().conns.shared.conn_id(key))
    }
}

/// The reading half of [`WebSocket::split`].
#[derive(Debug)]
pub struct Reader<'a> {
    session: &'a Shared,
}

impl Reader<'_> {
    /// As [`WebSocket::next`].
    ///
    /// # Errors
    ///
    /// As for [`WebSocket::next`].
    #[expect(
        clippy::should_implement_trait,
        reason = "the field's word for it, on a type that is no iterator"
    )]
    pub fn next(&mut self) -> Next<'_> {
        Next(self.session)
    }
}

/// The writing half of [`WebSocket::split`].
#[derive(Debug)]
pub struct Writer<'a> {
    session: &'a Shared,
}

impl Writer<'_> {
    /// As [`WebSocket::send`].
    ///
    /// # Errors
    ///
    /// As for [`WebSocket::send`].
    pub fn send<'a>(&'a mut self, message: impl Into<Outgoing<'a>>) -> Send<'a> {
        Send::new(self.session, message.into())
    }

    /// As [`WebSocket::flush`].
    ///
    /// # Errors
    ///
    /// As for [`WebSocket::flush`].
    pub fn flush(&mut self) -> Flush<'_> {
        Flush(self.session)
    }

    /// Says that we close. It is the reading half that waits for the peer to do so, and then has the
    /// end.
    ///
    /// # Errors
    ///
    /// As for [`WebSocket::flush`].
    pub fn close(&mut self, code: Code, reason: &str) -> Flush<'_> {
        self.session
            .with(|session| session.begin_close(code, reason));
        Flush(self.session)
    }
}

/// The future of [`WebSocket::next`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Next<'a>(&'a Shared);

impl Future for Next<'_> {
    type Output = Result<Option<Message>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.with(|session| session.poll_next(context))
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        self.0.try_with(Session::stop_reading);
    }
}

/// The future of [`WebSocket::close`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Close<'a>(&'a Shared);

impl Future for Close<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0
            .with(|session| session.poll_next(context))
            .map_ok(drop)
    }
}

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.try_with(Session::stop_reading);
    }
}

/// The future of [`WebSocket::flush`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Flush<'a>(&'a Shared);

impl Future for Flush<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.with(|session| session.poll_flush(context))
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        self.0.try_with(|session| session.stop_flushing());
    }
}
