//! What the settings allow a connection, in the units in which the shard asks.

use super::deadline::Ticks;
use super::progress::Rate;
use crate::config::{Config, Limits};
use crate::preflight::MemoryShare;

/// The settings that a connection meets, in the units in which it meets them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) first_byte: Ticks,
    pub(super) read: Ticks,
    pub(super) write: Ticks,
    pub(super) idle: Ticks,
    pub(super) lifetime: Ticks,
    pub(super) close: Ticks,
    /// How long a silent connection is still listened to once the server drains: a request may be
    /// on its way.
    pub(super) drain_quiet: Ticks,
    pub(super) drain: Ticks,
    /// How long a shard stays without room before it closes the greediest.
    pub(super) overload: Ticks,
    /// A peer younger than this is not taken for silent: its first bytes are on their way.
    pub(super) reclaim: Ticks,
    pub(super) recv_queue_max: u16,
    pub(super) write_queue_max: u32,
    /// Bytes of all connections of the shard.
    pub(super) unread_max: u64,
    pub(super) unsent_max: u64,
    pub(super) turn_completions_max: usize,
    /// Frames and chunks that a handler may read in one poll: with more unread it is the others'
    /// turn first, and that of the ring.
    pub(super) reads_per_turn_max: u32,
    /// Connections that a turn ends because their deadlines have passed: peers who came together
    /// end together, and the others of the shard wait for a few of them, not for all.
    pub(super) expired_per_turn_max: usize,
    /// Connections that are closed at one look at a shortage.
    pub(super) overloaded_per_look_max: usize,
}

impl Bounds {
    pub(super) fn of(config: &Config, share: MemoryShare) -> Self {
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

pub(super) fn receive_rate(limits: &Limits) -> Option<Rate> {
    limits
        .receive_rate_min
        .map(|rate| Rate::of_receiving(rate, limits.rate_window))
}

pub(super) fn send_rate(limits: &Limits) -> Option<Rate> {
    limits
        .send_rate_min
        .map(|rate| Rate::of_sending(rate, limits.rate_window))
}
