//! Who is subscribed to what: the members of each topic, and the topics of each connection, by
//! numbers alone. A subscription takes 20 bytes, and up to an eighth of that for growth.
//!
//! A pass goes over the members of a topic, over many turns if need be, while others come and go:
//! each of those that were members at its beginning, and still are when it gets to them, is met
//! once.

use crate::id::SlotIndex;

/// No subscription.
const NONE: u32 = u32::MAX;
/// Lists grow by one in so many parts.
const GROWTH_PART: usize = 8;

/// A topic's number on its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicIndex(pub(crate) u32);

#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// By topic.
    members: Vec<Members>,
    subs: Vec<Sub>,
    /// The first vacant one.
    vacant: Option<u32>,
    /// By slot: the last that it has made.
    last: Vec<u32>,
}

/// In three parts: those that the pass has met, those that it is to meet, and those that have come
/// since it began.
#[derive(Debug, Default)]
struct Members {
    slots: Vec<SlotIndex>,
    met: usize,
    to_meet_end: usize,
}

#[derive(Debug)]
struct Sub {
    topic: TopicIndex,
    /// Where the connection stands among its members.
    place: u32,
    /// The one that the connection has made before; of a vacant one the next vacant.
    before: u32,
}

impl Subscriptions {
    /// Subscribes the connection in `slot`. False: it is a member already.
    pub(crate) fn add(&mut self, topic: TopicIndex, slot: SlotIndex) -> bool {
        if self.find(topic, slot).is_some() {
            return false;
        }
        let members = self.members_mut(topic);
        let place = members.slots.len() as u32;
        push(&mut members.slots, slot);
        let index = slot.0 as usize;
        while self.last.len() <= index {
            push(&mut self.last, NONE);
        }
        let sub = Sub {
            topic,
            place,
            before: self.last[index],
        };
        self.last[index] = self.insert(sub);
        true
    }

    /// False: it is no member.
    pub(crate) fn remove(&mut self, topic: TopicIndex, slot: SlotIndex) -> bool {
        let Some(sub) = self.find(topic, slot) else {
            return false;
        };
        self.unlink(slot, sub);
        self.leave(sub);
        true
    }

    /// One of the topics of the connection in `slot`, which it leaves; none is left in the end.
    pub(crate) fn pop(&mut self, slot: SlotIndex) -> Option<TopicIndex> {
        let last = self.last.get_mut(slot.0 as usize)?;
        if *last == NONE {
            return None;
        }
        let sub = *last;
        *last = self.subs[sub as usize].before;
        Some(self.leave(sub))
    }

    /// How many topics the connection in `slot` has, counted up to `max`.
    pub(crate) fn count_of(&self, slot: SlotIndex, max: usize) -> usize {
        self.of_slot(slot).take(max).count()
    }

    pub(crate) fn members(&self, topic: TopicIndex) -> usize {
        let members = self.members.get(topic.0 as usize);
        members.map_or(0, |members| members.slots.len())
    }

    // ---- a pass ----

    /// Begins a pass over those who are members now.
    pub(crate) fn begin_pass(&mut self, topic: TopicIndex) {
        let members = self.members_mut(topic);
        (members.met, members.to_meet_end) = (0, members.slots.len());
    }

    /// The next member that the pass has not met; none at its end.
    pub(crate) fn next(&mut self, topic: TopicIndex) -> Option<SlotIndex> {
        let members = self.members_mut(topic);
        if members.met == members.to_meet_end {
            (members.met, members.to_meet_end) = (0, 0);
            return None;
        }
        members.met += 1;
        Some(members.slots[members.met - 1])
    }

    /// The member that the pass meets so many steps on.
    pub(crate) fn ahead(&self, topic: TopicIndex, steps: usize) -> Option<SlotIndex> {
        let members = &self.members[topic.0 as usize];
        members.slots.get(members.met + steps).copied()
    }

    // ---- the lists ----

    fn members_mut(&mut self, topic: TopicIndex) -> &mut Members {
        let index = topic.0 as usize;
        if self.members.len() <= index {
            self.members.resize_with(index + 1, Members::default);
        }
        &mut self.members[index]
    }

    fn insert(&mut self, sub: Sub) -> u32 {
        match self.vacant {
            Some(index) => {
                let place = &mut self.subs[index as usize];
                self.vacant = Some(place.before).filter(|next| *next != NONE);
                *place = sub;
                index
            }
            None => {
                push(&mut self.subs, sub);
                self.subs.len() as u32 - 1
            }
        }
    }

