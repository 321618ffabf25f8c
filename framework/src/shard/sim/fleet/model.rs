//! What is known of a run from outside its shards, in plain maps: who has sent what to whom, what
//! became of it, and what came. A rule that is broken is kept as the run's breach, for a panic in a
//! handler would end that handler alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::id::{ConnId, Key};
use crate::shard::conns::Delivery;
use crate::shard::conns::topics::Published;

pub(super) const TOPICS: usize = 6;
/// The topic whose policy changes.
pub(super) const MIXED: usize = 5;
/// The topic whose values are retained.
pub(super) const RETAINED: usize = 4;
/// Before the bytes of a frame: its number, and their length.
const HEADER: usize = 6;

/// A frame's number.
pub(super) type FrameId = usize;

/// What was sent to connections, or written by their handlers: told apart by its number, which is
/// the beginning of its bytes.
#[derive(Debug)]
pub(super) enum Frame {
    Own {
        life: usize,
    },
    Direct {
        source: usize,
        to: usize,
        outcome: Option<Delivery>,
        is_seen: bool,
        /// A later one of the same source was seen before it.
        is_passed: bool,
    },
    Published {
        source: usize,
        topic: usize,
        at: u64,
        /// None was published: there was no room.
        is_void: bool,
        outcome: Option<(Published, u64)>,
        seen: u64,
    },
}

/// One life of one slot, from its handler's first poll on.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) shard: usize,
    pub(super) key: Key,
    pub(super) id: ConnId,
    /// Its handler has failed, or ended, or has sent its FIN.
    pub(super) is_unwritable: bool,
    /// When its slot was seen vacated.
    pub(super) died: Option<u64>,
    /// Its peer reads nothing.
    pub(super) is_stalled: bool,
    /// When it was a member of each topic.
    memberships: Vec<(usize, u64, Option<u64>)>,
    /// What its handler has written and its peer has not got.
    owed: VecDeque<FrameId>,
    /// The last of each source, and of each source and topic.
    last_direct: BTreeMap<usize, FrameId>,
    last_published: BTreeMap<(usize, usize), FrameId>,
    got: BTreeSet<FrameId>,
    /// What its peer has got of a frame.
    stream: Vec<u8>,
}

/// An order whose receipt is awaited.
#[derive(Debug)]
struct Open {
    source: usize,
    /// None: all shards.
    target: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) breach: Option<String>,
    pub(super) step: u64,
    shards: usize,
    capacity: usize,
    /// No queue of a connection is ever full.
    is_ample: bool,
    /// Nobody begins anything new; handlers come to an end.
    pub(super) is_settling: bool,
    pub(super) is_ending: bool,
    pub(super) frames: Vec<Frame>,
    pub(super) lives: Vec<Life>,
    by_key: BTreeMap<(usize, u64), usize>,
    /// Messages on their way, by source and target.
    lanes: BTreeMap<(usize, usize), VecDeque<u64>>,
    messages: u64,
    /// Sends that have not ended: of which shard, to which, and until when.
    sends: BTreeMap<u64, (usize, usize, Duration)>,
    open: BTreeMap<FrameId, Open>,
    pub(super) is_over: Vec<bool>,
    /// Of each topic whether all its publications are counted.
    pub(super) is_counted: [bool; TOPICS],
    pub(super) received: u64,
    pub(super) seen: u64,
}

impl Model {
    pub(super) fn new(
        shards: usize,
        capacity: usize,
        is_ample: bool,
        is_counted: [bool; TOPICS],
    ) -> Self {
        Self {
            shards,
            capacity,
            is_ample,
            is_counted,
            is_over: vec![false; shards],
            ..Self::default()
        }
    }

    /// What `holds` says must be so.
    pub(super) fn rule(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.breach.is_none() {
            self.breach = Some(format!("step {}: {}", self.step, what()));
        }
    }

    // ---- messages ----

    pub(super) fn next_message(&mut self) -> u64 {
        self.messages += 1;
        self.messages
    }

    /// The message has got into the lane.
    pub(super) fn sent(&mut self, source: usize, target: usize, number: u64) {
        let lane = self.lanes.entry((source, target)).or_default();
        lane.push_back(number);
        let (count, most) = (lane.len(), self.capacity);
        self.rule(count <= most, || format!("{count} messages in a lane"));
    }

