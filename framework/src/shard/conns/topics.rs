//! The topics of a shard: who is subscribed, what is being delivered, what waits for room. How it is
//! delivered is in [`publish`](super::publish).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::AddAssign;
use std::sync::Arc;

use crate::id::{Key, SlotIndex};
use crate::ring::buffers::BufRef;
use crate::shard::conns::subscriptions::{Subscriptions, TopicIndex};

/// What becomes of a publication for a subscriber who is behind: who has as much unsent as
/// `limits.write_queue_max` allows, or waits in a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behind {
    /// It does not get it.
    #[default]
    Drop,
    /// It gets it as soon as it has room, unless a later one has taken its place.
    Latest,
    /// It is closed, with [`SlowSubscriber`](crate::CloseReason::SlowSubscriber).
    Close,
    /// It gets it as soon as it has room. With so many of the topic waiting already the
    /// publication is dropped for it.
    Wait {
        /// Publications of the topic that wait for one subscriber at most.
        publications_max: u16,
    },
}

/// What has become of a publication, by the number of subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// For whom it was queued, on the connection or, with [`Behind::Latest`] and [`Behind::Wait`],
    /// until that has room.
    pub delivered: u64,
    /// Who was behind and did not get it.
    pub dropped: u64,
    /// Who was behind and was closed for it.
    pub closed: u64,
    /// Whose connection had failed, or was about to end.
    pub gone: u64,
    /// For whom it has taken the place of an earlier one that waited ([`Behind::Latest`]), which
    /// was counted as delivered and was not.
    pub displaced: u64,
}

impl Published {
    /// Nobody was subscribed.
    pub(crate) const NONE: Self = Self {
        delivered: 0,
        dropped: 0,
        closed: 0,
        gone: 0,
        displaced: 0,
    };

    /// All whom it has met: who was subscribed when their shard began with it, and stayed.
    pub fn subscribers(&self) -> u64 {
        self.delivered + self.dropped + self.closed + self.gone
    }
}

impl AddAssign for Published {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.closed += other.closed;
        self.gone += other.gone;
        self.displaced += other.displaced;
    }
}

/// Why a connection was not subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// It is gone, or of another shard.
    #[error("the shard has no such connection")]
    Gone,
    /// The shard has as many as `topic.topics_per_shard_max`.
    #[error("the shard has too many topics (topic.topics_per_shard_max)")]
    TooManyTopics,
    /// It has as many as `topic.subscriptions_per_connection_max`.
    #[error("the connection has too many subscriptions (topic.subscriptions_per_connection_max)")]
    TooManySubscriptions,
}

/// Who wants to know what becomes of a publication: a source of the shard's mailbox, a number of
/// its own, and whether it is to be woken for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publisher {
    pub(crate) source: usize,
    pub(crate) receipt: u32,
    pub(crate) wakes: bool,
}

/// What is published.
#[derive(Clone, Debug)]
pub(crate) struct Edition {
    pub(crate) topic: Arc<str>,
    pub(crate) bytes: Arc<[u8]>,
    /// It is kept for those who subscribe later, so many of it and its like; 0: it is not.
    pub(crate) retains: u16,
}

impl Edition {
    /// The same, in memory that only this shard counts references to.
    pub(crate) fn of_this_shard(&self) -> Self {
        Self {
            topic: (&*self.topic).into(),
            bytes: (&*self.bytes).into(),
            retains: self.retains,
        }
    }
}

/// The topics of a shard. One that has neither subscribers nor retained values is not among them.
#[derive(Debug)]
pub(crate) struct Topics {
    pub(super) bounds: Bounds,
    pub(super) by_name: HashMap<Arc<str>, TopicIndex>,
    pub(super) topics: Vec<Option<Topic>>,
    vacant: Vec<TopicIndex>,
    pub(super) subscriptions: Subscriptions,
    /// Those that are there for their retained values alone, the first to have become so first.
    unused: BTreeMap<u64, TopicIndex>,
    serial: u64,
    /// Those with publications to deliver, in turn.
    pub(super) active: VecDeque<TopicIndex>,
    /// What waits for subscribers to have room.
    pub(super) waiting: BTreeMap<SlotIndex, VecDeque<Waiting>>,
    /// Of those, who have room now.
    pub(super) ready: Vec<Key>,
    /// Publications that were delivered, and not yet told of.
    pub(super) finished: Vec<(Publisher, Published)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) deliveries_per_turn_max: u32,
    pub(crate) topics_max: usize,
    pub(crate) subscriptions_max: usize,
}

#[derive(Debug)]
pub(super) struct Topic {
    name: Arc<str>,
    pub(super) behind: Behind,
    /// The latest last.
    pub(super) retained: VecDeque<Arc<[u8]>>,
    /// Its place in [`Topics::unused`].
    unused: Option<u64>,
    /// The first is being delivered.
    pub(super) publications: VecDeque<Publication>,
}

#[derive(Debug)]
pub(super) struct Publication {
    pub(super) bytes: Arc<[u8]>,
    /// From the beginning of the pass on they are among the topic's retained values, of which it
    /// keeps so many; 0: they are not.
    pub(super) retains: u16,
    /// Where they lie for this shard's sends, once they are delivered.
    pub(super) buffer: Option<BufRef>,
    pub(super) published: Published,
    pub(super) publisher: Publisher,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) topic: TopicIndex,
    pub(super) bytes: Arc<[u8]>,
}

impl Topics {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            by_name: HashMap::new(),
            topics: Vec::new(),
            vacant: Vec::new(),
            subscriptions: Subscriptions::default(),
            unused: BTreeMap::new(),
            serial: 0,
            active: VecDeque::new(),
            waiting: BTreeMap::new(),
            ready: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Whether there is something to deliver, or to tell.
    pub(crate) fn have_work(&self) -> bool {
        !self.active.is_empty() || !self.ready.is_empty() || !self.finished.is_empty()
    }

