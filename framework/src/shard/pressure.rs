//! What a shard does when it runs short of receive buffers, of bytes that it may hold for its
//! connections, or of memory.
//!
//! A ladder, climbed the longer the shortage lasts: the greediest are not read from, what they hold
//! is copied out so that receive buffers come free, they are closed. Whoever holds two buffers at
//! most, as all do that take what they are sent, is none of the greedy: such a connection is read
//! from and written to on every rung.

use std::collections::HashSet;

use super::bounds::Bounds;
use super::deadline::{TICK, Tick, Ticks};
use super::interest::{Interest, RunState};
use super::spread::Spread;
use super::table::{Phase, Receive};
use super::throttle::Subject;
use super::{ConnId, State};
use crate::error::CloseReason;
use crate::ring::{Key, Operation, SEND_VECTOR_MAX, Token};

/// Between two looks at who holds what, unless much has come meanwhile: a tick, the least that
/// there is.
const LOOK_INTERVAL: u32 = 1;
/// For how many ticks buffers must have been low: the low of a burst passes by itself. No key:
/// nobody is closed for it.
const BUFFERS_LOW_MIN: u32 = 1;
/// Buffers that any connection may hold, one received and one to be sent, whatever the shard is
/// short of. No key: with fewer none is served.
pub(crate) const OWN_BUFFERS: u64 = 2;
/// The part of what the greedy hold that is to come free by the connections closed at one look. No
/// key, as with the other fractions of the ladder: an eighth ends the shortage, by its own measure,
/// and how many are closed and when is in the settings.
const CLOSED_PART: u64 = 8;

/// Receive buffers that come free by copies at one look, and what the connection holds with which
/// that is reached: the shard's others wait meanwhile. No key, as above.
const COPIED_OUT_MAX: u32 = 256;

/// What a shard is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strain {
    None,
    /// Few receive buffers are free. What is received is copied out meanwhile, so nobody needs to
    /// be closed.
    Buffers,
    /// `limits.unread_per_shard_max` is reached.
    Unread,
    /// `limits.unsent_per_shard_max` is reached.
    Unsent,
    /// Handlers hold more than both together.
    Held,
    /// The process's memory nears its end, and the shard has a part in it.
    Memory,
}

impl Strain {
    /// Whether there is no room for more bytes.
    fn is_full(self) -> bool {
        !matches!(self, Self::None | Self::Buffers)
    }

    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Buffers => "buffers",
            Self::Unread => "unread",
            Self::Unsent => "unsent",
            Self::Held => "held",
            Self::Memory => "memory",
        }
    }
}

/// What a shard holds.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Bytes received and not read, and bytes written and not taken by the kernel.
    unread: u64,
    unsent: u64,
    /// Bytes of heap buffers, for whomever: those two, and what handlers keep.
    heap: u64,
    /// What every connection may hold of its own, together.
    own: u64,
    buffers_low: bool,
    memory_short: bool,
}

/// The judgement. A bound that was reached counts until an eighth of it is free again.
fn strain(load: &Load, unread_max: u64, unsent_max: u64, before: Strain) -> Strain {
    let reached = |bytes: u64, most: u64| {
        bytes
            >= if before.is_full() {
                most - most / 8
            } else {
                most
            }
    };
    let all = unread_max + unsent_max;
    if reached(load.unread, unread_max) {
        Strain::Unread
    } else if reached(load.unsent, unsent_max) {
        Strain::Unsent
    } else if reached(load.heap, all + load.own) {
        Strain::Held
    } else if load.memory_short && load.heap >= all / 4 {
        Strain::Memory
    } else if load.buffers_low {
        Strain::Buffers
    } else {
        Strain::None
    }
}

/// The rungs of the ladder; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rung {
    Ground,
    HoldBack,
    CopyOut,
    Close,
}