    pub(super) fn received(&mut self, source: usize, target: usize, number: u64) {
        let lane = self.lanes.entry((source, target)).or_default();
        let next = lane.pop_front();
        self.received += 1;
        self.rule(next == Some(number), || {
            format!("message {number} of {source} comes to {target}, and {next:?} is next")
        });
    }

    pub(super) fn send_begins(&mut self, source: usize, target: usize, until: Duration) -> u64 {
        let number = self.next_message();
        self.sends.insert(number, (source, target, until));
        number
    }

    pub(super) fn send_ends(&mut self, number: u64) {
        self.sends.remove(&number);
    }

    /// The tasks of `shard` were polled at `clock`.
    pub(super) fn polled(&mut self, shard: usize, clock: Duration) {
        let late =
            |(_, send): &(&u64, &(usize, usize, Duration))| send.0 == shard && send.2 <= clock;
        let late = self.sends.iter().find(late).map(|(number, _)| *number);
        self.rule(late.is_none(), || {
            format!("send {late:?} of {shard} waits at {clock:?}, behind its deadline")
        });
    }

    // ---- receipts ----

    pub(super) fn awaits(&mut self, frame: FrameId, source: usize, target: Option<usize>) {
        self.open.insert(frame, Open { source, target });
    }

    pub(super) fn gives_up(&mut self, frame: FrameId) {
        self.open.remove(&frame);
    }

    // ---- lives ----

    pub(super) fn begins(&mut self, shard: usize, key: Key, id: ConnId) -> usize {
        let is_new = self.lives.iter().all(|life| life.id != id);
        self.rule(is_new, || format!("{id} was another's name"));
        self.by_key
            .insert((shard, ConnId::word(key)), self.lives.len());
        self.lives.push(Life {
            shard,
            key,
            id,
            is_unwritable: false,
            died: None,
            is_stalled: false,
            memberships: Vec::new(),
            owed: VecDeque::new(),
            last_direct: BTreeMap::new(),
            last_published: BTreeMap::new(),
            got: BTreeSet::new(),
            stream: Vec::new(),
        });
        self.lives.len() - 1
    }

    pub(super) fn find(&mut self, shard: usize, key: Key) -> Option<&mut Life> {
        let life = *self.by_key.get(&(shard, ConnId::word(key)))?;
        Some(&mut self.lives[life])
    }

    /// Keys of the lives of `shard` that were not seen to have ended.
    pub(super) fn living(&self, shard: usize) -> Vec<(usize, Key)> {
        let lives = self.lives.iter().enumerate();
        let living = lives.filter(|(_, life)| life.shard == shard && life.died.is_none());
        living.map(|(index, life)| (index, life.key)).collect()
    }

    pub(super) fn dies(&mut self, life: usize) {
        let now = self.step;
        let life = &mut self.lives[life];
        life.is_unwritable = true;
        life.died = Some(now);
        let open = life.memberships.iter_mut().filter(|one| one.2.is_none());
        open.for_each(|one| one.2 = Some(now));
    }

    pub(super) fn was_member(&self, life: usize, topic: usize) -> bool {
        let mut memberships = self.lives[life].memberships.iter();
        memberships.any(|one| one.0 == topic)
    }

    pub(super) fn subscribes(&mut self, life: usize, topic: usize) {
        let now = self.step;
        let memberships = &mut self.lives[life].memberships;
        let is_member = memberships
            .iter()
            .any(|one| one.0 == topic && one.2.is_none());
        if !is_member {
            memberships.push((topic, now, None));
        }
    }

    pub(super) fn unsubscribes(&mut self, life: usize, topic: usize, was: bool) {
        let now = self.step;
        let memberships = &mut self.lives[life].memberships;
        let mut open = memberships.iter_mut();
        let member = open.find(|one| one.0 == topic && one.2.is_none());
        let is_known = member.is_some();
        if let Some(member) = member {
            member.2 = Some(now);
        }
        self.rule(is_known == was, || {
            format!("life {life} unsubscribes from {topic}: {was}, and {is_known} is known")
        });
    }

    // ---- frames ----

