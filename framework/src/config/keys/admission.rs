//! The keys of `[limits]` that say which clients are let in, and what becomes of the others.

use crate::config::choices::{Flag, Text, Words};
use crate::config::declare::section;
use crate::config::numbers::Whole;

use super::units::SHARD_CONNECTIONS_MAX;

const ON_FULL: Words<OnFull> = Words(&[
    (OnFull::Wait.word(), OnFull::Wait),
    (OnFull::Refuse.word(), OnFull::Refuse),
]);
// It is sent whole or not at all: that much fits into the send buffer of any new socket.
const REFUSAL: Text = Text { bytes_max: 1024 };
const PER_ADDRESS: Whole = Whole::of("connections", 1, SHARD_CONNECTIONS_MAX).or_zero("no cap");
const RATE: Whole = Whole::of("accepts", 1, 10_000_000).or_zero("no bound");
const BURST: Whole =
    Whole::of("accepts", 1, 10_000_000).or_zero("as many as accepts_per_second_max");

/// What becomes of clients above the limit of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFull {
    /// They stay in the kernel's queue until there is room.
    Wait,
    /// They are accepted, told, and closed.
    Refuse,
}

impl OnFull {
    /// The word for it in the settings, and in the log.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Refuse => "refuse",
        }
    }
}

section! {
    /// What becomes of those for whom there is no place. Each shard counts for itself.
    struct Admission {
        /// What happens to clients above `connections_max`. `"wait"` leaves them in the backlog
        /// until there is room. `"refuse"` accepts them, sends `refuse_with` and closes them. A
        /// refused client takes no place of a served one: a shard has as many spare places as
        /// `accepts_in_flight_max`.
        shipped on_full: OnFull = ON_FULL, OnFull::Wait, live;

        /// At the limit, closes a peer that has never sent a byte to make room for the next client.
        /// The peer that is silent for longest goes first, and none within `timeouts.reclaim` of
        /// its accept. Not for servers that speak first.
        documented reclaim: bool = Flag, false;

        ..clients: Clients
    }
}

section! {
    /// Which clients are let in. Each shard counts for itself, and each listener.
    struct Clients {
        /// Text that the server sends to a client that it turns away, at the limit or for its
        /// address. An empty text sends nothing, and no client of a listener with TLS is sent any.
        documented refuse_with: String = REFUSAL, String::new(), live;

        /// Connections from one address. The server turns one more away at once. Each shard counts
        /// for itself: with four shards an address may have up to four times as many. An IPv4
        /// client counts as the same whether it comes by IPv4 or by an IPv6 listener
        /// (`::ffff:a.b.c.d`). With `listener.proxy` the address is the one that the proxy names;
        /// without it the clients of a Unix socket are not counted.
        shipped connections_per_address_max: Option<u32> = PER_ADDRESS, None, live;

        /// Leading bits of an IPv6 address that make it one address, since its owner has all the
        /// others.
        documented address_prefix_v6: u32 = Whole::of("bits", 1, 128), 64, live;

        /// Connections that one shard accepts per second. Further clients wait in the backlog.
        shipped accepts_per_second_max: Option<u32> = RATE, None, live;

        /// Connections that one shard accepts at once after a quiet time.
        documented accepts_burst_max: Option<u32> = BURST, None, live;
    }
}
