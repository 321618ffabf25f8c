//! A shard for tests that take the kernel's part themselves: [`crate::ring::stand_in`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::id::{ServerNumber, ShardId};
use crate::ring::WakeFd;
use crate::ring::stand_in::StandIn;
use crate::shard::handle::{Setup, Shard, ShardListener};
use crate::shard::policy::bounds::MemoryShare;
use crate::shard::task::bell::Bells;
use crate::tls::Acceptances;

/// Connections that it accepts at most.
pub(crate) const ACCEPTED_MAX: u32 = 4;

/// Which shard of which server it is, and what wakes it.
pub(crate) struct Seat {
    pub(crate) id: ShardId,
    pub(crate) server: ServerNumber,
    pub(crate) wake: WakeFd,
    pub(crate) bells: Bells,
}

impl Seat {
    /// Of a server with no other shard.
    fn alone() -> Self {
        Self {
            id: ShardId(0),
            server: ServerNumber::next(),
            wake: WakeFd::new().expect("an eventfd"),
            bells: Bells::default(),
        }
    }
}

/// A shard of the calling thread, whose ring never reaches the kernel. At most one per thread.
pub(crate) fn stand_in_shard(config: Config, memory: MemoryShare) -> Rc<Shard> {
    stand_in_shard_at(Seat::alone(), config, memory)
}

/// As [`stand_in_shard`], in the seat.
pub(crate) fn stand_in_shard_at(seat: Seat, config: Config, memory: MemoryShare) -> Rc<Shard> {
    let setup = Setup {
        id: seat.id,
        server: seat.server,
        connections_max: ACCEPTED_MAX,
        config: Arc::new(config),
        memory,
        listeners: vec![ShardListener::stand_in(([127, 0, 0, 1], 0).into())],
        tls: Acceptances::default(),
        wake: seat.wake,
        commands: Arc::default(),
        bells: seat.bells,
        metrics: Arc::default(),
        started: Instant::now(),
    };
    StandIn::begin_on_this_thread();
    Shard::enter(setup).expect("memory")
}
