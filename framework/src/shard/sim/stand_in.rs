//! A shard for tests that take the kernel's part themselves: [`crate::ring::stand_in`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::id::{ServerNumber, ShardId};
use crate::ring::WakeFd;
use crate::ring::stand_in::StandIn;
use crate::shard::handle::{Setup, Shard};
use crate::shard::policy::bounds::MemoryShare;
use crate::shard::task::bell::Bells;

/// Connections that it accepts at most.
pub(crate) const ACCEPTED_MAX: u32 = 4;

/// A shard of the calling thread, whose ring never reaches the kernel. At most one per thread.
pub(crate) fn stand_in_shard(config: Config, memory: MemoryShare) -> Rc<Shard> {
    let setup = Setup {
        id: ShardId(0),
        server: ServerNumber::next(),
        connections_max: ACCEPTED_MAX,
        config: Arc::new(config),
        memory,
        listener: None,
        local_addr: ([127, 0, 0, 1], 0).into(),
        wake: WakeFd::new().expect("an eventfd"),
        commands: Arc::default(),
        bells: Bells::default(),
        metrics: Arc::default(),
        started: Instant::now(),
    };
    StandIn::begin_on_this_thread();
    Shard::enter(setup).expect("memory")
}
