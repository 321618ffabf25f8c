//! The connects of a shard: those in flight, and those who wait for their turn.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;

use crate::config::Config;
use crate::id::Key;
use crate::shard::task::wake::Waiter;

/// Where a connect goes and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectTarget {
    pub(crate) address: SocketAddr,
    /// The local address; none: the kernel's choice.
    pub(crate) source: Option<IpAddr>,
    pub(crate) timeout: Duration,
    /// The handshake's last ACK waits for the first bytes.
    pub(crate) speaks_first: bool,
}

/// One connect in flight.
#[derive(Debug)]
pub(crate) enum ConnectAttempt {
    Vacant,
    /// The socket is being moved into the table.
    Installing {
        socket: Socket,
        target: ConnectTarget,
    },
    /// The kernel connects. The socket is kept to see what it has been connected to.
    Connecting {
        key: Key,
        socket: Socket,
        port: u16,
    },
    /// The kernel could not connect: the descriptor is being closed.
    Failed {
        key: Key,
        errno: i32,
    },
    /// It has come to an end that nobody has looked at yet.
    Ended(Result<Key, i32>),
}

#[derive(Debug)]
pub(crate) struct ConnectSlot {
    pub(crate) attempt: ConnectAttempt,
    /// Who waits for its end; none: nobody does any more.
    pub(crate) waiter: Option<Waiter>,
}

impl ConnectSlot {
    /// It is about to be taken back, and that shows nowhere else yet.
    pub(crate) fn is_given_up(&self) -> bool {
        self.waiter.is_none() && matches!(self.attempt, ConnectAttempt::Installing { .. })
    }
}

/// The connects of a shard.
#[derive(Debug)]
pub(crate) struct Attempts {
    pub(crate) config: Arc<Config>,
    pub(crate) slots: Vec<ConnectSlot>,
    pub(crate) vacant: Vec<u32>,
    /// Who waits for a slot, by the number that was drawn: first come, first served. Nobody joins
    /// above `limits.connects_waiting_max`.
    pub(crate) queue: BTreeMap<u64, Waiter>,
    pub(crate) next_number: u64,
    /// Sockets on their way into the table.
    pub(crate) installing: u32,
}

impl Attempts {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let count = config.limits.connects_in_flight_max;
        let slots = (0..count)
            .map(|_| ConnectSlot {
                attempt: ConnectAttempt::Vacant,
                waiter: None,
            })
            .collect();
        Self {
            config,
            slots,
            vacant: (0..count).rev().collect(),
            queue: BTreeMap::new(),
            next_number: 0,
            installing: 0,
        }
    }
}

/// How far a connect has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectStage {
    /// Nothing is done yet, or nothing is left to do.
    Idle,
    /// So many are on their way, or on their way out, that it waits, under this number.
    Queued(u64),
    /// It is on its way, in this slot.
    Connecting(u32),
}
