//! Publishing: what is published goes to every subscriber of the shard, from one buffer, a bounded
//! number of deliveries a turn.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::CloseReason;
use crate::id::ConnId;
use crate::ring::buffers::{BufRef, BufferPool};
use crate::shard::conns::conn_mut::{ConnMut, Conns};
use crate::shard::conns::inbox::Delivery;
use crate::shard::conns::subscriptions::TopicIndex;
use crate::shard::conns::topics::{Behind, Publication, SubscribeError, Waiting};

/// Deliveries of one topic before it is the next one's turn: a small topic does not wait for the
/// end of a large one.
const SHARE: u32 = 64;
/// How many deliveries ahead a subscriber's slot is fetched.
const PREFETCH_AHEAD: usize = 4;

impl Conns {
    /// Subscribes the connection of that name, which is of this shard. Retained values go to it at
    /// once.
    pub(crate) fn subscribe(
        &mut self,
        conn: ConnId,
        name: &Arc<str>,
        behind: Behind,
    ) -> Result<(), SubscribeError> {
        if self.add_subscription(conn, name, behind)? {
            for bytes in self.shared.topics.kept(name) {
                self.deliver(conn, bytes);
            }
        }
        Ok(())
    }

    /// The same without the retained values.
    pub(crate) fn subscribe_to_new(
        &mut self,
        conn: ConnId,
        name: &Arc<str>,
        behind: Behind,
    ) -> Result<(), SubscribeError> {
        self.add_subscription(conn, name, behind).map(drop)
    }

    /// False: it is subscribed already.
    fn add_subscription(
        &mut self,
        conn: ConnId,
        name: &Arc<str>,
        behind: Behind,
    ) -> Result<bool, SubscribeError> {
        let key = self.key_of(conn).ok_or(SubscribeError::Gone)?;
        let topics = &mut self.shared.topics;
        let subscriptions_max = topics.bounds.subscriptions_max;
        let index = match topics.by_name.get(name) {
            Some(index) => *index,
            None => topics
                .make(name, behind)
                .ok_or(SubscribeError::TooManyTopics)?,
        };
        let count = topics.subscriptions.count_of(key.slot, subscriptions_max);
        if count >= subscriptions_max {
            topics.clean(index);
            return Err(SubscribeError::TooManySubscriptions);
        }
        if let Some(topic) = &mut topics.topics[index.0 as usize] {
            topic.behind = behind;
        }
        if !topics.subscriptions.add(index, key.slot) {
            return Ok(false);
        }
        topics.is_used(index);
        Ok(true)
    }

    /// False: it was not subscribed.
    pub(crate) fn unsubscribe(&mut self, conn: ConnId, name: &str) -> bool {
        let (Some(key), Some(index)) = (
            self.key_of(conn),
            self.shared.topics.by_name.get(name).copied(),
        ) else {
            return false;
        };
        let topics = &mut self.shared.topics;
        let was = topics.subscriptions.remove(index, key.slot);
        if let Some(waiting) = topics.waiting.get_mut(&key.slot) {
            waiting.retain(|one| one.topic != index);
        }
        topics.clean(index);
        was
    }

    /// Delivers what was published, up to the turn's bound: a share of each topic in turn.
    pub(crate) fn deliver_publications(&mut self) {
        if !self.shared.topics.have_work() {
            return;
        }
        self.deliver_waiting();
        let mut left = self.shared.topics.bounds.deliveries_per_turn_max;
        while left > 0
            && let Some(index) = self.shared.topics.active.pop_front()
        {
            self.deliver_share(index, &mut left);
        }
        self.after_poll();
    }

    /// A share of the first publication of a topic, which stays active if there is more.
    fn deliver_share(&mut self, index: TopicIndex, left: &mut u32) {
        let Some(topic) = &mut self.shared.topics.topics[index.0 as usize] else {
            return;
        };
        let behind = topic.behind;
        let Some(mut publication) = topic.publications.pop_front() else {
            return;
        };
        if publication.buffer.is_none() {
            publication.buffer = self.shared.buffers.share(Arc::clone(&publication.bytes));
            self.shared.topics.subscriptions.begin_pass(index);
            if publication.retains > 0 {
                // Not before: whoever subscribes until now meets the publication itself.
                topic.retained.push_back(Arc::clone(&publication.bytes));
                let surplus = topic
                    .retained
                    .len()
                    .saturating_sub(publication.retains.into());
                topic.retained.drain(..surplus);
            }
        }
        for _ in 0..SHARE.min(*left) {
            let subscriptions = &mut self.shared.topics.subscriptions;
            let Some(slot) = subscriptions.next(index) else {
                return self.finish(index, publication);
            };
            if let Some(coming) = subscriptions.ahead(index, PREFETCH_AHEAD) {
                self.table.prefetch_slot(coming);
            }
            *left -= 1;
            match self.at(slot) {
                Some(mut conn) => conn.take_publication(index, behind, &mut publication),
                None => publication.published.gone += 1,
            }
        }
        if let Some(topic) = &mut self.shared.topics.topics[index.0 as usize] {
            topic.publications.push_front(publication);
            self.shared.topics.active.push_back(index);
        }
    }

