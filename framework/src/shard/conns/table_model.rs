//! Table, deadlines and queues under random operations, beside plain collections that do the same.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use crate::id::{Generation, Key, SlotIndex};
use crate::proptests::cases;
use crate::ring::buffers::BufferPool;
use crate::shard::conns::deadline::Deadlines;
use crate::shard::conns::places::Places;
use crate::shard::conns::queue::{Queue, Segments};
use crate::shard::conns::slot::{Origin, Peer, Phase};
use crate::shard::conns::table::Table;
use crate::shard::sim::random::Random;
use crate::time::Tick;

const ACCEPTED_MAX: u32 = 5;
const OUTBOUND_MAX: u32 = 3;
const SLOTS: u32 = ACCEPTED_MAX + OUTBOUND_MAX;

/// What is known of the connection in a slot.
#[derive(Debug)]
struct Known {
    peer: SocketAddr,
    is_outbound: bool,
    leaving: bool,
    input: VecDeque<u8>,
    output: VecDeque<u8>,
}

/// The same as a [`Table`], from maps.
#[derive(Debug, Default)]
struct Model {
    slots: BTreeMap<u32, Known>,
    generations: HashMap<u32, u32>,
    deadlines: BTreeMap<u32, u32>,
    past: Vec<Key>,
}

