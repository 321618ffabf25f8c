//! What the control thread knows of the server, for whoever looks at it from another thread.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::config::Config;
use crate::id::ServerNumber;
use crate::metrics::{Counter, Metrics, Snapshot};
use crate::net::listener::ListenerAddr;
use crate::ring::WakeFd;
use crate::server::event::Event;
use crate::server::memory::MemorySeen;
use crate::server::readiness::{Readiness, Unready};
use crate::server::tls::TlsSeen;
use crate::shard::commands::Commands;

/// The control thread writes, any thread reads.
#[derive(Debug)]
pub(crate) struct View {
    /// Those of the start: what is looked up here needs a restart.
    pub(crate) config: Arc<Config>,
    /// In the order of the settings, one at least.
    pub(crate) listeners: Arc<[ListenerAddr]>,
    pub(crate) connections_max: u32,
    /// The most that the process can take, and what the sockets of all connections take in the
    /// kernel beside it, in bytes.
    pub(crate) memory_bound: [u64; 2],
    pub(crate) memory: Arc<MemorySeen>,
    pub(crate) tls: Arc<TlsSeen>,
    pub(crate) server: ServerNumber,
    /// Of each shard.
    pub(crate) shards: Vec<Arc<Metrics>>,
    /// By which each is asked.
    pub(crate) links: Vec<ShardLink>,
    pub(crate) readiness: Readiness,
    pub(crate) log_lines_dropped: Counter,
    /// What the control thread hears of.
    pub(crate) events: Sender<Event>,
}

/// What a thread asks a shard by.
#[derive(Clone, Debug)]
pub(crate) struct ShardLink {
    pub(crate) commands: Arc<Commands>,
    pub(crate) wake: WakeFd,
}

impl ShardLink {
    /// Has the shard look at once; one that is gone does not.
    pub(crate) fn signal(&self) {
        let _gone = self.wake.signal();
    }
}

impl View {
    pub(crate) fn first(&self) -> &ListenerAddr {
        &self.listeners[0]
    }

    /// The other listeners, as `name=address`; none if there are none.
    pub(crate) fn others_told(&self) -> Option<String> {
        let told = |one: &ListenerAddr| format!("{}={}", one.name, one.endpoint);
        let others: Vec<String> = self.listeners[1..].iter().map(told).collect();
        (!others.is_empty()).then(|| others.join(" "))
    }

    /// Connections that have come by the listener at that place, since the start.
    pub(crate) fn accepted_by(&self, place: usize) -> u64 {
        let counters = self.shards.iter().map(|shard| shard.listeners.get(place));
        counters
            .flatten()
            .map(|counters| counters.accepted.get())
            .sum()
    }

    /// In one line: whether it is ready, and whom it serves.
    pub(crate) fn status(&self) -> String {
        let readiness = self.readiness.get();
        let readiness = readiness.map_or_else(Unready::told, |()| "ready".to_owned());
        let (connections, shards) = (self.sum().connections, self.shards.len());
        format!("{readiness}: {connections} connections on {shards} shards")
    }

    /// All shards together.
    pub(crate) fn sum(&self) -> Snapshot {
        let mut whole = Snapshot::default();
        self.shards
            .iter()
            .for_each(|shard| whole.add(&shard.read()));
        whole
    }
}