/// How far up a shortage that has lasted for so many ticks leads.
fn rung(strain: Strain, lasted: u32, patience: Ticks) -> Rung {
    match strain {
        Strain::None => Rung::Ground,
        Strain::Buffers if lasted < BUFFERS_LOW_MIN => Rung::Ground,
        Strain::Buffers if lasted == BUFFERS_LOW_MIN => Rung::HoldBack,
        Strain::Buffers => Rung::CopyOut,
        _ if Tick(lasted) >= Tick(0).after(patience) => Rung::Close,
        _ if lasted > 0 => Rung::CopyOut,
        _ => Rung::HoldBack,
    }
}

/// The greedy, the greediest first. Where there is no room that is all who hold more than their
/// own; where only buffers are low, those without whom the others hold half of what all hold.
fn greediest(mut holders: Vec<(Key, u64)>, own: u64, strain: Strain) -> Vec<(Key, u64)> {
    let mut rest: u64 = holders.iter().map(|(_, bytes)| bytes).sum();
    let enough = if strain.is_full() { 0 } else { rest / 2 };
    holders.retain(|(_, bytes)| *bytes > own);
    holders.sort_unstable_by_key(|(key, bytes)| (std::cmp::Reverse(*bytes), key.slot));
    let count = holders
        .iter()
        .take_while(|(_, bytes)| (rest > enough, rest -= bytes).0)
        .count();
    holders.truncate(count);
    holders
}

/// What a shard remembers of its shortage.
#[derive(Debug)]
pub(super) struct Pressure {
    strain: Strain,
    since: Tick,
    /// When to look again who holds what; never without a shortage.
    pub(super) due: Tick,
    /// What the heap held at the last look.
    looked_at: u64,
    /// The greediest: they are not read from.
    barred: HashSet<Key>,
    /// Connections whose receive waits for the end of the shortage, or for the next look.
    held_back: Vec<Key>,
    /// Those that are to be closed until the next look, which finds them anew.
    pub(super) doomed: Spread<Key>,
}

impl Pressure {
    pub(super) fn new() -> Self {
        Self {
            strain: Strain::None,
            since: Tick(0),
            due: Tick::NEVER,
            looked_at: 0,
            barred: HashSet::new(),
            held_back: Vec::new(),
            doomed: Spread::new(),
        }
    }

    /// Whether there is a shortage of any kind.
    pub(super) fn is_on(&self) -> bool {
        self.strain != Strain::None
    }

    /// Whether there is no room for more bytes.
    pub(super) fn is_full(&self) -> bool {
        self.strain.is_full()
    }

    /// Whether new connections would make it worse.
    pub(super) fn pauses_accepts(&self) -> bool {
        self.strain == Strain::Memory
    }
}

impl State {
    /// One look at the shortage, if there is one. Once a turn: a few sums and comparisons.
    pub(super) fn feel_pressure(&mut self, memory_short: bool) {
        let own = OWN_BUFFERS * u64::from(self.pool.size());
        let load = Load {
            unread: self.unread,
            unsent: self.unsent,
            heap: self.pool.heap_bytes(),
            own: own * u64::from(self.table.open()),
            buffers_low: self.pool.was_low(),
            memory_short,
        };
        let Bounds {
            unread_max,
            unsent_max,
            ..
        } = self.bounds;
        let (before, strain) = (
            self.pressure.strain,
            strain(&load, unread_max, unsent_max, self.pressure.strain),
        );
        if strain == before && strain == Strain::None {
            return;
        }
        self.pressure.strain = strain;
        if strain == Strain::None {
            return self.end_pressure();
        }
        if before == Strain::None || before.is_full() != strain.is_full() {
            self.pool.narrow();
            (self.pressure.since, self.pressure.due) = (self.now, self.now);
        }
        if self.now >= self.pressure.due
            || load.heap > self.pressure.looked_at + (unread_max + unsent_max) / 16
        {
            self.climb(&load, own);
        }
    }

    fn end_pressure(&mut self) {
        (self.pressure.due, self.pressure.doomed) = (Tick::NEVER, Spread::new());
        self.pressure.barred.clear();
        self.starved.append(&mut self.pressure.held_back);
    }

