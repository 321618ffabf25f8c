//! What a shard subscribes and publishes with.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::id::ConnId;
use crate::shard::conns::topics::{Behind, Edition, Published, SubscribeError};
use crate::shard::handle::Shard;
use crate::shard::mail::mailbox::Mailbox;
use crate::shard::mail::mesh::Mesh;
use crate::shard::mail::peers::Full;
use crate::shard::mail::receipt::Receipt;

/// What is published under one name on all shards of a server: see
/// [`ShardContext::topic`](crate::ShardContext::topic). Clones are the same; a topic without
/// subscribers costs nothing, whoever has this.
///
/// A publication goes to every connection that is subscribed when its shard begins with it: from
/// one buffer for each shard, [`topic.deliveries_per_turn_max`](https://docs.rs/corelane) of them a
/// turn, so that one to a million does not bring the shards to a stand. Those of one shard to one
/// topic come in the order in which they were published. It is queued behind what a connection's
/// handler has written, or given to a handler that takes it by [`Conn::next`](crate::Conn::next);
/// a handler that writes a frame in several writes with waits between them takes it so, or it would
/// come in between.
///
/// ```
/// use corelane::{Conn, Error, Handler, ShardContext, Topic};
///
/// /// Everybody hears what anybody says.
/// struct Hall(Topic);
///
/// impl Handler for Hall {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         self.0.subscribe(conn.id()).map_err(Error::handler)?;
///         while let Some(line) = conn.read_line(1000).await? {
///             let said = [&*line, b"\n"].concat();
///             if self.0.publish(said).is_err() {
///                 conn.write("too much is being said\n").await?;
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let factory = |shard: &ShardContext| Hall(shard.topic("hall"));
/// # let _ = factory;
/// ```
#[derive(Clone)]
pub struct Topic {
    name: Arc<str>,
    behind: Behind,
    retains: u16,
    shards: Rc<dyn Publish>,
}

/// A mailbox, whatever its messages are.
pub(super) trait Publish {
    fn publish(&self, edition: Edition, wakes: bool) -> Result<Receipt<Published>, Arc<[u8]>>;
}

impl<M: Send + 'static> Publish for Mailbox<M> {
    fn publish(&self, edition: Edition, wakes: bool) -> Result<Receipt<Published>, Arc<[u8]>> {
        self.publish(edition, wakes)
    }
}

impl Topic {
    pub(crate) fn of_this_thread<M: Send + 'static>(mesh: &Arc<Mesh<M>>, name: &str) -> Self {
        Self {
            name: name.into(),
            behind: Behind::default(),
            retains: 0,
            shards: Mailbox::of_this_thread(mesh),
        }
    }

    /// With this for subscribers who are behind, instead of [`Behind::Drop`]: it holds on this shard
    /// from the next [`subscribe`](Self::subscribe) on.
    #[must_use]
    pub fn behind(self, behind: Behind) -> Self {
        Self { behind, ..self }
    }

    /// What is published with this is kept, the `last` of it on each shard, and goes to who
    /// subscribes later, in order: each has it once, be it from here or as it is published.
    ///
    /// A topic without subscribers stays for it on every shard, until a new topic needs the place
    /// (`topic.topics_per_shard_max`): then the one that is unused for longest is forgotten.
    #[must_use]
    pub fn retained(self, last: u16) -> Self {
        Self {
            retains: last,
            ..self
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Subscribes a connection of this shard, until it ends; once is enough. Takes some 20 bytes.
    ///
    /// # Errors
    ///
    /// When it is gone, or there are too many of topics or of its subscriptions.
    pub fn subscribe(&self, conn: ConnId) -> Result<(), SubscribeError> {
        Shard::with(|shard| {
            let mut core = shard.core();
            core.conns.subscribe(conn, &self.name, self.behind)
        })
    }

    /// As [`subscribe`](Self::subscribe), without what is retained: for a handler that has written so
    /// much of [`kept`](Self::kept) as its peer is to have. Between that and this nothing is missed
    /// and nothing comes twice, unless the handler waits in between.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub fn subscribe_to_new(&self, conn: ConnId) -> Result<(), SubscribeError> {
        Shard::with(|shard| {
            let mut core = shard.core();
            core.conns.subscribe_to_new(conn, &self.name, self.behind)
        })
    }

    /// What this shard retains of it, in order. Whoever has seen all of it and then subscribes
    /// [to the new](Self::subscribe_to_new) has each publication once.
    ///
    /// ```
    /// use corelane::{Conn, Error, Topic};
    ///
    /// /// Sends the news behind number `last`, the oldest first and as fast as the peer takes them.
    /// async fn catch_up(conn: &mut Conn, news: &Topic, mut last: u64) -> Result<(), Error> {
    ///     let number = |line: &[u8]| line.first().copied().map_or(0, u64::from);
    ///     while let Some(line) = news.kept().into_iter().find(|line| number(line) > last) {
    ///         last = number(&line);
    ///         conn.write(line).await?; // others may come meanwhile: it looks again
    ///     }
    ///     news.subscribe_to_new(conn.id()).map_err(Error::handler)
    /// }
    /// # let _ = catch_up;
    /// ```
    pub fn kept(&self) -> Vec<Arc<[u8]>> {
        Shard::with(|shard| shard.core().conns.shared.topics.kept(&self.name))
    }

    /// Ends the subscription of a connection of this shard; what waits for it of this topic is
    /// dropped. False: it had none.
    pub fn unsubscribe(&self, conn: ConnId) -> bool {
        Shard::with(|shard| shard.core().conns.unsubscribe(conn, &self.name))
    }

    /// How many connections of this shard are subscribed.
    pub fn subscribers(&self) -> usize {
        Shard::with(|shard| shard.core().conns.shared.topics.subscribers(&self.name))
    }

    /// Publishes `bytes`, fewer than 4 GiB, on all shards. It is on its way when this returns, and
    /// counted by [`Snapshot::deliveries`](crate::Snapshot) alone.
    ///
    /// # Errors
    ///
    /// [`Full`], with the bytes, when a shard's mailbox is full, or as many publications of this
    /// shard as `mailbox.capacity` have not met all their subscribers: it was published nowhere.
    pub fn publish(&self, bytes: impl Into<Arc<[u8]>>) -> Result<(), Full<Arc<[u8]>>> {
        let published = self.shards.publish(self.edition(bytes.into()), false);
        published.map(drop).map_err(Full)
    }

    /// As [`publish`](Self::publish), and tells what becomes of it.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub fn publish_counted(
        &self,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<Receipt<Published>, Full<Arc<[u8]>>> {
        let published = self.shards.publish(self.edition(bytes.into()), true);
        published.map_err(Full)
    }

    fn edition(&self, bytes: Arc<[u8]>) -> Edition {
        Edition {
            topic: Arc::clone(&self.name),
            bytes,
            retains: self.retains,
        }
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Topic")
            .field("name", &self.name)
            .field("behind", &self.behind)
            .field("retains", &self.retains)
            .finish_non_exhaustive()
    }
}
