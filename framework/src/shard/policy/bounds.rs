//! What the settings allow a connection, in the units in which the shard asks.

use crate::config::{Config, Limits};
use crate::shard::policy::min_rate::Rate;
use crate::time::Ticks;

/// What all connections of one shard may hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryShare {
    /// Received and not read.
    pub(crate) unread_max: u32,
    /// Written and not taken by the kernel.
    pub(crate) unsent_max: u32,
}

/// The settings that a connection meets, in the units in which it meets them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) first_byte: Ticks,
    pub(crate) read: Ticks,
    pub(crate) write: Ticks,
    pub(crate) idle: Ticks,
    pub(crate) lifetime: Ticks,
    pub(crate) close: Ticks,
    /// How long a silent connection is still listened to once the server drains: a request may be
    /// on its way.
    pub(crate) drain_quiet: Ticks,
    pub(crate) drain: Ticks,
    /// How long a shard stays without room before it closes the top holders.
    pub(crate) overload: Ticks,
    /// A peer younger than this is not taken for silent: its first bytes are on their way.
    pub(crate) reclaim: Ticks,
    pub(crate) recv_queue_max: u16,
    pub(crate) write_queue_max: u32,
    /// Bytes of all connections of the shard.
    pub(crate) unread_max: u64,
    pub(crate) unsent_max: u64,
    pub(crate) turn_completions_max: usize,
    /// Frames and chunks that a handler may read in one poll: with more unread it is the others'
    /// turn first, and that of the ring.
    pub(crate) reads_per_turn_max: u32,
    /// Connections that a turn ends because their deadlines have passed: peers who came together
    /// end together, and the others of the shard wait for a few of them, not for all.
    pub(crate) expired_per_turn_max: usize,
    /// Connections that are closed at one look at a shortage.
    pub(crate) overloaded_per_look_max: usize,
}

impl Bounds {
    /// Those of other settings. What all connections may hold together was settled at the start.
    pub(crate) fn renewed(&self, config: &Config) -> Self {
        let nothing = MemoryShare {
            unread_max: 0,
            unsent_max: 0,
        };
        Self {
            unread_max: self.unread_max,
            unsent_max: self.unsent_max,
            ..Self::of(config, nothing)
        }
    }

    /// What deadlines are made of that no frame, request or send has begun.
    pub(crate) fn waits(&self) -> [Ticks; 5] {
        let Self {
            first_byte,
            idle,
            lifetime,
            close,
            drain_quiet,
            ..
        } = *self;
        [first_byte, idle, lifetime, close, drain_quiet]
    }

    pub(crate) fn of(config: &Config, share: MemoryShare) -> Self {
        let (timeouts, limits) = (&config.timeouts, &config.limits);
        Self {
            first_byte: Ticks::of(timeouts.first_byte),
            read: Ticks::of(timeouts.read),
            write: Ticks::of(timeouts.write),
            idle: Ticks::of(timeouts.idle),
            lifetime: Ticks::of(timeouts.lifetime),
            close: Ticks::at_least(timeouts.close),
            drain_quiet: Ticks::at_least(timeouts.drain_quiet),
            drain: Ticks::at_least(timeouts.drain),
            overload: Ticks::of(timeouts.overload),
            reclaim: Ticks::at_least(timeouts.reclaim),
            unread_max: share.unread_max.into(),
            unsent_max: share.unsent_max.into(),
            recv_queue_max: limits.recv_queue_max.min(u32::from(u16::MAX)) as u16,
            write_queue_max: limits.write_queue_max,
            turn_completions_max: limits.turn_completions_max as usize,
            reads_per_turn_max: limits.reads_per_turn_max,
            expired_per_turn_max: limits.expired_per_turn_max as usize,
            overloaded_per_look_max: limits.overloaded_per_look_max as usize,
        }
    }
}

pub(crate) fn receive_rate(limits: &Limits) -> Option<Rate> {
    limits
        .receive_rate_min
        .map(|rate| Rate::of_receiving(rate, limits.rate_window))
}

pub(crate) fn send_rate(limits: &Limits) -> Option<Rate> {
    limits
        .send_rate_min
        .map(|rate| Rate::of_sending(rate, limits.rate_window))
}