    /// Looks who holds what and does what the rung asks for.
    fn climb(&mut self, load: &Load, own: u64) {
        let Pressure { strain, since, .. } = self.pressure;
        (self.pressure.due, self.pressure.looked_at) =
            (Tick(self.now.0 + LOOK_INTERVAL), load.heap);
        let rung = rung(
            strain,
            self.now.0.saturating_sub(since.0),
            self.bounds.overload,
        );
        if rung == Rung::Ground {
            return;
        }
        let greedy = greediest(self.holders(), own, strain);
        self.hold_back(&greedy);
        if rung >= Rung::CopyOut && self.pool.was_low() {
            let enough = self.pool.in_use().saturating_sub(COPIED_OUT_MAX);
            for (key, _) in &greedy {
                if self.pool.in_use() > enough {
                    self.copy_out(*key);
                }
            }
        }
        let closed = if rung == Rung::Close {
            self.doom_greediest(&greedy)
        } else {
            0
        };
        // Who was held back and is none of the greediest any more goes on.
        self.starved.append(&mut self.pressure.held_back);
        if self.may_log(Subject::UnderPressure) {
            let greediest = greedy
                .first()
                .map(|(key, _)| ConnId::new(self.id, *key).to_string());
            tracing::warn!(
                shard = self.id.0,
                short_of = strain.word(),
                step = ?rung,
                unread_bytes = load.unread,
                unsent_bytes = load.unsent,
                heap_bytes = load.heap,
                held_back = greedy.len(),
                closed,
                conn = greediest.unwrap_or_default(),
                "under pressure"
            );
        }
    }

    /// Every connection that holds buffers, with their bytes.
    fn holders(&self) -> Vec<(Key, u64)> {
        let mut held = vec![0; self.table.slots()];
        let mut holders = Vec::new();
        self.pool.tell_holders(|owner, bytes| {
            let index = owner.slot.0 as usize;
            // What is left of a connection that is over is on nobody's account.
            if self.table.occupant(owner.slot) == Some(owner) {
                if held[index] == 0 {
                    holders.push(owner);
                }
                held[index] += u64::from(bytes);
            }
        });
        holders
            .into_iter()
            .map(|key| (key, held[key.slot.0 as usize]))
            .collect()
    }

    /// The first rung: the greediest are not read from.
    fn hold_back(&mut self, greedy: &[(Key, u64)]) {
        let before = std::mem::take(&mut self.pressure.barred);
        self.pressure
            .barred
            .extend(greedy.iter().map(|(key, _)| *key));
        for (key, _) in greedy {
            self.metrics.held_back.add(u64::from(!before.contains(key)));
            let Some(slot) = self
                .table
                .get(*key)
                .filter(|slot| slot.phase == Phase::Serving)
            else {
                continue;
            };
            let waits = match slot.receive {
                Receive::Armed => Operation::Receive,
                Receive::Polled => Operation::Poll,
                Receive::Disarmed | Receive::Cancelling | Receive::Starved | Receive::Ended => {
                    continue;
                }
            };
            slot.receive = Receive::Cancelling;
            self.ring.cancel(Token::new(waits, *key));
        }
    }

    /// The second: provided buffers that lie in the connection's queues are exchanged for heap
    /// buffers just large enough.
    fn copy_out(&mut self, key: Key) {
        let Some((slot, segments)) = self.table.get_with_segments(key) else {
            return;
        };
        let before = self.pool.in_use();
        // The kernel may be reading the first ones of the output.
        let lent = if slot.sending { SEND_VECTOR_MAX } else { 0 };
        for (queue, lent) in [(&mut slot.input, 0), (&mut slot.output, lent)] {
            for place in 0..segments.iter(*queue).count() {
                if let Some(span) = segments.pop_front(queue) {
                    segments.push_back(
                        queue,
                        if place < lent {
                            span
                        } else {
                            self.pool.set_aside(span)
                        },
                    );
                }
            }
        }
        self.metrics
            .copied_back
            .add(u64::from(before - self.pool.in_use()));
    }

