//! The connection table: one slot per direct descriptor, under the descriptor's number.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use super::deadline::{Deadlines, Tick};
use super::interest::Waits;
use super::queue::{Queue, Segments};
use crate::error::CloseReason;
use crate::ring::{Generation, Key, SlotIndex, prefetch};

/// Where a connection stands between accept and the freeing of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No connection.
    Free,
    /// It is ours to the peer, and the connect is in the kernel.
    Connecting,
    /// It was accepted and waits for a place among the served.
    Held,
    /// Its handler runs.
    Serving,
    /// The handler has returned; what it wrote is being sent.
    Flushing,
    /// Our FIN is sent; the peer's is awaited, and what still comes is discarded.
    Lingering,
    /// The descriptor closes as soon as no operation uses it.
    Closing,
    /// The close is in the kernel: the last operation there is.
    Closed,
}

/// What the receive of a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receive {
    /// Not submitted.
    Disarmed,
    /// In the kernel.
    Armed,
    /// A poll is in the kernel instead, which tells when there is something to receive.
    Polled,
    /// One of them is in the kernel, and asked to end.
    Cancelling,
    /// Not submitted for want of buffers; the shard submits it when there are some.
    Starved,
    /// The peer's FIN or an error has come; there is nothing more to receive.
    Ended,
}

/// What the peer has done so far, as far as deadlines and a drain ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// It has sent nothing.
    Silent,
    /// It has sent something.
    Spoken,
    /// It has sent something while the server drains: it ends when that is answered.
    Answering,
    /// Its next read ends the stream.
    Over,
    /// It is in a spare place: turned away, or held until there is room.
    Aside,
    /// It was spoken to first: the connection is one that the shard opened.
    Dialed,
}

/// Our FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fin {
    Unsent,
    /// In the kernel.
    Submitted,
    Sent,
}

/// A peer's address in 22 bytes, where a `SocketAddr` takes 32. An IPv6 flow label is not kept:
/// nothing is done with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// IPv4 as v4-mapped, so that one rule serves both (RFC 4291, 2.5.5.2).
    address: [u8; 16],
    port: u16,
    /// The interface of a link-local address; [`Peer::V4`] says the address was IPv4.
    scope: [u16; 2],
}

impl Peer {
    /// No interface has this number: they count from 1 and are signed in the kernel.
    const V4: [u16; 2] = [u16::MAX; 2];
    const NOBODY: Self = Self {
        address: [0; 16],
        port: 0,
        scope: [0; 2],
    };

    pub(super) fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self {
                address: v4.ip().to_ipv6_mapped().octets(),
                port: v4.port(),
                scope: Self::V4,
            },
            SocketAddr::V6(v6) => {
                let scope = [(v6.scope_id() >> 16) as u16, v6.scope_id() as u16];
                Self {
                    address: v6.ip().octets(),
                    port: v6.port(),
                    scope,
                }
            }
        }
    }

    pub(crate) fn addr(self) -> SocketAddr {
        let ip = Ipv6Addr::from(self.address);
        match ip.to_ipv4_mapped() {
            Some(v4) if self.scope == Self::V4 => SocketAddr::new(v4.into(), self.port),
            _ => SocketAddrV6::new(
                ip,
                self.port,
                0,
                u32::from(self.scope[0]) << 16 | u32::from(self.scope[1]),
            )
            .into(),
        }
    }
}

/// One connection in a cache line: an idle connection owns this, a deadline and its handler's task,
/// nothing else.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) peer: Peer,
    /// Received and not yet read.
    pub(crate) input: Queue,
    /// Written and not yet taken by the kernel. Its bytes are `output_bytes`.
    pub(crate) output: Queue,
    pub(crate) output_bytes: u32,
    /// Which life of the slot this is.
    pub(crate) generation: Generation,
    pub(crate) opened: Tick,
    /// When the frame that has begun must be complete, or the connect; [`Tick::NEVER`] between
    /// frames.
    pub(crate) frame_deadline: Tick,
    /// The task that waits for a connection which the shard opened. An accepted one's task is its
    /// own.
    pub(crate) waiter: Option<Key>,
    /// Segments of `input`.
    pub(crate) input_count: u16,
    pub(crate) phase: Phase,
    pub(crate) receive: Receive,
    /// What is waited for of it, and its task's run state.
    pub(crate) waits: Waits,
    pub(crate) talk: Talk,
    pub(crate) fin: Fin,
    /// A send is in the kernel, or the connect.
    pub(crate) sending: bool,
    /// Set when the connection can go on no more; every operation of the handler reports it.
    pub(crate) failed: Option<CloseReason>,
    /// Why it ended, once the handler has.
    pub(crate) reason: CloseReason,
}

