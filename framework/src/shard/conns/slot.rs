//! One connection in a cache line, and the states that it is in. `table` begins and ends a life. In
//! between each state is changed in one file: phase, origin and reason in `lifecycle`, receive and
//! peer state in `recv`, the send in `send`, interests and run state in `wait`, the frame deadline
//! in `timeouts`.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::error::CloseReason;
use crate::id::{Generation, Key};
use crate::shard::conns::interest::Waits;
use crate::shard::conns::queue::Queue;
use crate::time::Tick;

/// An idle connection owns this, a deadline and its handler's task, nothing else.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Slot {
    pub(super) peer: Peer,
    /// Received and not yet read.
    pub(super) input: Queue,
    /// Written and not yet taken by the kernel. Its bytes are `output_bytes`.
    pub(super) output: Queue,
    pub(super) output_bytes: u32,
    /// Which life of the slot this is.
    pub(super) generation: Generation,
    pub(super) opened: Tick,
    /// When the frame that has begun must be complete, the connect must have ended, or a pool
    /// closes the connection; [`Tick::NEVER`] between frames.
    pub(super) frame_deadline: Tick,
    /// The task that waits for an outbound connection. An accepted one's task is its own.
    pub(super) waiter: Option<Key>,
    /// Segments of `input`.
    pub(super) input_count: u16,
    pub(super) phase: Phase,
    pub(super) recv: RecvState,
    pub(super) send: SendState,
    /// The interests in it, and its task's run state.
    pub(super) waits: Waits,
    pub(super) origin: Origin,
    pub(super) peer_state: PeerState,
    /// Set when the connection can go on no more; every operation of the handler reports it.
    pub(super) failed: Option<CloseReason>,
    /// Why it ended, once the handler has.
    pub(super) reason: CloseReason,
}

impl Slot {
    pub(super) const VACANT: Self = Self {
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
        recv: RecvState::Disarmed,
        send: SendState::Idle,
        waits: Waits::NONE,
        origin: Origin::Accepted,
        peer_state: PeerState::Silent,
        failed: None,
        reason: CloseReason::HandlerClosed,
    };

    /// Whether the shard opened it.
    pub(super) fn is_outbound(&self) -> bool {
        self.origin == Origin::Outbound
    }
}

/// Where a connection stands between accept and the freeing of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No connection.
    Free,
    /// The shard opens it, and the connect is in the kernel.
    Connecting,
    /// It was accepted and waits for a place among the served.
    Held,
    /// Its handler runs.
    Serving,
    /// The handler has returned; the kernel takes the rest of its output.
    Flushing,
    /// Our FIN is sent; the peer's is awaited, and input that still comes is discarded.
    Lingering,
    /// The descriptor closes as soon as no operation uses it.
    Closing,
    /// The close is in the kernel: the last operation there is.
    CloseInFlight,
}

/// The receive of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecvState {
    /// Not submitted.
    Disarmed,
    /// In the kernel.
    Armed,
    /// A poll is in the kernel instead, which tells when there is something to receive.
    Polled,
    /// One of them is in the kernel, and asked to end.
    Cancelling,
    /// Not submitted: no buffer is free, or overload pauses reading. The shard submits it again.
    Starved,
    /// The peer's FIN or an error has come; there is nothing more to receive.
    Ended,
}

impl RecvState {
    /// Whether the kernel tells of input.
    pub(crate) fn is_listening(self) -> bool {
        matches!(self, Self::Armed | Self::Polled)
    }
}

/// The send of a connection: one operation at a time, our FIN behind all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendState {
    Idle,
    /// A send is in the kernel, or the connect.
    InFlight,
    /// Our FIN is in the kernel.
    FinInFlight,
    FinSent,
}

impl SendState {
    /// Whether our FIN is on its way, so that nothing can be written any more.
    pub(crate) fn has_fin(self) -> bool {
        matches!(self, Self::FinInFlight | Self::FinSent)
    }
}

/// How the connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Accepted, and served.
    Accepted,
    /// Accepted into a spare place: turned away, or held until there is room.
    Overflow,
    /// The shard opened it.
    Outbound,
}

/// The peer of an accepted connection, as far as deadlines and a drain ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerState {
    /// It has sent nothing.
    Silent,
    /// It has sent something.
    Spoken,
    /// It has sent something while the server drains: it ends when that is answered.
    Answering,
    /// Its next read ends the stream.
    Over,
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
}
