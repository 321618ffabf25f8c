//! Publishing. Each topic belongs to one shard, which gives its messages their numbers and publishes
//! them one after the other: so all subscribers have them in one order. A message is framed twice there,
//! as an event and as a WebSocket's message, and published under two names; each subscriber is
//! subscribed to the one that it reads.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_channel::{Receiver, Sender, TrySendError, bounded};
use corelane::{Counter, Full, Receipt, ShardContext, Topic, sleep, spawn, timeout, websocket};
use futures_lite::future::zip;

use crate::event;

/// Messages that wait on a topic's shard to be published. No key: one more is refused, and their sum is
/// bounded by it and `message_max`.
const WAITING_MAX: usize = 256;
/// How long a publisher is kept waiting for the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts of a message that has come out by one name and finds no room for the other.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// One message, on its way to the shard of its topic.
pub(crate) struct Order {
    topic: Box<str>,
    message: Vec<u8>,
    retained: u16,
    answer: Sender<Result<Published, Unpublished>>,
}

/// What has become of a message, by the number of subscribers of all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) id: u64,
    pub(crate) reached: u64,
    /// Who was too slow and was closed for it.
    pub(crate) closed: u64,
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpublished {
    Busy,
    /// Nobody knows.
    Unanswered,
}

/// One per shard.
pub(crate) struct Publisher {
    shard: ShardContext<Order>,
    /// Of the last message.
    id: Cell<u64>,
    waiting: (Sender<Order>, Receiver<Order>),
    published: Counter,
    refused: Counter,
}

/// What subscribers to events of the topic `name` are subscribed to.
pub(crate) fn events<M: Send + 'static>(shard: &ShardContext<M>, name: &str) -> Topic {
    shard.topic(&format!("events/{name}"))
}

/// The same of WebSockets.
pub(crate) fn frames<M: Send + 'static>(shard: &ShardContext<M>, name: &str) -> Topic {
    shard.topic(&format!("frames/{name}"))
}

impl Publisher {
    pub(crate) fn new(shard: &ShardContext<Order>) -> Self {
        let counter = |name, help| shard.counter(name, help);
        Self {
            shard: shard.clone(),
            // So numbers grow over a restart, too.
            id: Cell::new(micros_since_1970()),
            waiting: bounded(WAITING_MAX),
            published: counter("gateway_messages_published_total", "Messages published."),
            refused: counter(
                "gateway_messages_refused_total",
                "Messages refused because a shard was too busy.",
            ),
        }
    }

    /// Publishes what is posted, one after the other.
    pub(crate) fn start(self: &Rc<Self>) {
        let publisher = Rc::clone(self);
        let task = async move {
            while let Ok(order) = publisher.waiting.1.recv().await {
                publisher.carry_out(order).await;
            }
        };
        let _runs_until_the_shard_ends = spawn(task).expect("no task was spawned before the first");
    }

    /// Publishes `message` to the topic on all shards, and tells how many it has reached.
    pub(crate) async fn publish(
        &self,
        topic: &str,
        message: Vec<u8>,
        retained: u16,
    ) -> Result<Published, Unpublished> {
        let (answer, answered) = bounded(1);
        let order = Order {
            topic: topic.into(),
            message,
            retained,
            answer,
        };
        let peers = self.shard.peers();
        let owner = peers.at(owner(topic, peers.len()));
        let outcome = match owner.try_send(order) {
            Err(Full(_order)) => Err(Unpublished::Busy),
            Ok(()) => match timeout(ANSWER_WITHIN, answered.recv()).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => Err(Unpublished::Unanswered),
            },
        };
        if outcome == Err(Unpublished::Busy) {
            self.refused.increment();
        }
        outcome
    }

    /// A message of a topic of this shard has come. With too many waiting it is dropped, and whoever
    /// waits for the answer is told so.
    pub(crate) fn take(&self, order: Order) {
        let sent = self.waiting.0.try_send(order);
        if let Err(TrySendError::Full(order) | TrySendError::Closed(order)) = sent {
            let _who_asked_has_gone = order.answer.try_send(Err(Unpublished::Busy));
        }
    }

    /// Publishes it under both names, and answers once it has met all subscribers.
    async fn carry_out(&self, order: Order) {
        let Order {
            topic,
            message,
            retained,
            answer,
        } = order;
        let id = self.id.get() + 1;
        self.id.set(id);
        let (events, frames) = (events(&self.shard, &topic), frames(&self.shard, &topic));
        let by_events = publish(&events.retained(retained), event::frame(id, &message)).await;
        let by_frames = publish(&frames, websocket_frame(&message)).await;
        self.published.increment();
        let tell = async move {
            let (one, other) = zip(by_events, by_frames).await;
            let _who_asked_has_gone = answer.try_send(Ok(Published {
                id,
                reached: one.delivered + other.delivered,
                closed: one.closed + other.closed,
            }));
        };
        let _nobody_is_told = spawn(tell); // with a million tasks, each of which waits for a receipt
    }
}

/// Publishes as soon as there is room: what is out under one name must come out under the other.
async fn publish(topic: &Topic, mut frame: Arc<[u8]>) -> Receipt<corelane::Published> {
    loop {
        match topic.publish_counted(frame) {
            Ok(receipt) => return receipt,
            Err(Full(unpublished)) => frame = unpublished,
        }
        sleep(ROOM_PAUSE).await;
    }
}

fn websocket_frame(message: &[u8]) -> Arc<[u8]> {
    match str::from_utf8(message) {
        Ok(text) => websocket::text_frame(text),
        Err(_) => websocket::binary_frame(message),
    }
}

/// The shard that a topic belongs to; the same on every shard of the process.
fn owner(topic: &str, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    (hasher.finish() % shards as u64) as usize
}

fn micros_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_spread_over_the_shards_and_stay_there() {
        let owners: Vec<usize> = (0..64)
            .map(|number| owner(&format!("topic-{number}"), 4))
            .collect();
        assert!((0..4).all(|shard| owners.contains(&shard)), "{owners:?}");
        assert_eq!(owner("a", 4), owner("a", 4));
        assert_eq!(owner("a", 1), 0);
    }

    #[test]
    fn text_is_a_text_message_and_all_else_a_binary_one() {
        assert_eq!(&*websocket_frame(b"hi"), b"\x81\x02hi");
        assert_eq!(&*websocket_frame(b""), b"\x81\x00");
        assert_eq!(&*websocket_frame(b"\xff"), b"\x82\x01\xff");
    }
}
