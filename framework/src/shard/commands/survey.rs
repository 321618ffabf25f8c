//! A look at the connections of a shard, a few slots a turn, for who operates the server.

use std::net::SocketAddr;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::config::Network;
use crate::id::{ConnId, ListenerIndex};

/// Rows that wait for whoever has asked; the shard goes on once there is room.
pub(crate) const ROWS_MAX: usize = 512;

/// What is asked of a shard. It answers with a [`Row`] for each connection that fits, and drops this
/// when it has seen them all.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) filter: Filter,
    /// What becomes of those that fit.
    pub(crate) close: Option<Close>,
    pub(crate) rows: Producer<Row>,
    /// The slot that is looked at next.
    pub(crate) next: u32,
}

impl Survey {
    /// With the end at which the rows come. It is abandoned when all have come.
    pub(crate) fn new(filter: Filter, close: Option<Close>) -> (Self, Consumer<Row>) {
        let (rows, coming) = RingBuffer::new(ROWS_MAX);
        let next = filter.conn.map_or(0, |conn| conn.place().0.slot.0);
        let survey = Self {
            filter,
            close,
            rows,
            next,
        };
        (survey, coming)
    }
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// What it has in hand is answered; its handler's next read ends the stream.
    Politely,
    AtOnce,
}

/// Which connections are meant: those that fit all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) conn: Option<ConnId>,
    /// Of their peers.
    pub(crate) network: Option<Network>,
    pub(crate) phase: Option<String>,
    pub(crate) age_min: Duration,
    pub(crate) idle_min: Duration,
    /// Unread and unsent together.
    pub(crate) queued_bytes_min: u64,
}

impl Filter {
    pub(crate) fn fits(&self, row: &Row) -> bool {
        self.conn.is_none_or(|conn| conn == row.id)
            && self
                .network
                .is_none_or(|network| network.contains(row.peer.ip()))
            && self.phase.as_ref().is_none_or(|phase| phase == row.phase)
            && row.age >= self.age_min
            && (self.idle_min.is_zero() || row.idle.is_some_and(|idle| idle >= self.idle_min))
            && row.unread_bytes + row.unsent_bytes >= self.queued_bytes_min
    }
}

/// A connection as it is. Times are to the eighth of a second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: ConnId,
    pub(crate) peer: SocketAddr,
    /// By which it has come; none: the shard has opened it.
    pub(crate) listener: Option<ListenerIndex>,
    pub(crate) origin: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) age: Duration,
    /// For how long its peer has been silent between requests, where a deadline tells.
    pub(crate) idle: Option<Duration>,
    pub(crate) unread_bytes: u64,
    pub(crate) unsent_bytes: u64,
    /// As what it ends, and how soon, if nothing happens until then.
    pub(crate) deadline: Option<(&'static str, Duration)>,
    pub(crate) receive: &'static str,
    pub(crate) send: &'static str,
    pub(crate) waits_for: &'static str,
    pub(crate) subscriptions: u32,
    /// It was told to end, as was asked.
    pub(crate) is_told_to_end: bool,
}