    /// A publication has met everybody.
    fn finish(&mut self, index: TopicIndex, publication: Publication) {
        if let Some(buffer) = publication.buffer {
            self.shared.buffers.release(buffer);
        }
        let metrics = &self.shared.metrics;
        metrics.published.add(1);
        metrics.deliveries.add(publication.published.delivered);
        metrics
            .deliveries_dropped
            .add(publication.published.dropped + publication.published.displaced);
        let topics = &mut self.shared.topics;
        topics
            .finished
            .push((publication.publisher, publication.published));
        let topic = &topics.topics[index.0 as usize];
        if topic
            .as_ref()
            .is_some_and(|topic| !topic.publications.is_empty())
        {
            topics.active.push_back(index);
        }
        topics.clean(index);
    }

    /// What has waited goes to those who have room for it.
    fn deliver_waiting(&mut self) {
        for key in std::mem::take(&mut self.shared.topics.ready) {
            if let Some(mut conn) = self.get(key) {
                conn.take_waiting();
            }
        }
    }

    /// The shard ends: what is still being delivered has met whom it has met.
    pub(crate) fn abandon_publications(&mut self) {
        let buffers = &self.shared.buffers;
        let topics = self.shared.topics.topics.drain(..).flatten();
        for publication in topics.flat_map(|topic| topic.publications) {
            release(buffers, publication.buffer);
        }
    }
}

fn release(buffers: &BufferPool, buffer: Option<BufRef>) {
    buffer
        .into_iter()
        .for_each(|buffer| buffers.release(buffer));
}

