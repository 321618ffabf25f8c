//! Table, deadlines and queues under random operations, beside plain collections that do the same.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::random::Random;
use crate::proptests::cases;
use crate::ring::buffers::Pool;
use crate::ring::{Generation, Key, SlotIndex};
use crate::shard::deadline::Tick;
use crate::shard::queue::Queue;
use crate::shard::table::{Peer, Phase, Table};

const ACCEPTED_MAX: u32 = 5;
const OUTBOUND_MAX: u32 = 3;
const SLOTS: u32 = ACCEPTED_MAX + OUTBOUND_MAX;

/// What is known of the connection in a slot.
#[derive(Debug)]
struct Known {
    peer: SocketAddr,
    dialed: bool,
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
    model: Model,
    pool: Pool,
    random: Random,
    now: u32,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let pool = Pool::new(256, 16).expect("memory");
        Self {
            table: Table::with_capacity(ACCEPTED_MAX, 0, OUTBOUND_MAX),
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
        let dialed = self.random.one_in(3);
        let own = self
            .model
            .slots
            .values()
            .filter(|known| known.dialed == dialed)
            .count() as u32;
        if own >= if dialed { OUTBOUND_MAX } else { ACCEPTED_MAX } {
            return;
        }
        let address = (self.random.next() as u32).to_be_bytes();
        let peer = SocketAddr::from((address, self.random.next() as u16));
        let key = match dialed {
            true => self
                .table
                .occupy_dialed(SlotIndex(index), peer, Tick(self.now)),
            false => self.table.occupy(SlotIndex(index), peer, Tick(self.now)),
        };
        assert_eq!(key, self.key(index));
        let known = Known {
            peer,
            dialed,
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
        let (slot, segments) = self.table.get_with_segments(key).expect("it lives");
        for queue in [&mut slot.input, &mut slot.output] {
            while let Some(span) = segments.pop_front(queue) {
                self.pool.release(span);
            }
        }
        self.table.vacate(SlotIndex(index));
        self.model.slots.remove(&index);
        self.model.deadlines.remove(&index);
        self.model.past.push(key);
        *self.model.generations.entry(index).or_insert(1) += 1;
    }

    fn leave(&mut self, index: u32) {
        let key = self.key(index);
        self.table.leaves(key);
        let slot = self.table.get(key).expect("it lives");
        slot.phase = Phase::Flushing;
        let known = self.model.slots.get_mut(&index).expect("it lives");
        known.leaving = known.dialed;
    }

    fn set_deadline(&mut self, index: u32) {
        let tick = if self.random.one_in(4) {
            Tick::NEVER
        } else {
            Tick(self.now + self.random.below(20))
        };
        self.table.deadlines.set(SlotIndex(index), tick);
        match tick {
            Tick::NEVER => self.model.deadlines.remove(&index),
            Tick(tick) => self.model.deadlines.insert(index, tick),
        };
    }

    fn sweep(&mut self) {
        let now = self.now;
        if !self
            .table
            .deadlines
            .is_due(Tick(now), Duration::ZERO, usize::MAX)
        {
            assert!(
                self.model.deadlines.values().all(|tick| *tick > now),
                "no sweep leaves nobody out"
            );
            return;
        }
        let mut expired = Vec::new();
        self.table
            .deadlines
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
        assert_eq!(self.table.deadlines.earliest(), first, "and knows the next");
    }

    /// Pushes to an end of a queue, or takes from its front.
    fn queue(&mut self, index: u32) {
        let key = self.key(index);
        let (slot, segments) = self.table.get_with_segments(key).expect("it lives");
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
                let span = segments.pop_front(queue);
                assert_eq!(span.as_ref().map(|span| span.bytes()[0]), twin.pop_front());
                span.into_iter().for_each(|span| self.pool.release(span));
            }
        }
    }

    fn assert_same(&mut self) {
        let Model {
            slots,
            deadlines,
            past,
            ..
        } = &self.model;
        let outbound = slots.values().filter(|known| known.dialed).count() as u32;
        let leaving = slots.values().filter(|known| known.leaving).count() as u32;
        let accepted = slots.len() as u32 - outbound;
        let table = &mut self.table;
        assert_eq!(
            (
                table.open(),
                table.accepted(),
                table.outbound(),
                table.outbound_leaving()
            ),
            (accepted + outbound, accepted, outbound, leaving)
        );
        assert_eq!(
            (table.accepted_free(), table.outbound_free()),
            (ACCEPTED_MAX - accepted, OUTBOUND_MAX - outbound)
        );
        assert_eq!(
            table
                .occupants()
                .iter()
                .map(|key| key.slot.0)
                .collect::<Vec<_>>(),
            slots.keys().copied().collect::<Vec<_>>()
        );
        let mut queued = 0;
        for (index, known) in slots {
            let generation = self.model.generations.get(index).copied().unwrap_or(1);
            let key = Key {
                slot: SlotIndex(*index),
                generation: Generation::of(generation),
            };
            assert_eq!(table.occupant(key.slot), Some(key));
            let deadline = table.deadlines.of(key.slot);
            assert_eq!(
                deadline,
                deadlines.get(index).map_or(Tick::NEVER, |tick| Tick(*tick))
            );
            let (slot, segments) = table.get_with_segments(key).expect("it lives");
            assert_eq!(slot.peer.addr(), known.peer);
            let bytes = |queue: Queue| {
                segments
                    .iter(queue)
                    .map(|span| span.bytes()[0])
                    .collect::<VecDeque<u8>>()
            };
            assert_eq!(
                (bytes(slot.input), bytes(slot.output)),
                (known.input.clone(), known.output.clone())
            );
            queued += known.input.len() + known.output.len();
        }
        assert_eq!(
            (table.segments.in_use(), self.pool.held()),
            (queued, queued),
            "nothing is queued for those who are gone"
        );
        assert!(
            deadlines
                .values()
                .all(|tick| Tick(*tick) >= table.deadlines.earliest())
        );
        assert!(
            past.iter().all(|key| table.get(*key).is_none()),
            "a name of the past finds nothing"
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