    fn add(&mut self, frame: Frame) -> FrameId {
        self.frames.push(frame);
        self.frames.len() - 1
    }

    pub(super) fn own(&mut self, life: usize) -> FrameId {
        let frame = self.add(Frame::Own { life });
        self.lives[life].owed.push_back(frame);
        frame
    }

    pub(super) fn direct(&mut self, source: usize, to: usize) -> FrameId {
        self.add(Frame::Direct {
            source,
            to,
            outcome: None,
            is_seen: false,
            is_passed: false,
        })
    }

    pub(super) fn publication(&mut self, source: usize, topic: usize) -> FrameId {
        self.add(Frame::Published {
            source,
            topic,
            at: self.step,
            is_void: false,
            outcome: None,
            seen: 0,
        })
    }

    /// It was given back.
    pub(super) fn is_void(&mut self, frame: FrameId) {
        if let Frame::Published { is_void, .. } = &mut self.frames[frame] {
            *is_void = true;
        }
    }

    /// The receipt of what was sent to a connection has its answer.
    pub(super) fn answered(&mut self, frame: FrameId, answer: Delivery) {
        self.open.remove(&frame);
        let Frame::Direct {
            to,
            outcome,
            is_seen,
            is_passed,
            ..
        } = &mut self.frames[frame]
        else {
            return self.rule(false, || format!("{answer:?} for frame {frame}"));
        };
        *outcome = Some(answer);
        let (to, is_seen, is_passed) = (*to, *is_seen, *is_passed);
        let life = &self.lives[to];
        let (is_unwritable, is_ample) = (life.is_unwritable, self.is_ample);
        let holds = match answer {
            Delivery::Queued => !is_passed,
            Delivery::Gone => !is_seen && is_unwritable,
            Delivery::OverLimit => !is_seen && !is_ample,
            Delivery::MailboxFull => !is_seen,
        };
        self.rule(holds, || {
            format!(
                "frame {frame} to life {to} is {answer:?}: {:?}",
                self_state(is_seen, is_passed)
            )
        });
    }

    pub(super) fn counted(&mut self, frame: FrameId, counts: Published) {
        self.open.remove(&frame);
        let now = self.step;
        if let Frame::Published { outcome, .. } = &mut self.frames[frame] {
            *outcome = Some((counts, now));
        }
    }

    // ---- what comes ----

    /// The peer of the life has got these bytes.
    pub(super) fn got_bytes(&mut self, shard: usize, key: Key, bytes: &[u8]) {
        let Some(life) = self.by_key.get(&(shard, ConnId::word(key))).copied() else {
            return self.rule(false, || format!("{key:?} of {shard} is sent something"));
        };
        self.lives[life].stream.extend_from_slice(bytes);
        while let Some((frame, length)) = parse(&self.lives[life].stream) {
            let bytes: Vec<u8> = self.lives[life].stream.drain(..length).collect();
            self.got(life, frame, &bytes);
        }
    }

    /// The frame of these bytes has come to the peer, or to the handler that takes it.
    pub(super) fn got(&mut self, life: usize, frame: FrameId, bytes: &[u8]) {
        let is_known = frame < self.frames.len() && bytes == bytes_of(frame, bytes.len() - HEADER);
        self.rule(is_known, || format!("life {life} got no frame: {bytes:?}"));
        if !is_known {
            return;
        }
        self.seen += 1;
        let is_first = self.lives[life].got.insert(frame);
        self.rule(is_first, || format!("life {life} got frame {frame} twice"));
        match self.frames[frame] {
            Frame::Own { life: of } => {
                let next = self.lives[life].owed.pop_front();
                self.rule(of == life && next == Some(frame), || {
                    format!("life {life} got frame {frame} of {of}, and {next:?} is next")
                });
            }
            Frame::Direct { source, to, .. } => self.got_direct(life, frame, source, to),
            Frame::Published { source, topic, .. } => {
                self.got_published(life, frame, source, topic);
            }
        }
    }