impl Slot {
    fn vacant() -> Self {
        Self {
            peer: Peer::NOBODY,
            input: Queue::EMPTY,
            output: Queue::EMPTY,
            output_bytes: 0,
            generation: Generation::FIRST,
            opened: Tick(0),
            frame_deadline: Tick::NEVER,
            waiter: None,
            input_count: 0,
            phase: Phase::Free,
            receive: Receive::Disarmed,
            waits: Waits::NONE,
            talk: Talk::Silent,
            fin: Fin::Unsent,
            sending: false,
            failed: None,
            reason: CloseReason::HandlerClosed,
        }
    }
}

/// The slots of a shard with the arrays that run beside them.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    pub(crate) deadlines: Deadlines,
    pub(crate) segments: Segments,
    accepted_max: u32,
    spare_max: u32,
    outbound_max: u32,
    /// Slots in use, and those of them that are in spare places, and whose connections the shard
    /// opened.
    open: u32,
    aside: u32,
    outbound: u32,
    /// Those of the latter that are on their way out: their places are free soon.
    leaving: u32,
}

impl Table {
    /// Room for so many accepted connections, so many that are accepted and not served, and so many
    /// that the shard opens; a slot's memory is touched only once the slot is used.
    pub(crate) fn with_capacity(accepted_max: u32, spare_max: u32, outbound_max: u32) -> Self {
        let capacity = accepted_max + spare_max + outbound_max;
        Self {
            slots: Vec::with_capacity(capacity as usize),
            deadlines: Deadlines::with_capacity(capacity),
            segments: Segments::new(),
            accepted_max,
            spare_max,
            outbound_max,
            open: 0,
            aside: 0,
            outbound: 0,
            leaving: 0,
        }
    }

    /// Slots in use.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// Accepted connections that are served.
    pub(crate) fn accepted(&self) -> u32 {
        self.open - self.outbound - self.aside
    }

    /// How many more may be served.
    pub(crate) fn accepted_free(&self) -> u32 {
        self.accepted_max - self.accepted()
    }

    /// Accepted connections in spare places.
    pub(crate) fn aside(&self) -> u32 {
        self.aside
    }

    pub(crate) fn spare_max(&self) -> u32 {
        self.spare_max
    }

    /// How many more may be accepted, served or not.
    pub(crate) fn places_free(&self) -> u32 {
        (self.accepted_max + self.spare_max).saturating_sub(self.accepted() + self.aside)
    }

    /// Connections that the shard opened.
    pub(crate) fn outbound(&self) -> u32 {
        self.outbound
    }

    pub(crate) fn outbound_max(&self) -> u32 {
        self.outbound_max
    }

    /// How many more the shard may open.
    pub(crate) fn outbound_free(&self) -> u32 {
        self.outbound_max - self.outbound
    }

    /// How many of those will be gone soon without anybody's doing.
    pub(crate) fn outbound_leaving(&self) -> u32 {
        self.leaving
    }

    /// The connection is about to go from being used, or from being connected, to its end.
    pub(crate) fn leaves(&mut self, key: Key) {
        let leaves = self.get(key).is_some_and(|slot| match slot.phase {
            Phase::Serving => slot.talk == Talk::Dialed,
            Phase::Connecting => slot.failed.is_none(), // else it was counted when it was taken back
            _ => false,
        });
        self.leaving += u32::from(leaves);
    }

    /// Begins the life of a connection that the shard opens to `peer`.
    pub(crate) fn occupy_dialed(&mut self, index: SlotIndex, peer: SocketAddr, now: Tick) -> Key {
        let key = self.occupy(index, peer, now);
        self.outbound += 1;
        let slot = &mut self.slots[index.0 as usize];
        (slot.phase, slot.talk) = (Phase::Connecting, Talk::Dialed);
        key
    }

    /// Begins the life of an accepted connection in a spare place.
    pub(crate) fn occupy_aside(&mut self, index: SlotIndex, peer: SocketAddr, now: Tick) -> Key {
        let key = self.occupy(index, peer, now);
        self.aside += 1;
        self.slots[index.0 as usize].talk = Talk::Aside;
        key
    }

    /// It moves from its spare place among the served: there is room.
    pub(crate) fn seat(&mut self, key: Key, now: Tick) {
        if let Some(slot) = self.get(key).filter(|slot| slot.talk == Talk::Aside) {
            (slot.talk, slot.phase, slot.opened) = (Talk::Silent, Phase::Serving, now);
            self.aside -= 1;
        }
    }