    /// Whether a publication has not met all its subscribers.
    pub(crate) fn are_active(&self) -> bool {
        !self.active.is_empty()
    }

    pub(crate) fn have_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Publications that have met all of the shard's subscribers.
    pub(crate) fn take_finished(&mut self) -> Vec<(Publisher, Published)> {
        std::mem::take(&mut self.finished)
    }

    /// Topics that the connection in `slot` is subscribed to.
    pub(super) fn subscriptions_of(&self, slot: SlotIndex) -> u32 {
        self.subscriptions
            .count_of(slot, self.bounds.subscriptions_max) as u32
    }

    /// Subscribers of the topic on this shard.
    pub(crate) fn subscribers(&self, name: &str) -> usize {
        let index = self.by_name.get(name);
        index.map_or(0, |index| self.subscriptions.members(*index))
    }

    /// What the topic retains on this shard, in order.
    pub(crate) fn kept(&self, name: &str) -> Vec<Arc<[u8]>> {
        let index = self.by_name.get(name);
        let topic = index.and_then(|index| self.topics[index.0 as usize].as_ref());
        topic.map_or_else(Vec::new, |topic| topic.retained.iter().cloned().collect())
    }

    /// Takes in what is published. It is delivered once this turn's tasks were polled.
    pub(crate) fn publish(&mut self, edition: Edition, publisher: Publisher) {
        let known = self.by_name.get(&edition.topic).copied();
        let index = match known {
            None if edition.retains > 0 => self.make(&edition.topic, Behind::default()),
            known => known,
        };
        let Some(topic) = index.and_then(|index| self.topics[index.0 as usize].as_mut()) else {
            self.finished.push((publisher, Published::default()));
            return;
        };
        if topic.publications.is_empty() {
            self.active.extend(index);
        }
        if let Some(unused) = topic.unused.take() {
            self.unused.remove(&unused);
        }
        topic.publications.push_back(Publication {
            bytes: edition.bytes,
            retains: edition.retains,
            buffer: None,
            published: Published::default(),
            publisher,
        });
    }

    /// None: there are too many that are used.
    pub(super) fn make(&mut self, name: &Arc<str>, behind: Behind) -> Option<TopicIndex> {
        if self.by_name.len() >= self.bounds.topics_max {
            let (_, index) = self.unused.pop_first()?;
            self.forget(index);
        }
        let topic = Topic {
            name: Arc::clone(name),
            behind,
            retained: VecDeque::new(),
            unused: None,
            publications: VecDeque::new(),
        };
        let index = match self.vacant.pop() {
            Some(index) => {
                self.topics[index.0 as usize] = Some(topic);
                index
            }
            None => {
                self.topics.push(Some(topic));
                TopicIndex(self.topics.len() as u32 - 1)
            }
        };
        self.by_name.insert(Arc::clone(name), index);
        Some(index)
    }

    /// The topic has a subscriber.
    pub(super) fn is_used(&mut self, index: TopicIndex) {
        let topic = self.topics[index.0 as usize].as_mut();
        if let Some(unused) = topic.and_then(|topic| topic.unused.take()) {
            self.unused.remove(&unused);
        }
    }

    /// Forgets the topic if there is nothing of it left; what it retains makes room for others that
    /// are used.
    pub(super) fn clean(&mut self, index: TopicIndex) {
        let members = self.subscriptions.members(index);
        let Some(topic) = &mut self.topics[index.0 as usize] else {
            return;
        };
        if members > 0 || !topic.publications.is_empty() {
            return;
        }
        if topic.retained.is_empty() {
            return self.forget(index);
        }
        if topic.unused.is_none() {
            self.serial += 1;
            topic.unused = Some(self.serial);
            self.unused.insert(self.serial, index);
        }
    }

    fn forget(&mut self, index: TopicIndex) {
        if let Some(topic) = self.topics[index.0 as usize].take() {
            self.by_name.remove(&topic.name);
            self.vacant.push(index);
        }
    }

    pub(super) fn has_waiting(&self, slot: SlotIndex) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&slot)
    }

    // ---- for tests ----

    /// Subscribers that publications have met whose outcome was not taken yet.
    #[cfg(test)]
    pub(crate) fn met(&self) -> u64 {
        let begun = self.topics.iter().flatten();
        let begun = begun.flat_map(|topic| &topic.publications);
        let begun = begun.map(|publication| publication.published);
        let finished = self.finished.iter().map(|(_, published)| *published);
        begun.chain(finished).map(|one| one.subscribers()).sum()
    }

    /// Whether a publication waits for the connection in `slot` to have room.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self, slot: SlotIndex) -> bool {
        self.waiting.contains_key(&slot)
    }

    /// Whether nothing is to be delivered or told, and no topic is kept without a reason.
    #[cfg(test)]
    pub(crate) fn are_idle(&self) -> bool {
        let mut kept = self.by_name.values().map(|index| {
            let topic = self.topics[index.0 as usize].as_ref();
            topic.map(|topic| (topic, self.subscriptions.members(*index)))
        });
        let has_reason = kept.all(|topic| {
            topic.is_some_and(|(topic, members)| {
                topic.publications.is_empty() && (!topic.retained.is_empty() || members > 0)
            })
        });
        has_reason && !self.have_work()
    }

    /// Subscriptions of all topics, and connections that publications wait for.
    #[cfg(test)]
    pub(crate) fn subscribed(&self) -> usize {
        let members = self.by_name.values();
        let members = members.map(|index| self.subscriptions.members(*index));
        members.sum::<usize>() + self.waiting.len()
    }
}
