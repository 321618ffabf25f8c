//! The connections of a shard, and one of them with all that it works on.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::id::{ConnId, Key, ServerNumber, ShardId, SlotIndex};
use crate::metrics::Metrics;
use crate::ring::Ring;
use crate::ring::buffers::BufferPool;
use crate::shard::conns::deadline::Deadlines;
use crate::shard::conns::entrances::Entrances;
use crate::shard::conns::inboxes::Inboxes;
use crate::shard::conns::interest::Wakers;
use crate::shard::conns::own_timeouts::OwnTimeouts;
use crate::shard::conns::places::Places;
use crate::shard::conns::proxied::Proxies;
use crate::shard::conns::queue::Segments;
use crate::shard::conns::slot::Slot;
use crate::shard::conns::table::Table;
use crate::shard::conns::tls::Sessions;
use crate::shard::conns::topics::Topics;
use crate::shard::policy::bounds::Bounds;
use crate::shard::policy::log_limit::{LogKind, LogLimiter};
use crate::shard::policy::min_rate::MinRate;
use crate::shard::policy::overload::Overload;
use crate::shard::policy::recv_mode::RecvModes;
use crate::shard::policy::request_timer::RequestTimers;
use crate::shard::task::run_queue::RunQueue;
use crate::shard::task::wake::ShardNumber;
use crate::time::Tick;

/// The connections of a shard.
pub(crate) struct Conns {
    pub(crate) table: Table,
    pub(crate) shared: Shared,
}

/// Everything that the connections of a shard have in common. None of it is shared with another
/// shard.
pub(crate) struct Shared {
    pub(crate) id: ShardId,
    pub(crate) server: ServerNumber,
    pub(crate) number: ShardNumber,
    /// How often the 2^32 lives of a slot were counted through; hardly ever has one been.
    pub(crate) laps: BTreeMap<SlotIndex, u32>,
    pub(crate) ring: Ring,
    pub(crate) buffers: Rc<BufferPool>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) bounds: Bounds,
    pub(crate) places: Places,
    pub(crate) deadlines: Deadlines,
    pub(crate) own_timeouts: OwnTimeouts,
    pub(crate) entrances: Entrances,
    pub(crate) proxies: Proxies,
    pub(crate) tls: Sessions,
    pub(crate) segments: Segments,
    /// The time of this turn, since the server's start, and its tick.
    pub(crate) clock: Duration,
    pub(crate) now: Tick,
    /// The server drains.
    pub(crate) is_draining: bool,
    /// Bytes received and not read, and bytes written and not taken by the kernel, of all
    /// connections.
    pub(crate) unread: u64,
    pub(crate) unsent: u64,
    pub(crate) recv_modes: RecvModes,
    pub(crate) requests: RequestTimers,
    pub(crate) min_rate: MinRate,
    pub(crate) overload: Overload,
    /// How much of what peers can cause is logged.
    pub(crate) log: LogLimiter,
    pub(crate) run_queue: RunQueue,
    pub(crate) wakers: Wakers,
    pub(crate) inboxes: Inboxes,
    pub(crate) topics: Topics,
    /// Connections whose receive waits for a buffer.
    pub(crate) starved: Vec<Key>,
    /// Connections that the task being polled has written to or waited for.
    pub(crate) touched: Vec<Key>,
    /// What the task that is being polled may still read before it is the others' turn.
    pub(crate) reads_left: u32,
    /// Output is queued behind a quiet send: the next [`Ring::enter`] must not wait, or that send's
    /// end stays unseen.
    pub(crate) is_behind: bool,
}

/// One connection, found: its slot, and what all of them share.
pub(crate) struct ConnMut<'a> {
    pub(crate) key: Key,
    pub(super) slot: &'a mut Slot,
    pub(super) shared: &'a mut Shared,
}

impl Conns {
    /// The connection, if it still lives the life that `key` names. To be asked once per event.
    pub(crate) fn get(&mut self, key: Key) -> Option<ConnMut<'_>> {
        let slot = self.table.get_mut(key)?;
        Some(ConnMut {
            key,
            slot,
            shared: &mut self.shared,
        })
    }

    /// The key of the connection of that name, if this shard has it.
    pub(crate) fn key_of(&self, conn: ConnId) -> Option<Key> {
        let (key, lap) = conn.place();
        let shared = &self.shared;
        let is_ours = (conn.server(), conn.shard()) == (shared.server, shared.id);
        let lives = is_ours && shared.lap(key.slot) == lap && self.table.get(key).is_some();
        lives.then_some(key)
    }

    /// The connection in `index`, if there is one.
    pub(crate) fn at(&mut self, index: SlotIndex) -> Option<ConnMut<'_>> {
        let key = self.table.occupant(index)?;
        self.get(key)
    }
}

impl ConnMut<'_> {
    /// The time of this turn, since the server's start.
    pub(crate) fn clock(&self) -> Duration {
        self.shared.clock
    }

    /// A message is answered.
    pub(crate) fn count_message(&self) {
        self.shared.metrics.messages.add(1);
    }

    /// The tick of this turn.
    pub(crate) fn now(&self) -> Tick {
        self.shared.now
    }

    pub(crate) fn id(&self) -> ConnId {
        self.shared.conn_id(self.key)
    }
}

impl Shared {
    /// The name of the connection of `key`.
    pub(crate) fn conn_id(&self, key: Key) -> ConnId {
        ConnId::new(self.server, self.id, key, self.lap(key.slot))
    }

    fn lap(&self, slot: SlotIndex) -> u32 {
        self.laps.get(&slot).copied().unwrap_or_default()
    }

    /// Whether a line about `kind` is to be logged now. If not, it is counted, unless its level is
    /// off anyway.
    pub(crate) fn may_log(&mut self, kind: LogKind) -> bool {
        if !kind.is_enabled() {
            return false;
        }
        let may = self.log.pass(kind, self.now);
        if !may {
            self.metrics.log_lines_held_back.add(1);
        }
        may
    }
}