    fn got_direct(&mut self, life: usize, frame: FrameId, source: usize, to: usize) {
        let last = self.lives[life].last_direct.insert(source, frame);
        let from = last.map_or(0, |last| last + 1);
        self.rule(to == life && from <= frame, || {
            format!("life {life} got frame {frame} for {to} of {source} behind {last:?}")
        });
        for before in from..frame {
            self.pass(before, source, life);
        }
        let Frame::Direct {
            outcome, is_seen, ..
        } = &mut self.frames[frame]
        else {
            return;
        };
        *is_seen = true;
        let outcome = *outcome;
        self.rule(matches!(outcome, None | Some(Delivery::Queued)), || {
            format!("life {life} got frame {frame}, which is {outcome:?}")
        });
    }

    /// A later frame of `source` has come to the life.
    fn pass(&mut self, frame: FrameId, source: usize, life: usize) {
        let Frame::Direct {
            source: of,
            to,
            outcome,
            is_seen: false,
            is_passed,
        } = &mut self.frames[frame]
        else {
            return;
        };
        if (*of, *to) == (source, life) {
            *is_passed = true;
            let is_lost = *outcome == Some(Delivery::Queued);
            self.rule(!is_lost, || format!("frame {frame} to life {life} is lost"));
        }
    }

    fn got_published(&mut self, life: usize, frame: FrameId, source: usize, topic: usize) {
        let last = self.lives[life]
            .last_published
            .insert((source, topic), frame);
        self.rule(last.is_none_or(|last| last < frame), || {
            format!("life {life} got publication {frame} of {source} behind {last:?}")
        });
        let Frame::Published {
            at, is_void, seen, ..
        } = &mut self.frames[frame]
        else {
            return;
        };
        *seen += 1;
        let (at, is_void) = (*at, *is_void);
        let mut memberships = self.lives[life].memberships.iter();
        // What is retained goes to who comes later.
        let was_member =
            memberships.any(|one| one.0 == topic && one.2.is_none_or(|until| until >= at));
        self.rule(was_member && !is_void, || {
            format!("life {life} got publication {frame} of topic {topic}, which is not its")
        });
    }

    // ---- at rest ----

    /// Every shard is at rest, and nothing was begun for a while.
    pub(super) fn rests(&mut self) {
        let is_over = |shard: usize| self.is_over.get(shard).copied().unwrap_or(false);
        let any_over = (0..self.shards).any(is_over);
        let on_way = self.lanes.iter();
        let mut on_way = on_way.filter(|((_, target), lane)| !is_over(*target) && !lane.is_empty());
        let on_way = on_way.next().map(|(pair, lane)| (*pair, lane.clone()));
        let mut sends = self.sends.iter();
        let waits = sends.find(|(_, send)| !is_over(send.0) && !is_over(send.1));
        let waits = waits.map(|(number, send)| (*number, *send));
        let mut open = self.open.iter();
        let unanswered = open.find(|(_, open)| {
            let target_is_over = open.target.map_or(any_over, is_over);
            !is_over(open.source) && !target_is_over
        });
        let unanswered = unanswered.map(|(frame, open)| format!("{frame}: {open:?}"));
        self.rule(on_way.is_none(), || format!("nobody receives {on_way:?}"));
        self.rule(waits.is_none(), || {
            format!("nobody wakes the send {waits:?}")
        });
        self.rule(unanswered.is_none(), || {
            format!("the receipt of frame {unanswered:?} is not answered")
        });
    }

    /// All that could come has come: peers and handlers have taken everything.
    pub(super) fn is_complete(&mut self) {
        for frame in 0..self.frames.len() {
            if let Frame::Direct {
                to,
                outcome: Some(Delivery::Queued),
                is_seen: false,
                ..
            } = self.frames[frame]
            {
                let is_lost = !self.lives[to].is_unwritable;
                self.rule(!is_lost, || format!("frame {frame} to life {to} is lost"));
            }
        }
        let lives = &self.lives;
        let owing = lives
            .iter()
            .position(|life| !life.is_unwritable && !life.owed.is_empty());
        self.rule(owing.is_none(), || {
            format!("life {owing:?} has not sent all")
        });
        for topic in 0..TOPICS {
            self.see_counts(topic);
        }
    }

