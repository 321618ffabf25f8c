//! What threads that are no shards send with.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::id::{ConnId, ShardId};
use crate::shard::conns::Delivery;
use crate::shard::conns::topics::{Edition, Published};
use crate::shard::mail::mesh::Mesh;
use crate::shard::mail::order::{Order, Parcel, ReplyTo};
use crate::shard::mail::peers::Full;
use crate::shard::mail::ticket::ThreadReceipt;

/// How often a send that waits looks for room. A shard with a full mailbox does not look for
/// threads that wait.
const ROOM_INTERVAL: Duration = Duration::from_millis(1);

/// Sends to the shards of a server, from any thread:
/// [`ServerHandle::sender`](crate::ServerHandle::sender). Clones are the same.
///
/// All threads together have one lane to each shard, beside those of the shards, and a lock among
/// themselves for it. A handler sends with its [`Peers`](crate::Peers).
pub struct Sender<M> {
    mesh: Arc<Mesh<M>>,
}

impl<M: Send + 'static> Sender<M> {
    pub(crate) fn new(mesh: Arc<Mesh<M>>) -> Self {
        Self { mesh }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.mesh.shards()
    }

    /// Sends `message` to the handler of `shard`. Those of one thread come in the order in which
    /// they were sent.
    ///
    /// # Errors
    ///
    /// [`Full`], with the message, when as many as `mailbox.capacity` wait to be received, when
    /// there is no such shard, and some time after it has ended.
    pub fn try_send(&self, shard: ShardId, message: M) -> Result<(), Full<M>> {
        let target = shard.0 as usize;
        if target >= self.shards() {
            return Err(Full(message));
        }
        let pushed = self.mesh.push_from_thread(target, Parcel::Message(message));
        pushed.map_err(|parcel| match parcel {
            Parcel::Message(message) => Full(message),
            Parcel::Order(_) => unreachable!("what was pushed is given back"),
        })
    }

    /// As [`Self::try_send`]; without room it waits on this thread for some, for `within` at most.
    ///
    /// # Errors
    ///
    /// [`Full`], with the message, when there was none in time.
    pub fn send(&self, shard: ShardId, message: M, within: Duration) -> Result<(), Full<M>> {
        let begun = Instant::now();
        let mut message = message;
        loop {
            match self.try_send(shard, message) {
                Err(Full(back)) if begun.elapsed() < within => message = back,
                ended => return ended,
            }
            std::thread::sleep(ROOM_INTERVAL);
        }
    }

    /// Sends `bytes` to a connection, as [`Peers::send_to`](crate::Peers::send_to).
    ///
    /// # Errors
    ///
    /// [`Full`], with the bytes, as for [`Self::try_send`].
    pub fn send_to(
        &self,
        conn: ConnId,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<ThreadReceipt<Delivery>, Full<Arc<[u8]>>> {
        let (receipt, replies) = ThreadReceipt::new(1);
        let target = conn.shard().0 as usize;
        if conn.server() != self.mesh.server || target >= self.shards() {
            return Ok(receipt); // the reply is dropped: it is gone
        }
        let bytes = bytes.into();
        for reply in replies {
            let order = Order::Deliver {
                conn,
                bytes: Arc::clone(&bytes),
                reply_to: ReplyTo::Thread(reply),
            };
            if self.mesh.order_from_thread(target, order).is_err() {
                return Err(Full(bytes));
            }
        }
        Ok(receipt)
    }

    /// Publishes `bytes` on all shards, as a [`Topic`](crate::Topic) of that name does. The
    /// publications of one thread to one topic come in the order in which they were published.
    ///
    /// # Errors
    ///
    /// [`Full`], with the bytes, when there is no room in a shard's lane for threads: it was
    /// published nowhere.
    pub fn publish(
        &self,
        topic: &str,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<ThreadReceipt<Published>, Full<Arc<[u8]>>> {
        let edition = Edition {
            topic: topic.into(),
            bytes: bytes.into(),
            retains: 0,
        };
        let (receipt, replies) = ThreadReceipt::new(self.shards());
        let orders = replies.into_iter().map(|reply| Order::Publish {
            edition: edition.clone(),
            reply_to: ReplyTo::Thread(reply),
        });
        match self.mesh.order_all_from_thread(orders) {
            Ok(()) => Ok(receipt),
            Err(_full) => Err(Full(edition.bytes)),
        }
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        let mesh = Arc::clone(&self.mesh);
        Self { mesh }
    }
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sender")
    }
}