struct Pair {
    table: Table,
    places: Places,
    deadlines: Deadlines,
    segments: Segments,
    model: Model,
    pool: BufferPool,
    random: Random,
    now: u32,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let pool = BufferPool::new(256, 16).expect("memory");
        Self {
            table: Table::with_capacity(SLOTS),
            places: Places::new(ACCEPTED_MAX, 0, OUTBOUND_MAX),
            deadlines: Deadlines::with_capacity(SLOTS),
            segments: Segments::new(),
            model: Model::default(),
            pool,
            random: Random::new(seed),
            now: 0,
        }
    }

    fn step(&mut self) {
        let index = self.random.below(SLOTS);
        match (self.random.below(12), self.model.slots.contains_key(&index)) {
            (0..=2, false) => self.occupy(index),
            (3, true) => self.vacate(index),
            (4 | 5, true) => self.set_deadline(index),
            (6, _) => self.sweep(),
            (7..=10, true) => self.queue(index),
            (11, true) => self.leave(index),
            _ => self.now += self.random.below(3),
        }
        self.assert_same();
    }

    fn key(&self, index: u32) -> Key {
        let generation = Generation::of(self.model.generations.get(&index).copied().unwrap_or(1));
        Key {
            slot: SlotIndex(index),
            generation,
        }
    }

    fn occupy(&mut self, index: u32) {
        let is_outbound = self.random.one_in(3);
        let own = self
            .model
            .slots
            .values()
            .filter(|known| known.is_outbound == is_outbound)
            .count() as u32;
        if own
            >= if is_outbound {
                OUTBOUND_MAX
            } else {
                ACCEPTED_MAX
            }
        {
            return;
        }
        let address = (self.random.next() as u32).to_be_bytes();
        let peer = SocketAddr::from((address, self.random.next() as u16));
        let origin = if is_outbound {
            Origin::Outbound
        } else {
            Origin::Accepted
        };
        self.places.occupied(origin);
        self.deadlines.grow_to(SlotIndex(index));
        let now = Tick(self.now);
        let key = self.table.occupy(SlotIndex(index), peer, origin, now);
        assert_eq!(key, self.key(index));
        let known = Known {
            peer,
            is_outbound,
            leaving: false,
            input: VecDeque::new(),
            output: VecDeque::new(),
        };
        self.model.slots.insert(index, known);
    }

    /// As a connection's end does: it is leaving before, and its queues are empty.
    fn vacate(&mut self, index: u32) {
        self.leave(index);
        let key = self.key(index);
        let (slot, segments) = (self.table.get_mut(key), &mut self.segments);
        let slot = slot.expect("it lives");
        let origin = slot.origin;
        for queue in [&mut slot.input, &mut slot.output] {
            while let Some(buffer) = segments.pop_front(queue) {
                self.pool.release(buffer);
            }
        }
        self.table.vacate(SlotIndex(index));
        self.places.vacated(origin);
        self.deadlines.set(SlotIndex(index), Tick::NEVER);
        self.model.slots.remove(&index);
        self.model.deadlines.remove(&index);
        self.model.past.push(key);
        *self.model.generations.entry(index).or_insert(1) += 1;
    }

    fn leave(&mut self, index: u32) {
        let key = self.key(index);
        let slot = self.table.get_mut(key).expect("it lives");
        slot.phase = Phase::Flushing;
        let known = self.model.slots.get_mut(&index).expect("it lives");
        if known.is_outbound && !known.leaving {
            self.places.leaves();
        }
        known.leaving = known.is_outbound;
    }

    fn set_deadline(&mut self, index: u32) {
        let tick = if self.random.one_in(4) {
            Tick::NEVER
        } else {
            Tick(self.now + self.random.below(20))
        };
        self.deadlines.set(SlotIndex(index), tick);
        match tick {
            Tick::NEVER => self.model.deadlines.remove(&index),
            Tick(tick) => self.model.deadlines.insert(index, tick),
        };
    }

    fn sweep(&mut self) {
        let now = self.now;
        if !self.deadlines.is_due(Tick(now), Duration::ZERO, usize::MAX) {
            assert!(
                self.model.deadlines.values().all(|tick| *tick > now),
                "no sweep leaves nobody out"
            );
            return;
        }
        let mut expired = Vec::new();
        self.deadlines
            .sweep(Tick(now), Duration::ZERO, usize::MAX, &mut expired);
        let due: Vec<SlotIndex> = self
            .model
            .deadlines
            .iter()
            .filter(|(_, tick)| **tick <= now)
            .map(|(index, _)| SlotIndex(*index))
            .collect();
        assert_eq!(expired, due, "a sweep takes what is due");
        self.model.deadlines.retain(|_, tick| *tick > now);
        let first = self
            .model
            .deadlines
            .values()
            .min()
            .map_or(Tick::NEVER, |tick| Tick(*tick));
        assert_eq!(self.deadlines.earliest(), first, "and knows the next");
    }

    /// Pushes to an end of a queue, or takes from its front.
    fn queue(&mut self, index: u32) {
        let key = self.key(index);
        let (slot, segments) = (self.table.get_mut(key), &mut self.segments);
        let slot = slot.expect("it lives");
        let known = self.model.slots.get_mut(&index).expect("it lives");
        let (queue, twin) = if self.random.one_in(2) {
            (&mut slot.input, &mut known.input)
        } else {
            (&mut slot.output, &mut known.output)
        };
        let byte = self.random.next() as u8;
        match self.random.below(5) {
            0 | 1 => {
                segments.push_back(queue, self.pool.copy_of(&[byte]));
                twin.push_back(byte);
            }
            2 => {
                segments.push_front(queue, self.pool.copy_of(&[byte]));
                twin.push_front(byte);
            }
            _ => {
                let buffer = segments.pop_front(queue);
                assert_eq!(
                    buffer.as_ref().map(|buffer| buffer.bytes()[0]),
                    twin.pop_front()
                );
                if let Some(buffer) = buffer {
                    self.pool.release(buffer);
                }
            }
        }
    }

    fn assert_same(&self) {
        self.assert_same_places();
        let (table, model) = (&self.table, &self.model);
        let mut queued = 0;
        for (index, known) in &model.slots {
            self.assert_same_slot(*index, known);
            queued += known.input.len() + known.output.len();
        }
        assert_eq!(
            (self.segments.in_use(), self.pool.referenced()),
            (queued, queued),
            "nothing is queued for those who are gone"
        );
        let mut deadlines = model.deadlines.values();
        assert!(deadlines.all(|tick| Tick(*tick) >= self.deadlines.earliest()));
        assert!(
            model.past.iter().all(|key| table.get(*key).is_none()),
            "a name of the past finds nothing"
        );
    }

    fn assert_same_places(&self) {
        let (places, slots) = (&self.places, &self.model.slots);
        let outbound = slots.values().filter(|known| known.is_outbound).count() as u32;
        let leaving = slots.values().filter(|known| known.leaving).count() as u32;
        let accepted = slots.len() as u32 - outbound;
        assert_eq!(
            (
                places.open(),
                places.accepted(),
                places.outbound(),
                places.outbound_leaving()
            ),
            (accepted + outbound, accepted, outbound, leaving)
        );
        assert_eq!(
            (places.accepted_free(), places.outbound_free()),
            (ACCEPTED_MAX - accepted, OUTBOUND_MAX - outbound)
        );
        let occupants = self.table.occupants();
        assert!(
            occupants
                .iter()
                .map(|key| key.slot.0)
                .eq(slots.keys().copied()),
            "{occupants:?} instead of {slots:?}"
        );
    }

    fn assert_same_slot(&self, index: u32, known: &Known) {
        let key = self.key(index);
        assert_eq!(self.table.occupant(key.slot), Some(key));
        let deadline = self.model.deadlines.get(&index);
        assert_eq!(
            self.deadlines.of(key.slot),
            deadline.map_or(Tick::NEVER, |tick| Tick(*tick))
        );
        let slot = self.table.get(key).expect("it lives");
        assert_eq!(slot.peer.addr(), known.peer);
        let bytes = |queue: Queue| -> VecDeque<u8> {
            let buffers = self.segments.iter(queue);
            buffers.map(|buffer| buffer.bytes()[0]).collect()
        };
        assert_eq!(
            (bytes(slot.input), bytes(slot.output)),
            (known.input.clone(), known.output.clone())
        );
    }
}

#[test]
fn a_table_is_as_maps_would_have_it() {
    for seed in 0..300 {
        let mut pair = Pair::new(seed);
        (0..150).for_each(|_| pair.step());
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_peer_keeps_its_address(v4: [u8; 4], v6: [u8; 16], port: u16, scope: u32) {
        for address in [SocketAddr::from((v4, port)), std::net::SocketAddrV6::new(v6.into(), port, 0, scope).into()] {
            prop_assert_eq!(Peer::of(address).addr(), address);
        }
    }
}