    /// The counts of a topic's publications are those of its members, and of what they got.
    fn see_counts(&mut self, topic: usize) {
        let (mut displaced, mut unseen, mut lost) = (0, 0, 0);
        for frame in 0..self.frames.len() {
            let Frame::Published {
                topic: of,
                at,
                outcome: Some((counts, known)),
                seen,
                ..
            } = self.frames[frame]
            else {
                continue;
            };
            if of != topic {
                continue;
            }
            let members = self.members(frame, topic, at, known);
            self.see_members(frame, topic, counts, &members);
            let late = if topic == RETAINED { members.late } else { 0 };
            self.rule(seen <= counts.delivered + late, || {
                format!("publication {frame} came to {seen}: {counts:?}")
            });
            let own_lost = counts.delivered.saturating_sub(seen);
            let displaces = topic == 1 || topic == MIXED;
            self.rule(displaces || own_lost <= members.lost, || {
                format!("publication {frame} came to {seen}: {counts:?}, {members:?}")
            });
            displaced += counts.displaced;
            unseen += counts.delivered.saturating_sub(seen);
            lost += members.lost;
        }
        let sums = (displaced, unseen, lost);
        let holds = displaced <= unseen && unseen <= displaced + lost;
        let is_known = self.is_counted[topic] && topic != RETAINED && !self.is_over.contains(&true);
        self.rule(!is_known || holds, || {
            format!("topic {topic}: displaced, unseen, lost with their lives: {sums:?}")
        });
    }

    fn see_members(&mut self, frame: FrameId, topic: usize, counts: Published, of: &Members) {
        let met = counts.subscribers();
        self.rule(of.certain <= met && met <= of.possible, || {
            format!("publication {frame} has met {met}: {counts:?}, {of:?}")
        });
        let is_mixed = topic == MIXED;
        let holds = (counts.dropped == 0 || [0, 3, RETAINED, MIXED].contains(&topic))
            && (counts.closed == 0 || topic == 2 || is_mixed)
            && (counts.displaced == 0 || topic == 1 || is_mixed)
            && counts.gone <= of.unwritable
            && (!self.is_ample || counts.dropped + counts.closed + counts.displaced == 0);
        self.rule(holds, || {
            format!("publication {frame} of topic {topic}: {counts:?}, {of:?}")
        });
    }

    /// Who was subscribed from a publication's beginning until its outcome was known, and who for a
    /// part of that.
    fn members(&self, frame: FrameId, topic: usize, at: u64, known: u64) -> Members {
        let mut members = Members::default();
        for life in &self.lives {
            let own = || life.memberships.iter().filter(|one| one.0 == topic);
            let ends = |one: &(usize, u64, Option<u64>)| one.2.unwrap_or(u64::MAX);
            members.late += u64::from(own().any(|one| one.1 >= at));
            members.certain += u64::from(own().any(|one| one.1 < at && ends(one) > known));
            if own().any(|one| one.1 <= known && ends(one) >= at) {
                members.possible += 1;
                members.unwritable += u64::from(life.is_unwritable);
                let leaves = |one: &(_, _, Option<u64>)| one.2.is_some_and(|until| until >= at);
                let has_left = life.is_unwritable || own().any(leaves);
                members.lost += u64::from(has_left && !life.got.contains(&frame));
            }
        }
        members
    }
}

/// Of a publication: how many lives were its topic's members.
#[derive(Debug, Default)]
struct Members {
    certain: u64,
    possible: u64,
    /// Of the possible ones those that have ended, or have failed.
    unwritable: u64,
    /// Of the possible ones those that have left or ended without it.
    lost: u64,
    /// Those that came behind it.
    late: u64,
}

fn self_state(is_seen: bool, is_passed: bool) -> &'static str {
    match (is_seen, is_passed) {
        (true, _) => "it was seen",
        (_, true) => "a later one was seen",
        _ => "it was not seen",
    }
}

/// A frame of so many bytes behind its header.
pub(super) fn bytes_of(frame: FrameId, length: usize) -> Vec<u8> {
    let mut bytes = (frame as u32).to_le_bytes().to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend((0..length).map(|at| (frame + at) as u8));
    bytes
}

/// The first frame of a stream, and its length, once it is whole.
pub(super) fn parse(stream: &[u8]) -> Option<(FrameId, usize)> {
    let (number, rest) = stream.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    (rest.len() >= length).then_some((u32::from_le_bytes(*number) as usize, HEADER + length))
}