    /// Begins a life of `index`, which the kernel has just allocated.
    pub(crate) fn occupy(&mut self, index: SlotIndex, peer: SocketAddr, now: Tick) -> Key {
        while self.slots.len() <= index.0 as usize {
            self.slots.push(Slot::vacant());
        }
        self.deadlines.grow_to(index);
        self.open += 1;
        let slot = &mut self.slots[index.0 as usize];
        debug_assert_eq!(
            slot.phase,
            Phase::Free,
            "the kernel allocates free descriptors only"
        );
        *slot = Slot {
            peer: Peer::of(peer),
            opened: now,
            generation: slot.generation,
            phase: Phase::Serving,
            ..Slot::vacant()
        };
        Key {
            slot: index,
            generation: slot.generation,
        }
    }

    /// Ends the life of `index`: whoever still names it by its generation finds nothing.
    pub(crate) fn vacate(&mut self, index: SlotIndex) {
        self.deadlines.set(index, Tick::NEVER);
        let slot = &mut self.slots[index.0 as usize];
        self.open -= 1;
        self.aside -= u32::from(slot.talk == Talk::Aside);
        self.outbound -= u32::from(slot.talk == Talk::Dialed);
        self.leaving -= u32::from(slot.talk == Talk::Dialed);
        *slot = Slot {
            generation: slot.generation.next(),
            ..Slot::vacant()
        };
    }

    /// The slot, if it still lives the life that `key` names.
    pub(crate) fn get(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.slot.0 as usize)?;
        (slot.generation == key.generation && slot.phase != Phase::Free).then_some(slot)
    }

    /// Has the processor fetch the slot of `key`, which is looked at soon.
    pub(crate) fn prefetch(&self, key: Key) {
        if let Some(slot) = self.slots.get(key.slot.0 as usize) {
            prefetch(slot);
        }
    }

    /// The slot as [`Self::get`], and the slab its queues live in.
    pub(crate) fn get_with_segments(&mut self, key: Key) -> Option<(&mut Slot, &mut Segments)> {
        let slot = self.slots.get_mut(key.slot.0 as usize)?;
        (slot.generation == key.generation && slot.phase != Phase::Free)
            .then_some((slot, &mut self.segments))
    }

    /// The connection in `index`, if there is one.
    pub(crate) fn occupant(&self, index: SlotIndex) -> Option<Key> {
        let slot = self
            .slots
            .get(index.0 as usize)
            .filter(|slot| slot.phase != Phase::Free)?;
        Some(Key {
            slot: index,
            generation: slot.generation,
        })
    }

    /// Slots there are, free or not.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Every connection.
    pub(crate) fn occupants(&self) -> Vec<Key> {
        (0..self.slots.len() as u32)
            .filter_map(|index| self.occupant(SlotIndex(index)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Slot>() <= 64, "{} bytes", size_of::<Slot>());
    }

    #[test]
    fn peers_keep_their_addresses() {
        for address in [
            "127.0.0.1:7",
            "[::1]:65535",
            "[fe80::1%3]:1",
            "[::ffff:10.0.0.1]:80",
            "0.0.0.0:0",
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            assert_eq!(Peer::of(address).addr(), address);
        }
    }

    #[test]
    fn connections_of_both_directions_have_bounds_of_their_own() {
        let mut table = Table::with_capacity(2, 0, 1);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        table.occupy(SlotIndex(0), peer, Tick(0));
        let dialed = table.occupy_dialed(SlotIndex(1), peer, Tick(0));
        assert_eq!(
            (table.open(), table.accepted_free(), table.outbound_free()),
            (2, 1, 0)
        );
        table.leaves(dialed);
        assert_eq!(table.outbound_leaving(), 1);
        table.vacate(dialed.slot);
        assert_eq!(
            (
                table.open(),
                table.accepted_free(),
                table.outbound_free(),
                table.outbound_leaving()
            ),
            (1, 1, 1, 0)
        );
    }

    #[test]
    fn a_key_of_an_earlier_life_finds_nothing() {
        let mut table = Table::with_capacity(2, 0, 0);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let first = table.occupy(SlotIndex(1), peer, Tick(0));
        assert_eq!((table.open(), table.accepted_free()), (1, 1));
        table.vacate(first.slot);
        assert!(table.get(first).is_none());
        let second = table.occupy(SlotIndex(1), peer, Tick(0));
        assert!(table.get(first).is_none() && table.get(second).is_some());
        assert_eq!(table.occupants(), [second]);
    }
}