    /// The third. Gives how many are to be closed.
    fn doom_greediest(&mut self, greedy: &[(Key, u64)]) -> usize {
        let goal = greedy.iter().map(|(_, bytes)| bytes).sum::<u64>() / CLOSED_PART;
        let (mut freed, mut doomed) = (0, Vec::new());
        for (key, bytes) in greedy.iter().take(self.bounds.overloaded_per_look_max) {
            let open = |phase| matches!(phase, Phase::Serving | Phase::Flushing | Phase::Lingering);
            if freed > goal
                || !self
                    .table
                    .get(*key)
                    .is_some_and(|slot| slot.failed.is_none() && open(slot.phase))
            {
                continue;
            }
            freed += bytes;
            doomed.push(*key);
        }
        let count = doomed.len();
        self.pressure.doomed = Spread::new();
        self.pressure
            .doomed
            .add(doomed, self.clock, TICK * LOOK_INTERVAL);
        count
    }

    /// Closes those whose turn it is.
    pub(super) fn close_doomed(&mut self) {
        for key in self.pressure.doomed.take(self.clock) {
            self.fail(key, CloseReason::Overloaded);
        }
    }

    /// Whether the connection must not be read from for now: it is one of the greediest, or would
    /// hold more than its own while there is no room. It goes on when its handler reads, or at the
    /// end of the shortage at the latest.
    pub(super) fn is_held_back(&mut self, key: Key) -> bool {
        let Some(slot) = self
            .table
            .get(key)
            .filter(|slot| slot.phase == Phase::Serving)
        else {
            return false;
        };
        if self.pressure.barred.contains(&key) {
            return self.note_held_back(key);
        }
        if !self.pressure.is_full() {
            return false;
        }
        if slot.waits.run() == RunState::Pooled {
            return false;
        }
        match slot.waits.has(Interest::Input) {
            true if slot.input_count == 0 => false,
            // Nobody but the end of the shortage asks again for one that waits for the rest of a
            // frame.
            true => self.note_held_back(key),
            false => true,
        }
    }

