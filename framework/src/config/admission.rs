//! The keys of `[limits]` that say who is let in, and what becomes of the others.

use super::check::SHARD_CONNECTIONS_MAX;
use super::raw::RawLimits;
use super::value::{Checker, Whole};

const ADDRESS_CONNECTIONS: Whole =
    Whole::new("a whole number of connections", 1, SHARD_CONNECTIONS_MAX).or_zero("no cap");
const PREFIX_V6: Whole = Whole::new("a whole number of bits", 1, 128);
const ACCEPT_RATE: Whole =
    Whole::new("a whole number of accepts", 1, 10_000_000).or_zero("no bound");
const ACCEPT_BURST: Whole = Whole::new("a whole number of accepts", 1, 10_000_000)
    .or_zero("as many as limits.accepts_per_second_max");
/// It is sent whole or not at all: that much fits into the send buffer of any new socket.
const REFUSAL_BYTES_MAX: usize = 1024;

pub(super) const ON_FULL: [(&str, OnFull); 2] =
    [("wait", OnFull::Wait), ("refuse", OnFull::Refuse)];

/// Who is let in. Each shard counts for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admission {
    /// What becomes of clients above the limit of connections.
    pub on_full: OnFull,
    /// What a client that is turned away is sent; empty: nothing.
    pub refuse_with: String,
    /// At the limit, peers that never spoke make room.
    pub reclaim: bool,
    /// Connections from one address; `None`: no cap.
    pub connections_per_address_max: Option<u32>,
    /// Leading bits of an IPv6 address that make it one address.
    pub address_prefix_v6: u32,
    /// Accepts per second; `None`: no bound.
    pub accepts_per_second_max: Option<u32>,
    /// Accepts at once after a quiet time; `None`: those of a second.
    pub accepts_burst_max: Option<u32>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            on_full: OnFull::Wait,
            refuse_with: String::new(),
            reclaim: false,
            connections_per_address_max: None,
            address_prefix_v6: 64,
            accepts_per_second_max: None,
            accepts_burst_max: None,
        }
    }
}

impl Admission {
    /// Whether some that are accepted have no place among the served.
    pub(super) fn has_spare_places(&self) -> bool {
        self.on_full == OnFull::Refuse || self.reclaim || self.connections_per_address_max.is_some()
    }
}

/// What becomes of clients above the limit of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFull {
    /// They stay in the kernel's queue until there is room.
    Wait,
    /// They are accepted, told, and closed.
    Refuse,
}

impl OnFull {
    /// The word for it in the settings.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Refuse => "refuse",
        }
    }
}

pub(super) fn check(raw: &RawLimits, checker: &mut Checker<'_>) -> Admission {
    let default = Admission::default();
    let each = &raw.connections_per_address_max;
    Admission {
        on_full: checker.word("limits.on_full", &raw.on_full, &ON_FULL, &default.on_full),
        refuse_with: checker.text(
            "limits.refuse_with",
            &raw.refuse_with,
            REFUSAL_BYTES_MAX,
            &default.refuse_with,
        ),
        reclaim: checker.boolean("limits.reclaim", &raw.reclaim, default.reclaim),
        connections_per_address_max: checker.whole_or_none(
            "limits.connections_per_address_max",
            each,
            &ADDRESS_CONNECTIONS,
        ),
        address_prefix_v6: checker.whole(
            "limits.address_prefix_v6",
            &raw.address_prefix_v6,
            &PREFIX_V6,
            default.address_prefix_v6,
        ),
        accepts_per_second_max: checker.whole_or_none(
            "limits.accepts_per_second_max",
            &raw.accepts_per_second_max,
            &ACCEPT_RATE,
        ),
        accepts_burst_max: checker.whole_or_none(
            "limits.accepts_burst_max",
            &raw.accepts_burst_max,
            &ACCEPT_BURST,
        ),
    }
}
