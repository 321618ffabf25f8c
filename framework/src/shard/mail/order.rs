//! What shards ask of each other, and how they answer.

use std::sync::Arc;

use crate::id::ConnId;
use crate::shard::conns::Delivery;
use crate::shard::conns::topics::{Edition, Published};
use crate::shard::mail::outcome::Outcome;
use crate::shard::mail::ticket::Reply;

/// What goes through a lane.
#[derive(Debug)]
pub(super) enum Parcel<M> {
    /// For the handler.
    Message(M),
    /// For the shard. Apart from the messages, so that a small one stays small.
    Order(Box<Order>),
}

/// For the shard itself.
#[derive(Debug)]
pub(super) enum Order {
    /// Bytes for a connection of it.
    Deliver {
        conn: ConnId,
        bytes: Arc<[u8]>,
        reply_to: ReplyTo<Delivery>,
    },
    /// For all its subscribers of a topic.
    Publish {
        edition: Edition,
        reply_to: ReplyTo<Published>,
    },
    /// What has become of an order of the one that gets this.
    Answer(Answer),
}

/// Who wants to know what becomes of an order.
#[derive(Debug)]
pub(super) enum ReplyTo<T: Outcome> {
    /// The shard that has sent it, by the number of its receipt; whether it is to be woken for the
    /// answer.
    Shard { receipt: u32, wakes: bool },
    /// A thread that is no shard.
    Thread(Reply<T>),
}

/// What has become of an order, for the receipt of that number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Delivered {
        receipt: u32,
        delivery: Delivery,
    },
    Published {
        receipt: u32,
        published: Published,
        wakes: bool,
    },
}