    fn note_held_back(&mut self, key: Key) -> bool {
        if let Some(slot) = self.table.get(key) {
            slot.receive = Receive::Starved;
            self.pressure.held_back.push(key);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::stand_in_shard;
    use super::*;
    use crate::config::Config;
    use crate::preflight::MemoryShare;
    use crate::ring::SlotIndex;

    const PATIENCE: Ticks = Ticks::seconds(1);

    fn judged(load: Load, before: Strain) -> Strain {
        strain(&load, 1000, 2000, before)
    }

    #[test]
    fn a_shortage_has_its_name_and_ends_an_eighth_below_its_bound() {
        let none = Load {
            unread: 999,
            unsent: 1999,
            heap: 3099,
            own: 100,
            ..Load::default()
        };
        assert_eq!(judged(none, Strain::None), Strain::None);
        assert_eq!(judged(none, Strain::Unread), Strain::Unread);
        assert_eq!(
            judged(
                Load {
                    unread: 875,
                    unsent: 0,
                    heap: 0,
                    ..none
                },
                Strain::Unread
            ),
            Strain::Unread
        );
        assert_eq!(
            judged(
                Load {
                    unread: 874,
                    unsent: 0,
                    heap: 0,
                    ..none
                },
                Strain::Unread
            ),
            Strain::None
        );
        assert_eq!(
            judged(
                Load {
                    unsent: 2000,
                    ..none
                },
                Strain::None
            ),
            Strain::Unsent
        );
        assert_eq!(
            judged(Load { heap: 3100, ..none }, Strain::None),
            Strain::Held,
            "both bounds, and what each connection may hold"
        );
        assert_eq!(
            judged(
                Load {
                    buffers_low: true,
                    ..none
                },
                Strain::None
            ),
            Strain::Buffers
        );
        assert_eq!(
            judged(
                Load {
                    memory_short: true,
                    ..none
                },
                Strain::None
            ),
            Strain::Memory
        );
        let innocent = Load {
            memory_short: true,
            heap: 749,
            ..Load::default()
        };
        assert_eq!(
            judged(innocent, Strain::None),
            Strain::None,
            "somebody else has the memory"
        );
    }

    #[test]
    fn the_ladder_is_climbed_in_its_order() {
        let climbed: Vec<Rung> = (0..10)
            .map(|lasted| rung(Strain::Unread, lasted, PATIENCE))
            .collect();
        assert_eq!(
            (climbed[0], climbed[1], climbed[7], climbed[8]),
            (Rung::HoldBack, Rung::CopyOut, Rung::CopyOut, Rung::Close)
        );
        assert!(climbed.is_sorted());
        assert_eq!(
            rung(Strain::Held, u32::MAX - 1, Ticks::FOREVER),
            Rung::CopyOut,
            "\"off\" closes nobody"
        );
        let buffers: Vec<Rung> = [0, 1, 2, 1000]
            .map(|lasted| rung(Strain::Buffers, lasted, PATIENCE))
            .into();
        assert_eq!(
            buffers,
            [Rung::Ground, Rung::HoldBack, Rung::CopyOut, Rung::CopyOut],
            "copies are enough"
        );
    }

    #[test]
    fn the_greedy_hold_more_than_their_own_and_come_in_their_order() {
        let holder = |slot, bytes| (Key::of_place(slot), bytes);
        let found = |holders: &[(Key, u64)], strain| -> Vec<u32> {
            greediest(holders.to_vec(), 8, strain)
                .iter()
                .map(|(key, _)| key.slot.0)
                .collect()
        };
        let some = [holder(1, 10), holder(2, 500), holder(3, 20), holder(4, 8)];
        assert_eq!(
            found(&some, Strain::Buffers),
            [2],
            "without it the others hold less than half"
        );
        assert_eq!(
            found(&some, Strain::Unread),
            [2, 3, 1],
            "there is no room for any but the fourth, which holds its own"
        );
        let equal = [
            holder(4, 100),
            holder(3, 100),
            holder(2, 100),
            holder(1, 100),
        ];
        assert_eq!(found(&equal, Strain::Buffers), [1, 2]);
        assert!(found(&[holder(1, 8), holder(2, 8)], Strain::Memory).is_empty());
    }

    #[test]
    fn what_waits_to_be_sent_is_held_by_whom_it_is_sent_to_and_what_is_left_of_a_connection_that_is_over_by_nobody()
     {
        let shard = stand_in_shard(
            Config::default(),
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let mut state = shard.state();
        let [from, to] = [0, 1].map(|slot| {
            state.open(SlotIndex(slot), ([127, 0, 0, 1], 1).into());
            state
                .table
                .occupant(SlotIndex(slot))
                .expect("it was opened")
        });
        let buffer = u64::from(state.pool.size());
        let span = state.pool.received(0, 100, from);
        assert_eq!(state.holders(), [(from, buffer)]);
        state.push_output(to, span);
        let other_life = Key {
            generation: from.generation.next(),
            ..from
        };
        let left = state.pool.allocate(64, Some(other_life));
        assert_eq!(state.holders(), [(to, buffer)]);
        state.pool.release(left);
    }

    #[test]
    fn a_look_stops_copying_out_once_it_has_given_back_so_many_buffers() {
        let mut config = Config::default();
        (config.buffers.size, config.buffers.count) = (256, 4096);
        let shard = stand_in_shard(
            config,
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let state = &mut *shard.state();
        let holders = [0, 1, 2, 3].map(|slot| {
            state.open(SlotIndex(slot), ([127, 0, 0, 1], 1).into());
            state
                .table
                .occupant(SlotIndex(slot))
                .expect("it was opened")
        });
        for holder in holders.into_iter().cycle().take(4096) {
            state.pool.publish();
            let filled = state
                .ring
                .fill_buffer(&state.pool, &[b'x'; 256])
                .expect("one is free");
            let span = state.pool.received(filled, 256, holder);
            state.push_output(holder, span);
        }
        (state.pressure.strain, state.pressure.since, state.now) =
            (Strain::Buffers, Tick(0), Tick(2));
        state.climb(
            &Load {
                buffers_low: true,
                ..Load::default()
            },
            8,
        );
        assert_eq!(
            state.pool.in_use(),
            3072,
            "one of two that hold half of all has had its turn"
        );
        assert_eq!(state.metrics.copied_back.get(), 1024);
    }
}