    fn of_slot(&self, slot: SlotIndex) -> impl Iterator<Item = u32> + '_ {
        let is_one = |sub: &u32| *sub != NONE;
        let last = self.last.get(slot.0 as usize).copied().filter(is_one);
        std::iter::successors(last, move |sub| {
            Some(self.subs[*sub as usize].before).filter(is_one)
        })
    }

    fn find(&self, topic: TopicIndex, slot: SlotIndex) -> Option<u32> {
        let mut subs = self.of_slot(slot);
        subs.find(|sub| self.subs[*sub as usize].topic == topic)
    }

    /// Takes `sub` out of the list of its connection.
    fn unlink(&mut self, slot: SlotIndex, sub: u32) {
        let before = self.subs[sub as usize].before;
        let later = self
            .of_slot(slot)
            .find(|later| self.subs[*later as usize].before == sub);
        match later {
            Some(later) => self.subs[later as usize].before = before,
            None => self.last[slot.0 as usize] = before,
        }
    }

    /// Takes `sub`, which is in no list of a connection any more, out of its topic's members. Each
    /// part of them closes the gap with its own last, so that who was met stays met.
    fn leave(&mut self, sub: u32) -> TopicIndex {
        let Sub { topic, place, .. } = self.subs[sub as usize];
        self.subs[sub as usize].before = self.vacant.unwrap_or(NONE);
        self.vacant = Some(sub);
        let members = &mut self.members[topic.0 as usize];
        let mut gap = place as usize;
        let mut moves = [None; 3];
        if gap < members.met {
            members.met -= 1;
            moves[0] = Some((members.met, gap));
            gap = members.met;
        }
        if gap < members.to_meet_end {
            members.to_meet_end -= 1;
            moves[1] = Some((members.to_meet_end, gap));
            gap = members.to_meet_end;
        }
        moves[2] = Some((members.slots.len() - 1, gap));
        for (from, to) in moves.into_iter().flatten() {
            self.move_member(topic, from, to);
        }
        let members = &mut self.members[topic.0 as usize];
        members.slots.pop();
        if members.slots.is_empty() {
            members.slots = Vec::new();
        }
        topic
    }

    fn move_member(&mut self, topic: TopicIndex, from: usize, to: usize) {
        if from == to {
            return;
        }
        let slots = &mut self.members[topic.0 as usize].slots;
        let slot = slots[from];
        slots[to] = slot;
        if let Some(sub) = self.find(topic, slot) {
            self.subs[sub as usize].place = to as u32;
        }
    }
}

/// Pushes, with little room to spare.
fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / GROWTH_PART + 1);
    }
    list.push(item);
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const TOPICS: u32 = 3;
    const SLOTS: u32 = 12;

    /// Against sets: whoever comes and goes during a pass, each who stays is met once.
    #[test]
    fn a_pass_meets_each_who_was_there_and_stays_once() {
        let mut random = fastrand::Rng::with_seed(19);
        for _ in 0..300 {
            let (mut subs, mut model) = (Subscriptions::default(), BTreeMap::new());
            let mut pass: BTreeMap<u32, (BTreeSet<u32>, BTreeSet<u32>)> = BTreeMap::new();
            for _ in 0..200 {
                let (topic, slot) = (random.u32(..TOPICS), random.u32(..SLOTS));
                let members: &mut BTreeSet<u32> = model.entry(topic).or_default();
                let (index, place) = (TopicIndex(topic), SlotIndex(slot));
                match random.u32(..8) {
                    0..3 => assert_eq!(subs.add(index, place), members.insert(slot)),
                    3 => {
                        let was = members.remove(&slot);
                        assert_eq!(subs.remove(index, place), was);
                        left(&mut pass, topic, slot);
                    }
                    4 if random.u32(..4) == 0 => {
                        while let Some(TopicIndex(topic)) = subs.pop(place) {
                            assert!(model.entry(topic).or_default().remove(&slot));
                            left(&mut pass, topic, slot);
                        }
                        assert!(model.values().all(|members| !members.contains(&slot)));
                    }
                    5 if !pass.contains_key(&topic) => {
                        subs.begin_pass(index);
                        pass.insert(topic, (members.clone(), BTreeSet::new()));
                    }
                    _ => go_on(&mut subs, &mut pass, topic),
                }
                let count = model.get(&topic).map_or(0, BTreeSet::len);
                assert_eq!(subs.members(index), count);
            }
            for topic in 0..TOPICS {
                while pass.contains_key(&topic) {
                    go_on(&mut subs, &mut pass, topic);
                }
            }
        }
    }

    type Passes = BTreeMap<u32, (BTreeSet<u32>, BTreeSet<u32>)>;

    fn left(pass: &mut Passes, topic: u32, slot: u32) {
        if let Some((to_meet, met)) = pass.get_mut(&topic) {
            to_meet.remove(&slot);
            met.remove(&slot);
        }
    }

    fn go_on(subs: &mut Subscriptions, pass: &mut Passes, topic: u32) {
        let Some((to_meet, met)) = pass.get_mut(&topic) else {
            return;
        };
        match subs.next(TopicIndex(topic)) {
            Some(SlotIndex(slot)) => {
                assert!(to_meet.remove(&slot) && met.insert(slot));
            }
            None => {
                assert!(to_meet.is_empty(), "{to_meet:?} were not met");
                pass.remove(&topic);
            }
        }
    }

    #[test]
    fn a_subscription_is_small() {
        let mut subs = Subscriptions::default();
        let count = 100_000;
        for slot in 0..count {
            subs.add(TopicIndex(0), SlotIndex(slot));
        }
        let bytes = subs.subs.capacity() * size_of::<Sub>()
            + subs.members[0].slots.capacity() * size_of::<SlotIndex>()
            + subs.last.capacity() * size_of::<u32>();
        assert!(bytes <= 24 * count as usize, "{bytes} bytes of {count}");
        for slot in 0..count {
            assert_eq!(subs.pop(SlotIndex(slot)), Some(TopicIndex(0)));
        }
        assert_eq!(
            subs.members[0].slots.capacity(),
            0,
            "an empty topic has nothing"
        );
    }
}
