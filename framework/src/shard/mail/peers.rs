//! What a handler sends messages with.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::id::{ConnId, ShardId};
use crate::shard::conns::Delivery;
use crate::shard::futures::sleep::{Sleep, sleep};
use crate::shard::handle::Shard;
use crate::shard::mail::mailbox::Mailbox;
use crate::shard::mail::mesh::Mesh;
use crate::shard::mail::receipt::Receipt;
use crate::shard::task::wake::Waiter;

/// The shards of a server, this one among them, as one of them sends to them. Clones are the same.
///
/// A message is moved into a bounded lane that only its sender writes and only its target reads
/// ([`mailbox.capacity`](https://docs.rs/corelane)); its target is woken at the end of the sender's
/// turn, if it rests, once for all messages of the turn. Messages of one shard to another come in
/// the order in which they were sent; they are dropped, read or not, on the target's thread.
///
/// ```
/// use corelane::{Conn, Error, Handler, Peers, ShardContext};
///
/// /// Counts words, each on the shard that it belongs to.
/// struct Counter {
///     peers: Peers<String>,
///     words: std::cell::RefCell<std::collections::BTreeMap<String, u64>>,
/// }
///
/// impl Handler<String> for Counter {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         while let Some(line) = conn.read_line(100).await? {
///             let word = String::from_utf8_lossy(&line).into_owned();
///             let owner = word.len() % self.peers.len();
///             if self.peers.at(owner).try_send(word).is_err() {
///                 conn.write("busy\n").await?;
///             }
///         }
///         Ok(())
///     }
///
///     fn on_message(&self, word: String) {
///         *self.words.borrow_mut().entry(word).or_default() += 1;
///     }
/// }
///
/// let factory = |shard: &ShardContext<String>| Counter { peers: shard.peers(), words: Default::default() };
/// # let _ = factory;
/// ```
pub struct Peers<M> {
    mailbox: Rc<Mailbox<M>>,
}

/// One shard, as another sends to it.
pub struct Peer<M> {
    mailbox: Rc<Mailbox<M>>,
    target: usize,
}

impl<M: Send + 'static> Peers<M> {
    pub(crate) fn of_this_thread(mesh: &Arc<Mesh<M>>) -> Self {
        Self {
            mailbox: Mailbox::of_this_thread(mesh),
        }
    }

    /// How many shards there are.
    #[expect(
        clippy::len_without_is_empty,
        reason = "there is no server without a shard"
    )]
    pub fn len(&self) -> usize {
        self.mailbox.shards()
    }

    /// The shard of that number.
    ///
    /// # Panics
    ///
    /// When there is none: numbers go from 0 to one less than [`len`](Self::len).
    pub fn at(&self, shard: usize) -> Peer<M> {
        assert!(shard < self.len(), "there are {} shards", self.len());
        Peer {
            mailbox: Rc::clone(&self.mailbox),
            target: shard,
        }
    }

    /// Every shard, this one among them, by number.
    pub fn iter(&self) -> impl Iterator<Item = Peer<M>> + '_ {
        (0..self.len()).map(|shard| self.at(shard))
    }

    /// Sends `bytes` to a connection, whatever its shard: they are queued behind what its handler
    /// has written, or given to a handler that takes them by [`Conn::next`](crate::Conn::next).
    ///
    /// They are on their way when this returns; the receipt tells what becomes of them, for who
    /// wants to know. No more receipts may be open at a time than `mailbox.capacity`.
    pub fn send_to(&self, conn: ConnId, bytes: impl Into<Arc<[u8]>>) -> Receipt<Delivery> {
        self.mailbox.deliver(conn, bytes.into())
    }
}

impl<M: Send + 'static> Peer<M> {
    /// The shard's number.
    pub fn id(&self) -> ShardId {
        ShardId(self.target as u32)
    }

    /// Sends `message`.
    ///
    /// # Errors
    ///
    /// [`Full`], with the message, when as many as `mailbox.capacity` wait to be received. The
    /// mailbox of a shard that has ended gets full and stays so.
    pub fn try_send(&self, message: M) -> Result<(), Full<M>> {
        self.mailbox.try_send(self.target, message).map_err(Full)
    }

    /// Sends `message` as soon as there is room, within `deadline`.
    ///
    /// Dropped half-way it has sent nothing, and the message is dropped with it.
    ///
    /// # Errors
    ///
    /// [`SendError::Elapsed`] when there was no room in time; [`SendError::Receiving`] inside of
    /// [`Handler::on_message`](crate::Handler::on_message), where two shards that wait for each
    /// other's room would wait for ever. Either has the message.
    pub async fn send(&self, message: M, deadline: Duration) -> Result<(), SendError<M>> {
        if self.mailbox.is_receiving() {
            return Err(SendError::Receiving(message));
        }
        let send = Sending {
            peer: self,
            message: Some(message),
            entry: None,
            sleep: None,
            deadline,
        };
        pin!(send).await
    }
}

/// There is no room for this message.
#[derive(thiserror::Error)]
#[error("the shard's mailbox is full")]
pub struct Full<M>(pub M);

/// Why a message was not sent.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// There was no room in time.
    #[error("the shard's mailbox was full for all of the time")]
    Elapsed(M),
    /// It was sent from inside of [`Handler::on_message`](crate::Handler::on_message), which must
    /// not wait: try_send, or a spawned task, is for that.
    #[error(
        "a send inside of on_message must not wait: use try_send there, or spawn a task that sends"
    )]
    Receiving(M),
}

impl<M> SendError<M> {
    /// The message.
    pub fn into_message(self) -> M {
        match self {
            Self::Elapsed(message) | Self::Receiving(message) => message,
        }
    }
}

struct Sending<'a, M: Send + 'static> {
    peer: &'a Peer<M>,
    message: Option<M>,
    /// Its place among those that wait.
    entry: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
    deadline: Duration,
}

// Nothing of it is pinned in place.
impl<M: Send + 'static> Unpin for Sending<'_, M> {}

impl<M: Send + 'static> Future for Sending<'_, M> {
    type Output = Result<(), SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let send = &mut *self;
        let message = send
            .message
            .take()
            .expect("it is not polled behind its end");
        let (mailbox, target) = (&send.peer.mailbox, send.peer.target);
        if mailbox.is_receiving() {
            return Poll::Ready(Err(SendError::Receiving(message)));
        }
        let waiter = || Shard::with(|shard| Waiter::of(context.waker(), shard.number()));
        let message = match mailbox.send_or_wait(target, message, &mut send.entry, waiter) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(message) => message,
        };
        let deadline = send.deadline;
        let sleep = send.sleep.get_or_insert_with(|| Box::pin(sleep(deadline)));
        if sleep.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(SendError::Elapsed(message)));
        }
        send.message = Some(message);
        Poll::Pending
    }
}

impl<M: Send + 'static> Drop for Sending<'_, M> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.peer.mailbox.stop_waiting(self.peer.target, entry);
        }
    }
}

impl<M> Clone for Peers<M> {
    fn clone(&self) -> Self {
        let mailbox = Rc::clone(&self.mailbox);
        Self { mailbox }
    }
}

impl<M> Clone for Peer<M> {
    fn clone(&self) -> Self {
        let (mailbox, target) = (Rc::clone(&self.mailbox), self.target);
        Self { mailbox, target }
    }
}

impl<M> fmt::Debug for Peers<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Peers")
    }
}

impl<M> fmt::Debug for Peer<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Peer({})", self.target)
    }
}

impl<M> fmt::Debug for Full<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Full")
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Elapsed(_) => "Elapsed",
            Self::Receiving(_) => "Receiving",
        })
    }
}