impl ConnMut<'_> {
    fn take_publication(&mut self, index: TopicIndex, behind: Behind, of: &mut Publication) {
        let slot = self.key.slot;
        let outcome = if self.shared.topics.has_waiting(slot) {
            Delivery::OverLimit // what waits goes first
        } else {
            self.deliver_edition(&of.bytes, of.buffer.as_ref())
        };
        let published = &mut of.published;
        match (outcome, behind) {
            (Delivery::Queued, _) => published.delivered += 1,
            (Delivery::Gone, _) => published.gone += 1,
            (_, Behind::Drop) => published.dropped += 1,
            (_, Behind::Close) => {
                published.closed += 1;
                self.fail(CloseReason::SlowSubscriber);
            }
            (_, Behind::Latest) => {
                published.delivered += 1;
                if self.wait_for_room(index, &of.bytes, 1).is_some() {
                    published.displaced += 1;
                }
            }
            (_, Behind::Wait { publications_max }) => {
                let waiting = self.shared.topics.waiting.get(&slot);
                let of_topic = |waiting: &VecDeque<Waiting>| {
                    waiting.iter().filter(|one| one.topic == index).count()
                };
                if waiting.map_or(0, of_topic) >= usize::from(publications_max) {
                    published.dropped += 1;
                } else {
                    published.delivered += 1;
                    self.wait_for_room(index, &of.bytes, usize::MAX);
                }
            }
        }
    }

    /// `bytes` wait until the connection has room; of its topic at most `waiting_max` do. Gives the
    /// one whose place they take.
    fn wait_for_room(
        &mut self,
        topic: TopicIndex,
        bytes: &Arc<[u8]>,
        waiting_max: usize,
    ) -> Option<Arc<[u8]>> {
        let slot = self.key.slot;
        let waiting = self.shared.topics.waiting.entry(slot).or_default();
        let bytes = Arc::clone(bytes);
        if waiting_max == 1
            && let Some(one) = waiting.iter_mut().rfind(|one| one.topic == topic)
        {
            return Some(std::mem::replace(&mut one.bytes, bytes));
        }
        waiting.push_back(Waiting { topic, bytes });
        None
    }

    /// It may have room, because its output or its inbox has become shorter or its handler waits in
    /// no write any more: what waits for that is delivered at the end of the turn.
    pub(super) fn publications_may_go(&mut self) {
        if self.shared.topics.has_waiting(self.key.slot) {
            self.shared.topics.ready.push(self.key);
        }
    }

    fn take_waiting(&mut self) {
        let slot = self.key.slot;
        while let Some(waiting) = self.shared.topics.waiting.get_mut(&slot) {
            let Some(first) = waiting.pop_front() else {
                self.shared.topics.waiting.remove(&slot);
                return;
            };
            match self.deliver_edition(&first.bytes, None) {
                Delivery::Queued => {}
                Delivery::Gone => {
                    self.shared.topics.waiting.remove(&slot);
                }
                _ => {
                    let waiting = self.shared.topics.waiting.entry(slot).or_default();
                    return waiting.push_front(first);
                }
            }
        }
    }

    /// The connection is closed: it leaves all its topics.
    pub(super) fn leave_topics(&mut self) {
        let topics = &mut self.shared.topics;
        while let Some(index) = topics.subscriptions.pop(self.key.slot) {
            topics.clean(index);
        }
        if !topics.waiting.is_empty() {
            topics.waiting.remove(&self.key.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Limits};
    use crate::id::SlotIndex;
    use crate::shard::conns::slot::Origin;
    use crate::shard::conns::topics::{Edition, Publisher};
    use crate::shard::policy::bounds::MemoryShare;
    use crate::shard::sim::stand_in::stand_in_shard;

    /// Calls `test` with a connection whose handler takes messages, one of which fills its inbox.
    fn with_taker(test: impl FnOnce(&mut Conns, ConnId)) {
        let limits = Limits {
            write_queue_max: 1,
            ..Limits::default()
        };
        let config = Config {
            limits,
            ..Config::default()
        };
        let memory = MemoryShare {
            unread_max: u32::MAX,
            unsent_max: u32::MAX,
        };
        let shard = stand_in_shard(config, memory);
        let conns = &mut shard.core().conns;
        let key = conns.occupy(SlotIndex(0), ([127, 0, 0, 1], 1).into(), Origin::Outbound);
        let mut conn = conns.get(key).expect("it lives");
        conn.connect_submitted();
        conn.connected(0, false).expect("it is connected");
        conn.take_messages();
        let id = conns.shared.conn_id(key);
        test(conns, id);
    }

    fn publish(conns: &mut Conns, bytes: &[u8], retains: u16) {
        let edition = Edition {
            topic: "topic".into(),
            bytes: bytes.into(),
            retains,
        };
        let publisher = Publisher {
            source: 0,
            receipt: 0,
            wakes: false,
        };
        conns.shared.topics.publish(edition, publisher);
    }

    /// What is taken until nothing comes.
    fn take_all(conns: &mut Conns, id: ConnId) -> Vec<u8> {
        let key = conns.key_of(id).expect("it lives");
        let mut taken = Vec::new();
        loop {
            conns.deliver_publications();
            let message = conns.get(key).and_then(|mut conn| conn.pop_message());
            match message {
                Some(message) => taken.extend_from_slice(&message),
                None => return taken,
            }
        }
    }

    #[test]
    fn who_subscribes_behind_a_retained_publication_gets_it_once() {
        with_taker(|conns, id| {
            publish(conns, b"a", 1);
            let topic = "topic".into();
            conns.subscribe(id, &topic, Behind::Drop).expect("room");
            assert_eq!(take_all(conns, id), b"a");
        });
    }

    #[test]
    fn the_last_that_were_retained_come_in_order_until_their_place_is_needed() {
        with_taker(|conns, id| {
            let [old, new] = ["topic", "new"].map(Arc::from);
            conns.shared.bounds.write_queue_max = 4096; // two have room
            for bytes in [b"a", b"b", b"c"] {
                publish(conns, bytes, 2);
            }
            while conns.shared.topics.are_active() {
                conns.deliver_publications();
            }
            conns.subscribe(id, &old, Behind::Drop).expect("room");
            assert_eq!(take_all(conns, id), b"bc");
            conns.shared.topics.bounds.topics_max = 1;
            let full = conns.subscribe(id, &new, Behind::Drop);
            assert_eq!(
                full,
                Err(SubscribeError::TooManyTopics),
                "the old one is used"
            );
            conns.unsubscribe(id, &old);
            conns.subscribe(id, &new, Behind::Drop).expect("room");
            conns.unsubscribe(id, &new);
            conns.subscribe(id, &old, Behind::Drop).expect("room");
            assert_eq!(take_all(conns, id), b"", "it was forgotten");
        });
    }

    #[test]
    fn who_has_seen_what_is_kept_and_subscribes_to_the_new_has_each_once() {
        with_taker(|conns, id| {
            let topic = Arc::from("topic");
            conns.shared.bounds.write_queue_max = 4096; // all have room
            publish(conns, b"a", 3);
            publish(conns, b"b", 3);
            conns.deliver_publications(); // the first is kept, the pass of the second has not begun
            let kept = conns.shared.topics.kept(&topic).concat();
            conns
                .subscribe_to_new(id, &topic, Behind::Drop)
                .expect("room");
            publish(conns, b"c", 3);
            let seen = [kept, take_all(conns, id)].concat();
            assert_eq!(seen, b"abc");
            assert_eq!(conns.shared.topics.kept(&topic).concat(), b"abc");
            assert!(conns.shared.topics.kept("other").is_empty());
        });
    }

    #[test]
    fn what_waits_comes_in_order_as_its_subscriber_takes_the_rest() {
        with_taker(|conns, id| {
            let topic = "topic".into();
            let wait = Behind::Wait {
                publications_max: 2,
            };
            conns.subscribe(id, &topic, wait).expect("room");
            for bytes in [b"a", b"b", b"c"] {
                publish(conns, bytes, 0);
            }
            while conns.shared.topics.are_active() {
                conns.deliver_publications();
            }
            conns.subscribe(id, &topic, Behind::Latest).expect("room");
            publish(conns, b"d", 0);
            while conns.shared.topics.are_active() {
                conns.deliver_publications();
            }
            assert_eq!(take_all(conns, id), b"abd");
        });
    }
}
